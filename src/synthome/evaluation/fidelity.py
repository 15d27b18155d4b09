"""How much synthetic rows look like real ones, gene by gene and gene with gene.

Every function takes log expression, rows x genes: real first, synthetic second. Distances are
Euclidean on log expression, not scaled per gene.

Spread is compared by the slope b of a least-squares line with intercept,

    sd_synthetic,j = a + b sd_real,j + e_j                                       (1)

over genes j, sd with ddof 1. Published work reports the squared correlation of eq. 1, which stays
near 1 when every spread is halved; the slope does not. Its intercept costs something: when the
real side is a handful of rows, the error in their sd lowers b (regression dilution), so that the
reference of the slope is the training part, and not the few held-out rows.

The squared maximum mean discrepancy of samples x (n) and y (m) is, without its diagonal,

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)   (2)
    k(x, y) = exp(-||x - y||^2 / h^2),  h = median distance among real training rows

Gretton et al. (2012), JMLR 13, 723-773, eq. 3. It is negative as often as not when both samples
come from one distribution.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

Rows = Float[np.ndarray, "n_obs n_vars"]


def squared_pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Squared Pearson correlation; NaN when one side is constant or shorter than 2."""
    r = pearson(a, b)
    return r * r


def pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Pearson correlation; NaN when one side is constant or shorter than 2."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else float("nan")


