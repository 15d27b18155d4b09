"""Samples that are the same library twice: identical, or correlated beyond what biology gives.

Technical replicates of one RNA correlate at about 0.99 on the log scale; above 0.9999 two columns
are the same measurement, perhaps counted by two versions of an annotation.
"""

import numpy as np
from jaxtyping import Float

from synthome.anndata_schema import Scale

SAME = 0.9999


def log_values(
    matrix: Float[np.ndarray, "n_obs n_vars"], scale: Scale
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Values on a log scale, for comparison only; log values pass as they are."""
    return matrix if scale == "log" else np.log1p(np.maximum(matrix, 0.0))


def twins(
    a: Float[np.ndarray, "n_a n_vars"], b: Float[np.ndarray, "n_b n_vars"]
) -> list[tuple[int, int, float]]:
    """Pairs (row of ``a``, row of ``b``, Pearson correlation) above ``SAME``, on log values."""
    if a.shape[1] < 2:
        return []
    correlation = _standardised(a) @ _standardised(b).T  # (n_a, n_b)
    rows, columns = np.nonzero(correlation > SAME)
    return [(int(i), int(j), float(correlation[i, j])) for i, j in zip(rows, columns, strict=True)]


def twins_within(matrix: Float[np.ndarray, "n_obs n_vars"]) -> list[tuple[int, int, float]]:
    """Pairs of different rows of one matrix above ``SAME``, each once."""
    return [(i, j, r) for i, j, r in twins(matrix, matrix) if i < j]


def _standardised(x: Float[np.ndarray, "n_obs n_vars"]) -> Float[np.ndarray, "n_obs n_vars"]:
    """Rows centred and of length 1, so that their products are Pearson correlations."""
    centred = x - x.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norm > 0, norm, 1.0)
