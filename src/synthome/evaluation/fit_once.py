"""One fit for generators that are the same but for the temperature at which they are drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from anndata import AnnData

from synthome.generator import Generator
from synthome.models.registry import Architecture


class FitOnce:
    """Makes generators of one group: the first is fitted, all draw from it, each at its own T."""

    def __init__(self) -> None:
        self._fitted: Any = None
        self._seconds: dict[str, float] = {}

    def maker(self, architecture: Architecture) -> Callable[[int], Generator]:
        """What makes a generator of a seed, and fits it unless another one was."""
        return lambda seed: _Warm(self, architecture, seed)

    def fit(self, architecture: Architecture, seed: int, train: AnnData) -> Any:
        """The generator that all share."""
        if self._fitted is None:
            self._fitted = architecture.build(seed).fit(train)
        return self._fitted

    def share(self, seconds: dict[str, float]) -> dict[str, float]:
        """Each is told to have taken what the one fit took."""
        of_fit = {name: value for name, value in seconds.items() if name.startswith("fit")}
        self._seconds = self._seconds or of_fit
        return seconds | self._seconds


@dataclass(eq=False)
class _Warm:
    once: FitOnce
    architecture: Architecture
    seed: int
    fitted: Any = None

    def fit(self, train: AnnData) -> Self:
        self.fitted = self.once.fit(self.architecture, self.seed, train)
        return self

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        temperature = self.architecture.options["temperature"]
        return self.fitted.sample(n_obs, labels, rng, temperature=temperature)
