"""Three samplers of the literature that need no training.

``ClassNormal``: for class y with n_y training rows of mean m_y, centred rows Z_y (n_y x p) and
e ~ Normal(0, I), a draw is

    x = m_y + sqrt(1 + noise) r_y,    r_y = Z_y' e / sqrt(n_y - 1)   empirical covariance        (1)

With noise = 0.5 this is Normal(m_y, 1.5 cov), as in the starter package of the health privacy
challenge of CAMDA 2025, which adds a second draw of half the covariance. Shrunk, with s the pooled
within-class standard deviation of each gene, Y = Z / s (n x p, of the class or of all classes), k
the number of means in it and u ~ Normal(0, I_p):

    r = s sqrt(n / (n - k)) [ sqrt((1 - d) / n) Y' e + sqrt(d tr(G) / (n p)) u ],   G = Y Y'     (2)
    d = min(1, [sum_i G_ii² / |G|² - 1 / n] / [1 - tr(G)² / (p |G|²)])                           (3)

where |G|² is the sum of squares: d is the intensity of Ledoit & Wolf (2004), read from the n x n
matrix G instead of the p x p covariance. The factor n / (n - k) gives eqs. 1 and 2 the same total
variance. No p x p matrix is made. A class of one row takes the pooled covariance.

``LocalGammaPoisson``: around training row i, with depth l_i / 10^6 and rates q = expm1(x), in CPM,

    M, V = mean and variance (ddof 1) of depth_i q over i and its nearest rows of the class      (4)
    c ~ Poisson(h),   h ~ Gamma(mean M, variance max(V - M, 0)),   x = log(1 + c / depth_i)      (5)

The published gamma has variance V, which with the Poisson on top is M too much.

``SMOTESampler``: x = x_i + w (x_j - x_i), w ~ Uniform(0, 1), x_j one of the k nearest rows of
the class of x_i (6): points between two patients, by imbalanced-learn.

Ledoit & Wolf (2004), J. Multivariate Anal. 88, 365-411. doi:10.1016/S0047-259X(03)00096-4 (eqs. 2,
3). Janakarajan, Graziani, Rodríguez Martínez (2025), Bioinformatics Advances 5, vbaf124.
doi:10.1093/bioadv/vbaf124 (eqs. 4, 5). Chawla et al. (2002), J. Artif. Intell. Res. 16, 321-357.
doi:10.1613/jair.953 (eq. 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from anndata import AnnData
from imblearn.over_sampling import SMOTE
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt
from scipy.spatial.distance import cdist

from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import as_synthetic, class_labels
from synthome.samplers.controls import _read, _template
from synthome.samplers.counts import poisson_gamma, rates_and_depths


class ClassNormalConfig(Config):
    """Which covariance; ``noise`` is what it is enlarged by, as a fraction."""

    covariance: Literal["empirical", "ledoit_wolf", "pooled_ledoit_wolf"] = "empirical"
    noise: NonNegativeFloat = 0.0


@dataclass(frozen=True, eq=False)
class Root:
    """A covariance as ``rows' rows + diag(own²)``, which is drawn from without being formed."""

    rows: Float[np.ndarray, "n_rows n_vars"]
    own: Float[np.ndarray, " n_vars"]

    def draw(self, n_obs: int, rng: np.random.Generator) -> Float[np.ndarray, "n_obs n_vars"]:
        """Normal rows of mean zero."""
        drawn = rng.standard_normal((n_obs, len(self.rows))) @ self.rows
        if self.own.any():
            drawn += rng.standard_normal(drawn.shape) * self.own
        return drawn


