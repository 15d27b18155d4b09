"""The aggregated posterior of a latent model: a mixture of normals for each class.

For the training rows i of class y, with posteriors Normal(m_i, diag(v_i)), components c are fitted
to the means m_i; a component of n_c rows, of d dimensions, has covariance

    S_yc = (n_c C_c + d C) / (n_c + d) + mean of v_i in c                                  (1)

with C_c the covariance of its means, and C that of all means around the means of their components:
few rows do not show a covariance of d dimensions. The number of components is the one with the
smallest Bayesian information criterion; each has ``ROWS_PER_COMPONENT`` rows or more. Where a class
has more than ``MOST_ROWS``, components are found in so many of them, and all rows are told apart.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from synthome.rng import generator

ROWS_PER_COMPONENT = 50
MOST_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class LatentMixture:
    """Weights, means and covariances of the components of all classes, one after the other."""

    classes: tuple[str, ...]
    of_class: Int[np.ndarray, " n_components"]
    weight: Float[np.ndarray, " n_components"]
    loc: Float[np.ndarray, "n_components d"]
    covariance: Float[np.ndarray, "n_components d d"]

    @classmethod
    def fit(
        cls,
        loc: Float[np.ndarray, "n_obs d"],
        variance: Float[np.ndarray, "n_obs d"],
        labels: np.ndarray,
        max_components: int,
        seed: int,
    ) -> Self:
        """Fit eq. 1 to the posterior means and variances of the training rows."""
        classes = np.unique(labels)
        component = np.empty(len(loc), dtype=np.int64)
        of_class: list[int] = []
        for y, name in enumerate(classes):
            rows = np.flatnonzero(labels == name)
            own = _components(loc[rows], max_components, seed)
            component[rows] = own + len(of_class)
            of_class += [y] * (int(own.max()) + 1)
        size = np.bincount(component, minlength=len(of_class)).astype(float)
        n, d = loc.shape
        mean = np.zeros((len(size), d))
        np.add.at(mean, component, loc)
        mean /= size[:, None]
        centred = loc - mean[component]
        pooled = centred.T @ centred / max(n - len(size), 1)
        covariance = np.empty((len(size), d, d))
        for c in range(len(size)):
            rows = component == c
            squares = centred[rows].T @ centred[rows]
            within = np.diag(variance[rows].mean(axis=0))
            covariance[c] = (squares + d * pooled) / (size[c] + d) + within
        owner = np.array(of_class)
        per_class = np.bincount(owner, size)
        return cls(tuple(map(str, classes)), owner, size / per_class[owner], mean, covariance)

    def draw(
        self, labels: Sequence[str] | np.ndarray, temperature: float, rng: np.random.Generator
    ) -> Float[np.ndarray, "n_obs d"]:
        """A latent for each label; ``temperature`` multiplies the spread of a component."""
        wanted = np.searchsorted(self.classes, np.asarray(labels, dtype=str))
        component = np.empty(len(wanted), dtype=np.int64)
        for y in np.unique(wanted):
            own = np.flatnonzero(self.of_class == y)
            rows = np.flatnonzero(wanted == y)
            component[rows] = rng.choice(own, size=len(rows), p=self.weight[own])
        root = np.linalg.cholesky(self.covariance)
        e = rng.standard_normal((len(wanted), self.loc.shape[1]))
        result = self.loc[component]
        for c in np.unique(component):
            rows = component == c
            result[rows] += temperature * e[rows] @ root[c].T
        return result

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the names of the classes, as arrays."""
        return {
            "of_class": self.of_class,
            "weight": self.weight,
            "loc": self.loc,
            "covariance": self.covariance,
        }

    @classmethod
    def from_state(cls, classes: tuple[str, ...], state: dict[str, np.ndarray]) -> Self:
        """Rebuild what gave ``state``."""
        return cls(classes, **state)


def _components(
    loc: Float[np.ndarray, "n_obs d"], max_components: int, seed: int
) -> Int[np.ndarray, " n_obs"]:
    """Component of each row of a class, numbered from 0 without gaps."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    best, found = np.inf, np.zeros(len(loc), dtype=np.int64)
    some = loc
    if len(loc) > MOST_ROWS:
        some = loc[generator(seed, "components").permutation(len(loc))[:MOST_ROWS]]
    for k in range(1, min(max_components, len(loc) // ROWS_PER_COMPONENT) + 1):
        mixture = GaussianMixture(k, covariance_type="diag", reg_covar=1e-3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            criterion = mixture.fit(some).bic(some)
        if criterion < best:
            best, found = criterion, mixture.predict(loc)
    return np.unique(found, return_inverse=True)[1]
