"""Cells in, their validated sheet and its report out; the counts stay where they are.

Every count is looked at once, block by block: it must be a whole number >= 0. What is kept is one
row per cell and one per gene, with the row of each cell in its source, so that a later step can
read the counts of the genes that it chose.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from jaxtyping import Bool, Float

from synthome.anndata_schema import LIBRARY_SIZE, SOURCE_ROW, UNS
from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.config import CellsConfig
from synthome.ingestion.count_values import find_counts
from synthome.ingestion.genes import tell_repeated, tidy_names
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.samples import (
    follow_renaming,
    hint_at_groups,
    rename_columns,
    require_column,
    truth_values,
)
from synthome.ingestion.sheet import as_text, storable
from synthome.preprocessing.splits import MIN_PER_CLASS

SHEET = "obs"  # what messages call the table of cells
UNKNOWN = "unknown"  # batch or donor of a cell that has none
PLURAL = {"batch": "batches", "donor": "donors"}

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
    roles = ("cell_type", "batch", "donor", "where", "library_size")
    config = follow_renaming(config, renamed, *roles)
    named = {
        role: getattr(config, role) or str(given.get(key, "")) or None
        for role, key in (
            ("cell_type", "label_key"),
            ("donor", "group_key"),
            ("batch", "batch_key"),
        )
    }
    label = named["cell_type"]
    if label is None:
        listed = some(list(obs.columns), 20) or "no columns at all"
        raise InputError(
            "Which column holds the type of each cell? Name it with --params=cell_type=COLUMN. "
            f"{SHEET} has: {listed}."
        )
    for role, name in (named | {k: getattr(config, k) for k in ("where", "library_size")}).items():
        if name is not None:
            require_column(obs, name, role, SHEET)

    kept = _asked_for(obs, label, config.where, journal)
    totals = _read_all(source, kept)
    kept &= _filled(totals, kept, config.min_counts, journal)
    rows = np.flatnonzero(kept)
    obs = storable(obs.iloc[rows])
    obs[label] = as_text(obs[label])
    _give_names(obs, journal)
    obs[SOURCE_ROW] = rows
    obs[LIBRARY_SIZE] = _library_size(obs, totals.counts[rows], config.library_size, journal)
    obs = _large_types(obs, label, config.min_cells_per_type, journal)
    obs, donor = _apart(obs, label, named["donor"], journal)
    batch = named["batch"]
    if batch is not None:
        _fill(obs, batch, "batch", journal)

    names, symbols = tidy_names(_names(source), journal)
    symbols |= tell_repeated(names, "sum", "counts", journal)
    codes, unique = pd.factorize(names)
    first = np.unique(codes, return_index=True)[1]
    var = storable(source.var.iloc[first]).set_axis(pd.Index(unique.astype(str)), axis=0)
    cohort = AnnData(
        obs=obs,
        var=var,
        uns={k: v for k, v in source.uns.items() if k != UNS}
        | {
            UNS: {k: v for k, v in given.items() if k != "files"}
            | {
                "label_key": label,
                "group_key": donor or "",
                "batch_key": batch or "",
                "scale": "counts",
                "counts_in": place,
            }
        },
    )
    classes = {str(k): int(v) for k, v in obs[label].value_counts().items()}
    told = some([f"{name} {size:,}" for name, size in classes.items()], 10)
    journal.step(
        "done", f"{count(cohort.n_obs, 'cell')} and {count(cohort.n_vars, 'gene')}; {told}"
    )
    report = {
        "source": str(given.get("source", "")),
        "sha256": str(given.get("sha256", "")),
        "files": dict(given.get("files", {})),
        "label": label,
        "group": donor or "",
        "batch": batch or "",
        "where": config.where or "",
        "library_size": config.library_size or "",
        "n_obs": cohort.n_obs,
        "n_vars": cohort.n_vars,
        "n_groups": int(obs[donor].nunique()) if donor else 0,
        "classes": classes,
        "scale": {
            "scale": "counts",
            "decided_by": "you" if config.layer else "measured",
            "why": f"every value of {place} is a whole number >= 0",
            "counts_in": place,
            "evidence": {
                "share_of_zeros": 1 - totals.n_values / max(len(rows) * len(names), 1),
                "median_counts": float(np.median(totals.counts[rows])),
                "largest": totals.largest,
                "genes_seen": totals.genes_seen,
            },
        },
        "symbols": symbols,
        "steps": journal.entries,
        "warnings": [entry["why"] for entry in journal.entries if entry["warning"]],
    }
    return cohort, report


def _names(source: CellSource) -> np.ndarray:
    """Gene names as the file has them."""
    return source.var.index.astype(str).to_numpy(dtype=object)


def _asked_for(
    obs: pd.DataFrame, label: str, where: str | None, journal: Journal
) -> Bool[np.ndarray, " n_obs"]:
    """Cells that ``where`` keeps and that have a type."""
    kept = np.ones(len(obs), dtype=bool)
    if where:
        kept = truth_values(obs[where], where)
        if not kept.any():
            raise InputError(
                f"where={where} is true in none of the {count(len(obs), 'cell')}. Leave where out, "
                "or name another column."
            )
        told = f"{count(int(kept.sum()), 'cell')} kept, those with {where!r} true"
        journal.step("where", told, n_obs=int(kept.sum()))
    typed = as_text(obs[label]).notna().to_numpy()
    n_without = int((kept & ~typed).sum())
    if n_without == kept.sum():
        raise InputError(
            f"The column {label!r} is empty in all cells. Name another with "
            "--params=cell_type=COLUMN."
        )
    if n_without:
        told = f"{count(n_without, 'cell')} without a value in {label!r} left out"
        journal.step("cell type", told, n_obs=int((kept & typed).sum()))
    return kept & typed


@dataclass
class _Totals:
    """What one reading of all counts measures."""

    counts: Float[np.ndarray, " n_obs"]  # of each cell
    n_values: int = 0  # non-zero counts of the cells asked for
    largest: float = 0.0
    genes_seen: int = 0


def _read_all(source: CellSource, kept: Bool[np.ndarray, " n_obs"]) -> _Totals:
    """Read every count once; refuse what is none, in the cells asked for."""
    totals = _Totals(np.zeros(source.n_obs))
    seen = np.zeros(source.n_vars, dtype=bool)
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
        seen[block.indices] = True
    if n_wrong:
        raise InputError(
            f"Counts must be whole numbers >= 0, but {count(n_wrong, 'value')} of "
            f"{source.found_in} are not; the first is {first}. Store the untouched counts in "
            "layers['counts'] of the file, or name another layer with --params=layer=NAME."
        )
    totals.genes_seen = int(seen.sum())
    return totals


def _filled(
    totals: _Totals, kept: Bool[np.ndarray, " n_obs"], min_counts: int, journal: Journal
) -> Bool[np.ndarray, " n_obs"]:
    """Cells with counts, and with enough of them."""
    n_asked = int(kept.sum())
    filled, enough = totals.counts > 0, totals.counts >= min_counts
    n_empty, n_poor = n_asked - int((kept & filled).sum()), int((kept & filled & ~enough).sum())
    if n_empty + n_poor == n_asked:
        most = f"; the richest has {totals.counts[kept].max():,.0f}" if n_poor else ""
        raise InputError(
            f"None of the {count(n_asked, 'cell')} has {count(min_counts, 'count')} or more"
            f"{most}. Look at where the counts are ({SHEET} and genes may come from another file), "
            "or lower min_counts."
        )
    if n_empty:
        told = f"{count(n_empty, 'cell')} without any count left out"
        journal.step("empty cells", told, n_obs=n_asked - n_empty)
    if n_poor:
        told = f"{count(n_poor, 'cell')} with fewer than {min_counts:,} counts left out"
        journal.step("poor cells", told, n_obs=n_asked - n_empty - n_poor)
    return filled & enough


def _give_names(obs: pd.DataFrame, journal: Journal) -> None:
    """Names that differ: barcodes repeat where samples were put together."""
    n_repeated = int(obs.index.duplicated().sum())
    if n_repeated:
        obs.index = make_index_unique(pd.Index(obs.index.astype(str)))
        told = f"{count(n_repeated, 'cell')} with the name of another got a number behind it"
        journal.step("cell names", told)
    obs.index.name = None


def _library_size(
    obs: pd.DataFrame, counts: Float[np.ndarray, " n_obs"], column: str | None, journal: Journal
) -> Float[np.ndarray, " n_obs"]:
    """Total counts of each cell: the column of the person, or the sum over the genes."""
    if column is None:
        return counts
    size = pd.to_numeric(obs[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(size) & (size > 0))
    if wrong.any():
        raise InputError(
            f"library_size={column} must be a number above 0 in each cell, but it is not in "
            f"{int(wrong.sum()):,} of {count(len(obs), 'cell')}. Name another column, or leave "
            "library_size out to sum over the genes."
        )
    share = float(np.median(counts / size))
    below = int((size < counts).sum())
    told = f"library sizes are those of {column!r}: the genes hold {share:.1%} of them (median)"
    if below:
        told += f"; in {count(below, 'cell')} they are smaller than the sum over the genes"
    journal.step("library size", told, warning=bool(below))
    return size


def _large_types(obs: pd.DataFrame, label: str, at_least: int, journal: Journal) -> pd.DataFrame:
    """Cells of the types that are large enough."""
    sizes = obs[label].value_counts()
    small = sizes[sizes < at_least]
    if len(sizes) - len(small) < 2:
        listed = some([f"{name} {size:,}" for name, size in sizes.items()], 10)
        raise InputError(
            f"Two or more cell types with at least {count(at_least, 'cell')} are needed, but "
            f"{label!r} has: {listed}. Name another column with --params=cell_type=COLUMN."
        )
    if small.empty:
        return obs
    obs = obs[~obs[label].isin(small.index)].copy()
    listed = some([f"{name} {size}" for name, size in small.items()], 6)
    told = f"types with fewer than {count(at_least, 'cell')} left out: {listed}"
    journal.step("cell type", told, n_obs=len(obs), warning=True)
    return obs


def _apart(
    obs: pd.DataFrame, label: str, donor: str | None, journal: Journal
) -> tuple[pd.DataFrame, str | None]:
    """Types that occur in enough donors, and the donor column if donors can be kept whole."""
    if donor is None:
        hint_at_groups(obs, journal, role="donor", row="cell")
        return obs, None
    n_donors = _fill(obs, donor, "donor", journal)
    if n_donors < MIN_PER_CLASS:
        journal.step(
            "donor",
            f"{count(n_donors, 'donor')} are too few to hold some of them out whole "
            f"({MIN_PER_CLASS} are needed): cells are split one by one, so that scores say nothing "
            "about a new donor",
            warning=True,
        )
        return obs, None
    in_donors = obs.groupby(label)[donor].nunique()
    few = in_donors[in_donors < MIN_PER_CLASS]
    if len(in_donors) - len(few) < 2:
        listed = some([f"{name} {n}" for name, n in in_donors.items()], 10)
        raise InputError(
            f"Two or more cell types must occur in {MIN_PER_CLASS} donors each, so that donors can "
            f"be held out whole; donors per type in {donor!r}: {listed}. Leave donor out to split "
            "cell by cell."
        )
    if len(few):
        obs = obs[~obs[label].isin(few.index)].copy()
        told = f"types in fewer than {MIN_PER_CLASS} donors left out: {some(list(few.index), 6)}"
        journal.step("donor", told, n_obs=len(obs), warning=True)
    return obs, donor


def _fill(obs: pd.DataFrame, column: str, role: str, journal: Journal) -> int:
    """Cells without a value become one ``UNKNOWN`` donor or batch; how many different there are."""
    given = as_text(obs[column])
    n_missing = int(given.isna().sum())
    if n_missing == len(given):
        raise InputError(
            f"The column {column!r} is empty in all cells. Leave {role} out, or name another one."
        )
    obs[column] = given.fillna(UNKNOWN)
    sizes = obs[column].value_counts()
    told = f"{len(sizes):,} {PLURAL[role]} by {column!r}, the largest with "
    told += count(int(sizes.iloc[0]), "cell")
    if n_missing:
        told += f"; {count(n_missing, 'cell')} without a value are taken as one, {UNKNOWN!r}"
    journal.step(role, told, warning=bool(n_missing))
    return len(sizes)
