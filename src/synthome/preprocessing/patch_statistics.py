"""What the image shows around each spot, in plain numbers: colour, stain, texture, nuclei.

Around a spot at column u and row v of the image, on a scale s, is a square window W of side

    w = max(round(s d), 3)        d: diameter of a spot, in pixels of the image               (1)

of which the pixels inside of the image count, and of these the ones that were seen: a pixel that is
0 in all colours was masked, since light through glass is never that dark. For a map f over pixels

    m(f) = sum_W f / |W|,    sd(f)^2 = m(f^2) - m(f)^2                                        (2)

are read from an integral image, so that a window costs four look-ups whatever its size. The maps:

* red, green, blue; haematoxylin and eosin by colour deconvolution (Ruifrok and Johnston);
* g = |grad y| of the grey image y, and the coherence of its structure tensor J = m(grad grad')

    c = sqrt((Jxx - Jyy)^2 + 4 Jxy^2) / (Jxx + Jyy)        0 no direction, 1 a single one      (3)

* the ten rotation-invariant uniform local binary patterns of 8 neighbours (Ojala), as shares;
* |G_a * h - G_2a * h| of haematoxylin h, for a of ``BANDS`` diameters: how coarse its grain is;
* nuclei: share of pixels whose smoothed haematoxylin is above Otsu's threshold of the section, and
  its peaks above that threshold for each area of a spot.

Quantiles of colours and the entropy of grey are those of 16 x 16 pixels spread over the window, or
of all where it is smaller. No statistic changes when the slide is turned by 90 degrees or flipped,
but for rounding.

Ruifrok, Johnston (2001), Anal Quant Cytol Histol 23, 291-299.
Ojala, Pietikäinen, Mäenpää (2002), IEEE TPAMI 24, 971-987. doi:10.1109/TPAMI.2002.1017623
Otsu (1979), IEEE Trans SMC 9, 62-66. doi:10.1109/TSMC.1979.4310076
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from scipy.ndimage import binary_erosion, gaussian_filter, maximum_filter, sobel
from scipy.special import entr
from skimage.color import rgb2gray, rgb2hed
from skimage.feature import local_binary_pattern
from skimage.filters import threshold_otsu

from synthome.errors import InputError

LEAST = 3  # pixels of the side of a window
COLOURS = ("red", "green", "blue")
STAINS = ("haematoxylin", "eosin")
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
PATTERNS = 10  # rotation-invariant uniform patterns of 8 neighbours
BANDS = (0.03, 0.06, 0.12, 0.24)  # diameters of a spot
TRUNCATE = 4  # standard deviations after which SciPy's Gaussian filter ends
NUCLEUS = 0.04  # smoothing before nuclei are told, in diameters: half the radius of one of 8 um
GRID = 16  # pixels along each side of a window that quantiles and entropy read
LEVELS = 16  # of grey, for the entropy
RIM = 2  # pixels beside masked ones, whose texture is that of the mask
CHUNK = 4096  # windows that are read pixel by pixel at a time

BLACK = (
    "The image is black (0 in all colours) around all spots. Check the coordinates and the scale "
    "factor, or remove the image."
)

Map = Shaped[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows of one scale, as half-open ranges of rows and columns inside of the image."""

    top: Int[np.ndarray, " n_obs"]
    bottom: Int[np.ndarray, " n_obs"]
    left: Int[np.ndarray, " n_obs"]
    right: Int[np.ndarray, " n_obs"]

    @classmethod
    def around(
        cls, xy: Float[np.ndarray, "n_obs 2"], side: int, shape: tuple[int, int]
    ) -> "_Windows":
        """Eq. 1; a window beyond the edge keeps the pixel that is nearest to it."""
        left, top = np.floor(xy + 0.5 - side / 2).astype(np.int64).T
        ranges = [
            np.clip(at, low, low + size - 1)
            for first, size in ((top, shape[0]), (left, shape[1]))
            for at, low in ((first, 0), (first + side, 1))
        ]
        return cls(*ranges)

    def sums(self, integral: Float[np.ndarray, "height1 width1"]) -> Float[np.ndarray, " n_obs"]:
        """Sum of a map over each window, from its integral image."""
        return (
            integral[self.bottom, self.right]
            - integral[self.top, self.right]
            - integral[self.bottom, self.left]
            + integral[self.top, self.left]
        )

    def pixels(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, GRID, 1) and columns (n, 1, GRID) of pixels spread over each window."""
        step = (np.arange(GRID) + 0.5) / GRID
        down, right = (
            (low[rows, None] + step * (high - low)[rows, None]).astype(np.int64)
            for low, high in ((self.top, self.bottom), (self.left, self.right))
        )
        return down[:, :, None], right[:, None, :]


def statistic_names(scales: Sequence[float]) -> list[str]:
    """Name of each column, scale by scale: ``red_mean_x2`` is that of two diameters."""
    return [f"{name}_x{scale:g}" for scale in scales for name in _NAMES]


def patch_statistics(
    image: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "n_obs 2"],
    diameter: float,
    scales: Sequence[float] = (1.0, 2.0, 4.0),
) -> tuple[Float[np.ndarray, "n_obs n_features"], dict[str, Any]]:
    """Statistics of the windows around each spot, on each scale.

    Parameters
    ----------
    image
        One section, stained with haematoxylin and eosin.
    xy
        Column and row of each spot, in pixels of ``image``.
    diameter
        Of a spot, in the same pixels.
    scales
        Sides of the windows, in diameters.

    Returns
    -------
    Float32, one column for each of ``statistic_names(scales)``. And a report: ``windows`` (pixels
    of the side on each scale), ``widened`` (scales below 3 pixels) and ``unseen`` (spots that on
    some scale have no pixel away from a mask: there they get the mean of the others).

    Raises
    ------
    InputError
        If no spot sees anything.
    """
    sides = [max(round(scale * diameter), LEAST) for scale in scales]
    reach = TRUNCATE * 2 * BANDS[-1] * diameter  # of the widest filter
    image, xy = _cropped(image, xy, max(sides) // 2 + round(reach) + RIM)
    seen = image.max(axis=2) > 0
    if not binary_erosion(seen, iterations=RIM, border_value=1).any():
        raise InputError(BLACK)
    windows = [_Windows.around(xy, side, seen.shape) for side in sides]
    columns = np.concatenate(
        [
            np.stack(list(_from_maps(image, seen, diameter, windows)), axis=-1),
            np.stack([_from_pixels(image, seen, each) for each in windows]),
        ],
        axis=-1,
    )  # (n_scales, n_obs, n_names)
    unseen = np.isnan(columns).any(axis=-1)  # (n_scales, n_obs)
    if unseen.all(axis=1).any():
        raise InputError(BLACK)
    for of_scale, missing in zip(columns, unseen, strict=True):
        of_scale[missing] = of_scale[~missing].mean(axis=0)
    report = {
        "windows": {f"{scale:g}": side for scale, side in zip(scales, sides, strict=True)},
        "widened": [scale for scale in scales if round(scale * diameter) < LEAST],
        "unseen": int(unseen.any(axis=0).sum()),
    }
    features = np.concatenate(list(columns), axis=1)
    return features.astype(np.float32), report


def _cropped(
    image: UInt8[np.ndarray, "height width 3"], xy: Float[np.ndarray, "n_obs 2"], margin: int
) -> tuple[UInt8[np.ndarray, "height2 width2 3"], Float[np.ndarray, "n_obs 2"]]:
    """The part of the image that some window reads, and the places in it."""
    size = np.array(image.shape[1::-1])
    low = np.clip(np.floor(xy.min(axis=0)).astype(int) - margin, 0, size - 1)
    high = np.clip(np.ceil(xy.max(axis=0)).astype(int) + margin, low + 1, size)
    return image[low[1] : high[1], low[0] : high[0]], xy - low


class _Means:
    """Eq. 2 over the pixels of each window that count."""

    def __init__(self, windows: Sequence[_Windows], counts: Bool[np.ndarray, "height width"]):
        self.windows, self.counts = windows, counts
        n = self._sums(counts.astype(np.float64))
        self.n = np.where(n > 0, n, np.nan)

    def _sums(self, f: Map) -> Float[np.ndarray, "n_scales n_obs"]:
        integral = np.zeros((f.shape[0] + 1, f.shape[1] + 1))
        np.cumsum(f, axis=1, out=integral[1:, 1:])
        for above, row in pairwise(integral):  # a fourth of the time of a cumsum down the columns
            row += above
        return np.stack([each.sums(integral) for each in self.windows])

    def mean(self, f: Map) -> Float[np.ndarray, "n_scales n_obs"]:
        """m(f)."""
        return self._sums(np.where(self.counts, f, 0.0)) / self.n

    def moments(self, f: Map) -> Iterator[Float[np.ndarray, "n_scales n_obs"]]:
        """m(f), then sd(f)."""
        centre = f[self.counts].mean()  # so that no digits of m(f^2) - m(f)^2 are lost
        m = self.mean(f - centre)
        yield m + centre
        yield np.sqrt(np.maximum(self.mean((f - centre) ** 2) - m**2, 0))


def _from_maps(
    image: UInt8[np.ndarray, "height width 3"],
    seen: Bool[np.ndarray, "height width"],
    diameter: float,
    windows: Sequence[_Windows],
) -> Iterator[Float[np.ndarray, "n_scales n_obs"]]:
    """The columns of ``_OF_MAPS``, one after the other."""
    light = image / 255
    light[~seen] = light[seen].mean(axis=0)
    stains = rgb2hed(light)[..., : len(STAINS)]
    colour = _Means(windows, seen)
    for channel in (*np.moveaxis(light, -1, 0), *np.moveaxis(stains, -1, 0)):
        yield from colour.moments(channel)

    texture = _Means(windows, binary_erosion(seen, iterations=RIM, border_value=1))
    grey = rgb2gray(light)
    dy, dx = (sobel(grey, axis) / 8 for axis in (0, 1))
    yield from texture.moments(np.hypot(dx, dy))
    yield _coherence(*(texture.mean(product) for product in (dx * dx, dy * dy, dx * dy)))
    patterns = local_binary_pattern(np.rint(255 * grey).astype(np.uint8), 8, 1, "uniform")
    for k in range(PATTERNS):
        yield texture.mean(patterns == k)
    h = stains[..., 0]
    smooth = [gaussian_filter(h, a * diameter) for a in (*BANDS, 2 * BANDS[-1])]
    for fine, coarse in pairwise(smooth):
        yield texture.mean(np.abs(fine - coarse))
    nuclei, peaks = _nuclei(h, texture.counts, diameter)
    yield texture.mean(nuclei)
    yield texture.mean(peaks) * diameter**2


def _coherence(
    xx: Float[np.ndarray, "n_scales n_obs"],
    yy: Float[np.ndarray, "n_scales n_obs"],
    xy: Float[np.ndarray, "n_scales n_obs"],
) -> Float[np.ndarray, "n_scales n_obs"]:
    """Eq. 3; 0 where nothing changes."""
    energy = xx + yy
    return np.sqrt((xx - yy) ** 2 + 4 * xy**2) / np.where(energy == 0, 1, energy)


def _nuclei(
    h: Map, counts: Bool[np.ndarray, "height width"], diameter: float
) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """Which pixels are of a nucleus, and which are its peak."""
    h = gaussian_filter(h, NUCLEUS * diameter)
    values = h[counts]
    nuclei = h > (threshold_otsu(values) if np.ptp(values) > 0 else values[0])
    reach = max(round(NUCLEUS * diameter), 1)
    return nuclei, nuclei & (h == maximum_filter(h, 2 * reach + 1))


def _from_pixels(
    image: UInt8[np.ndarray, "height width 3"], seen: Bool[np.ndarray, "height width"], of: _Windows
) -> Float[np.ndarray, "n_obs n_columns"]:
    """The columns of ``_OF_PIXELS``, from pixels spread over each window."""
    parts = []
    for start in range(0, len(of.top), CHUNK):
        at = of.pixels(slice(start, start + CHUNK))
        colours = image[at].reshape(-1, GRID**2, len(COLOURS)).astype(np.float32) / 255
        colours[~seen[at].reshape(-1, GRID**2)] = np.inf
        n = np.isfinite(colours[..., 0]).sum(axis=1)  # (n,)
        grey = np.where(np.isfinite(colours[..., 0]), colours.mean(axis=-1), -1)
        parts.append(np.column_stack([_quantiles(colours, n), _entropy(grey, n)]))
    return np.concatenate(parts).astype(np.float64)


def _quantiles(
    colours: Float[np.ndarray, "n pixels 3"], n_seen: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n n_quantiles"]:
    """Quantiles of each colour over the pixels seen; NaN where there are none."""
    ordered = np.sort(colours, axis=1)
    place = np.array(QUANTILES) * np.maximum(n_seen - 1, 0)[:, None]  # (n, len(QUANTILES))
    low, high = (whole(place).astype(np.int64) for whole in (np.floor, np.ceil))
    ordered[n_seen == 0] = np.nan
    below, above = (np.take_along_axis(ordered, k[..., None], axis=1) for k in (low, high))
    values = below + (place - low)[..., None] * (above - below)  # (n, n_quantiles, 3)
    return np.swapaxes(values, 1, 2).reshape(len(colours), -1)


def _entropy(
    grey: Float[np.ndarray, "n pixels"], n_seen: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Shannon's entropy of grey in ``LEVELS`` levels, in bits; pixels below 0 were not seen."""
    level = np.minimum((grey * LEVELS).astype(np.int64), LEVELS - 1)
    level[grey < 0] = LEVELS
    of = np.arange(len(grey))[:, None] * (LEVELS + 1) + level
    n = np.bincount(of.ravel(), minlength=len(grey) * (LEVELS + 1)).reshape(len(grey), -1)
    p = n[:, :LEVELS] / np.maximum(n_seen, 1)[:, None]
    return entr(p).sum(axis=1) / np.log(2)


_OF_MAPS = (
    *(f"{name}_{what}" for name in (*COLOURS, *STAINS) for what in ("mean", "sd")),
    "gradient_mean",
    "gradient_sd",
    "coherence",
    *(f"pattern_{k}" for k in range(PATTERNS)),
    *(f"grain_{band:g}" for band in BANDS),
    "nuclei_share",
    "nuclei_count",
)
_OF_PIXELS = (*(f"{name}_q{100 * q:.0f}" for name in COLOURS for q in QUANTILES), "entropy")
_NAMES = (*_OF_MAPS, *_OF_PIXELS)
