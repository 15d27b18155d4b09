import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import preprocessing as reference

from synthome.preprocessing.scaling import MinMaxScaler, Standardiser

SCALERS = [Standardiser, MinMaxScaler]
shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
matrices = st.one_of(
    arrays(np.float64, shapes, elements=st.floats(-1e6, 1e6)),
    arrays(np.float32, shapes, elements=st.floats(-(2**20), 2**20, width=32)),
)


@pytest.mark.parametrize("scaler", SCALERS)
@given(x=matrices)
@settings(deadline=None, max_examples=100)
def test_invert_undoes_transform_in_the_type_of_the_input(scaler, x):
    fitted = scaler.fit(x)
    scaled = fitted.transform(x)
    back = fitted.invert(scaled)
    assert scaled.dtype == back.dtype == x.dtype
    assert np.isfinite(scaled).all()
    size = np.abs(x).max(axis=0) + np.ptp(x, axis=0)
    assert (np.abs(back - x) <= 4 * np.finfo(x.dtype).eps * size).all()


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_gene_becomes_zero_and_comes_back_as_itself(scaler, dtype):
    """The mean of equal numbers is off by a rounding error, which must not become a spread."""
    x = np.full((7, 3), [0.0, 0.1, 1e5 / 3], dtype=dtype)
    fitted = scaler.fit(x)
    np.testing.assert_array_equal(fitted.transform(x), 0)
    np.testing.assert_array_equal(fitted.scale, 1)
    np.testing.assert_array_equal(fitted.invert(np.zeros_like(x)), x)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Standardiser, reference.StandardScaler), (MinMaxScaler, reference.MinMaxScaler)],
)
def test_scalers_agree_with_scikit_learn_on_rows_they_have_not_seen(ours, theirs):
    rng = np.random.default_rng(0)
    train, test = rng.gamma(2, 3, (30, 20)), rng.gamma(2, 3, (9, 20))
    train[:, 4] = 1.7
    actual = ours.fit(train).transform(test)
    np.testing.assert_allclose(actual, theirs().fit(train).transform(test), rtol=1e-12, atol=1e-12)


def test_min_max_fills_the_unit_interval_exactly():
    """A sigmoid output can never exceed 1: not even the largest training value may."""
    x = np.random.default_rng(1).normal(size=(40, 500)).astype(np.float32)
    scaled = MinMaxScaler.fit(x).transform(x)
    np.testing.assert_array_equal(scaled.min(axis=0), 0)
    np.testing.assert_array_equal(scaled.max(axis=0), 1)


@pytest.mark.parametrize("scaler", SCALERS)
def test_state_gives_the_same_scaler_back(scaler):
    x = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
    fitted = scaler.fit(x)
    again = scaler.from_state(fitted.state())
    assert type(again) is scaler
    np.testing.assert_array_equal(again.transform(x), fitted.transform(x))
    assert again.shift.dtype == np.float32
