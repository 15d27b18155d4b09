"""Image features that are wrong on purpose: what a model gains from them is not due to the image.

================  ==================================================================================
``real``          the features as they are
``shuffled``      rows permuted within each section: right features, wrong spots
``rotated``       those of the spot nearest to the place turned by 180 degrees about the centre
``mirrored``      those of the spot nearest to the place flipped left to right about the centre
``noise``         normal draws with the mean and covariance that the features have in the section
``coordinates``   where the spot is, and nothing that it looks like: x^a y^b, 1 <= a + b <= 3
``none``          zeros
================  ==================================================================================

The centre of a section is that of the box around its spots. Rotated and mirrored features are as
smooth in space as real ones, which shuffled ones are not. On a grid that is symmetric about its
centre, they are a permutation of its spots; elsewhere a spot may lend its features twice.

No control reads expression or labels: features, places and sections are all there is.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.spatial import cKDTree

from synthome.rng import generator

Control = Literal["real", "shuffled", "rotated", "mirrored", "noise", "coordinates", "none"]
CONTROLS: tuple[Control, ...] = get_args(Control)
DEGREE = 3  # of the monomials of ``coordinates``

Features = Float[np.ndarray, "n_obs n_features"]
Monomials = Float[np.ndarray, "n_obs n_monomials"]
Places = Float[np.ndarray, "n_obs 2"]


def controls(
    features: Features,
    xy: Places,
    section: Shaped[np.ndarray, " n_obs"],
    names: Sequence[Control] = CONTROLS,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, "n_obs n_columns"]]:
    """The controls by name, each in the rows of ``features`` and in its type.

    Each draws from a stream of its own for each section, so that neither the other names asked for
    nor the other sections change it. All have the columns of ``features`` but ``coordinates``,
    which has nine.
    """
    result: dict[str, np.ndarray] = {}
    for name in names:
        parts = [
            (rows, _MAKERS[name](features[rows], xy[rows], generator(seed, "image", name, one)))
            for one, rows in _sections(section)
        ]
        made = np.empty((len(features), parts[0][1].shape[1]), dtype=features.dtype)
        for rows, part in parts:
            made[rows] = part
        result[name] = made
    return result


def _sections(section: Shaped[np.ndarray, " n_obs"]) -> list[tuple[str, Int[np.ndarray, " n"]]]:
    """Name and rows of each section."""
    names, number = np.unique(section.astype(str), return_inverse=True)
    return [(str(name), np.flatnonzero(number == k)) for k, name in enumerate(names)]


def _shuffled(features: Features, _: Places, rng: np.random.Generator) -> Features:
    return features[rng.permutation(len(features))]


def _rotated(features: Features, xy: Places, _: np.random.Generator) -> Features:
    return features[_nearest(xy, np.array([-1.0, -1.0]))]


def _mirrored(features: Features, xy: Places, _: np.random.Generator) -> Features:
    return features[_nearest(xy, np.array([-1.0, 1.0]))]


def _noise(features: Features, _: Places, rng: np.random.Generator) -> Features:
    """Normal(mean, covariance), by the eigenvectors of the covariance."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(features))
    root = vectors * np.sqrt(np.maximum(values, 0))  # (n_features, n_features)
    return mean + rng.normal(size=features.shape) @ root.T


def _coordinates(_: Features, xy: Places, __: np.random.Generator) -> Monomials:
    """Monomials of x and y, from -1 to 1 over the wider side of the section."""
    x, y = (_centred(xy) / max(np.ptp(xy, axis=0).max() / 2, np.finfo(float).tiny)).T
    powers = [(n - b, b) for n in range(1, DEGREE + 1) for b in range(n + 1)]
    return np.column_stack([x**a * y**b for a, b in powers])


def _nearest(xy: Places, signs: Float[np.ndarray, " 2"]) -> Int[np.ndarray, " n_obs"]:
    """The spot nearest to each place, turned or flipped."""
    centred = _centred(xy)
    return cKDTree(centred).query(centred * signs)[1]


def _centred(xy: Places) -> Places:
    return xy - (xy.min(axis=0) + xy.max(axis=0)) / 2


_MAKERS: dict[Control, Callable[[Features, Places, np.random.Generator], Features]] = {
    "real": lambda features, _, __: features,
    "shuffled": _shuffled,
    "rotated": _rotated,
    "mirrored": _mirrored,
    "noise": _noise,
    "coordinates": _coordinates,
    "none": lambda features, _, __: np.zeros_like(features),
}
