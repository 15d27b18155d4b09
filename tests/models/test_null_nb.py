"""A search by SciPy, one gene at a time, is the reference."""

import numpy as np
import pytest
import torch
from scipy import optimize, sparse, stats

from synthome.csr import CSRRows
from synthome.models import null_nb
from synthome.models.null_nb import LOG_THETA, NullNB

THETA = np.array([0.1, 0.5, 2.0, 10.0, 1.0, 0.3])
SHARE = np.array([0.3, 0.01, 0.2, 0.4, 0.05, 0.04])


def cells(n_obs: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts of six genes, and the sizes that gave them."""
    rng = np.random.default_rng(seed)
    library_size = 40 * np.exp(rng.normal(0, 0.5, n_obs))
    mu = np.outer(library_size, SHARE)
    x = rng.poisson(mu * rng.gamma(THETA, 1 / THETA, mu.shape)).astype(float)
    return x, library_size


def logpmf(x: np.ndarray, mu: np.ndarray, theta: float) -> np.ndarray:
    return stats.nbinom.logpmf(x, n=theta, p=theta / (theta + mu))


@pytest.mark.parametrize("block", [1, 2**22])
def test_dispersion_is_the_most_likely_one(block, monkeypatch):
    monkeypatch.setattr(null_nb, "BLOCK", block)
    x, library_size = cells()
    fitted = NullNB.fit(sparse.csr_matrix(x), library_size)
    share = (x.sum(axis=0) + 0.5) / (x.sum() + 3.0)
    np.testing.assert_allclose(np.exp(fitted.log_share), share)
    for j, p in enumerate(share):
        best = optimize.minimize_scalar(
            lambda log_theta, j=j, p=p: -logpmf(x[:, j], library_size * p, np.exp(log_theta)).sum(),
            bounds=LOG_THETA,
            method="bounded",
            options={"xatol": 1e-5},
        )
        assert fitted.log_theta[j] == pytest.approx(best.x, abs=1e-3)


def test_dense_and_sparse_counts_give_the_same():
    x, library_size = cells()
    dense, thin = NullNB.fit(x, library_size), NullNB.fit(sparse.csc_matrix(x), library_size)
    np.testing.assert_array_equal(dense.log_theta, thin.log_theta)
    np.testing.assert_array_equal(dense.log_share, thin.log_share)


def test_genes_without_spread_and_without_counts_end_at_the_edges():
    """Counts that spread less than a Poisson law are one; a gene never seen has no share."""
    library_size = np.full(200, 12.0)
    x = np.zeros((200, 3))
    x[:, 0] = 10.0
    x[0, 1] = 400.0
    fitted = NullNB.fit(x, library_size)
    assert fitted.log_theta[0] == pytest.approx(LOG_THETA[1], abs=1e-4)
    assert fitted.log_theta[1] < -3.0
    assert np.isfinite(fitted.log_share).all()
    assert np.exp(fitted.log_share).sum() == pytest.approx(1.0)
    assert fitted.log_share[2] < fitted.log_share[1] < fitted.log_share[0]


def test_the_likelihood_of_a_cell_is_scipys():
    x, library_size = cells()
    fitted = NullNB.fit(x, library_size)
    expected = sum(
        logpmf(x[:, j], library_size * np.exp(p), np.exp(t))
        for j, (p, t) in enumerate(zip(fitted.log_share, fitted.log_theta, strict=True))
    )
    actual = fitted.row_nll(CSRRows.of(x), torch.tensor(library_size, dtype=torch.float32))
    np.testing.assert_allclose(actual, -expected, rtol=1e-4)  # counts of 200, in floats


@pytest.mark.parametrize("block", [100, 2**22])
def test_zeros_beyond_the_law_are_seen(block, monkeypatch):
    """None in counts of the law itself; a tenth of all entries where as many were wiped out."""
    monkeypatch.setattr(null_nb, "BLOCK", block)
    x, library_size = cells(2000)
    share = NullNB.fit(x, library_size).excess_zeros(sparse.csr_matrix(x), library_size)
    assert abs(share) < 0.01
    rng = np.random.default_rng(1)
    x[:, 3] = rng.poisson(60, 2000) * (rng.random(2000) < 0.4)  # 60 % zeros, where 0 is unheard of
    library_size = np.full(2000, 150.0)
    fitted = NullNB.fit(x, library_size)
    mu = np.outer(library_size, np.exp(fitted.log_share))
    theta = np.exp(fitted.log_theta)
    by_hand = ((x == 0) - (theta / (theta + mu)) ** theta).mean()
    found = fitted.excess_zeros(sparse.csr_matrix(x), library_size)
    assert found == pytest.approx(by_hand, abs=1e-9)
    assert found > 0.015
