"""Signature crossover: each block of a synthetic patient comes whole from a real one.

For a row of class y and blocks b_1, b_2, ... of genes (``signatures``),

    local    x[b] = block b of a random patient of class y                                   (1)
    global   the same for the block of y itself; the block of another class from a random
             patient who is not of that class                                                (2)

A block named after no class is taken as in eq. 1. Genes outside every block come together from one
further patient of class y (``outside: patient``), so that they stay correlated, or each from one of
its own (``genes``). Every block is a verbatim copy of a patient's: attacks on blocks find it.

Janakarajan, Graziani, Rodríguez Martínez (2025), Bioinformatics Advances 5, vbaf124.
doi:10.1093/bioadv/vbaf124
"""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from anndata import AnnData
from pydantic import PositiveInt

from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import as_synthetic, class_labels
from synthome.samplers.controls import _read, _template
from synthome.samplers.signatures import class_of_signature, signature_blocks


class CrossoverConfig(Config):
    """``n_genes`` of each derived signature; a given one keeps its own."""

    scope: Literal["local", "global"] = "local"
    n_genes: PositiveInt = 40
    outside: Literal["patient", "genes"] = "patient"


class Crossover:
    """Eqs. 1 and 2."""

    name = "crossover"

    def __init__(self, config: CrossoverConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def fit(self, train: AnnData) -> Self:
        """Keep the training rows, and find the blocks.

        Raises
        ------
        InputError
            If there is one class only, or none of the given genes.
        """
        self._x, self.train_labels = _read(train)
        classes = np.unique(self.train_labels)
        if len(classes) < 2 and self.config.scope == "global":
            raise InputError(
                "Global crossover takes blocks from patients of other classes, but there is one "
                "class only. Use scope: local, or another label column."
            )
        self.blocks = signature_blocks(train, self.config.n_genes)
        self._class_of = class_of_signature(list(self.blocks), [str(c) for c in classes])
        inside = np.concatenate(list(self.blocks.values()))
        self.outside = np.setdiff1d(np.arange(train.n_vars), inside)
        self._like = _template(train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Put rows of each class together."""
        y = class_labels(n_obs, labels, self.train_labels, rng)
        x = np.empty((n_obs, self._like.n_vars))
        for c in np.unique(y):
            wanted, own = np.flatnonzero(y == c), np.flatnonzero(self.train_labels == c)
            for name, block in self.blocks.items():
                pool, of = own, self._class_of.get(name)
                if self.config.scope == "global" and of is not None and of != c:
                    pool = np.flatnonzero(self.train_labels != of)
                donors = rng.choice(pool, size=len(wanted))
                x[np.ix_(wanted, block)] = self._x[np.ix_(donors, block)]
            if self.config.outside == "patient":
                donors = rng.choice(own, size=len(wanted))
                x[np.ix_(wanted, self.outside)] = self._x[np.ix_(donors, self.outside)]
            else:
                each = rng.choice(own, size=(len(wanted), len(self.outside)))
                x[np.ix_(wanted, self.outside)] = self._x[each, self.outside]
        return as_synthetic(x, y, self._like)
