"""Moment estimates of a linear decoder: where the training of ``rare_vae`` starts.

For standardised log expression x and conditions c (class columns first),

    x = V c + W z + noise,   V_gy ~ Normal(0, t_y / d_V)                                       (1)

V starts at least squares, each class effect times t_y / (t_y + d_V s_gy²), with s_gy² the sampling
variance of the class mean around the overall mean, and t_y the mean over genes of V_gy² - s_gy², at
least 1e-4. W is that of ``gene_modules``, on what V c leaves.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from synthome.models.gene_modules import Structure, fit_structure

ENOUGH_ROWS = 200  # from which on cross loadings are only shrunk for their own noise
EFFECT_PENALTY = 0.6  # d_V of eq. 1


def cross_penalty(n_obs: int) -> float:
    """How much more than by its own noise a cross loading is shrunk."""
    return max(1.0, (ENOUGH_ROWS / n_obs) ** 2)


@dataclass(frozen=True, eq=False)
class Decoder:
    """Effects, modules and loadings, with the priors that training goes on with.

    Attributes
    ----------
    effects
        V', (n_conditions, n_vars); class columns come first.
    effect_precision
        d_V / t_y of eq. 1; 0 for covariates.
    variance
        Within-class variance of each gene, covariate effects taken out.
    """

    effects: Float[np.ndarray, "n_conditions n_vars"]
    effect_precision: Float[np.ndarray, " n_conditions"]
    structure: Structure
    variance: Float[np.ndarray, " n_vars"]
    penalty: float

    @classmethod
    def fit(
        cls,
        x: Float[np.ndarray, "n_obs n_vars"],
        c: Float[np.ndarray, "n_obs n_conditions"],
        n_classes: int,
        read: np.ndarray,
        n_modules: int,
        privacy: float,
    ) -> Self:
        """Least-squares effects, shrunk (eq. 1), and the modules of what they leave."""
        n_obs, strictness = len(x), 1.0 / (1.0 - privacy)
        ridge = 1e-6 * np.eye(c.shape[1])
        effects = np.linalg.solve(c.T @ c + ridge, c.T @ x)
        residual = x - c @ effects
        free = max(n_obs - int(np.linalg.matrix_rank(c)), 1)
        variance = np.maximum(np.square(residual).sum(axis=0) / free, 1e-8)
        precision = np.zeros(c.shape[1])
        for k in range(n_classes):
            n = max(float(c[:, k].sum()), 1.0)
            sampling = variance * (1.0 / n - 1.0 / n_obs)
            true = max(float((np.square(effects[k]) - sampling).mean()), 1e-4)
            precision[k] = EFFECT_PENALTY * strictness / true
            effects[k] *= 1.0 / (1.0 + precision[k] * sampling)
        penalty = strictness * cross_penalty(n_obs)
        structure = fit_structure(residual, read, n_modules, free, penalty)
        return cls(effects, precision, structure, variance, penalty)

    def noise(self) -> Float[np.ndarray, " n_vars"]:
        """Variance of each gene that the modules leave."""
        structured = explained(self.structure.loadings, self.structure.correlation)
        return left_over(self.variance, structured)


def explained(
    loadings: Float[np.ndarray, "n_vars k"], covariance: Float[np.ndarray, "k k"]
) -> Float[np.ndarray, " n_vars"]:
    """Diagonal of W S W'."""
    return np.einsum("gi,ij,gj->g", loadings, covariance, loadings, optimize=True)


def left_over(
    variance: Float[np.ndarray, " n_vars"], structured: Float[np.ndarray, " n_vars"]
) -> Float[np.ndarray, " n_vars"]:
    """What the structure leaves of the variance, at least a twentieth of it."""
    return np.maximum(np.maximum(variance - structured, variance / 20.0), 1e-8)
