"""The sample sheet: cells of text become numbers where they all are, ids stay text.

A sheet read by a spreadsheet library loses the zeros of ``0012`` and makes a missing value of the
class ``None``. Here the cells are text first, and become numbers column by column.
"""

import re
from difflib import get_close_matches

import numpy as np
import pandas as pd

NOT_GIVEN = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "not available"})
LEADING_ZERO = re.compile(r"[-+]?0\d")


def is_missing(values: pd.Series) -> np.ndarray:
    """Which values stand for nothing: empty, ``NA``, ``NaN``, ``null``; shape (n,) of bool.

    ``None`` and ``unknown`` written as text are kept, since both occur as the name of a class.
    """
    text = values.astype(object).map(lambda v: v.strip().lower() if isinstance(v, str) else "x")
    return (values.isna() | text.isin(NOT_GIVEN)).to_numpy(dtype=bool)


def as_text(values: pd.Series) -> pd.Series:
    """Values as stripped text; ``1.0`` from a column with gaps is ``1``; missing ones are NaN."""
    if isinstance(values.dtype, pd.CategoricalDtype):  # each category is looked at once
        text = as_text(pd.Series(values.cat.categories)).to_numpy(dtype=object)
        text = np.append(text, np.nan)[values.cat.codes.to_numpy()]  # code -1 is a missing value
        return pd.Series(text, index=values.index, name=values.name)
    missing = is_missing(values)

    result = np.full(len(values), np.nan, dtype=object)
    result[~missing] = [_id(value) for value in values.astype(object)[~missing]]
    return pd.Series(result, index=values.index, name=values.name)


def as_ids(values: pd.Index | pd.Series) -> pd.Index:
    """Ids as stripped text; a missing id is the empty string."""
    return pd.Index([_id(value) for value in values], dtype=object)


def typed(frame: pd.DataFrame, decimal_comma: bool = False) -> pd.DataFrame:
    """A sheet of text cells with numbers where a whole column is numbers.

    A column with leading zeros (``007``) stays text, and so do dates and everything mixed.
    """
    columns = {i: _typed_column(frame.iloc[:, i], decimal_comma) for i in range(frame.shape[1])}
    return pd.DataFrame(columns, index=frame.index).set_axis(frame.columns, axis=1)


def storable(sheet: pd.DataFrame) -> pd.DataFrame:
    """A sheet whose columns an AnnData file can hold: text, numbers and truth values.

    Categories become text, dates ISO text, mixed columns text; missing text stays missing.
    """
    result = {}
    for name in sheet.columns:
        column = sheet[name]
        if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
            result[name] = column.astype(bool)
        elif pd.api.types.is_numeric_dtype(column.dtype):
            nullable = pd.api.types.is_extension_array_dtype(column.dtype)
            result[name] = column.astype(float) if nullable and column.isna().any() else column
        elif pd.api.types.is_datetime64_any_dtype(column.dtype):
            result[name] = column.map(lambda v: v.isoformat(), na_action="ignore").astype(object)
        else:
            result[name] = as_text(column)
    return pd.DataFrame(result, index=sheet.index)


def nearest_first(name: str, names: pd.Index | list[str]) -> list[str]:
    """``names`` with those that look like ``name`` at the front."""
    names = [str(n) for n in names]
    lower = {n.lower(): n for n in reversed(names)}
    close = [lower[n] for n in get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
    return close + [n for n in names if n not in close]


def _id(value: object) -> str:
    """One id as text: ``12.0`` is ``12``, nothing is the empty string."""
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, float | np.floating):
        text = str(int(value)) if np.isfinite(value) and value == int(value) else str(value)
    else:
        text = "" if value is None or value is pd.NA else str(value)
    return "" if len(text) < 14 and text.lower() in NOT_GIVEN else text


def _typed_column(cells: pd.Series, decimal_comma: bool) -> pd.Series:
    """One column of text, as numbers or truth values when every given cell is one."""
    cells = cells.str.strip()
    missing = is_missing(cells)
    given = cells[~missing]
    if given.empty or given.map(lambda cell: bool(LEADING_ZERO.match(cell))).any():
        return cells.where(~missing)
    if not missing.any() and given.str.lower().isin(["true", "false"]).all():
        return given.str.lower() == "true"
    numbers = pd.to_numeric(
        given.str.replace(",", ".") if decimal_comma else given, errors="coerce"
    )
    if numbers.isna().any():
        return cells.where(~missing)
    return numbers.reindex(cells.index)
