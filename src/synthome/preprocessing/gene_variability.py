"""How variable each gene is among the cells of a batch, measured without holding all counts.

Two rules, each for cell i with library size l_i in batch b, and gene j with share p_bj of the
counts of the batch. ``pearson`` takes away what counting and a common dispersion explain (Lause,
Berens, Kobak 2021), and is the default:

    mu_ij = l_i p_bj                                       p_bj = sum_i c_ij / sum_i l_i     (1)
    r_ij  = (c_ij - mu_ij) / sqrt(mu_ij + mu_ij^2 / theta),  at most sqrt(n_b)               (2)
    V_j   = sum_b n_b Var_i(r_ij) / n                      variance within batches           (3)

``dispersion`` compares genes of similar mean (Satija et al. 2015; ``flavor="seurat"`` in scanpy),
and prefers rarer genes:

    y_ij  = 10^4 c_ij / l_i                                counts per ten thousand           (4)
    d_bj  = log(Var_i(y_ij) / mean_i(y_ij))                                                  (5)
    V_j   = sum_b n_b z(d_bj) / n                          z-score among 20 bins of the mean (6)

A difference between batches does not make a gene variable, a difference between cells of one batch
does. Sums over the zeros of eq. 2 have r_ij = -mu_ij / sqrt(...), which depends on l_i and p_bj
alone: they are computed for library sizes in bins of equal log width when more than ``MOST_DEPTHS``
differ (a relative error of about 1e-6), and counts are visited only where they are not zero.

Lause, Berens, Kobak (2021), Genome Biology 22, 258. doi:10.1186/s13059-021-02451-7 (eqs. 3-5)
Satija, Farrell, Gennert, Schier, Regev (2015), Nature Biotechnology 33, 495. doi:10.1038/nbt.3192
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from scipy import sparse

from synthome.anndata_schema import LIBRARY_SIZE, batch_key

MOST_DEPTHS = 1_000  # different library sizes of a batch that are told apart
GENES_AT_A_TIME = 4_096
N_BINS = 20  # of the mean, eq. 6
TARGET_SUM = 1e4

Blocks = Iterable[tuple[np.ndarray, sparse.csr_matrix]]  # positions of training cells, their counts


def residual_variance(
    blocks: Blocks,
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
    size, batch, n_train = _sizes_and_batches(split, train)
    n_batches, n_vars = len(n_train), split.n_vars
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
    return n_train @ within / n_train.sum(), n_cells


def normalised_dispersion(
    blocks: Blocks, split: AnnData, train: Bool[np.ndarray, " n_obs"]
) -> tuple[Float[np.ndarray, " n_vars"], Int[np.ndarray, " n_vars"]]:
    """Eq. 6 for each gene, and the number of training cells that have it; see eq. 3."""
    size, batch, n_train = _sizes_and_batches(split, train)
    n_batches, n_vars = len(n_train), split.n_vars
    sums, squares = np.zeros((n_batches, n_vars)), np.zeros((n_batches, n_vars))
    n_cells = np.zeros(n_vars, dtype=np.int64)
    for rows, block in blocks:
        y = block.data * np.repeat(TARGET_SUM / size[rows], np.diff(block.indptr))  # eq. 4
        for values, into in ((y, sums), (y**2, squares)):
            scaled = sparse.csr_matrix((values, block.indices, block.indptr), shape=block.shape)
            into += _by_batch(batch[rows], n_batches, scaled)
        n_cells += np.bincount(block.indices, minlength=n_vars)
    score = np.zeros(n_vars)
    for b in np.flatnonzero(n_train > 1):
        mean = sums[b] / n_train[b]
        score += n_train[b] * _within_bins(mean, squares[b] / n_train[b] - mean**2)
    return score / n_train.sum(), n_cells


def _within_bins(
    mean: Float[np.ndarray, " n_vars"], variance: Float[np.ndarray, " n_vars"]
) -> Float[np.ndarray, " n_vars"]:
    """Eqs. 5 and 6 in one batch; genes that do not vary get the lowest value there is."""
    varies = (variance > 0) & (mean > 0)
    dispersion = pd.Series(np.full(len(mean), np.nan))
    dispersion[varies] = np.log(variance[varies] / mean[varies])
    in_bin = dispersion.groupby(pd.cut(np.log1p(mean), N_BINS), observed=True)
    middle, spread = in_bin.transform("mean"), in_bin.transform("std")
    alone = spread.isna()  # a gene without others of similar mean counts as one spread above them
    z = (dispersion - middle.where(~alone, 0.0)) / spread.where(~alone, middle)
    return z.fillna(z.min()).fillna(0.0).to_numpy()


def _sizes_and_batches(
    split: AnnData, train: Bool[np.ndarray, " n_obs"]
) -> tuple[Float[np.ndarray, " n_obs"], Int[np.ndarray, " n_obs"], Float[np.ndarray, " n_batches"]]:
    """Library size and batch of each cell, and the training cells of each batch."""
    key = batch_key(split)
    names = split.obs[key].astype(str).to_numpy() if key else np.zeros(split.n_obs)
    batch = np.unique(names, return_inverse=True)[1]
    n_train = np.bincount(batch[train], minlength=int(batch.max()) + 1).astype(np.float64)
    return split.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64), batch, n_train


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
