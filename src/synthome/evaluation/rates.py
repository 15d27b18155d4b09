"""Ranks and rates of attacks and classifiers, with the intervals that small cohorts need.

AUC is the probability that a positive outranks a negative, ties counting half (Mann-Whitney).

Its interval inverts a score test, because a Wald interval has no width at AUC 1, which is where a
broken generator lies. With m positives, n negatives and N = (m + n) / 2 - 1, the limits are the
theta at which |AUC - theta| = z sd(theta), where

    var(theta) = theta (1 - theta) [1 + N ((1 - theta) / (2 - theta) + theta / (1 + theta))] / (m n)

Newcombe (2006), Statistics in Medicine 25, 559-573, method 5. doi:10.1002/sim.2324

Attack scores are pooled over folds, where one patient is a member in several folds and a
non-member in one. Patients are the independent units, so that m and n count *patients*, and not
the rows of the pooled table: repeated rows of one patient narrow no interval.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Z95 = 1.959963984540054


def auc(positive: Float[np.ndarray, " m"], negative: Float[np.ndarray, " n"]) -> float:
    """Probability that a positive outranks a negative, ties half; NaN when one side is empty."""
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    return float((below + up_to).sum() / (2.0 * len(positive) * len(negative)))


def tpr_at_fpr(
    positive: Float[np.ndarray, " m"], negative: Float[np.ndarray, " n"], fpr: float
) -> float:
    """Share of positives above a threshold that at most ``fpr`` of the negatives exceed.

    No interpolation: with 43 negatives, 1 % allows no false alarm at all, and a positive must
    score strictly above every negative.
    """
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    allowed = math.floor(fpr * len(negative) + 1e-9)
    if allowed >= len(negative):
        return 1.0
    threshold = np.sort(negative)[::-1][allowed]
    return float((positive > threshold).mean())


def auc_interval(auc: float, m: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Newcombe's score interval of an AUC (method 5), within [0, 1]."""
    if not math.isfinite(auc) or m < 1 or n < 1:
        return float("nan"), float("nan")
    half = (m + n) / 2.0 - 1.0

    def excess(theta: float) -> float:
        spread = 1.0 + half * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta))
        return abs(auc - theta) - z * math.sqrt(theta * (1.0 - theta) * spread / (m * n))

    return _root(excess, outside=0.0, inside=auc), _root(excess, outside=1.0, inside=auc)


def _root(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where ``excess`` turns from positive (outside) to negative (inside), by bisection."""
    if excess(outside) <= 0.0:
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2.0
        if excess(middle) > 0.0:
            outside = middle
        else:
            inside = middle
    return (outside + inside) / 2.0


def binomial_interval(rate: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of ``rate`` of ``n``, exact for whole numbers of successes.

    A rate pooled over folds times the number of patients need not be whole; the beta quantiles
    then interpolate between the exact intervals of its neighbours.

    References
    ----------
    Clopper and Pearson (1934), Biometrika 26, 404-413. doi:10.1093/biomet/26.4.404
    """
    from scipy.special import betaincinv

    if not math.isfinite(rate) or n < 1:
        return float("nan"), float("nan")
    k, tail = rate * n, (1.0 - level) / 2.0
    low = 0.0 if k <= 0 else float(betaincinv(k, n - k + 1.0, tail))
    high = 1.0 if k >= n else float(betaincinv(k + 1.0, n - k, 1.0 - tail))
    return low, high


def resampled_interval(
    values: Float[np.ndarray, " n_folds"], n_train: float, n_test: float, level: float = 0.95
) -> tuple[float, float]:
    """Interval of a cross-validated mean, corrected for the overlap of training parts.

    With J folds (times repeats), the variance of the mean is ``(1/J + n_test/n_train) s^2`` and
    not ``s^2 / J``, on J - 1 degrees of freedom. NaN for fewer than two folds.

    Folds that agree exactly, as accuracies of a few rows do, show no variance, but they do not show
    that there is none: an event that none of n rows had may still have a rate of 3 / n (the rule of
    three), so the interval reaches that far to both sides.

    References
    ----------
    Nadeau and Bengio (2003), Machine Learning 52, 239-281. doi:10.1023/A:1024068626366
    Hanley and Lippman-Hand (1983), JAMA 249, 1743-1745. doi:10.1001/jama.1983.03330370053031
    """
    from scipy.special import stdtrit

    values = values[np.isfinite(values)]
    n_folds = len(values)
    if n_folds < 2 or not n_train > 0:
        return float("nan"), float("nan")
    variance = (1.0 / n_folds + n_test / n_train) * float(values.var(ddof=1))
    reach = float(stdtrit(n_folds - 1, (1.0 + level) / 2.0)) * math.sqrt(variance)
    if np.ptp(values) == 0.0:
        reach = 3.0 / (n_folds * n_test)
    mean = float(values.mean())
    return mean - reach, mean + reach