class ClassNormal:
    """Eqs. 1-3: a normal distribution for each class."""

    name = "class_normal"

    def __init__(self, config: ClassNormalConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def fit(self, train: AnnData) -> Self:
        """Measure the mean of each class and a root of its covariance.

        Raises
        ------
        InputError
            If no class has two rows.
        """
        x, self.train_labels = _read(train)
        classes, class_of, sizes = np.unique(
            self.train_labels, return_inverse=True, return_counts=True
        )
        if len(x) == len(classes):
            raise InputError(
                "A normal distribution per class needs a class of two training rows or more, but "
                f"each of {', '.join(classes)} has one. Give more samples, or merge classes."
            )
        means = np.stack([x[class_of == k].mean(axis=0) for k in range(len(classes))])
        centred = x - means[class_of]  # (n_obs, n_vars)
        std = np.sqrt(np.square(centred).sum(axis=0) / (len(x) - len(classes)))
        pooled = self._root(centred, len(classes), std)
        self.mean = dict(zip(classes, means, strict=True))
        self.roots = {
            name: pooled
            if self.config.covariance == "pooled_ledoit_wolf" or sizes[k] == 1
            else self._root(centred[class_of == k], 1, std)
            for k, name in enumerate(classes)
        }
        self._like = _template(train)
        return self

    def _root(
        self,
        centred: Float[np.ndarray, "n_rows n_vars"],
        n_means: int,
        std: Float[np.ndarray, " n_vars"],
    ) -> Root:
        """Eq. 1 or 2, for rows centred on ``n_means`` means."""
        free = len(centred) - n_means
        if self.config.covariance == "empirical":
            return Root(centred / np.sqrt(free), np.zeros_like(std))
        varies = std > 0
        y = centred[:, varies] / std[varies]
        d = ledoit_wolf_intensity(y)
        own = np.sqrt(d * np.square(y).sum() / (free * y.shape[1])) if varies.any() else 0.0
        return Root(centred * np.sqrt((1 - d) / free), own * std)

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw rows of each class."""
        y = class_labels(n_obs, labels, self.train_labels, rng)
        x, spread = np.empty((n_obs, self._like.n_vars)), np.sqrt(1 + self.config.noise)
        for c in np.unique(y):
            rows = y == c
            x[rows] = self.mean[c] + spread * self.roots[c].draw(int(rows.sum()), rng)
        return as_synthetic(x, y, self._like)


def ledoit_wolf_intensity(y: Float[np.ndarray, "n_rows n_vars"]) -> float:
    """The d of eq. 3 for centred rows; 0 when the covariance already is a scaled identity."""
    n_rows, n_vars = y.shape
    gram = y @ y.T
    squares, trace = np.square(gram).sum(), np.trace(gram)
    distance = squares - trace**2 / max(n_vars, 1)  # from the scaled identity, times n²
    error = np.square(np.diag(gram)).sum() - squares / n_rows  # of the estimate, times n²
    if distance <= 1e-12 * squares or error <= 0:
        return 0.0
    return float(min(error / distance, 1.0))


class LocalGammaPoissonConfig(Config):
    """``neighbours`` counts the training row itself; a smaller class gives what it has."""

    neighbours: PositiveInt = 5


class LocalGammaPoisson:
    """Eqs. 4 and 5: counts around single training rows, returned as log1p CPM."""

    name = "local_gamma_poisson"

    def __init__(self, config: LocalGammaPoissonConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def fit(self, train: AnnData) -> Self:
        """Keep the rates and depths, and find the neighbours of each row.

        Raises
        ------
        NotApplicable
            If the cohort has no counts.
        InputError
            If a row has none.
        """
        x, self.train_labels = _read(train)
        self._rates, self._depth = rates_and_depths(train, x, self.name)  # q, depth of eq. 4
        self._neighbours = [np.array([], dtype=np.int64)] * len(x)
        for c in np.unique(self.train_labels):
            rows = np.flatnonzero(self.train_labels == c)
            distance = cdist(x[rows], x[rows])
            np.fill_diagonal(distance, -1.0)  # the row itself comes first, also among twins
            nearest = distance.argsort(axis=1, kind="stable")[:, : self.config.neighbours]
            for row, near in zip(rows, nearest, strict=True):
                self._neighbours[row] = rows[near]
        self._like = _template(train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw a training row of the class for each new one, then counts around it."""
        y = class_labels(n_obs, labels, self.train_labels, rng)
        source = np.empty(n_obs, dtype=np.int64)
        for c in np.unique(y):
            rows = np.flatnonzero(self.train_labels == c)
            source[y == c] = rng.choice(rows, size=int((y == c).sum()))
        x = np.empty((n_obs, self._like.n_vars))
        for row in np.unique(source):
            near, depth = self._rates[self._neighbours[row]], self._depth[row]
            mean = depth * near.mean(axis=0)  # (n_vars,)
            variance = depth**2 * near.var(axis=0, ddof=1) if len(near) > 1 else np.zeros_like(mean)
            shape = (int((source == row).sum()), len(mean))
            extra = np.broadcast_to(variance - mean, shape)
            counts = poisson_gamma(np.broadcast_to(mean, shape), extra, rng)
            x[source == row] = np.log1p(counts / depth)
        return as_synthetic(x, y, self._like)


class SMOTEConfig(Config):
    """``k_neighbors`` as imbalanced-learn calls it, without the row itself."""

    k_neighbors: PositiveInt = 5


class SMOTESampler:
    """Eq. 6, by imbalanced-learn; of what it returns, the originals are dropped."""

    name = "smote"

    def __init__(self, config: SMOTEConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def fit(self, train: AnnData) -> Self:
        """Keep the training rows.

        Raises
        ------
        InputError
            If a class has a single row, or there is one class only.
        """
        self._x, self.train_labels = _read(train)
        classes, sizes = np.unique(self.train_labels, return_counts=True)
        if (sizes < 2).any():
            raise InputError(
                "SMOTE draws between two training rows of a class, but class "
                f"{', '.join(classes[sizes < 2])} has one row. Leave it out, or merge classes."
            )
        if len(classes) < 2:
            raise InputError(
                f"SMOTE needs two classes, but all training rows are {classes[0]}. Use another "
                "sampler, or another label column."
            )
        self._like = _template(train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw interpolated rows of each class."""
        y = class_labels(n_obs, labels, self.train_labels, rng)
        x = np.empty((n_obs, self._like.n_vars))
        for c in np.unique(y):
            own, wanted = self.train_labels == c, y == c
            smote = SMOTE(
                sampling_strategy={1: int(own.sum() + wanted.sum())},
                k_neighbors=min(self.config.k_neighbors, int(own.sum()) - 1),
                random_state=int(rng.integers(2**32 - 1)),
            )
            x[wanted] = smote.fit_resample(self._x, own.astype(int))[0][len(self._x) :]
        return as_synthetic(x, y, self._like)