def slope(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Least-squares slope of ``y`` on ``x``, with intercept; NaN when ``x`` is constant."""
    x = x - x.mean()
    norm = x @ x
    return float(x @ (y - y.mean()) / norm) if norm > 0 else float("nan")


def mean_r2(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Squared correlation of the gene means, as published: nearly everything passes it."""
    return squared_pearson(real.mean(axis=0), synthetic.mean(axis=0))


def mean_slope(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Slope of the synthetic gene means on the real ones."""
    return slope(real.mean(axis=0), synthetic.mean(axis=0))


def std_r2(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Squared correlation of the gene standard deviations, as published: blind to their size."""
    if min(len(real), len(synthetic)) < 2:
        return float("nan")
    return squared_pearson(real.std(axis=0, ddof=1), synthetic.std(axis=0, ddof=1))


def std_slope(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Slope b of eq. 1: 1 is the right spread, 0.5 half of it. Independent noise gives 1."""
    if min(len(real), len(synthetic)) < 2:
        return float("nan")
    return slope(real.std(axis=0, ddof=1), synthetic.std(axis=0, ddof=1))


def squared_distances(
    a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "m p"]
) -> Float[np.ndarray, "n m"]:
    """Squared Euclidean distances by one matrix product, around the mean of ``b`` for accuracy."""
    centre = b.mean(axis=0)
    a, b = a - centre, b - centre
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.maximum(squares - 2.0 * (a @ b.T), 0.0)


def mean_pairwise_distance(x: Rows) -> float:
    """Mean distance between two different rows; NaN for fewer than 2 rows."""
    if len(x) < 2:
        return float("nan")
    distance = np.sqrt(squared_distances(x, x))
    np.fill_diagonal(distance, 0.0)
    return float(distance.sum() / (len(x) * (len(x) - 1)))


def diversity(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Mean distance between synthetic rows over that between real rows: 1 is as diverse."""
    among_real = mean_pairwise_distance(real)
    return mean_pairwise_distance(synthetic) / among_real if among_real > 0 else float("nan")


def most_variable(x: Rows, n: int) -> Int[np.ndarray, " n_chosen"]:
    """Columns of the ``n`` genes with the largest variance, largest first."""
    return np.argsort(-x.var(axis=0), kind="stable")[:n]


def correlation_matrix(x: Rows) -> Float[np.ndarray, "n_vars n_vars"]:
    """Pearson correlation between genes; 0 where a gene is constant, 1 on the diagonal."""
    z = x - x.mean(axis=0)
    norm = np.sqrt(np.square(z).sum(axis=0))
    z = z / np.where(norm > 0, norm, 1.0)
    r = np.clip(z.T @ z, -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    return r


def upper_triangle(matrix: Float[np.ndarray, "p p"]) -> Float[np.ndarray, " n_pairs"]:
    """Entries above the diagonal."""
    return matrix[np.triu_indices(len(matrix), k=1)]


def coexpression_r(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Correlation of the two gene-gene correlation matrices, above their diagonals."""
    if min(len(real), len(synthetic)) < 3:
        return float("nan")
    return pearson(
        upper_triangle(correlation_matrix(real)), upper_triangle(correlation_matrix(synthetic))
    )


def coexpression_published_r(
    real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"], n_genes: int = 50
) -> float:
    """The published form: the ``n_genes`` most variable real genes, whole matrices, diagonal too.

    The ones of the diagonal and the mirrored triangle raise it; it is here for comparison only.
    """
    if min(len(real), len(synthetic)) < 3:
        return float("nan")
    genes = most_variable(real, n_genes)
    matrices = correlation_matrix(real[:, genes]), correlation_matrix(synthetic[:, genes])
    return pearson(matrices[0].ravel(), matrices[1].ravel())


def median_squared_distance(x: Rows) -> float:
    """Square of the median distance between different rows: h^2 of eq. 2."""
    if len(x) < 2:
        return float("nan")
    return float(np.median(upper_triangle(squared_distances(x, x))))


def mmd2(
    real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"], squared_bandwidth: float
) -> float:
    """Eq. 2, the unbiased estimate. NaN for fewer than 2 rows on a side."""
    n, m = len(real), len(synthetic)
    if min(n, m) < 2 or not squared_bandwidth > 0:
        return float("nan")

    def within(x: Rows) -> float:
        kernel = np.exp(-squared_distances(x, x) / squared_bandwidth)
        np.fill_diagonal(kernel, 0.0)
        return float(kernel.sum() / (len(x) * (len(x) - 1)))

    between = np.exp(-squared_distances(real, synthetic) / squared_bandwidth).mean()
    return within(real) + within(synthetic) - 2.0 * float(between)


def density_and_coverage(
    real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"], k: int = 5
) -> tuple[float, float]:
    """Density and coverage of balls around real rows, each as wide as its k-th real neighbour.

    Density is the number of balls that a synthetic row lies in, over ``k`` (expectation 1 for
    draws from the same distribution; more means crowding at the centre); coverage is the share of
    balls that hold a synthetic row. ``k`` is lowered to one less than the number of real rows.

    References
    ----------
    Naeem et al. (2020), ICML, arXiv:2002.09797, eqs. 4 and 5.
    """
    k = min(k, len(real) - 1)
    if k < 1 or len(synthetic) == 0:
        return float("nan"), float("nan")
    among_real = squared_distances(real, real)
    np.fill_diagonal(among_real, 0.0)
    radius = np.partition(among_real, k, axis=1)[:, k]  # the row itself is the 0-th neighbour
    inside = squared_distances(real, synthetic) <= radius[:, None]  # (n_obs, m_obs)
    return float(inside.sum() / (k * len(synthetic))), float(inside.any(axis=1).mean())


def ks_mean(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """Kolmogorov-Smirnov distance of each gene, averaged over genes: 0 is the same distribution.

    With few rows on either side it cannot reach 0: read it beside its ceiling.
    """
    n, m = len(real), len(synthetic)
    if min(n, m) == 0:
        return float("nan")
    both = np.concatenate([real, synthetic])  # (n + m, n_vars)
    order = np.argsort(both, axis=0, kind="stable")
    ordered = np.take_along_axis(both, order, axis=0)
    gap = np.abs(np.where(order < n, 1.0 / n, -1.0 / m).cumsum(axis=0))
    tied: Bool[np.ndarray, "rows n_vars"] = np.zeros(both.shape, dtype=bool)
    tied[:-1] = ordered[:-1] == ordered[1:]  # the distribution functions step after the last tie
    return float(np.where(tied, 0.0, gap).max(axis=0).mean())


def beyond_range(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> float:
    """How often synthetic values leave the observed range, over how often new patients would.

    Of ``n`` exchangeable rows and one more, the new one is the smallest or the largest with
    probability ``2 / (n + 1)``, whatever the distribution: 1 is right, 0 never leaves the range (a
    copy, a sigmoid on min-max scaled data), 3 leaves it three times too often. Ties, such as
    genes that are zero in many rows, lower what new patients reach; its ceiling shows by how much.
    """
    if len(real) == 0 or len(synthetic) == 0:
        return float("nan")
    outside = (synthetic < real.min(axis=0)) | (synthetic > real.max(axis=0))
    return float(outside.mean() * (len(real) + 1) / 2.0)


def interval_coverage(
    real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"], level: float = 0.9
) -> float:
    """Share of real values inside the central ``level`` range of the synthetic gene.

    The right answer is ``level`` itself: less means that synthetic tails are too thin, more that
    they are too fat.
    """
    if len(real) == 0 or len(synthetic) == 0:
        return float("nan")
    low, high = np.quantile(synthetic, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return float(((real >= low) & (real <= high)).mean())
