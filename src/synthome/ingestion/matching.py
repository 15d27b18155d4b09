"""Where the ids of the sample sheet stand in the expression table, and along which axis.

Two answers that fit alike are an error, never a guess.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from synthome.errors import InputError
from synthome.ingestion.journal import some
from synthome.ingestion.sheet import as_ids

CLEARLY = 2  # the better orientation must match this many times more samples than the other


class Ids(NamedTuple):
    """One place where ids may stand."""

    place: str  # in words: "the index", "column 'sample_id'", "the column names"
    column: int | None  # its position, when it is a column
    values: pd.Index


class Match(NamedTuple):
    """Ids of the sheet found along one axis of the expression table."""

    sheet: Ids
    expression: Ids
    by_columns: bool  # samples are the columns of the expression table
    sheet_rows: np.ndarray  # positions of the shared samples in the sheet, in its order
    positions: np.ndarray  # positions of the same samples along the axis of the expression table
    loosely: bool = False  # found only after punctuation was set aside


def match_samples(
    expression: pd.DataFrame, sheet: pd.DataFrame, expression_path: Path, sheet_path: Path
) -> Match:
    """The orientation and the id columns with which most samples of both tables match.

    Raises
    ------
    InputError
        If no id matches (three of each are shown), if rows and columns match alike, or if an id
        occurs twice.
    """
    in_sheet = list(_sheet_places(sheet))
    in_rows, in_columns = list(_row_places(expression)), [_column_names(expression)]
    for key in (_same, loosened):
        rows, columns = (_best(in_sheet, places, key) for places in (in_rows, in_columns))
        fewer, more = sorted((rows, columns), key=lambda found: found[0])
        if more[0] == 0:
            continue
        if fewer[0] * CLEARLY > more[0]:
            raise InputError(
                f"It is not clear whether samples are the rows or the columns of {expression_path}:"
                f" {rows[0]} of the ids in {sheet_path.name} occur in its rows and {columns[0]} in "
                "its columns. Give the samples ids that no gene has, for example with a prefix S, "
                "in both tables."
            )
        _, ids, place = more
        return _match(ids, place, more is columns, key, expression_path, sheet_path)
    raise _no_match(in_sheet, in_rows, in_columns[0], expression_path, sheet_path)


def loosened(ids: pd.Index) -> pd.Index:
    """Ids as R's ``make.names`` would leave them: ``12-A`` and ``X12.A`` become the same."""
    return pd.Index(
        [re.sub(r"[^A-Za-z0-9]+", ".", re.sub(r"^X(?=[\d.])", "", i)).strip(".") for i in ids],
        dtype=object,
    )


def has_own_index(frame: pd.DataFrame) -> bool:
    """Whether the index says something, as one stored by Parquet does."""
    return not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None


def object_columns(frame: pd.DataFrame) -> np.ndarray:
    """Which columns hold Python objects, text above all; shape (n_columns,) of bool."""
    return np.array([dtype.kind == "O" for dtype in frame.dtypes], dtype=bool)


def _same(ids: pd.Index) -> pd.Index:
    return ids


def _sheet_places(sheet: pd.DataFrame) -> Iterator[Ids]:
    """Where the sheet may hold its ids: the index, then each column that is not decimal numbers."""
    if has_own_index(sheet):
        yield Ids("the index", None, as_ids(sheet.index))
    for i, name in enumerate(sheet.columns):
        column = sheet.iloc[:, i]
        if not pd.api.types.is_float_dtype(column) and not pd.api.types.is_bool_dtype(column):
            yield Ids(f"column {str(name)!r}", i, as_ids(column))


def _row_places(expression: pd.DataFrame) -> Iterator[Ids]:
    """Where rows of the expression table may have ids: index, first column, columns of text."""
    if has_own_index(expression):
        yield Ids("the index", None, as_ids(expression.index))
    for i in map(int, np.flatnonzero(object_columns(expression) | _first(expression))):
        name = str(expression.columns[i])
        yield Ids(
            f"column {name!r}" if name else "the first column", i, as_ids(expression.iloc[:, i])
        )


def _first(expression: pd.DataFrame) -> np.ndarray:
    mask = np.zeros(expression.shape[1], dtype=bool)
    mask[0] = not pd.api.types.is_float_dtype(expression.iloc[:, 0])
    return mask


def _column_names(expression: pd.DataFrame) -> Ids:
    return Ids("the column names", None, as_ids(expression.columns))


def _best(
    sheet_places: list[Ids],
    places: list[Ids],
    key: Callable[[pd.Index], pd.Index],
) -> tuple[int, Ids, Ids]:
    """The pair of places with most ids in common; the first of equals."""
    best = (0, Ids("", None, pd.Index([])), Ids("", None, pd.Index([])))
    candidates = [(place, set(key(place.values)) - {""}) for place in places]
    for ids in sheet_places:
        own = set(key(ids.values)) - {""}
        for place, values in candidates:
            shared = len(own & values)
            if shared > best[0]:
                best = (shared, ids, place)
    return best


def _match(
    ids: Ids,
    place: Ids,
    by_columns: bool,
    key: Callable[[pd.Index], pd.Index],
    expression_path: Path,
    sheet_path: Path,
) -> Match:
    """Positions of the shared samples in both tables, after a check that no id repeats."""
    own, other = key(ids.values), key(place.values)
    shared = set(own) & set(other) - {""}
    for values, originals, path, where in (
        (own, ids.values, sheet_path, ids.place),
        (other, place.values, expression_path, place.place),
    ):
        repeated = originals[values.duplicated() & values.isin(shared)].unique()
        if len(repeated):
            raise InputError(
                f"{path} has sample ids that occur more than once in {where}: {some(repeated)}. "
                "Each sample needs an id of its own: remove the repeated lines, or tell the "
                "samples apart in both tables."
            )
    sheet_rows = np.flatnonzero(own.isin(shared))
    positions = (
        other.get_indexer(own[sheet_rows])
        if other.is_unique
        else _first_positions(other, own[sheet_rows])
    )
    return Match(ids, place, by_columns, sheet_rows, positions, loosely=key is loosened)


def _first_positions(values: pd.Index, wanted: pd.Index) -> np.ndarray:
    """Position of each wanted id among values that may repeat elsewhere."""
    position = {value: i for i, value in reversed(list(enumerate(values)))}
    return np.array([position[value] for value in wanted], dtype=int)


def _no_match(
    in_sheet: list[Ids],
    in_rows: list[Ids],
    in_columns: Ids,
    expression_path: Path,
    sheet_path: Path,
) -> InputError:
    """Three ids of each place, so that the person sees how they differ."""
    own, name = in_sheet[0] if in_sheet else in_columns, expression_path.name
    shown = [f"rows of {name} ({rows.place}): {some(rows.values)}" for rows in in_rows[:1]]
    return InputError(
        f"The sample ids of {sheet_path} do not occur in {name}. {sheet_path.name} ({own.place}): "
        f"{some(own.values)}; "
        f"{'; '.join([*shown, f'columns of {name}: {some(in_columns.values)}'])}. Give both tables "
        "the same sample ids."
    )
