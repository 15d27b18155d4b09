"""What Kedro-Viz shows of data: small tables of plain values, without anyone's identity.

Kedro-Viz looks for a method ``preview`` whose return annotation is named exactly so.
"""

import math
from typing import TYPE_CHECKING, Any

from kedro_datasets._typing import TablePreview

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = Any

MOST_SHOWN = 6  # values of a column that are listed
FEW = 3  # a value that fewer samples have is not named


def plain(value: Any) -> Any:
    """``value`` as JSON has it: NumPy numbers become numbers, what is not finite becomes None."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) or getattr(value, "ndim", 0) > 0:
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def table_preview(columns: list[str], rows: list[list[Any]]) -> TablePreview:
    """A table for Kedro-Viz."""
    data = [["" if (v := plain(cell)) is None else v for cell in row] for row in rows]
    return TablePreview({"index": list(range(len(rows))), "columns": columns, "data": data})


def summary_of(obs: "pd.DataFrame") -> list[list[Any]]:
    """One row per column of a sheet: its kind, and its values where they identify nobody.

    A value is named when at least ``FEW`` samples have it; numbers are told by their quartiles.
    """
    rows = []
    for name in obs.columns:
        column = obs[name]
        given = column.dropna()
        numeric = given.dtype.kind in "iufc"
        sizes = given.astype(str).value_counts()
        if numeric and len(sizes) > MOST_SHOWN:
            low, middle, high = given.quantile([0.25, 0.5, 0.75])
            content = f"median {middle:.4g}, middle half {low:.4g} to {high:.4g}"
        else:
            named = sizes[sizes >= FEW]
            shown = [f"{value}: {size:,}" for value, size in named.iloc[:MOST_SHOWN].items()]
            others = len(sizes) - len(shown)
            if others:
                shown.append(f"{others:,} {'more' if shown else 'different'} values")
            content = ", ".join(shown)
        kind = "numbers" if numeric else "text" if given.dtype.kind == "O" else str(given.dtype)
        rows.append([str(name), kind, content, int(column.isna().sum())])
    return rows


def cohort_preview(
    n_obs: int, n_vars: int, holds: str, obs: "pd.DataFrame", row: str = "sample"
) -> TablePreview:
    """A cohort: its size, what it holds, then the columns of its sheet."""
    size = [f"{n_obs:,} {row}s", f"{n_vars:,} genes" if n_vars else "", holds, ""]
    return table_preview(["column", "kind", "values", "missing"], [size, *summary_of(obs)])
