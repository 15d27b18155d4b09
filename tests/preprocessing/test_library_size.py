import numpy as np
import pytest

from synthome.errors import InputError
from synthome.preprocessing.library_size import LibrarySizes


def test_large_classes_keep_their_own_median_and_spread():
    rng = np.random.default_rng(0)
    labels = np.repeat(["case", "control"], 2000)
    median = np.where(labels == "case", 2e7, 6e7)
    spread = np.where(labels == "case", 0.1, 0.4)
    fitted = LibrarySizes.fit(median * np.exp(rng.normal(0, spread)), labels)
    drawn = fitted.draw(np.repeat(["case", "control"], 20_000), rng)
    for name, m, s in (("case", 2e7, 0.1), ("control", 6e7, 0.4)):
        mine = np.log(drawn[:20_000] if name == "case" else drawn[20_000:])
        assert np.median(mine) == pytest.approx(np.log(m), abs=0.03)
        assert mine.std() == pytest.approx(s, rel=0.05)
    np.testing.assert_array_equal(drawn, drawn.round())


def test_a_tiny_class_leans_on_the_pooled_library_sizes():
    """Three equal depths must neither be published as they are, nor give a spread of zero."""
    rng = np.random.default_rng(1)
    many = 4e7 * np.exp(rng.normal(0, 0.3, 40))
    fitted = LibrarySizes.fit(np.append(many, [1e7] * 3), np.array(["many"] * 40 + ["few"] * 3))
    few, lots = fitted.loc
    pooled = np.log(np.append(many, [1e7] * 3)).mean()
    assert few == pytest.approx((3 * np.log(1e7) + 5 * pooled) / 8)  # by hand
    assert np.log(1e7) < few < lots
    assert fitted.scale[0] == pytest.approx(np.sqrt(5 / 7 * np.log(many).var() * 40 / 41))


def test_one_sample_per_class_still_gives_a_draw():
    fitted = LibrarySizes.fit(np.array([1e6, 2e6]), np.array(["a", "b"]))
    assert (fitted.draw(["a", "b", "a"], np.random.default_rng(0)) > 0).all()


def test_an_unknown_class_is_an_error_with_the_known_ones():
    fitted = LibrarySizes.fit(np.array([1e6, 2e6]), np.array(["a", "b"]))
    with pytest.raises(InputError, match=r"class c, d: the training data have a, b"):
        fitted.draw(["a", "d", "c"], np.random.default_rng(0))
