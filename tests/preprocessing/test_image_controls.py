"""Each control takes from the image features what it says, and keeps the rest."""

import inspect

import numpy as np
import pytest

from synthome.preprocessing.image_controls import CONTROLS, controls


@pytest.fixture(scope="module")
def grids():
    """Two sections: a symmetric grid of 12 x 9 spots, and another far from it."""
    x, y = (v.ravel().astype(float) for v in np.meshgrid(np.arange(12), np.arange(9)))
    xy = np.concatenate([np.column_stack([x, y]) * 10, np.column_stack([y, x]) * 7 + 5000])
    section = np.repeat(["one", "two"], len(x))
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    features = (rng.normal(size=(len(xy), 5)) @ mixing + 3).astype(np.float32)
    features[section == "two"] += 10
    order = rng.permutation(len(xy))
    return features[order], xy[order], section[order]


def rows(features):
    return sorted(map(tuple, features.tolist()))


def test_shuffled_keeps_the_rows_of_each_section_and_moves_nearly_all(grids):
    features, _, section = grids
    shuffled = controls(*grids, names=["shuffled"])["shuffled"]
    for one in ("one", "two"):
        assert rows(shuffled[section == one]) == rows(features[section == one])
    assert (shuffled == features).all(axis=1).mean() < 0.1


@pytest.mark.parametrize(("name", "signs"), [("rotated", (-1, -1)), ("mirrored", (-1, 1))])
def test_turned_features_are_those_of_the_opposite_spot_and_come_back_when_turned_again(
    grids, name, signs
):
    features, xy, section = grids
    turned = controls(*grids, names=[name])[name]
    for one in ("one", "two"):
        own = section == one
        centre = (xy[own].min(axis=0) + xy[own].max(axis=0)) / 2
        place = centre + signs * (xy[own] - centre)
        opposite = np.abs(xy[own] - place[:, None]).sum(axis=2).argmin(axis=1)
        np.testing.assert_array_equal(turned[own], features[own][opposite])
    np.testing.assert_array_equal(controls(turned, xy, section, [name])[name], features)
    assert (turned == features).all(axis=1).mean() < 0.1


def test_noise_has_the_mean_and_covariance_of_the_section_and_nothing_of_the_spots():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20_000, 4)) @ rng.normal(size=(4, 4)) + [0, 5, -5, 100]
    xy, section = rng.uniform(size=(20_000, 2)), np.repeat("one", 20_000)
    noise = controls(features, xy, section, ["noise"])["noise"]
    np.testing.assert_allclose(noise.mean(axis=0), features.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(noise.T), np.cov(features.T), atol=0.25)
    between = np.corrcoef(noise.T, features.T)[:4, 4:]
    with_place = np.corrcoef(noise.T, xy.T)[:4, 4:]
    assert np.abs(between).max() < 0.035  # five standard errors
    assert np.abs(with_place).max() < 0.035


def test_noise_of_features_that_depend_on_each_other_or_do_not_vary(grids):
    features, xy, section = grids
    twice = np.column_stack([features, features, np.ones(len(features), np.float32)])
    noise = controls(twice, xy, section, ["noise"])["noise"]
    assert np.isfinite(noise).all()
    np.testing.assert_allclose(noise[:, :5], noise[:, 5:10], atol=1e-3)
    np.testing.assert_allclose(noise[:, 10], 1, atol=1e-5)


def test_coordinates_are_monomials_within_the_section(grids):
    _, xy, section = grids
    made = controls(*grids, names=["coordinates"])["coordinates"]
    assert made.shape == (len(xy), 9)
    own = section == "one"
    x, y = made[own, 0], made[own, 1]
    np.testing.assert_allclose(x, (xy[own, 0] - 55) / 55, atol=1e-6)
    np.testing.assert_allclose(y, (xy[own, 1] - 40) / 55, atol=1e-6)  # the same scale
    expected = np.column_stack([x, y, x**2, x * y, y**2, x**3, x**2 * y, x * y**2, y**3])
    np.testing.assert_allclose(made[own], expected, atol=1e-6)


def test_controls_read_features_places_and_sections_and_never_expression(grids):
    assert list(inspect.signature(controls).parameters) == [
        "features", "xy", "section", "names", "seed",
    ]  # fmt: skip
    before = [part.copy() for part in grids]
    made = controls(*grids)
    assert list(made) == list(CONTROLS)
    np.testing.assert_array_equal(made["real"], grids[0])
    assert not made["none"].any()
    assert made["none"].shape == grids[0].shape
    for part, old in zip(grids, before, strict=True):
        np.testing.assert_array_equal(part, old)
    assert all(values.dtype == grids[0].dtype for values in made.values())


def test_the_seed_decides_and_neither_other_names_nor_other_sections_do(grids):
    features, xy, section = grids
    own = section == "two"
    for name in ("shuffled", "noise"):
        whole = controls(*grids, seed=3)[name]
        alone = controls(features[own], xy[own], section[own], [name], seed=3)[name]
        np.testing.assert_array_equal(whole[own], alone)
        assert (controls(*grids, names=[name], seed=4)[name] != whole).any()
    twins = np.r_[features[own], features[own]], np.r_[xy[own], xy[own]], np.repeat(["a", "b"], 108)
    shuffled = controls(*twins, names=["shuffled"])["shuffled"]
    assert (shuffled[:108] != shuffled[108:]).any()


def test_a_section_of_one_spot_has_all_controls():
    made = controls(np.ones((1, 3), np.float32), np.zeros((1, 2)), np.array(["one"]))
    assert all(np.isfinite(values).all() for values in made.values())
