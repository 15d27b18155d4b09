"""Four generators whose faults are known, so that a score can be seen to notice them.

=================  ===========================================  ====================================
``IndependentNoise``  normal per class and gene                 the floor: no gene knows of another
``ShuffledGenes``     each gene permuted within its class       the floor with true distributions
``Copies``            exact training rows, all before any again  the cheat: perfect and not private
``Bootstrap``         exact training rows, with replacement     the cheat, as statisticians resample
=================  ===========================================  ====================================

They stand in every table beside the generator that is judged. Where ``Copies`` does best, the
score rewards memory; where ``IndependentNoise`` passes, it is blind to structure.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int

from synthome.anndata_schema import expression
from synthome.anndata_schema import labels as labels_of
from synthome.errors import InputError
from synthome.generator import as_synthetic, class_labels


class IndependentNoise:
    """Normal noise with the training mean and standard deviation (ddof 1) of each class and gene.

    A class of one training row has no spread of its own, and takes the pooled within-class one.
    """

    def fit(self, train: AnnData) -> Self:
        """Measure mean and spread of each class."""
        x, y = _read(train)
        classes, sizes = np.unique(y, return_counts=True)
        self.mean = {c: x[y == c].mean(axis=0) for c in classes}
        centred = x - np.stack([self.mean[c] for c in y])
        free = max(len(x) - len(classes), 1)
        pooled = np.sqrt(np.square(centred).sum(axis=0) / free)  # (n_vars,)
        self.std = {
            c: x[y == c].std(axis=0, ddof=1) if size > 1 else pooled
            for c, size in zip(classes, sizes, strict=True)
        }
        self._like, self._labels = _template(train), y
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw every gene of every row on its own."""
        y = class_labels(n_obs, labels, self._labels, rng)
        x = rng.standard_normal((n_obs, self._like.n_vars))
        for c in np.unique(y):
            x[y == c] = self.mean[c] + self.std[c] * x[y == c]
        return as_synthetic(x, y, self._like)


class ShuffledGenes:
    """Training values, each gene permuted on its own within its class.

    Rows are dealt in rounds of the class size, so that a whole round has exactly the marginal
    distributions of the training class, and no gene-gene structure beyond the class means.
    """

    def fit(self, train: AnnData) -> Self:
        """Keep the training values."""
        self._x, self._labels = _read(train)
        self._like = _template(train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw whole rounds of permuted genes, the last one cut short."""
        y = class_labels(n_obs, labels, self._labels, rng)
        x = np.empty((n_obs, self._like.n_vars))
        for c in np.unique(y):
            rows, source = np.flatnonzero(y == c), self._x[self._labels == c]
            for start in range(0, len(rows), len(source)):
                part = rows[start : start + len(source)]
                x[part] = rng.permuted(source, axis=0)[: len(part)]
        return as_synthetic(x, y, self._like)


class Copies:
    """Exact copies of training rows: all of a class in random order before any comes again."""

    def fit(self, train: AnnData) -> Self:
        """Keep the training rows."""
        self._x, self._labels = _read(train)
        self._like = _template(train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Hand out training rows of the wanted classes."""
        y = class_labels(n_obs, labels, self._labels, rng)
        return as_synthetic(self._x[_cycled(y, self._labels, rng)], y, self._like)


class Bootstrap:
    """Exact copies of training rows, drawn with replacement within their class."""

    def fit(self, train: AnnData) -> Self:
        """Keep the training rows."""
        self._x, self._labels = _read(train)
        self._like = _template(train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw training rows of the wanted classes."""
        y = class_labels(n_obs, labels, self._labels, rng)
        rows = np.empty(n_obs, dtype=np.int64)
        for c in np.unique(y):
            rows[y == c] = rng.choice(np.flatnonzero(self._labels == c), size=int((y == c).sum()))
        return as_synthetic(self._x[rows], y, self._like)


def _read(train: AnnData) -> tuple[Float[np.ndarray, "n_obs n_vars"], np.ndarray]:
    """Values (float64) and labels of the training rows."""
    if train.n_obs == 0:
        raise InputError("A generator needs training rows, but the training part is empty.")
    return expression(train), labels_of(train)


def _template(train: AnnData) -> AnnData:
    """The genes and the provenance of ``train``, without its values."""
    return AnnData(obs=train.obs.iloc[:0], var=train.var[[]], uns=dict(train.uns))


def _cycled(
    wanted: np.ndarray, available: np.ndarray, rng: np.random.Generator
) -> Int[np.ndarray, " n_obs"]:
    """Row of ``available`` for each wanted label, each used once before any is used twice."""
    rows = np.empty(len(wanted), dtype=np.int64)
    for c in np.unique(wanted):
        source = np.flatnonzero(available == c)
        n_wanted = int((wanted == c).sum())
        rounds = -(-n_wanted // len(source))
        rows[wanted == c] = np.concatenate([rng.permutation(source) for _ in range(rounds)])[
            :n_wanted
        ]
    return rows
