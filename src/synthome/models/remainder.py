"""Genes that a model does not speak of, drawn given those that it does.

For sample i of class y, with the k signature genes s_i and all p genes x_i:

    x = m_y + B' (s - m_y[signature]) + r                                                  (1)
    B = C^-1 S' R / n,   C = (1 - d) S' S / n + d t I                                      (2)
    r = F' u + v w,   u ~ Normal(0, I_f),  w ~ Normal(0, I_p)                              (3)

with S and R the signature and all genes of the training rows, centred on their class; d the
intensity of Ledoit & Wolf for S, t the mean variance of S; F the first f principal axes of what
eq. 1 leaves, each as long as its standard deviation; and v² what these leave of each gene's
variance. Genes of the signature are passed through. No row of a patient is kept.

Ledoit & Wolf (2004), J. Multivariate Anal. 88, 365-411. doi:10.1016/S0047-259X(03)00096-4 (eq. 2).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from synthome.samplers.classical import Root, ledoit_wolf_intensity

MOST_FACTORS = 10  # f of eq. 3, and at most a third of what the rows leave free


@dataclass(frozen=True, eq=False)
class Remainder:
    """Eqs. 1-3, fitted."""

    classes: tuple[str, ...]
    signature: Int[np.ndarray, " k"]  # columns of the signature genes
    mean: Float[np.ndarray, "n_classes n_vars"]
    weights: Float[np.ndarray, "k n_vars"]  # B
    root: Root  # F and v

    @classmethod
    def fit(
        cls,
        x: Float[np.ndarray, "n_obs n_vars"],
        labels: np.ndarray,
        signature: Int[np.ndarray, " k"],
    ) -> Self:
        """Measure class means, weights and what is left."""
        classes, of_class = np.unique(labels, return_inverse=True)
        mean = np.stack([x[of_class == c].mean(axis=0) for c in range(len(classes))])
        centred = x - mean[of_class]
        s = centred[:, signature]
        free = max(len(x) - len(classes), 1)
        d = ledoit_wolf_intensity(s)
        covariance = (1 - d) * s.T @ s / len(x)
        size = np.trace(s.T @ s) / (len(x) * s.shape[1])
        covariance += (d * size + 1e-9 * (size or 1.0)) * np.eye(s.shape[1])
        weights = np.linalg.solve(covariance, s.T @ centred / len(x))
        left = centred - s @ weights
        left[:, signature] = 0.0
        return cls(tuple(map(str, classes)), signature, mean, weights, _root(left, free))

    def draw(
        self, s: Float[np.ndarray, "n_obs k"], labels: np.ndarray, rng: np.random.Generator
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """All genes of samples whose signature genes are ``s``."""
        mean = self.mean[np.searchsorted(self.classes, labels)]
        x = mean + (s - mean[:, self.signature]) @ self.weights + self.root.draw(len(s), rng)
        x[:, self.signature] = s
        return x

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the names of the classes, as arrays."""
        return {
            "signature": self.signature,
            "mean": self.mean,
            "weights": self.weights,
            "factors": self.root.rows,
            "own": self.root.own,
        }

    @classmethod
    def from_state(cls, classes: tuple[str, ...], state: dict[str, np.ndarray]) -> Self:
        """What ``state`` described."""
        root = Root(state["factors"], state["own"])
        return cls(classes, state["signature"], state["mean"], state["weights"], root)


def _root(left: Float[np.ndarray, "n_obs n_vars"], free: int) -> Root:
    """F and v of eq. 3."""
    n_factors = min(MOST_FACTORS, free // 3)
    squares, vectors = np.linalg.eigh(left @ left.T)  # smallest first
    kept = np.arange(len(squares))[::-1][:n_factors]
    kept = kept[squares[kept] > 1e-12 * max(float(squares[-1]), 1e-300)]
    rows = vectors[:, kept].T @ left / np.sqrt(free)  # (n_factors, n_vars)
    own = np.square(left).sum(axis=0) / free - np.square(rows).sum(axis=0)
    return Root(rows, np.sqrt(np.maximum(own, 0.0)))
