"""Counts of bulk samples around given rates: what the count samplers share.

For sample i with counts c over the kept genes, log expression x and q = expm1(x):

    depth_i = sum_j c_ij / sum_j q_ij                   so that c = depth q                  (1)
    c ~ Poisson(h),   h ~ Gamma(mean M, variance e)     var(c) = M + e                       (2)
"""

import numpy as np
from anndata import AnnData
from jaxtyping import Float
from scipy import sparse

from synthome.anndata_schema import COUNTS, scale
from synthome.errors import InputError, NotApplicable


def rates_and_depths(
    train: AnnData, x: Float[np.ndarray, "n_obs n_vars"], name: str
) -> tuple[Float[np.ndarray, "n_obs n_vars"], Float[np.ndarray, " n_obs"]]:
    """Rates q and depth of eq. 1, whatever genes were taken away and whatever the target sum was.

    Raises
    ------
    NotApplicable
        If the cohort has no counts.
    InputError
        If values are negative or not numbers, or a row has no counts.
    """
    if COUNTS not in train.layers:
        raise NotApplicable(
            f"{name} draws counts, but these data are on the {scale(train)} scale and "
            f"have no layers['{COUNTS}']. Give raw counts, or use another sampler."
        )
    layer = train.layers[COUNTS]
    values = layer.data if sparse.issparse(layer) else np.asarray(layer)
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        raise InputError(
            f"{name} needs counts, but {int(wrong.sum()):,} values of layers['{COUNTS}'] are "
            f"negative or not numbers, such as {values[wrong][0]:g}. Give the raw counts."
        )
    if (x < 0).any():
        raise InputError(
            f"{name} reads log(1 + rate) of counts in X, but {int((x < 0).sum()):,} of its values "
            "are negative. Give counts to the preprocessing, or log data without counts."
        )
    rates = np.expm1(x)
    counts, sums = np.asarray(layer.sum(axis=1), dtype=np.float64).ravel(), rates.sum(axis=1)
    empty = (counts <= 0) | (sums <= 0)
    if empty.any():
        raise InputError(
            f"{int(empty.sum())} of the {train.n_obs} training rows "
            "have no counts in the genes kept. Leave these samples out."
        )
    return rates, counts / sums


def poisson_gamma(
    mean: Float[np.ndarray, "n_obs n_vars"],
    extra: Float[np.ndarray, "n_obs n_vars"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Counts of eq. 2; plain Poisson where ``extra`` is not positive."""
    h = gamma_rates(mean, extra, rng)
    return rng.poisson(h).astype(np.float64)


def gamma_rates(
    mean: Float[np.ndarray, "n_obs n_vars"],
    extra: Float[np.ndarray, "n_obs n_vars"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Rates h of eq. 2: the mean itself where ``extra`` is not positive."""
    over = (extra > 0) & (mean > 0)
    h = mean.copy()
    m, e = mean[over], extra[over]
    shape = m * m / e
    h[over] = rng.standard_gamma(shape) * (e / m)
    return h
