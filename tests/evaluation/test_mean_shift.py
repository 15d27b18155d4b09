"""The shift of a gene: that of a likelihood fit, at a speed of one step, and with honest errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse, stats

from synthome.evaluation.biology import welch_t
from synthome.evaluation.mean_shift import (
    latent_shift,
    mean_shift,
    residual_shift,
    score_and_information,
    weighted_median,
)
from synthome.evaluation.utility import average_precision


def expected(n, n_vars, seed, n_latent=3, depth=800.0, spread=0.4, level=1.0):
    """A linear decoder: latents, loadings, and the expected counts of n cells."""
    genes = np.random.default_rng(99)
    loadings = spread * genes.standard_normal((n_latent, n_vars))
    bias = level * genes.standard_normal(n_vars)
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, n_latent))
    eta = z @ loadings + bias
    rho = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    return depth * np.exp(0.3 * rng.standard_normal((n, 1))) * rho


def drawn(mu, theta, seed, fold=1.0):
    rng = np.random.default_rng(seed)
    return rng.poisson(fold * mu * rng.gamma(theta, 1 / theta, mu.shape)).astype(float)


def test_score_and_information_are_the_derivatives_of_the_likelihood():
    """SciPy's nbinom at a log fold change of +- h: the slope is S, the mean curvature -I."""
    mu, theta = expected(40, 5, 0), np.array([0.5, 1.0, 2.0, 5.0, 50.0])
    x = drawn(mu, theta, 1)

    def log_likelihood(delta, counts):
        m = mu * np.exp(delta)
        return stats.nbinom.logpmf(counts, theta, theta / (theta + m)).sum(axis=0)

    h = 1e-4
    score, information = score_and_information(x, mu, theta)
    slope = (log_likelihood(h, x) - log_likelihood(-h, x)) / (2 * h)
    np.testing.assert_allclose(score, slope, rtol=1e-4, atol=1e-5)
    many = [score_and_information(drawn(mu, theta, s), mu, theta)[0] for s in range(2000)]
    np.testing.assert_allclose(np.var(many, axis=0), information, rtol=0.12)  # Fisher's identity


def test_one_step_is_close_to_the_maximum_of_the_likelihood():
    """A direct maximisation for each gene, at log fold changes that one step can bridge."""
    fold = np.array([0.6, 0.8, 1.0, 1.25, 1.6])
    mu, theta = expected(3000, 5, 0), np.full(5, 3.0)
    x = drawn(mu, theta, 1, fold)
    u, information = residual_shift(x, mu, theta)
    for g in range(5):

        def loss(delta, g=g):
            m = mu[:, g] * np.exp(delta)
            return -stats.nbinom.logpmf(x[:, g], theta[g], theta[g] / (theta[g] + m)).sum()

        best = optimize.minimize_scalar(loss, bounds=(-2, 2), method="bounded").x
        assert u[g] == pytest.approx(best, abs=0.13 * abs(best) + 2e-3)
        assert best == pytest.approx(np.log(fold[g]), abs=4 / np.sqrt(information[g]))


def test_a_large_change_is_read_on_the_scale_of_the_logarithm():
    """Factors of 6 and 1 / 6, and the errors that repeated draws show, rare and common genes."""
    fold = np.where(np.arange(60) < 3, 6.0, np.where(np.arange(60) < 6, 1 / 6.0, 1.0))
    theta, mu = np.full(60, 5.0), [expected(500, 60, seed) for seed in (1, 2)]
    many = [
        mean_shift(drawn(mu[0], theta, s), mu[0], drawn(mu[1], theta, 99 + s, fold), mu[1], theta)
        for s in range(60)
    ]
    shift = np.array([table["shift"] for table in many])
    np.testing.assert_allclose(shift[:, :6].mean(axis=0), np.log(fold[:6]), atol=0.1)
    error = np.mean([table["standard_error"] for table in many], axis=0)
    np.testing.assert_allclose(shift.std(axis=0) / error, 1.0, atol=0.3)


def test_counts_may_be_sparse_and_theta_infinite():
    mu = expected(50, 20, 0)
    x = np.random.default_rng(0).poisson(mu).astype(float)
    theta = np.full(20, np.inf)
    dense, stored = (residual_shift(c, mu, theta) for c in (x, sparse.csr_matrix(x)))
    np.testing.assert_allclose(dense, stored)
    np.testing.assert_allclose(dense[1], mu.sum(axis=0))


