"""Metadata fields of cells (assay, sex, condition ...) put in order: columns, gaps, categories.

The cell type is the first of them. A field is a column of a few categories; what a model could not
tell apart, ``confounding`` finds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool

from synthome.anndata_schema import field_keys, group_key
from synthome.errors import InputError
from synthome.ingestion.config import CellsConfig
from synthome.ingestion.confounding import Report, combos, confounding
from synthome.ingestion.counted import SHEET
from synthome.ingestion.journal import Journal, count
from synthome.ingestion.samples import require_column
from synthome.ingestion.sheet import as_text

MISSING = "missing"  # category of a cell without a value, where such cells are kept
MOST_NUMBERS = 50  # different numbers, above which a column is a measurement
REPORTED = ("fields", "combinations", "confounding")


def named_fields(config: CellsConfig, given: Mapping[str, Any]) -> CellsConfig:
    """The choices with the fields that the person or else the source names, the label first.

    The label is the person's ``cell_type``, or else the person's first field, or else that of the
    source. Without any field, none is made of the label.
    """
    stated = [str(name) for name in given.get("field_keys", ())]
    candidates = [config.cell_type, *config.fields, given.get("label_key"), *stated]
    label = next((str(name) for name in candidates if name), None)
    fields = [name for name in (label, *(config.fields or stated)) if name]
    named = list(dict.fromkeys(fields)) if config.fields or stated else []
    return config.model_copy(update={"cell_type": label, "fields": named})


def with_fields(
    obs: pd.DataFrame, config: CellsConfig, kept: Bool[np.ndarray, " n_obs"], journal: Journal
) -> tuple[Bool[np.ndarray, " n_obs"], dict[str, int]]:
    """Which of the cells kept so far take part, and how many had no value in each field.

    Raises
    ------
    InputError
        If a field is not there, is empty, or is a measurement or an id.
    """
    n_missing: dict[str, int] = {}
    result = kept.copy()
    for name in config.fields:
        column = require_column(obs, name, "fields", SHEET)[kept]
        _refuse_measurement(column, name)
        missing = as_text(column).isna().to_numpy()
        n_missing[name] = int(missing.sum())
        if missing.all():
            raise InputError(
                f"The column {name!r} is empty in all cells. Leave it out of fields, or name "
                "another one."
            )
        if not missing.any():
            continue
        told = f"{count(n_missing[name], 'cell')} without a value in {name!r}"
        if config.missing == "drop":
            result[np.flatnonzero(kept)[missing]] = False
            journal.step("fields", f"{told} left out", n_obs=int(result.sum()))
        else:
            journal.step("fields", f"{told}: their category is {MISSING!r}", warning=True)
    if not result.any():
        raise InputError(
            f"No cell has a value in each of {', '.join(config.fields)}. Name fewer fields, or "
            f"keep such cells as the category {MISSING!r} with --params=missing=category."
        )
    return result, n_missing


def fill_fields(obs: pd.DataFrame, fields: Sequence[str]) -> None:
    """Fields as text; a cell without a value gets the category ``MISSING``."""
    for name in fields:
        obs[name] = as_text(obs[name]).fillna(MISSING)


def report_fields(
    obs: pd.DataFrame,
    fields: Sequence[str],
    n_missing: Mapping[str, int],
    donor: str | None,
    journal: Journal,
) -> tuple[list[str], Report]:
    """The fields that tell cells apart, and the report of all.

    Returns
    -------
    The names of those with two or more categories; and ``fields`` (for each its categories with
    their cells, the cells without a value, whether it is used, and why), ``combinations`` and
    ``confounding``.
    """
    entries, used = [], []
    for name in fields:
        sizes = obs[name].value_counts()
        why = f"{len(sizes):,} categories"
        if len(sizes) > 1:
            used.append(name)
        else:
            why = f"all cells have the same category, {sizes.index[0]!r}"
            journal.step("fields", f"the field {name!r} is left out: {why}", warning=True)
        entries.append(
            {
                "name": name,
                "categories": {str(category): int(n) for category, n in sizes.items()},
                "n_missing": n_missing.get(name, 0),
                "used": len(sizes) > 1,
                "why": why,
            }
        )
    told = combos(obs, used), confounding(obs, used, donor, journal)
    return used, dict(zip(REPORTED, (entries, *told), strict=True))


def describe_fields(cohort: AnnData, report: Mapping[str, Any]) -> Report:
    """The fields of validated cells for a person to read; the label, where none was named."""
    if "fields" in report:
        return {key: report[key] for key in REPORTED}
    journal = Journal("fields")
    _, result = report_fields(cohort.obs, field_keys(cohort), {}, group_key(cohort), journal)
    return result


def _refuse_measurement(column: pd.Series, name: str) -> None:
    """Stop at a column that holds no categories."""
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    kind = column.cat.categories.dtype if categorical else column.dtype
    n = int(column.nunique())
    if pd.api.types.is_numeric_dtype(kind) and n > MOST_NUMBERS:
        raise InputError(
            f"The field {name!r} has {n:,} different numbers, more than {MOST_NUMBERS}: is it a "
            "measurement? Bin it into a column of a few categories and name that one in fields. "
            "If the numbers are names, as those of clusters, store them as text."
        )
    if n > len(column) / 2:
        raise InputError(
            f"The field {name!r} has {n:,} different values in {count(len(column), 'cell')}: is "
            "it an id? Name columns of a few categories in fields."
        )
