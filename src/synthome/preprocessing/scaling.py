"""Two affine scales for generators, each with its exact inverse.

Standardiser    x' = (x - mean) / std          zero mean, unit variance
MinMaxScaler    x' = (x - min) / (max - min)   training values in [0, 1], as a sigmoid wants

A gene that is constant in the training rows keeps the scale 1, so that it maps to 0 and comes back
as itself. Both keep the precision of their input: float32 in, float32 out.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class _Affine:
    """``(x - shift) / scale``, gene by gene."""

    shift: Float[np.ndarray, " n_vars"]
    scale: Float[np.ndarray, " n_vars"]

    def transform(self, x: Float[np.ndarray, "n_obs n_vars"]) -> Float[np.ndarray, "n_obs n_vars"]:
        """Values on the fitted scale; those of new rows may leave the range of training."""
        return (x - self.shift.astype(x.dtype)) / self.scale.astype(x.dtype)

    def invert(
        self, scaled: Float[np.ndarray, "n_obs n_vars"]
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Return the values that ``transform`` maps to ``scaled``, up to rounding."""
        return scaled * self.scale.astype(scaled.dtype) + self.shift.astype(scaled.dtype)

    def state(self) -> dict[str, np.ndarray]:
        """All that was fitted, as named arrays."""
        return {"shift": self.shift, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Self:
        """Rebuild the scale that gave ``state``."""
        return cls(shift=np.asarray(state["shift"]), scale=np.asarray(state["scale"]))


class Standardiser(_Affine):
    """Zero mean and unit variance (ddof 0) of each gene in the rows it was fitted on."""

    @classmethod
    def fit(cls, x: Float[np.ndarray, "n_obs n_vars"]) -> Self:
        """Measure mean and standard deviation, summed in float64, kept in the type of ``x``."""
        low, high = x.min(axis=0), x.max(axis=0)
        mean = x.mean(axis=0, dtype=np.float64).astype(x.dtype)
        std = x.std(axis=0, dtype=np.float64).astype(x.dtype)
        # A mean of equal numbers is off by a rounding error: a constant gene is known by its range.
        return cls(shift=np.where(low == high, low, mean), scale=_usable(std, low == high))


class MinMaxScaler(_Affine):
    """Each gene on [0, 1] in the rows it was fitted on."""

    @classmethod
    def fit(cls, x: Float[np.ndarray, "n_obs n_vars"]) -> Self:
        """Measure minimum and range."""
        low, high = x.min(axis=0), x.max(axis=0)
        return cls(shift=low, scale=_usable(high - low, low == high))


def smallest_spread(dtype: np.dtype) -> float:
    """The smallest spread to divide by: below, a quotient soon overflows (1e-292, or 1e-31)."""
    numbers = np.finfo(dtype)
    return float(numbers.tiny / numbers.eps)


def _usable(
    scale: Float[np.ndarray, " n_vars"], constant: np.ndarray
) -> Float[np.ndarray, " n_vars"]:
    """One in place of a spread too small to divide by."""
    too_small = constant | (scale < smallest_spread(scale.dtype))
    return np.where(too_small, scale.dtype.type(1), scale)
