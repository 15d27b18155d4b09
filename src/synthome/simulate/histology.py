"""A slide stained with haematoxylin and eosin, drawn from functions of the place: eq. 6 of tissue.

Nuclei are ellipses of haematoxylin, thrown at random with the density, size and direction of their
layer. Eosin lies in fibres: noise that is stretched along or across the layers. Both stains vary
smoothly over the slide, as uneven sections and washing make them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

Field = Callable[[np.ndarray], np.ndarray]

COLOURS = np.array([[0.56, 0.72, 0.41], [0.22, 0.80, 0.56]])  # optical densities: h, e
GLASS = np.array([244.0, 243.0, 246.0])  # light through bare glass
COARSE = 4  # depth and reach are computed on every fourth pixel: they are smooth
STAMP = 3  # half width of the window of a nucleus, in units of its smaller axis
RAGGED = 0.3  # how far the borders of layers in the image stray, in spots


@dataclass(frozen=True)
class Texture:
    """How a layer looks."""

    eosin: float  # optical density of the tissue between nuclei
    density: float  # nuclei for each spot-sized square
    size: float  # smaller half axis of a nucleus, in hundredths of the distance of spots
    length: float  # larger half axis over the smaller
    along: float  # direction of nuclei: 0 along the layer, 1 across it
    fibre: float  # contrast of the fibres
    grain: tuple[float, float]  # waves of the fibres across and along the layer, per spot


TEXTURES = (  # from the surface inwards
    Texture(0.30, 3.0, 4.5, 1.4, 0.0, 0.15, (3.0, 1.0)),
    Texture(0.38, 14.0, 4.8, 1.1, 1.0, 0.10, (1.5, 2.0)),
    Texture(0.42, 7.0, 6.0, 1.4, 1.0, 0.18, (0.7, 3.0)),
    Texture(0.36, 11.0, 4.6, 1.3, 1.0, 0.12, (1.0, 2.5)),
    Texture(0.55, 7.0, 3.8, 2.2, 0.0, 0.25, (4.0, 0.5)),
)


@dataclass(frozen=True, eq=False)
class Slide:
    """What is to be drawn, as functions of the place in full-resolution pixels.

    Attributes
    ----------
    size
        Width and height.
    reach
        Up to 1 within the tissue.
    depth, along, bounds
        Depth below the surface, and the place along the layers, both in spots; and the depths at
        which layers change.
    unit
        Distance of neighbouring spots.
    """

    size: Float[np.ndarray, " 2"]
    reach: Field
    depth: Field
    along: Field
    bounds: Float[np.ndarray, " n_bounds"]
    unit: float


def render(
    slide: Slide, width: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "height width 3"], float]:
    """Draw the slide, and say how many pixels of the image one of full resolution is."""
    factor = width / slide.size[0]
    height = int(np.ceil(slide.size[1] * factor))
    unit = slide.unit * factor  # pixels between spots
    depth, along, tissue = _ground(slide, factor, (height, width))
    stray = gaussian_filter(rng.normal(size=depth.shape), 0.3 * unit)
    layer = np.searchsorted(slide.bounds, depth + RAGGED * stray / stray.std(), side="right")
    h = _nuclei(depth, layer, tissue, unit, rng)
    e = _fibres(depth, along, layer, unit, rng) * tissue
    stain = rng.uniform([0.85, 0.85], [1.15, 1.15])  # of this section
    h = (h + 0.06 * tissue) * stain[0] * _uneven((height, width), rng)
    e = e * (1 - 0.6 * np.minimum(h, 1)) * stain[1] * _uneven((height, width), rng)
    density = h[..., None] * COLOURS[0] + e[..., None] * COLOURS[1]
    light = GLASS * np.exp(-density) + rng.normal(0, 2.0, (height, width, 1))  # eq. 6
    return np.clip(np.rint(light), 0, 255).astype(np.uint8), float(factor)


def _ground(
    slide: Slide, factor: float, shape: tuple[int, int]
) -> tuple[
    Float[np.ndarray, "height width"],
    Float[np.ndarray, "height width"],
    Float[np.ndarray, "height width"],
]:
    """Depth and place along the layers of each pixel, and how much it is tissue, 0 to 1."""
    height, width = shape
    y, x = np.mgrid[0 : height + COARSE : COARSE, 0 : width + COARSE : COARSE] / factor
    s = np.stack([x, y], axis=-1)  # (height / 4, width / 4, 2)
    depth, along, reach = (
        zoom(f(s), COARSE, order=1, grid_mode=True, mode="nearest")[:height, :width]
        for f in (slide.depth, slide.along, slide.reach)
    )
    return depth, along, np.clip((1.02 - reach) / 0.01, 0, 1)


def _nuclei(
    depth: Float[np.ndarray, "height width"],
    layer: Int[np.ndarray, "height width"],
    tissue: Float[np.ndarray, "height width"],
    unit: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """Haematoxylin of nuclei, each an ellipse with soft edges."""
    texture = np.array([[t.density, t.size, t.length, t.along] for t in TEXTURES])
    densest = texture[:, 0].max()
    height, width = depth.shape
    n = rng.poisson(densest * height * width / unit**2)
    at = np.column_stack([rng.uniform(0, height, n), rng.uniform(0, width, n)])
    pixel = at.astype(int)
    here = layer[pixel[:, 0], pixel[:, 1]]
    kept = (rng.random(n) * densest < texture[here, 0]) & (tissue[pixel[:, 0], pixel[:, 1]] > 0.5)
    at, pixel, here = at[kept], pixel[kept], here[kept]
    _, size, length, along = texture[here].T
    minor = size * unit / 100 * np.exp(rng.normal(0, 0.15, len(at)))
    major = minor * length
    angle = _along_layers(depth, pixel) + along * np.pi / 2 + rng.normal(0, 0.35, len(at))
    dark = rng.uniform(0.55, 1.0, len(at))

    half = int(np.ceil(STAMP * np.median(minor)))
    dy, dx = (o.ravel() for o in np.mgrid[-half : half + 1, -half : half + 1])  # (window,)
    rows, columns = pixel[:, :1] + dy, pixel[:, 1:] + dx  # (n, window)
    oy, ox = rows + 0.5 - at[:, :1], columns + 0.5 - at[:, 1:]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    u, v = (ox * cos + oy * sin) / major[:, None], (oy * cos - ox * sin) / minor[:, None]
    ink = dark[:, None] / (1 + np.exp(np.minimum(6 * (np.hypot(u, v) - 1), 30)))
    drawn = (ink > 0.02) & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    h = np.zeros(height * width)
    np.maximum.at(h, (rows * width + columns)[drawn], ink[drawn])
    return h.reshape(height, width)


def _along_layers(
    depth: Float[np.ndarray, "height width"], pixel: Int[np.ndarray, "n 2"]
) -> Float[np.ndarray, " n"]:
    """Direction of the layer at some pixels: at right angles to where the depth grows."""
    height, width = depth.shape
    row, column = pixel.T
    up, down = np.maximum(row - COARSE, 0), np.minimum(row + COARSE, height - 1)
    left, right = np.maximum(column - COARSE, 0), np.minimum(column + COARSE, width - 1)
    dy = depth[down, column] - depth[up, column]
    dx = depth[row, right] - depth[row, left]
    return np.arctan2(dy, dx) + np.pi / 2


def _fibres(
    depth: Float[np.ndarray, "height width"],
    along: Float[np.ndarray, "height width"],
    layer: Int[np.ndarray, "height width"],
    unit: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """Eosin of each pixel: the level of its layer, and noise stretched along or across it."""
    noise = rng.normal(size=(512, 512))
    eosin = np.zeros(depth.shape)
    for k, texture in enumerate(TEXTURES):
        here = layer == k
        grain = np.stack([depth[here] * texture.grain[0], along[here] * texture.grain[1]])
        streaks = map_coordinates(noise, 2 * grain, order=1, mode="grid-wrap")
        eosin[here] = texture.eosin * (1 + texture.fibre * streaks)
    soft = gaussian_filter(eosin, 0.06 * unit)
    return soft + 0.03 * gaussian_filter(rng.normal(size=depth.shape), 1.0)


def _uneven(shape: tuple[int, int], rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """A smooth factor around 1."""
    coarse = gaussian_filter(rng.normal(size=(48, 48)), 5, mode="wrap")
    coarse = np.exp(0.12 * coarse / coarse.std())
    y = np.linspace(0, 47, shape[0])[:, None] * np.ones(shape[1])
    x = np.linspace(0, 47, shape[1]) * np.ones((shape[0], 1))
    return map_coordinates(coarse, [y, x], order=1, mode="nearest")
