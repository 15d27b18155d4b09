"""Fidelity scores against SciPy, brute force, and the cases in which the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from synthome.evaluation import fidelity


def rows(n, p=20, seed=0, scale=None):
    rng = np.random.default_rng(seed)
    mix = np.eye(p) + 0.3 * np.random.default_rng(99).standard_normal((p, p))
    spread = np.linspace(0.5, 3.0, p) if scale is None else scale
    return rng.standard_normal((n, p)) @ mix * spread + np.linspace(1, 9, p)


PERFECT = {
    "mean_r2": (fidelity.mean_r2, 1.0),
    "mean_slope": (fidelity.mean_slope, 1.0),
    "std_r2": (fidelity.std_r2, 1.0),
    "std_slope": (fidelity.std_slope, 1.0),
    "diversity": (fidelity.diversity, 1.0),
    "coexpression_r": (fidelity.coexpression_r, 1.0),
    "coexpression_published_r": (fidelity.coexpression_published_r, 1.0),
    "ks_mean": (fidelity.ks_mean, 0.0),
    "beyond_range": (fidelity.beyond_range, 0.0),
    "coverage": (lambda a, b: fidelity.density_and_coverage(a, b)[1], 1.0),
}


@pytest.mark.parametrize("name", PERFECT)
def test_real_rows_against_themselves_are_perfect(name):
    """And values beyond a range that is one's own do not exist."""
    score, best = PERFECT[name]
    assert score(rows(30), rows(30)) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", PERFECT)
def test_the_order_of_rows_and_genes_does_not_matter(name):
    """Neither is a property of a cohort."""
    score, _ = PERFECT[name]
    real, synthetic = rows(25), rows(40, seed=1)
    rng = np.random.default_rng(2)
    genes = rng.permutation(20)
    shuffled = real[rng.permutation(25)][:, genes], synthetic[rng.permutation(40)][:, genes]
    assert score(*shuffled) == pytest.approx(score(real, synthetic), rel=1e-9)


@pytest.mark.parametrize("name", ["std_slope", "coexpression_r", "diversity", "std_r2"])
def test_one_row_has_no_spread_to_compare(name):
    """The honest answer is NaN, not a warning and not zero."""
    assert np.isnan(PERFECT[name][0](rows(30), rows(1)))


