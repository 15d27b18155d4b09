"""Can a probability be believed? Calibration of a classifier on held-out rows.

For n rows of true class y_i, with probabilities p_i over the k classes, c_i = max p_i, and a_i = 1
where the likeliest class is the true one:

    Brier = 1/n sum_i sum_k (p_ik - [y_i = k])²                     0 ... 2, 0 is best      (1)
    ECE   = sum_b n_b / n |mean a in b - mean c in b|                0 ... 1, 0 is best     (2)

where the bins b of eq. 2 hold equally many rows, ordered by c: with the few patients of a fold,
bins of equal width are mostly empty. ECE of few rows is above 0 for a calibrated classifier too.

Brier (1950), Monthly Weather Review 78, 1-3. doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
Guo et al. (2017), ICML, arXiv:1706.04599 (eq. 2). Nguyen, O'Connor (2015), EMNLP (equal bins).
doi:10.18653/v1/D15-1182
"""

import numpy as np
from jaxtyping import Float

N_BINS = 10
LEAST_ROWS = 5  # in a bin


def brier(true: np.ndarray, probability: Float[np.ndarray, "n k"], known: np.ndarray) -> float:
    """Eq. 1; ``known`` names the columns. A true class that is not among them counts in full."""
    hit = true[:, None] == known
    missing = ~hit.any(axis=1)
    return float((np.square(probability - hit).sum(axis=1) + missing).mean())


def expected_calibration_error(
    true: np.ndarray, probability: Float[np.ndarray, "n k"], known: np.ndarray
) -> float:
    """Eq. 2, with ten bins, and fewer where a bin would have fewer than five rows."""
    if len(true) == 0:
        return float("nan")
    confidence = probability.max(axis=1)
    right = known[probability.argmax(axis=1)] == true
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, max(1, min(N_BINS, len(true) // LEAST_ROWS)))
    gaps = [len(b) * abs(right[b].mean() - confidence[b].mean()) for b in bins]
    return float(sum(gaps) / len(true))
