"""What single cells and spots of a tissue share on the way in: counts, columns, genes, report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int

from synthome.anndata_schema import LIBRARY_SIZE, UNS
from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.config import CellsConfig
from synthome.ingestion.count_values import find_counts
from synthome.ingestion.genes import tell_repeated, tidy_names
from synthome.ingestion.journal import Journal, count
from synthome.ingestion.samples import follow_renaming, rename_columns, require_column
from synthome.ingestion.sheet import storable
from synthome.ingestion.tables import SOURCE_NAME
from synthome.ingestion.tissue_config import TissueConfig

SHEET = "obs"  # what messages call the table of cells or spots

Counted = TypeVar("Counted", CellsConfig, TissueConfig)
Report = dict[str, Any]


class Genes(NamedTuple):
    """One column per gene."""

    codes: Int[np.ndarray, " n_columns"]  # the gene of each column of the matrix
    var: pd.DataFrame
    symbols: Report  # what was done to the names


@dataclass
class Totals:
    """What one reading of all counts measures."""

    counts: Float[np.ndarray, " n_obs"]  # of each row
    seen: Bool[np.ndarray, " n_vars"]  # whether any row has a count in that column of the matrix
    n_values: int = 0  # non-zero counts of the rows asked for
    largest: float = 0.0


def at_counts(source: CellSource, layer: str | None, journal: Journal) -> CellSource:
    """The source at its raw counts; see ``count_values.find_counts``."""
    place, passed = find_counts({k: p.matrix for k, p in source.places.items()}, layer)
    source = source.at(place)
    sizes = f"{count(source.n_obs, journal.row)} and {count(source.n_vars, 'gene')}"
    journal.start("read", f"{sizes}; counts are those of {place}", source.n_obs, source.n_vars)
    for other, words in passed.items():
        journal.step("counts", f"{other} is left aside: it holds {words}")
    return source


def columns_of(
    obs: pd.DataFrame, given: Mapping[str, Any], config: Counted, known: Mapping[str, str],
    journal: Journal,
) -> tuple[pd.DataFrame, Counted]:  # fmt: skip
    """The sheet with names that can be stored, and the choices of columns that follow them.

    ``known`` says by role which fact of the source names a column where the person did not. A
    column that is missing is told by ``require_columns``.
    """
    obs, renamed = rename_columns(obs, journal)
    stated = {role: str(given.get(key, "")) or None for role, key in known.items()}
    config = config.model_copy(
        update={role: getattr(config, role) or name for role, name in stated.items()}
    )
    return obs, follow_renaming(config, renamed, *known, "where", "library_size")


def require_columns(obs: pd.DataFrame, config: Counted, known: Mapping[str, str]) -> None:
    """Stop at a column that is asked for and is not there."""
    for role in (*known, "where", "library_size"):
        if getattr(config, role) is not None:
            require_column(obs, getattr(config, role), role, SHEET)


def genes_of(source: CellSource, journal: Journal) -> Genes:
    """Names put in order, and columns of the same gene told; see ``CellSource.merged``."""
    names, symbols = tidy_names(gene_names(source), journal)
    symbols |= tell_repeated(names, "sum", "counts", journal)
    codes, unique = pd.factorize(names)
    first = np.unique(codes, return_index=True)[1]
    var = source.var.iloc[first].drop(columns=SOURCE_NAME, errors="ignore")
    return Genes(codes, storable(var).set_axis(pd.Index(unique.astype(str)), axis=0), symbols)


def gene_names(source: CellSource) -> np.ndarray:
    """Gene names as the file has them, before repeated ones were told apart."""
    names = source.var.get(SOURCE_NAME, pd.Series(source.var.index))
    return names.astype(str).to_numpy(dtype=object)


def read_all(source: CellSource, kept: Bool[np.ndarray, " n_obs"], row: str) -> Totals:
    """Read every count once; refuse what is none, in the rows asked for."""
    totals = Totals(np.zeros(source.n_obs), np.zeros(source.n_vars, dtype=bool))
    n_wrong, first = 0, ""
    for rows, block in source.blocks():
        if not kept[rows].all():
            block = block[np.flatnonzero(kept[rows])]
        values = block.data
        wrong = ~((values >= 0) & (np.rint(values) == values) & np.isfinite(values))
        if wrong.any():
            if not n_wrong:
                at = int(wrong.argmax())
                place = int(np.searchsorted(block.indptr, at, side="right")) - 1
                number = rows.start + int(np.flatnonzero(kept[rows])[place]) + 1
                gene = source.var.index[block.indices[at]]
                first = f"{values[at]:g} in {row} number {number:,}, gene {gene!r}"
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


def report_of(
    cohort: AnnData, given: Mapping[str, Any], config: Counted, totals: Totals, n_filled: int,
    journal: Journal,
) -> Report:  # fmt: skip
    """Plain numbers and words, in the form that ``validate_cohort`` gives."""
    facts = cohort.uns[UNS]
    label, donor, place = facts["label_key"], facts["group_key"], facts["counts_in"]
    classes = cohort.obs[label].value_counts()
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
        "classes": {str(name): int(size) for name, size in classes.items() if name != ""},
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
