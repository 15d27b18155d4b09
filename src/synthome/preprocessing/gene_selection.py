"""Variable genes of cells whose counts are read block by block, chosen on training cells alone.

How variable a gene is, ``gene_variability`` says. Genes of gene sets are kept too, and then the
counts of the chosen genes are collected, so that all genes of all cells are never in memory.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from scipy import sparse

from synthome.anndata_schema import COUNTS, SOURCE_ROW, SPLIT, UNS
from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import proportional
from synthome.preprocessing.gene_variability import normalised_dispersion, residual_variance
from synthome.rng import generator

MODERATE = (0.05, 0.6)  # share of the training cells that have a gene of a random set

logger = logging.getLogger(__name__)


class SelectionConfig(Config):
    """Which genes are kept.

    Attributes
    ----------
    n_top_genes
        The most variable ones; None keeps all.
    min_cells
        Training cells in which a gene must be seen.
    rule, theta
        ``pearson`` or ``dispersion``, and the inverse dispersion of the former; see
        ``gene_variability``.
    down, up
        Names of the gene sets that are to be turned down and up; their genes are always kept. When
        neither is known, those of all sets are.
    n_random_down, n_random_up
        Genes of the random sets that stand in where there are no gene sets at all.
    seed
        Of the random sets.
    """

    n_top_genes: PositiveInt | None = 3000
    min_cells: int = Field(default=3, ge=2)
    rule: Literal["pearson", "dispersion"] = "pearson"
    theta: PositiveFloat = 100.0
    down: str | None = None
    up: str | None = None
    n_random_down: NonNegativeInt = 40
    n_random_up: NonNegativeInt = 70
    seed: NonNegativeInt = 0


@runtime_checkable
class CountSource(Protocol):
    """Counts of cells x genes that are read in blocks of rows."""

    @property
    def n_vars(self) -> int:
        """Genes."""
        ...

    @property
    def var_names(self) -> pd.Index:
        """Name of each gene."""
        ...

    def blocks(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """All rows in order: which, and their counts."""
        ...


def select_genes(
    source: CountSource,
    split: AnnData,
    config: SelectionConfig,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    roles: Mapping[str, str] | None = None,
) -> AnnData:
    """Choose genes on the training cells, and collect their counts in all cells.

    Two or three readings of the source: how variable genes are, and the counts of those chosen.

    Parameters
    ----------
    source
        All genes of all cells, in the order of ``split.var``.
    split
        The cells to keep, with ``source_row`` (increasing), ``library_size`` and ``split``.
    config
        How many genes.
    gene_sets
        Names of genes by set. Without any, two random sets are drawn of the chosen genes that a
        moderate share of the training cells has.
    roles
        Which set is ``down`` and which ``up``; see ``SelectionConfig``.

    Returns
    -------
    ``split`` with the chosen genes in the order of the source: ``layers["counts"]`` and ``X`` are
    one CSR matrix of float32; ``var`` tells ``highly_variable``, its rank (0 is the most variable),
    how variable it is, and how many training cells have it; ``uns["gene_sets"]`` the genes of each
    set that are there, and the provenance which set is ``down_set`` and ``up_set`` ("" for none).

    Raises
    ------
    InputError
        If no gene, or none of a set that has a role, is seen in enough training cells.
    """
    train = (split.obs[SPLIT] == "train").to_numpy()
    rows = _Rows(source, split, train)
    if config.rule == "pearson":
        variability, n_cells = residual_variance(rows, split, train, config.theta)
    else:
        variability, n_cells = normalised_dispersion(rows, split, train)
    seen = n_cells >= config.min_cells
    if not seen.any():
        raise InputError(
            f"None of the {source.n_vars:,} genes is seen in {config.min_cells} of the "
            f"{train.sum():,} training cells. Lower min_cells, and look at where the counts are."
        )
    order = np.argsort(np.where(seen, -variability, np.inf), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    top = seen & (rank < (config.n_top_genes or len(rank)))
    sets = {name: split.var_names.isin(genes) for name, genes in (gene_sets or {}).items()}
    roles = dict(roles or {})
    if not sets:
        sets, roles = _random_sets(top, n_cells / train.sum(), config)
    wanted = [sets[name] for name in roles.values()] or list(sets.values())
    kept = top | (seen & np.any([*wanted, np.zeros(len(seen), dtype=bool)], axis=0))
    for name in roles.values():
        if not (sets[name] & kept).any():
            raise InputError(
                f"None of the genes of {name!r} is seen in {config.min_cells} of the "
                f"{train.sum():,} training cells. Give a list of genes that these cells express."
            )
    logger.info(
        "Kept %s of %s genes: %s of %s that %s training cells have, %s more of gene sets.",
        f"{kept.sum():,}", f"{len(kept):,}", f"{top.sum():,}", f"{seen.sum():,}",
        config.min_cells, f"{(kept & ~top).sum():,}",
    )  # fmt: skip
    var = split.var.loc[kept].assign(
        highly_variable=top[kept],
        highly_variable_rank=rank[kept],
        variability=variability[kept],
        n_train_cells=n_cells[kept],
    )
    counts = _collect(_Rows(source, split), np.flatnonzero(kept))
    uns = dict(split.uns)
    uns["gene_sets"] = {n: split.var_names[m & kept].to_numpy(dtype=str) for n, m in sets.items()}
    facts = {f"{role}_set": roles.get(role, "") for role in ("down", "up")}
    uns[UNS] = dict(split.uns[UNS]) | facts | {"n_vars_source": int(source.n_vars)}
    return AnnData(counts, obs=split.obs.copy(), var=var, layers={COUNTS: counts}, uns=uns)


def _random_sets(
    top: Bool[np.ndarray, " n_vars"], share: Float[np.ndarray, " n_vars"], config: SelectionConfig
) -> tuple[dict[str, Bool[np.ndarray, " n_vars"]], dict[str, str]]:
    """Two disjoint sets of genes that a moderate share of the cells has, and their roles.

    Together they take at most half of these genes, so that others are left to compare with.
    """
    low, high = MODERATE
    moderate = np.flatnonzero(top & (share >= low) & (share <= high))
    wanted = np.array([config.n_random_down, config.n_random_up])
    if wanted.sum() > len(moderate) // 2:
        wanted = proportional(len(moderate) // 2, wanted)
    drawn = generator(config.seed, "random gene sets").permutation(moderate)[: wanted.sum()]
    parts = {"random_down": drawn[: wanted[0]], "random_up": drawn[wanted[0] :]}
    sets = {
        name: np.isin(np.arange(len(top)), genes) for name, genes in parts.items() if len(genes)
    }
    return sets, {name.removeprefix("random_"): name for name in sets}


class _Rows:
    """Blocks of the cells that ``split`` keeps, or of some of them."""

    def __init__(
        self, source: CountSource, split: AnnData, some: Bool[np.ndarray, " n_obs"] | None = None
    ) -> None:
        self.source = source
        self.row = split.obs[SOURCE_ROW].to_numpy()
        self.some = np.ones(len(self.row), dtype=bool) if some is None else some
        if (np.diff(self.row) <= 0).any():
            raise ValueError("source_row must increase")

    def __iter__(self) -> Iterator[tuple[Int[np.ndarray, " n"], sparse.csr_matrix]]:
        """Positions among the cells of ``split``, and their counts."""
        for rows, block in self.source.blocks():
            inside = np.arange(*np.searchsorted(self.row, (rows.start, rows.stop)))
            inside = inside[self.some[inside]]
            if len(inside) == block.shape[0]:
                yield inside, block
            elif len(inside):
                yield inside, block[self.row[inside] - rows.start]


def _collect(rows: _Rows, columns: Int[np.ndarray, " n_kept"]) -> sparse.csr_matrix:
    """The chosen columns of all cells."""
    data, indices, lengths = [], [], [np.zeros(1, dtype=np.int64)]
    for _, block in rows:
        part = block[:, columns].astype(np.float32, copy=False)
        data.append(part.data)
        indices.append(part.indices)
        lengths.append(np.diff(part.indptr))
    indptr = np.cumsum(np.concatenate(lengths))
    everything = np.concatenate(data)
    data.clear()  # before the indices are joined too: the matrix may be a large part of the memory
    shape = (len(indptr) - 1, len(columns))
    return sparse.csr_matrix((everything, np.concatenate(indices), indptr), shape=shape)