def test_slope_and_correlation_agree_with_scipy():
    """Least squares with intercept."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(50), rng.standard_normal(50)
    expected = stats.linregress(x, y)
    assert fidelity.slope(x, y) == pytest.approx(expected.slope)
    assert fidelity.pearson(x, y) == pytest.approx(expected.rvalue)
    assert np.isnan(fidelity.slope(np.ones(50), y))
    assert np.isnan(fidelity.pearson(x, np.ones(50)))


def test_halved_spread_is_seen_by_the_slope_and_hidden_from_r2():
    """The published system halves every spread and reports a std R2 of 0.94."""
    real = rows(60)
    halved = real.mean(axis=0) + 0.5 * (real - real.mean(axis=0))
    assert fidelity.std_r2(real, halved) == pytest.approx(1.0)
    assert fidelity.std_slope(real, halved) == pytest.approx(0.5)
    assert fidelity.diversity(real, halved) == pytest.approx(0.5)
    assert fidelity.mean_r2(real, halved) == pytest.approx(1.0)


def test_independent_noise_has_slope_one_and_no_coexpression():
    """A floor that passes on spread and fails on structure."""
    real = rows(80)
    rng = np.random.default_rng(1)
    noise = real.mean(axis=0) + real.std(axis=0, ddof=1) * rng.standard_normal((20_000, 20))
    assert fidelity.std_slope(real, noise) == pytest.approx(1.0, abs=0.02)
    assert abs(fidelity.coexpression_r(real, noise)) < 0.25
    assert fidelity.coexpression_published_r(real, noise) > 0.5  # the diagonal of ones flatters


def test_distances_agree_with_scipy_far_from_the_origin():
    """The product form loses digits unless it is centred."""
    a, b = rows(12) + 1e4, rows(9, seed=1) + 1e4
    np.testing.assert_allclose(fidelity.squared_distances(a, b), cdist(a, b) ** 2, rtol=1e-9)
    assert fidelity.mean_pairwise_distance(a) == pytest.approx(pdist(a).mean())
    assert fidelity.median_squared_distance(a) == pytest.approx(np.median(pdist(a) ** 2))


def test_correlation_matrix_agrees_with_numpy_and_survives_a_constant_gene():
    """Genes that a generator has frozen are uncorrelated, not NaN."""
    x = rows(30)
    np.testing.assert_allclose(fidelity.correlation_matrix(x), np.corrcoef(x.T), atol=1e-12)
    x[:, 3] = 7.0
    r = fidelity.correlation_matrix(x)
    assert np.isfinite(r).all()
    np.testing.assert_array_equal(np.delete(r[3], 3), 0.0)


def test_most_variable_genes_come_largest_first():
    """By variance."""
    x = rows(50, scale=np.array([1, 5, 2, 4, 3] * 4, dtype=float))
    expected = np.argsort(-x.var(axis=0))[:7]
    np.testing.assert_array_equal(fidelity.most_variable(x, 7), expected)
    assert len(fidelity.most_variable(x, 99)) == 20


def test_mmd2_agrees_with_a_double_loop():
    """Eq. 2 written out."""
    x, y, h2 = rows(6, p=3), rows(5, p=3, seed=1), 2.5
    k = lambda a, b: np.exp(-((a - b) ** 2).sum() / h2)  # noqa: E731
    xx = np.mean([k(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert fidelity.mmd2(x, y, h2) == pytest.approx(xx + yy - 2 * xy)


def test_mmd2_is_zero_on_average_for_one_distribution_and_grows_with_a_shift():
    """Unbiased: half of the values are negative when nothing differs."""
    same, shifted = [], []
    for seed in range(60):
        x, y = rows(15, seed=seed), rows(15, seed=1000 + seed)
        h2 = fidelity.median_squared_distance(x)
        same.append(fidelity.mmd2(x, y, h2))
        shifted.append(fidelity.mmd2(x, y + 2.0, h2))
    standard_error = np.std(same) / np.sqrt(60)
    assert abs(np.mean(same)) < 3 * standard_error
    assert np.mean(shifted) > 10 * standard_error


def test_density_and_coverage_agree_with_their_definition():
    """Naeem et al., eqs. 4 and 5, by loops."""
    real, fake, k = rows(12, p=3), rows(20, p=3, seed=1), 4
    radius = [np.sort(np.linalg.norm(real - r, axis=1))[k] for r in real]
    inside = np.array(
        [[np.linalg.norm(f - r) <= d for f in fake] for r, d in zip(real, radius, strict=True)]
    )
    density, coverage = fidelity.density_and_coverage(real, fake, k)
    assert density == pytest.approx(inside.sum() / (k * 20))
    assert coverage == pytest.approx(inside.any(axis=1).mean())


def test_density_of_the_same_distribution_is_one_on_average():
    """The expectation that the paper proves; coverage then is 1 - 2^-k or so."""
    found = [
        fidelity.density_and_coverage(rows(40, p=4, seed=s), rows(40, p=4, seed=500 + s))
        for s in range(80)
    ]
    density, coverage = np.mean(found, axis=0)
    assert density == pytest.approx(1.0, abs=0.05)
    assert coverage == pytest.approx(1 - 2.0**-5, abs=0.03)


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 12), m=st.integers(1, 12), levels=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_ks_agrees_with_its_definition_with_and_without_ties(n, m, levels, seed):
    """Counts are full of ties; a distribution function steps after the last of them."""
    rng = np.random.default_rng(seed)
    real = rng.integers(levels, size=(n, 5)).astype(float)
    fake = rng.integers(levels, size=(m, 5)).astype(float)
    gaps = [np.abs((real <= at).mean(axis=0) - (fake <= at).mean(axis=0)) for at in range(levels)]
    assert fidelity.ks_mean(real, fake) == pytest.approx(np.max(gaps, axis=0).mean())


def test_ks_agrees_with_scipy():
    """Without ties, as a second opinion."""
    real, fake = rows(17), rows(23, seed=1)
    expected = [stats.ks_2samp(real[:, j], fake[:, j]).statistic for j in range(20)]
    assert fidelity.ks_mean(real, fake) == pytest.approx(np.mean(expected))


def test_new_rows_leave_the_range_as_often_as_chance_demands():
    """2 / (n + 1) for any distribution, here a skewed one; clipped rows never leave it."""
    rng = np.random.default_rng(0)
    real, new = rng.lognormal(size=(34, 3000)), rng.lognormal(size=(20, 3000))
    assert fidelity.beyond_range(real, new) == pytest.approx(1.0, abs=0.05)
    assert fidelity.beyond_range(real, np.clip(new, real.min(axis=0), real.max(axis=0))) == 0.0


def test_the_middle_range_holds_its_share_and_a_narrow_one_less():
    """Halved spread keeps 59 % instead of 90 %: P(|z| < 1.645 / 2)."""
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((500, 40)), rng.standard_normal((2000, 40))
    assert fidelity.interval_coverage(real, fake) == pytest.approx(0.9, abs=0.01)
    expected = 2 * stats.norm.cdf(stats.norm.ppf(0.95) / 2) - 1
    assert fidelity.interval_coverage(real, fake / 2) == pytest.approx(expected, abs=0.01)
