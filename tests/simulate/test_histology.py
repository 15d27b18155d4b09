import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthome.simulate.histology import COLOURS, GLASS, TEXTURES, Slide, render

UNIT = 100.0
SIZE = np.array([4000.0, 4000.0])


def slab() -> Slide:
    """Five flat layers, each eight spots deep, in a square with a margin of bare glass."""
    return Slide(
        size=SIZE,
        reach=lambda s: np.abs(s - SIZE / 2).max(axis=-1) / 1900,
        depth=lambda s: s[..., 1] / UNIT,
        along=lambda s: s[..., 0] / UNIT,
        bounds=np.array([8.0, 16.0, 24.0, 32.0]),
        unit=UNIT,
    )


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return render(slab(), 800, np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def stains(image) -> np.ndarray:
    """Haematoxylin and eosin of each pixel, eq. 6 solved by least squares; (height, width, 2)."""
    density = -np.log(np.maximum(image, 1) / GLASS)
    return density @ np.linalg.pinv(COLOURS)


def layers(values: np.ndarray) -> list[np.ndarray]:
    """The inner part of each layer."""
    return [values[k * 160 + 40 : k * 160 + 120, 60:-60] for k in range(5)]


def test_the_image_has_the_width_asked_for_and_says_its_scale():
    image, factor = render(slab(), 300, np.random.default_rng(0))
    assert image.shape == (300, 300, 3)
    assert image.dtype == np.uint8
    assert factor == 300 / 4000


def test_glass_is_bare(image):
    np.testing.assert_allclose(image[:8].mean(axis=(0, 1)), GLASS, atol=2)


def test_nuclei_are_as_dense_as_their_layer_says(stains):
    """Haematoxylin of a layer is in proportion to number times area of its nuclei."""
    found = [h.mean() for h in layers(stains[..., 0])]
    expected = [t.density * t.size**2 * t.length for t in TEXTURES]
    assert np.corrcoef(found, expected)[0, 1] > 0.95


def test_eosin_is_that_of_the_layer(stains):
    found = [np.median(e) for e in layers(stains[..., 1])]
    assert np.corrcoef(found, [t.eosin for t in TEXTURES])[0, 1] > 0.9


def test_fibres_run_along_white_matter_and_across_the_third_layer(stains):
    """Eosin changes less in the direction of the fibres."""
    eosin = [gaussian_filter(e, 1) for e in layers(stains[..., 1])]
    across, along = ([np.abs(np.diff(e, axis=axis)).mean() for e in eosin] for axis in (0, 1))
    assert across[4] > 1.3 * along[4]
    assert along[2] > 1.15 * across[2]


def test_stain_differs_from_section_to_section():
    """By up to 15 % either way, beyond what is uneven within each section."""
    drawn = [render(slab(), 160, np.random.default_rng(seed))[0] for seed in range(8)]
    density = np.array([-np.log(np.maximum(image, 1) / GLASS).mean() for image in drawn])
    assert 0.05 < np.log(density).std() < 0.15
