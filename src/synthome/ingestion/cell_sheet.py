"""The sheet of cells put in order: which cells take part, their types, donors, batches and depth.

Each step tells the journal what it left out, in numbers and in the names of types; cells are never
named.
"""

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique
from jaxtyping import Bool, Float

from synthome.errors import InputError
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.samples import hint_at_groups, truth_values
from synthome.ingestion.sheet import as_text
from synthome.preprocessing.splits import MIN_PER_CLASS

UNKNOWN = "unknown"  # batch or donor of a cell that has none
PLURAL = {"batch": "batches", "donor": "donors"}


def where_true(
    obs: pd.DataFrame, where: str | None, journal: Journal
) -> Bool[np.ndarray, " n_obs"]:
    """Rows in which the column ``where`` is true; all without such a column."""
    if not where:
        return np.ones(len(obs), dtype=bool)
    kept = truth_values(obs[where], where)
    if not kept.any():
        raise InputError(
            f"where={where} is true in none of the {count(len(obs), journal.row)}. Leave where "
            "out, or name another column."
        )
    told = f"{count(int(kept.sum()), journal.row)} kept, those with {where!r} true"
    journal.step("where", told, n_obs=int(kept.sum()))
    return kept


def with_type(
    obs: pd.DataFrame, label: str, kept: Bool[np.ndarray, " n_obs"], journal: Journal
) -> Bool[np.ndarray, " n_obs"]:
    """Those of the cells kept so far that have a type."""
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


def filled(
    counts: Float[np.ndarray, " n_obs"],
    kept: Bool[np.ndarray, " n_obs"],
    min_counts: int,
    journal: Journal,
) -> Bool[np.ndarray, " n_obs"]:
    """Which of the rows kept so far have counts, and enough of them."""
    n_asked = int(kept.sum())
    some_counts, enough = kept & (counts > 0), kept & (counts >= min_counts)
    n_empty, n_poor = n_asked - int(some_counts.sum()), int((some_counts & ~enough).sum())
    if n_empty + n_poor == n_asked:
        most = f"; the richest has {counts[kept].max():,.0f}" if n_poor else ""
        raise InputError(
            f"None of the {count(n_asked, journal.row)} has {count(min_counts, 'count')} or more"
            f"{most}. Look at where the counts are (obs and genes may come from another file), "
            "or lower min_counts."
        )
    if n_empty:
        told = f"{count(n_empty, journal.row)} without any count left out"
        journal.step(f"empty {journal.row}s", told, n_obs=n_asked - n_empty)
    if n_poor:
        told = f"{count(n_poor, journal.row)} with fewer than {min_counts:,} counts left out"
        journal.step(f"poor {journal.row}s", told, n_obs=n_asked - n_empty - n_poor)
    return enough


def give_names(obs: pd.DataFrame, journal: Journal) -> None:
    """Names that differ: barcodes repeat where samples were put together."""
    n_repeated = int(obs.index.duplicated().sum())
    if n_repeated:
        obs.index = make_index_unique(pd.Index(obs.index.astype(str)))
        told = f"{count(n_repeated, journal.row)} with the name of another got a number behind it"
        journal.step(f"{journal.row} names", told)
    obs.index.name = None


def library_sizes(
    obs: pd.DataFrame, counts: Float[np.ndarray, " n_obs"], column: str | None, journal: Journal
) -> Float[np.ndarray, " n_obs"]:
    """Total counts of each row: the column of the person, or the sum over the genes."""
    if column is None:
        return counts
    size = pd.to_numeric(obs[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(size) & (size > 0))
    if wrong.any():
        raise InputError(
            f"library_size={column} must be a number above 0 in each {journal.row}, but it is not "
            f"in {int(wrong.sum()):,} of {count(len(obs), journal.row)}. Name another column, or "
            "leave library_size out to sum over the genes."
        )
    share = float(np.median(counts / size))
    below = int((size < counts).sum())
    told = f"library sizes are those of {column!r}: the genes hold {share:.1%} of them (median)"
    if below:
        told += f"; in {count(below, journal.row)} they are smaller than the sum over the genes"
    journal.step("library size", told, warning=bool(below))
    return size


def large_types(obs: pd.DataFrame, label: str, at_least: int, journal: Journal) -> pd.DataFrame:
    """Cells of the types that are large enough."""
    sizes = obs[label].value_counts()
    if len(sizes) > len(obs) / 2:
        raise InputError(
            f"The column {label!r} has {len(sizes):,} different values in "
            f"{count(len(obs), 'cell')}: is it an id or a measurement? Name the column of cell "
            "types with --params=cell_type=COLUMN."
        )
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


def keep_donors_whole(
    obs: pd.DataFrame, label: str, donor: str | None, journal: Journal
) -> tuple[pd.DataFrame, str | None]:
    """Types that occur in enough donors, and the donor column if donors can be kept whole."""
    if donor is None:
        hint_at_groups(obs, journal, role="donor", row="cell")
        return obs, None
    n_donors = fill(obs, donor, "donor", journal)
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


def fill(obs: pd.DataFrame, column: str, role: str, journal: Journal) -> int:
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
