"""A classifier two-sample test whose p-value is exact, and whose permutations cost one product.

Two samples of equal size, m rows in all, labels y = -1 and 1. With the kernel K of the centred rows
and a penalty a, ridge regression predicts y by H y, with Q = (K + a I)^-1 and H = I - a Q. For the
rows B of a fold, left out, and all other rows A, the prediction is

    s_B = (I - H_BB)^-1 H_BA y_A = - Q_BB^-1 Q_BA y_A                                       (1)

which is linear in the labels. Stacked over folds this is s = G y with a G whose diagonal blocks are
empty: no label predicts itself. The statistic is the agreement of labels and predictions,

    T(y) = y^T G y                                                                         (2)

and all permutations come from G Y, with a permutation in each column of Y. Labels are permuted
within folds, each of which holds as many rows of both samples, so that rows are exchangeable when
the samples do not differ, and

    p = (1 + #{T(y_perm) >= T(y)}) / (1 + n_permutations)                                  (3)

is at most alpha with probability alpha, for any kernel that does not know the labels.

Lopez-Paz, Oquab (2017), ICLR, arXiv:1610.06545.
Phipson, Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9, 39 (eq. 3). doi:10.2202/1544-6115.1585
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

ROUNDING = 1e-9  # of the statistic: equal but for rounding


def two_sample_p_values(
    kernel: Float[np.ndarray, "n_tests m m"],
    penalty: float,
    n_splits: int,
    n_permutations: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " n_tests"]:
    """Eq. 3 for many tests of one size.

    Parameters
    ----------
    kernel
        Inner products of the rows of each test: first one sample, then the other, equally many.
    penalty
        Of the ridge regression, in units of the mean square of the centred rows.
    """
    m = kernel.shape[-1]
    fold = balanced_folds(m // 2, n_splits)
    y = permuted_labels(fold, n_permutations, rng)
    g = cross_fitted_hat(kernel, fold, penalty)
    statistic = ((g @ y) * y).sum(axis=1)  # eq. 2, (n_tests, 1 + n_permutations)
    least = statistic[:, :1] - ROUNDING * np.abs(statistic).max(axis=1, keepdims=True)
    return (1.0 + (statistic[:, 1:] >= least).sum(axis=1)) / (1.0 + n_permutations)


def cross_fitted_hat(
    kernel: Float[np.ndarray, "n_tests m m"], fold: Int[np.ndarray, " m"], penalty: float
) -> Float[np.ndarray, "n_tests m m"]:
    """G of eq. 1, for rows that are centred here, over all rows of a test."""
    kernel = kernel - kernel.mean(axis=1, keepdims=True)
    kernel = kernel - kernel.mean(axis=2, keepdims=True)
    m = kernel.shape[-1]
    unit = np.maximum(np.trace(kernel, axis1=1, axis2=2) / m, np.finfo(kernel.dtype).tiny)
    q = np.linalg.inv(kernel + (penalty * unit)[:, None, None] * np.eye(m, dtype=kernel.dtype))
    g = np.zeros_like(q)
    for f in np.unique(fold):
        inside, outside = np.flatnonzero(fold == f), np.flatnonzero(fold != f)
        own, other = q[:, inside[:, None], inside], q[:, inside[:, None], outside]
        g[:, inside[:, None], outside] = -np.linalg.solve(own, other)
    return g


def balanced_folds(n: int, n_splits: int) -> Int[np.ndarray, " m"]:
    """Fold of each row of two samples of ``n``: as many of both in each fold."""
    return np.tile(np.arange(n) % min(n_splits, n), 2)


def permuted_labels(
    fold: Int[np.ndarray, " m"], n_permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, "m n_permutations_and_1"]:
    """Labels as they are, then permuted within folds, a permutation in each column."""
    y = np.repeat([-1.0, 1.0], len(fold) // 2)
    result = np.repeat(y[:, None], 1 + n_permutations, axis=1)
    for f in np.unique(fold):
        rows = np.flatnonzero(fold == f)
        order = rng.random((len(rows), n_permutations)).argsort(axis=0)
        result[rows, 1:] = y[rows][order]
    return result


def block_kernel(
    blocks: Sequence[Float[np.ndarray, "n _"]],
) -> Float[np.ndarray, "n n"]:
    """Inner products of rows, averaged over the features of a block, then over blocks."""
    return sum(x @ x.T / x.shape[1] for x in blocks) / len(blocks)
