"""How counts are drawn and changed, the same everywhere: negative binomials, thinning, adding."""

import numpy as np
from jaxtyping import Float, Int


def expected_counts(
    eta: Float[np.ndarray, "n_obs n_vars"], library_size: Float[np.ndarray, " n_obs"]
) -> Float[np.ndarray, "n_obs n_vars"]:
    """mu_ij = l_i softmax_j(eta_ij), of log compositions ``eta`` up to a constant in each row."""
    rho = np.exp(eta - eta.max(axis=1, keepdims=True))
    return rho * (library_size / rho.sum(axis=1))[:, None]


def draw_counts(
    mu: Float[np.ndarray, "n_obs n_vars"],
    theta: Float[np.ndarray, " n_vars"],
    rng: np.random.Generator,
) -> Int[np.ndarray, "n_obs n_vars"]:
    """NegativeBinomial(mu, theta), var = mu + mu^2 / theta: a gamma for biology, then a Poisson."""
    return rng.poisson(mu * rng.gamma(theta, 1 / theta, mu.shape))


def shifted_counts(
    counts: Float[np.ndarray, "n n_vars"],
    mu: Float[np.ndarray, "n n_vars"],
    ratio: Float[np.ndarray, "n n_vars"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n n_vars"]:
    """Counts of cells whose expected counts ``mu`` change by a factor for each cell and gene."""
    kept = rng.binomial(counts.astype(np.int64), np.minimum(ratio, 1.0))
    return kept + rng.poisson(mu * np.maximum(ratio - 1.0, 0.0)).astype(np.float64)
