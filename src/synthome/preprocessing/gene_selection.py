"""Variable genes of cells whose counts are read block by block, measured on training cells alone.

For cell i with library size l_i, in batch b, and gene j with share p_bj of the counts of the batch,
what counting and a common dispersion explain is taken away:

    mu_ij = l_i p_bj                                       p_bj = sum_i c_ij / sum_i l_i     (1)
    r_ij  = (c_ij - mu_ij) / sqrt(mu_ij + mu_ij^2 / theta),  at most sqrt(n_b)               (2)
    V_j   = sum_b n_b Var_i(r_ij) / n                      variance within batches           (3)

Genes with the largest V_j are chosen (Lause, Berens, Kobak 2021). A difference between batches does
not make a gene variable, a difference between cells of one batch does. Sums over the zeros of
eq. 2 have r_ij = -mu_ij / sqrt(...), which depends on l_i and p_bj alone: they are computed for
library sizes in bins of equal log width when more than ``MOST_DEPTHS`` differ (a relative error of
about 1e-6), and the counts themselves are visited only where they are not zero.

Lause, Berens, Kobak (2021), Genome Biology 22, 258. doi:10.1186/s13059-021-02451-7 (eqs. 3-5)
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, SOURCE_ROW, SPLIT, UNS, batch_key
from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import proportional
from synthome.rng import generator

MOST_DEPTHS = 1_000  # different library sizes of a batch that are told apart
GENES_AT_A_TIME = 4_096
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
    theta
        Inverse dispersion of eq. 2.
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

    Three readings of the source: totals of each gene, eq. 3, and the counts of the chosen genes.

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
    V_j and the number of training cells with the gene; ``uns["gene_sets"]`` the genes of each set
    that are there, and the provenance which set is ``down_set`` and ``up_set`` ("" for none).

    Raises
    ------
    InputError
        If no gene, or none of a set that has a role, is seen in enough training cells.
    """
    train = (split.obs[SPLIT] == "train").to_numpy()
    variance, n_cells = residual_variance(_Rows(source, split, train), split, train, config.theta)
    seen = n_cells >= config.min_cells
    if not seen.any():
        raise InputError(
            f"None of the {source.n_vars:,} genes is seen in {config.min_cells} of the "
            f"{train.sum():,} training cells. Lower min_cells, and look at where the counts are."
        )
    order = np.argsort(np.where(seen, -variance, np.inf), kind="stable")
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
        residual_variance=variance[kept],
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


def residual_variance(
    blocks: Iterable[tuple[np.ndarray, sparse.csr_matrix]],
    split: AnnData,
    train: Bool[np.ndarray, " n_obs"],
    theta: float,
) -> tuple[Float[np.ndarray, " n_vars"], Int[np.ndarray, " n_vars"]]:
    """Eq. 3 for each gene, and the number of training cells that have it.

    Parameters
    ----------
    blocks
        Training cells: their positions in ``split``, and their counts. Read twice.
    split
        Library sizes and batches.
    train
        Which cells of ``split`` are training cells.
    theta
        Inverse dispersion of eq. 2.
    """
    size = split.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
    key = batch_key(split)
    names = split.obs[key].astype(str).to_numpy() if key else np.zeros(split.n_obs)
    batch = np.unique(names, return_inverse=True)[1]
    n_batches, n_vars = int(batch.max()) + 1, split.n_vars
    n_train = np.bincount(batch[train], minlength=n_batches).astype(np.float64)

    total = np.zeros((n_batches, n_vars))
    n_cells = np.zeros(n_vars, dtype=np.int64)
    for rows, block in blocks:
        total += _by_batch(batch[rows], n_batches, block.astype(np.float64))
        n_cells += np.bincount(block.indices, minlength=n_vars)
    depth = np.bincount(batch[train], size[train], minlength=n_batches)
    share = total / np.maximum(depth, 1)[:, None]  # p_bj, eq. 1

    sums, squares = np.zeros_like(total), np.zeros_like(total)
    for rows, block in blocks:
        cell = np.repeat(rows, np.diff(block.indptr))
        mu = size[cell] * share[batch[cell], block.indices]
        spread = np.sqrt(mu + mu**2 / theta)
        r = np.minimum((block.data - mu) / spread, np.sqrt(n_train[batch[cell]]))
        for values, into in ((r + mu / spread, sums), (r**2 - (mu / spread) ** 2, squares)):
            beyond = sparse.csr_matrix((values, block.indices, block.indptr), shape=block.shape)
            into += _by_batch(batch[rows], n_batches, beyond)
    for b in np.flatnonzero(n_train):
        zeros = _of_zeros(size[train & (batch == b)], share[b], theta)
        sums[b] -= zeros[0]
        squares[b] += zeros[1]
    n = np.maximum(n_train, 1)[:, None]
    within = squares / n - (sums / n) ** 2  # (n_batches, n_vars)
    return (n_train[:, None] * within).sum(axis=0) / n_train.sum(), n_cells


def _by_batch(
    batch: Int[np.ndarray, " n"], n_batches: int, block: sparse.csr_matrix
) -> Float[np.ndarray, "n_batches n_vars"]:
    """Sums of the rows of each batch."""
    ones = np.ones(len(batch))
    to_batch = sparse.csr_matrix((ones, (batch, np.arange(len(batch)))), (n_batches, len(batch)))
    return (to_batch @ block).toarray()


def _of_zeros(
    size: Float[np.ndarray, " n"], share: Float[np.ndarray, " n_vars"], theta: float
) -> Float[np.ndarray, "2 n_vars"]:
    """Sum over cells of mu / sqrt(mu + mu^2 / theta), and of its square: eq. 2 if all were zero."""
    depths, weights = _depths(size)
    result = np.zeros((2, len(share)))
    for start in range(0, len(share), GENES_AT_A_TIME):
        genes = slice(start, start + GENES_AT_A_TIME)
        mu = share[genes, None] * depths  # (n_genes, n_depths)
        square = mu / (1 + mu / theta)
        result[0, genes] = np.sqrt(square) @ weights
        result[1, genes] = square @ weights
    return result


def _depths(
    size: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " n_depths"], Float[np.ndarray, " n_depths"]]:
    """Library sizes and how many cells have each; in bins of equal log width if there are many."""
    depths, weights = np.unique(size, return_counts=True)
    if len(depths) <= MOST_DEPTHS:
        return depths, weights.astype(np.float64)
    edges = np.geomspace(depths[0], depths[-1], MOST_DEPTHS)
    bins = np.searchsorted(edges, size)
    n, total = np.bincount(bins), np.bincount(bins, size)
    filled = n > 0
    return total[filled] / n[filled], n[filled].astype(np.float64)


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
