import numpy as np
import pytest

from synthome.models.remainder import Remainder


def correlated(n=400, k=4, p=30, seed=0):
    """Genes that follow the first k, and a factor that they share beside it."""
    rng = np.random.default_rng(seed)
    y = np.array(["a", "b"])[np.arange(n) % 2]
    s = rng.standard_normal((n, k)) + 2.0 * (y == "a")[:, None]
    slopes = rng.standard_normal((k, p - k))
    factor = rng.standard_normal((n, 1)) * rng.standard_normal(p - k)
    rest = s @ slopes + factor + 0.5 * rng.standard_normal((n, p - k))
    return np.hstack([s, rest]), y, slopes


def test_the_genes_outside_follow_those_inside_as_least_squares_says():
    x, y, slopes = correlated()
    fitted = Remainder.fit(x, y, np.arange(4))
    np.testing.assert_allclose(fitted.weights[:, 4:], slopes, atol=0.4)
    assert np.corrcoef(fitted.weights[:, 4:].ravel(), slopes.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(fitted.weights[:, :4], np.eye(4), atol=0.1)


def test_drawn_rows_have_the_covariance_of_the_class():
    """Signature genes as they are given, the others with what they share among themselves."""
    x, y, _ = correlated()
    fitted = Remainder.fit(x, y, np.arange(4))
    rng = np.random.default_rng(1)
    rows = np.flatnonzero(y == "a")[rng.integers(0, 200, 20_000)]
    drawn = fitted.draw(x[rows, :4], y[rows], rng)
    np.testing.assert_array_equal(drawn[:, :4], x[rows, :4])
    real = np.cov(x[y == "a"], rowvar=False)
    new = np.cov(drawn, rowvar=False)
    assert np.abs(new - real).max() < 0.15 * np.abs(real).max()
    np.testing.assert_allclose(drawn.mean(axis=0), x[rows].mean(axis=0), atol=0.15)


def test_no_row_of_a_patient_is_kept():
    """Fewer axes than patients, and noise of its own for each gene."""
    x, y, _ = correlated(n=24)
    fitted = Remainder.fit(x, y, np.arange(4))
    assert len(fitted.root.rows) == 2
    assert (fitted.root.own[4:] > 0).all()


def test_it_is_rebuilt_from_its_state():
    x, y, _ = correlated(n=30)
    fitted = Remainder.fit(x, y, np.array([5, 2]))
    again = Remainder.from_state(fitted.classes, fitted.state())
    first, second = (
        each.draw(x[:9, [5, 2]], y[:9], np.random.default_rng(0)) for each in (fitted, again)
    )
    np.testing.assert_array_equal(first, second)


def test_a_signature_without_spread_foretells_nothing():
    x, y, _ = correlated(n=30)
    x[:, 0] = 3.0
    fitted = Remainder.fit(x, y, np.array([0]))
    drawn = fitted.draw(x[:6, :1], y[:6], np.random.default_rng(0))
    assert np.isfinite(drawn).all()
    assert fitted.weights[0, 1:] == pytest.approx(0.0)