def test_z_is_standard_normal_when_nothing_is_perturbed():
    """Other cells with other latents: neither residuals nor composition may raise an alarm."""
    theta = np.full(400, 2.0)
    found = []
    for seed in range(4):
        mu = expected(150, 400, 10 + seed), expected(200, 400, 50 + seed)
        x = [drawn(m, theta, 90 + seed + k) for k, m in enumerate(mu)]
        found.append(mean_shift(x[0], mu[0], x[1], mu[1], theta)["z"].to_numpy())
    z = np.concatenate(found)
    assert np.std(z) == pytest.approx(1.0, abs=0.06)
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.05, abs=0.02)


def test_shift_is_the_log_change_also_when_latents_follow_a_part_of_it():
    """The model of perturbed cells is off by what its latents wrongly follow; the sum is not."""
    n_vars, theta = 300, np.full(300, 5.0)
    fold = np.ones(n_vars)
    fold[:8], fold[8:16] = 1.6, 1 / 1.6
    base, truth = expected(1500, n_vars, 1), expected(1500, n_vars, 2)
    wrong = np.random.default_rng(0).standard_normal(n_vars)
    wrong[:16] = np.log(fold[:16])
    followed = truth * np.exp(0.2 * wrong)
    followed *= truth.sum(axis=1, keepdims=True) / followed.sum(axis=1, keepdims=True)
    table = mean_shift(drawn(base, theta, 3), base, drawn(truth, theta, 4, fold), followed, theta)
    off = (table["shift"] - np.log(fold)) / table["standard_error"]
    assert np.median(np.abs(off)) < 1.2
    assert np.corrcoef(table["shift"], wrong)[0, 1] < 0.5
    assert average_precision(fold > 1, table["z"].to_numpy()) > 0.95
    assert average_precision(fold < 1, -table["z"].to_numpy()) > 0.9


@pytest.mark.parametrize("fold", [2.0, 0.5])
def test_it_finds_genes_that_a_t_test_misses(fold):
    """Cells of several states: the model explains what the t-test takes for noise."""
    n_vars, theta = 500, np.full(500, 3.0)
    found = {"t": [], "z": []}
    for seed in range(3):
        planted = np.zeros(n_vars, dtype=bool)
        planted[np.random.default_rng(seed).choice(n_vars, 40, replace=False)] = True
        mu = [expected(60, n_vars, 5 + 2 * seed + k, spread=0.7, depth=2000.0) for k in (0, 1)]
        x = [drawn(mu[0], theta, seed), drawn(mu[1], theta, 40 + seed, np.where(planted, fold, 1))]
        sign = np.sign(np.log(fold))
        log_x = np.concatenate([np.log1p(1e4 * c / c.sum(axis=1, keepdims=True)) for c in x])
        t = welch_t(log_x, np.repeat(["a", "b"], 60), "b")
        found["t"].append(average_precision(planted, sign * t))
        z = mean_shift(x[0], mu[0], x[1], mu[1], theta)["z"].to_numpy()
        found["z"].append(average_precision(planted, sign * z))
    assert np.mean(found["z"]) > np.mean(found["t"]) + 0.05


def test_the_shift_of_latents_is_that_of_the_decoder_and_nothing_when_cells_are_the_same():
    """A shift of many standard errors, against a draw of other cells."""
    mu = expected(400, 60, 1, spread=0.05)
    moved, variance = latent_shift(mu, mu)
    np.testing.assert_allclose(moved, 0.0, atol=1e-9)
    direction = np.random.default_rng(2).standard_normal(60)
    direction -= direction.mean()
    shift, variance = latent_shift(mu, mu * np.exp(0.5 * direction))
    np.testing.assert_allclose(shift, 0.5 * direction, rtol=0.05, atol=0.01)
    assert (variance > 0).any()
    by_chance, _ = latent_shift(*(expected(400, 60, seed, spread=0.05) for seed in (3, 4)))
    assert np.abs(by_chance).max() < 0.01


def test_the_size_of_libraries_is_no_shift():
    mu = expected(300, 80, 1)
    x = drawn(mu, np.full(80, 2.0), 2)
    one = mean_shift(x, mu, x, mu, np.full(80, 2.0))
    np.testing.assert_allclose(one["shift"], 0.0, atol=1e-9)
    shift, _ = latent_shift(mu, 3.0 * mu)
    np.testing.assert_allclose(shift, 0.0, atol=1e-9)


@given(
    values=st.lists(st.integers(-50, 50), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_a_weighted_median_is_the_median_of_repeated_values(values, seed):
    times = np.random.default_rng(seed).integers(1, 5, len(values))
    repeated = np.repeat(values, times)
    expected_ = np.quantile(repeated, 0.5, method="inverted_cdf")
    assert weighted_median(np.array(values, float), times.astype(float)) == expected_
