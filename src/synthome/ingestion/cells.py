"""Cells in, their validated sheet and its report out; the counts stay where they are.

Every count is looked at once, block by block: it must be a whole number >= 0. What is kept is one
row per cell and one per gene, with the row of each cell in its source, so that a later step can
read the counts of the genes that it chose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float

from synthome.anndata_schema import LIBRARY_SIZE, SOURCE_ROW, UNS
from synthome.errors import InputError
from synthome.ingestion.cell_sheet import (
    asked_for,
    fill,
    filled,
    give_names,
    keep_donors_whole,
    large_types,
    library_sizes,
)
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.config import CellsConfig
from synthome.ingestion.count_values import find_counts
from synthome.ingestion.genes import tell_repeated, tidy_names
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.samples import (
    follow_renaming,
    rename_columns,
    require_column,
)
from synthome.ingestion.sheet import as_text, storable

SHEET = "obs"  # what messages call the table of cells

Report = dict[str, Any]


def validate_cells(source: CellSource, config: CellsConfig) -> tuple[AnnData, Report]:
    """Check the counts and put the sheet of cells in order.

    Parameters
    ----------
    source
        Cells as a dataset gives them.
    config
        Columns, place of the counts, thresholds.

    Returns
    -------
    The cells kept, without counts (``X`` is None): ``obs`` with type, donor, batch,
    ``library_size`` and ``source_row``, ``var`` with one row per gene; and a report of plain
    numbers and words, of the form that ``validate_cohort`` gives.

    Raises
    ------
    InputError
        At the first problem that the person has to mend.
    """
    try:
        return _validate(source, config, Journal(source.name, source.n_obs))
    except InputError as error:
        raise InputError(f"{source.name}: {error}") from error


def as_validated(source: CellSource, cohort: AnnData) -> CellSource:
    """The source with the counts and the genes that ``validate_cells`` settled on."""
    source = source.at(cohort.uns[UNS]["counts_in"])
    names, _ = tidy_names(_names(source), Journal(""))
    codes, unique = pd.factorize(names)
    if not np.array_equal(unique, cohort.var_names):
        raise InputError(
            f"{source.name} has other genes than when it was validated. Run the pipeline again "
            "from its first step."
        )
    return source.merged(codes, cohort.var_names)


def _validate(source: CellSource, config: CellsConfig, journal: Journal) -> tuple[AnnData, Report]:
    """The checks in order; see ``validate_cells``."""
    place, passed = find_counts({k: p.matrix for k, p in source.places.items()}, config.layer)
    source = source.at(place)
    sizes = f"{count(source.n_obs, 'cell')} and {count(source.n_vars, 'gene')}"
    journal.start("read", f"{sizes}; counts are those of {place}", source.n_obs, source.n_vars)
    for other, words in passed.items():
        journal.step("counts", f"{other} is left aside: it holds {words}")

    given = source.uns[UNS]
    obs, renamed = rename_columns(source.obs, journal)
    config = _with_columns(config, given, obs, renamed)
    label = str(config.cell_type)
    kept = asked_for(obs, label, config.where, journal)
    totals = _read_all(source, kept)
    rows = np.flatnonzero(filled(totals.counts, kept, config.min_counts, journal))
    obs = storable(obs.iloc[rows])
    obs[label] = as_text(obs[label])
    give_names(obs, journal)
    obs[SOURCE_ROW] = rows
    obs[LIBRARY_SIZE] = library_sizes(obs, totals.counts[rows], config.library_size, journal)
    obs = large_types(obs, label, config.min_cells_per_type, journal)
    obs, donor = keep_donors_whole(obs, label, config.donor, journal)
    if config.batch is not None:
        fill(obs, config.batch, "batch", journal)

    names, symbols = tidy_names(_names(source), journal)
    symbols |= tell_repeated(names, "sum", "counts", journal)
    codes, unique = pd.factorize(names)
    first = np.unique(codes, return_index=True)[1]
    var = storable(source.var.iloc[first]).set_axis(pd.Index(unique.astype(str)), axis=0)
    cohort = AnnData(obs=obs, var=var, uns={k: v for k, v in source.uns.items() if k != UNS})
    cohort.uns[UNS] = {k: v for k, v in given.items() if k != "files"} | {
        "label_key": label,
        "group_key": donor or "",
        "batch_key": config.batch or "",
        "scale": "counts",
        "counts_in": place,
    }
    sizes = f"{count(cohort.n_obs, 'cell')} and {count(cohort.n_vars, 'gene')}"
    types = obs[label].value_counts()
    journal.step("done", f"{sizes}; {some([f'{k} {n:,}' for k, n in types.items()], 10)}")
    return cohort, _report(cohort, given, config, totals, len(rows), journal) | {"symbols": symbols}


def _with_columns(
    config: CellsConfig, given: Mapping[str, Any], obs: pd.DataFrame, renamed: Mapping[str, str]
) -> CellsConfig:
    """The choices of columns with what the source says itself, each of them a column of ``obs``."""
    known = {"cell_type": "label_key", "donor": "group_key", "batch": "batch_key"}
    stated = {role: str(given.get(key, "")) or None for role, key in known.items()}
    config = config.model_copy(
        update={role: getattr(config, role) or name for role, name in stated.items()}
    )
    roles = (*known, "where", "library_size")
    config = follow_renaming(config, renamed, *roles)
    if config.cell_type is None:
        listed = some(list(obs.columns), 20) or "no columns at all"
        raise InputError(
            "Which column holds the type of each cell? Name it with --params=cell_type=COLUMN. "
            f"{SHEET} has: {listed}."
        )
    for role in roles:
        if getattr(config, role) is not None:
            require_column(obs, getattr(config, role), role, SHEET)
    return config


def _report(
    cohort: AnnData,
    given: Mapping[str, Any],
    config: CellsConfig,
    totals: "_Totals",
    n_filled: int,
    journal: Journal,
) -> Report:
    """Plain numbers and words, in the form that ``validate_cohort`` gives."""
    facts = cohort.uns[UNS]
    label, donor, place = facts["label_key"], facts["group_key"], facts["counts_in"]
    classes = {str(k): int(v) for k, v in cohort.obs[label].value_counts().items()}
    return {
        "source": str(given.get("source", "")),
        "sha256": str(given.get("sha256", "")),
        "files": dict(given.get("files", {})),
        "label": label,
        "group": donor,
        "batch": facts["batch_key"],
        "where": config.where or "",
        "library_size": config.library_size or "",
        "n_obs": cohort.n_obs,
        "n_vars": cohort.n_vars,
        "n_groups": int(cohort.obs[donor].nunique()) if donor else 0,
        "classes": classes,
        "scale": {
            "scale": "counts",
            "decided_by": "you" if config.layer else "measured",
            "why": f"every value of {place} is a whole number >= 0",
            "counts_in": place,
            "evidence": {
                "share_of_zeros": 1 - totals.n_values / max(n_filled * len(totals.seen), 1),
                "median_library_size": float(np.median(cohort.obs[LIBRARY_SIZE])),
                "largest": totals.largest,
                "genes_seen": int(totals.seen.sum()),
            },
        },
        "steps": journal.entries,
        "warnings": [entry["why"] for entry in journal.entries if entry["warning"]],
    }


def _names(source: CellSource) -> np.ndarray:
    """Gene names as the file has them."""
    return source.var.index.astype(str).to_numpy(dtype=object)


@dataclass
class _Totals:
    """What one reading of all counts measures."""

    counts: Float[np.ndarray, " n_obs"]  # of each cell
    seen: Bool[np.ndarray, " n_vars"]  # whether any cell has a column of the matrix
    n_values: int = 0  # non-zero counts of the cells asked for
    largest: float = 0.0


def _read_all(source: CellSource, kept: Bool[np.ndarray, " n_obs"]) -> _Totals:
    """Read every count once; refuse what is none, in the cells asked for."""
    totals = _Totals(np.zeros(source.n_obs), np.zeros(source.n_vars, dtype=bool))
    n_wrong, first = 0, ""
    for rows, block in source.blocks():
        if not kept[rows].all():
            block = block[np.flatnonzero(kept[rows])]
        values = block.data
        wrong = ~((values >= 0) & (np.rint(values) == values) & np.isfinite(values))
        if wrong.any():
            if not n_wrong:
                at = int(wrong.argmax())
                row = int(np.searchsorted(block.indptr, at, side="right")) - 1
                number = rows.start + int(np.flatnonzero(kept[rows])[row]) + 1
                gene = source.var.index[block.indices[at]]
                first = f"{values[at]:g} in cell number {number:,}, gene {gene!r}"
            n_wrong += int(wrong.sum())
        totals.counts[np.arange(rows.start, rows.stop)[kept[rows]]] = np.asarray(
            block.sum(axis=1, dtype=np.float64)
        ).ravel()
        totals.n_values += block.nnz
        totals.largest = max(totals.largest, float(values.max(initial=0)))
        totals.seen[block.indices] = True
    if n_wrong:
        raise InputError(
            f"Counts must be whole numbers >= 0, but {count(n_wrong, 'value')} of "
            f"{source.found_in} are not; the first is {first}. Store the untouched counts in "
            "layers['counts'] of the file, or name another layer with --params=layer=NAME."
        )
    return totals
