"""Statistics of patches against their definitions, and what must not change them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy
from skimage.color import rgb2gray, rgb2hed
from skimage.feature import local_binary_pattern

from synthome.errors import InputError
from synthome.preprocessing.patch_statistics import BANDS, patch_statistics, statistic_names

SCALES = (1.0, 2.0)
TEXTURE = ("gradient", "coherence", "pattern", "grain", "nuclei", "entropy")


def column(result, name: str) -> np.ndarray:
    return result[0][:, statistic_names(SCALES).index(name)]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(30, 250, (90, 120, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return np.random.default_rng(1).uniform([0, 0], [119, 89], (40, 2))


@pytest.fixture(scope="module")
def result(image, places):
    return patch_statistics(image, places, 9.0, SCALES)


def inside(image, place, side):
    """The pixels whose centres are within half a side of the place, and in the image."""
    left, top = np.floor(place + 0.5 - side / 2).astype(int)
    window = image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    return window.reshape(-1, *image.shape[2:])


@pytest.mark.parametrize(("scale", "side"), [("1", 9), ("2", 18)])
def test_colours_and_stains_are_those_of_the_pixels_inside_the_image(
    image, places, result, scale, side
):
    maps = {"green": image[..., 1] / 255, "haematoxylin": rgb2hed(image)[..., 0]}
    maps["eosin"] = rgb2hed(image)[..., 1]
    for name, values in maps.items():
        patches = [inside(values, place, side) for place in places]
        mean, sd = ([f(p) for p in patches] for f in (np.mean, np.std))
        np.testing.assert_allclose(column(result, f"{name}_mean_x{scale}"), mean, atol=1e-6)
        np.testing.assert_allclose(column(result, f"{name}_sd_x{scale}"), sd, atol=1e-6)


def test_quantiles_and_entropy_of_a_small_patch_are_exact(image, places, result):
    """Away from the edge a patch of 9 pixels is read whole: each pixel has about equal weight."""
    inner = (places > 10).all(axis=1) & (places < [109, 79]).all(axis=1)
    whole, _ = patch_statistics(image, places[inner], 16.0, (1.0,))
    names = statistic_names((1.0,))
    patches = [inside(image, place, 16) for place in places[inner]]
    for q in (10, 50, 90):
        expected = [np.quantile(p[:, 0] / 255, q / 100) for p in patches]
        np.testing.assert_allclose(whole[:, names.index(f"red_q{q}_x1")], expected, atol=1e-6)
    grey = [np.histogram(p.mean(axis=1) / 255, 16, (0, 1))[0] for p in patches]
    expected = [entropy(n, base=2) for n in grey]
    np.testing.assert_allclose(whole[:, names.index("entropy_x1")], expected, atol=1e-5)


def test_a_slide_turned_or_flipped_has_the_same_statistics(image, places):
    """Tissue lies on the glass as it falls, and what it is does not depend on that."""
    places = np.floor(places)  # of pixels, on which odd windows are symmetric
    height, width = image.shape[:2]
    expected, _ = patch_statistics(image, places, 9.0, (1.0, 3.0))
    turned, _ = patch_statistics(
        np.ascontiguousarray(image[::-1, ::-1]), [width - 1, height - 1] - places, 9.0, (1.0, 3.0)
    )
    flipped, _ = patch_statistics(
        np.ascontiguousarray(image.transpose(1, 0, 2)), places[:, ::-1].copy(), 9.0, (1.0, 3.0)
    )
    exact = [
        k
        for k, name in enumerate(statistic_names((1.0, 3.0)))
        if not (name.endswith("_x3") and ("_q" in name or "entropy" in name))  # sampled pixels
    ]
    for other in (turned, flipped):
        np.testing.assert_allclose(other[:, exact], expected[:, exact], atol=2e-3)


def test_stripes_have_one_direction_and_noise_has_none(image):
    row = np.tile((127 + 100 * np.sin(np.arange(120) / 2)).astype(np.uint8), (90, 1))
    stripes = np.repeat(row[..., None], 3, axis=2)
    place = np.array([[60.0, 45.0]])
    assert column(patch_statistics(stripes, place, 9.0, SCALES), "coherence_x2")[0] > 0.99
    assert column(patch_statistics(image, place, 9.0, SCALES), "coherence_x2")[0] < 0.3
    y, x = np.mgrid[:90, :120]
    slanted = (127 + 100 * np.sin((x + y) / 2)).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert column(patch_statistics(slanted, place, 9.0, SCALES), "coherence_x2")[0] > 0.99
    flat = np.full((90, 120, 3), 200, dtype=np.uint8)
    features, _ = patch_statistics(flat, place, 9.0, SCALES)
    assert np.isfinite(features).all()
    assert column((features,), "coherence_x1")[0] == 0
    assert column((features,), "nuclei_share_x1")[0] == 0


def test_nuclei_are_counted_for_each_area_of_a_spot():
    image = np.full((200, 200, 3), 240, dtype=np.uint8)
    y, x = np.mgrid[:200, :200]
    purple = ((x % 20 - 10) ** 2 + (y % 20 - 10) ** 2 <= 9) & (x < 100)  # one in 20 x 20 pixels
    image[purple] = [90, 50, 140]
    places = np.array([[50.0, 100.0], [150.0, 100.0]])
    result = patch_statistics(image, places, 40.0, SCALES)
    np.testing.assert_allclose(column(result, "nuclei_count_x2"), [4, 0], atol=0.01)
    share = purple[:, :100].mean()
    left, right = column(result, "nuclei_share_x2")
    assert share < left < 2 * share  # smoothing widens them
    assert right == 0


def test_a_mask_of_black_counts_as_the_edge_of_the_image(image):
    """Else spots beside the mask look dark and rich in haematoxylin, and the image tells places."""
    masked = image.copy()
    masked[:, 60:] = 0
    places = np.array([[57.0, 45.0], [20.0, 45.0], [100.0, 45.0]])
    cut, _ = patch_statistics(np.ascontiguousarray(image[:, :60]), places[:2], 9.0, SCALES)
    features, report = patch_statistics(masked, places, 9.0, SCALES)
    names = statistic_names(SCALES)
    colours = [k for k, name in enumerate(names) if not name.startswith(TEXTURE)]
    colours = [k for k in colours if "_q" not in names[k]]
    np.testing.assert_allclose(features[:2, colours], cut[:, colours], atol=1e-5)
    assert report["unseen"] == 1
    np.testing.assert_allclose(features[2], features[:2].mean(axis=0), atol=1e-5)
    with pytest.raises(InputError, match="black"):
        patch_statistics(np.zeros_like(image), places, 9.0, SCALES)


def test_windows_of_less_than_three_pixels_are_widened_and_told(image, places):
    features, report = patch_statistics(image, places, 1.2, (1.0, 2.0, 4.0))
    assert report["windows"] == {"1": 3, "2": 3, "4": 5}
    assert report["widened"] == [1.0, 2.0]
    n = len(statistic_names((1.0,)))
    np.testing.assert_array_equal(features[:, :n], features[:, n : 2 * n])
    assert np.isfinite(features).all()


def test_spots_far_away_do_not_change_colours_but_the_crop_is_exact(image):
    """Only the part of the image around the spots is read."""
    places = np.array([[30.0, 30.0], [40.0, 35.0]])
    small = patch_statistics(image, places, 3.0, SCALES)
    wide = patch_statistics(image, np.r_[places, [[119.0, 89.0]]], 3.0, SCALES)
    names = statistic_names(SCALES)
    same = [k for k, name in enumerate(names) if not name.startswith("nuclei")]  # Otsu: of all
    np.testing.assert_allclose(small[0][:, same], wide[0][:2, same], atol=1e-5)


def test_patterns_are_shares_of_the_pixels_of_the_window(image, places, result):
    grey = np.rint(255 * rgb2gray(image)).astype(np.uint8)
    patterns = local_binary_pattern(grey, 8, 1, "uniform")
    for k in range(10):
        expected = [(inside(patterns, place, 18) == k).mean() for place in places]
        np.testing.assert_allclose(column(result, f"pattern_{k}_x2"), expected, atol=1e-6)


def test_a_ramp_has_its_slope_as_gradient():
    ramp = np.repeat(np.tile(2 * np.arange(100, dtype=np.uint8), (80, 1))[..., None], 3, axis=2)
    result = patch_statistics(ramp, np.array([[50.0, 40.0]]), 9.0, SCALES)
    assert column(result, "gradient_mean_x2")[0] == pytest.approx(2 / 255, rel=1e-5)
    assert column(result, "gradient_sd_x2")[0] == pytest.approx(0, abs=1e-6)


def test_grain_is_where_its_size_is():
    """Coarser noise moves from fine bands to coarse ones; contrast adds up and never cancels."""
    noise = np.random.default_rng(2).normal(size=(200, 200))
    shares = []
    for sigma in (1.0, 6.0):
        smooth = gaussian_filter(noise, sigma)
        grey = np.clip(150 + 30 * smooth / smooth.std(), 20, 250).astype(np.uint8)
        image = np.stack([grey, grey // 2, grey], axis=2)  # purple
        result = patch_statistics(image, np.array([[100.0, 100.0]]), 30.0, SCALES)
        grain = [column(result, f"grain_{band:g}_x2")[0] for band in BANDS]
        assert min(grain) > 0
        shares.append(grain[0] / grain[-1])
    assert shares[0] > 2 * shares[1]
