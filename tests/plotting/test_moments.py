import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from synthome.plotting.moments import line_fit, moments_figure


@given(arrays(float, 12, elements=st.floats(-10, 10)), st.integers(0, 1000))
def test_the_fit_agrees_with_scipy(real, seed):
    synthetic = 0.5 * real + np.random.default_rng(seed).normal(size=12)
    if np.ptp(real) < 1e-3:
        return
    expected = stats.linregress(real, synthetic)
    r2, slope, intercept = line_fit(real, synthetic)
    np.testing.assert_allclose([slope, intercept], [expected.slope, expected.intercept], atol=1e-7)
    np.testing.assert_allclose(r2, expected.rvalue**2, atol=1e-7)


def test_the_fit_is_that_of_the_scores(cohort, synthetic):
    """The figure must show the number that metrics.json holds."""
    from synthome.evaluation import fidelity

    spread = cohort.X.std(axis=0, ddof=1), np.asarray(synthetic.X, float).std(axis=0, ddof=1)
    r2, slope, _ = line_fit(*spread)
    assert slope == pytest.approx(fidelity.slope(*spread))
    assert r2 == pytest.approx(fidelity.squared_pearson(*spread))


def test_halved_spread_shows_in_the_slope_and_hides_in_r2(cohort, texts_of):
    """The published figure gave R² alone; this is what it hid."""
    halved = cohort[:27].copy()
    halved.X = halved.X.mean(axis=0) + 0.5 * (halved.X - halved.X.mean(axis=0))
    mean, spread = (t for t in texts_of(moments_figure(cohort, halved)) if t.startswith("slope"))
    assert mean.splitlines()[:2] == ["slope = 1.00", "R² = 1.000"]
    assert spread.splitlines()[:2] == ["slope = 0.50", "R² = 1.000"]


def test_genes_that_do_not_differ_have_no_slope():
    assert np.isnan(line_fit(np.ones(5), np.arange(5.0))).all()
    r2, slope, _ = line_fit(np.arange(5.0), np.ones(5))
    assert np.isnan(r2)
    assert slope == 0.0
