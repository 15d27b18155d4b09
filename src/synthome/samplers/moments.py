"""Synthetic patients from the moments of a class, or of a few of its patients at a time.

For a row of class y, with m and v the mean and variance (ddof 1) of rates q = expm1(x) over

    all training rows of the class (``members: null``), or r of them drawn anew for each row   (1)

and the depth d of one of these rows, M = d m and V = d² v are moments of counts, and

    poisson             c ~ Poisson(M)                                                         (2)
    gamma_poisson       c ~ Poisson(h),  h ~ Gamma(mean M, variance V)                         (3)
    negative_binomial   c ~ Poisson(h),  h ~ Gamma(mean M, variance max(V - M, 0))             (4)
    normal              x ~ Normal(mean, sd) of log expression, for data without counts        (5)

with log expression log(1 + c / d) for eqs. 2-4. Eq. 3 is published ("modified" with r = 5,
"unmodified" with the whole class) and is M too wide, since the Poisson adds its own variance;
eq. 4 is not. Genes are drawn independently: what they have in common is what the r rows have.

The published code draws h of the unmodified law once for each gene, and not for each row, so that
all rows of a class are nearly alike (their variance is about a fifteenth of the real one);
``shared_rate: true`` does so.

Janakarajan, Graziani, Rodríguez Martínez (2025), Bioinformatics Advances 5, vbaf124.
doi:10.1093/bioadv/vbaf124
"""

import logging
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import PositiveInt

from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import as_synthetic, class_labels
from synthome.samplers.controls import _read, _template
from synthome.samplers.counts import gamma_rates, rates_and_depths

BLOCK = 2**18  # values of members that are held at a time
FEWEST = 2  # rows that have a variance

logger = logging.getLogger(__name__)


class MomentSamplerConfig(Config):
    """Law of a gene, and ``members``: r of eq. 1."""

    law: Literal["poisson", "gamma_poisson", "negative_binomial", "normal"] = "negative_binomial"
    members: PositiveInt | None = 5
    shared_rate: bool = False


class MomentSampler:
    """Eqs. 1-5."""

    name = "moments"

    def __init__(self, config: MomentSamplerConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def fit(self, train: AnnData) -> Self:
        """Keep the rows that moments are taken of.

        Raises
        ------
        NotApplicable
            If a law of counts is asked for, and there are none.
        InputError
            If a class has too few rows for a variance.
        """
        x, self.train_labels = _read(train)
        self._values, self._depth = x, np.ones(len(x))
        if self.config.law != "normal":
            self._values, self._depth = rates_and_depths(train, x, self.name)
        classes, sizes = np.unique(self.train_labels, return_counts=True)
        self._check_sizes(classes, sizes)
        self._like = _template(train)
        return self

    def _check_sizes(self, classes: np.ndarray, sizes: Int[np.ndarray, " n_classes"]) -> None:
        r = self.config.members
        least = 1 if r is None and self.config.law == "poisson" else FEWEST
        few = sizes < least
        said = [f"{c} has {n}" for c, n in zip(classes, sizes, strict=True)]
        if few.any():
            raise InputError(
                f"Moments of a class need {least} training rows or more, but "
                f"{', '.join(np.array(said)[few])}. Leave the class out, merge it with another, or "
                "give more samples."
            )
        if r is not None and (sizes < r).any():
            logger.warning(
                "Members of a synthetic row lowered from %d to the size of the class: %s.",
                r,
                ", ".join(np.array(said)[sizes < r]),
            )

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw rows of each class."""
        y = class_labels(n_obs, labels, self.train_labels, rng)
        x = np.empty((n_obs, self._like.n_vars))
        for c in np.unique(y):
            own, wanted = np.flatnonzero(self.train_labels == c), np.flatnonzero(y == c)
            r = min(self.config.members or len(own), len(own))
            held = 1 if self.config.members is None else r
            step = max(1, BLOCK // max(1, held * x.shape[1]))
            h = self._shared(own, r, rng) if self.config.shared_rate else None
            for start in range(0, len(wanted), step):
                rows = wanted[start : start + step]
                x[rows] = self._drawn(own, r, len(rows), h, rng)
        return as_synthetic(x, y, self._like)

    def _drawn(
        self,
        own: Int[np.ndarray, " n_own"],
        r: int,
        n: int,
        h: Float[np.ndarray, "1 n_vars"] | None,
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "n n_vars"]:
        """Log expression of ``n`` rows of one class; ``h`` are rates that all of them share."""
        members = own[rng.random((n, len(own))).argsort(axis=1)[:, :r]]  # (n, r)
        if self.config.members is None:
            mean, variance = self._moments(own[None])
        else:
            mean, variance = self._moments(members)
        if self.config.law == "normal":
            return mean + np.sqrt(variance) * rng.standard_normal((n, mean.shape[1]))
        depth = self._depth[members[:, :1]]  # (n, 1)
        if h is None:
            h = gamma_rates(depth * mean, self._extra(depth * mean, depth**2 * variance), rng)
        else:
            h = np.broadcast_to(depth * h, (n, h.shape[1]))
        return np.log1p(rng.poisson(h) / depth)

    def _moments(
        self, members: Int[np.ndarray, "n r"]
    ) -> tuple[Float[np.ndarray, "n n_vars"], Float[np.ndarray, "n n_vars"]]:
        """Mean and variance over the members of each row."""
        values = self._values[members]  # (n, r, n_vars)
        mean = values.mean(axis=1)
        if members.shape[1] < FEWEST:
            return mean, np.zeros_like(mean)
        values -= mean[:, None]
        return mean, np.einsum("nrp,nrp->np", values, values) / (members.shape[1] - 1)

    def _extra(
        self, mean: Float[np.ndarray, "n p"], variance: Float[np.ndarray, "n p"]
    ) -> Float[np.ndarray, "n p"]:
        """Variance of h."""
        if self.config.law == "poisson":
            return np.zeros_like(mean)
        return variance if self.config.law == "gamma_poisson" else variance - mean

    def _shared(
        self, own: Int[np.ndarray, " n_own"], r: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "1 n_vars"]:
        """The published fault: rates at depth 1, drawn once for all rows of a class."""
        mean, variance = self._moments(rng.permutation(own)[None, :r])
        depth = float(np.mean(self._depth[own]))
        h = gamma_rates(depth * mean, self._extra(depth * mean, depth**2 * variance), rng)
        return h / depth
