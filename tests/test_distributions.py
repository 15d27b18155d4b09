"""SciPy and the dense formulas in double precision are the references."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from synthome import distributions
from synthome.csr import CSRRows
from synthome.distributions import (
    nb_log_prob,
    nb_row_log_prob,
    poisson_log_prob,
    softmax_nb,
    softmax_nb_rows,
    softmax_poisson,
    zinb_log_prob,
)

SHAPE = (4, 3)
COUNTS = hnp.arrays(np.float64, SHAPE, elements=st.integers(0, 10_000).map(float))
LOG_MU = hnp.arrays(np.float64, SHAPE, elements=st.floats(-12, 10))
LOG_THETA = hnp.arrays(np.float64, SHAPE[1], elements=st.floats(-5, 8))
PI_LOGITS = hnp.arrays(np.float64, SHAPE, elements=st.floats(-20, 20))


def nbinom(counts: np.ndarray, log_mu: np.ndarray, log_theta: np.ndarray) -> np.ndarray:
    mu, theta = np.exp(log_mu), np.exp(log_theta)
    return stats.nbinom.logpmf(counts, n=theta, p=theta / (theta + mu))


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, log_mu=LOG_MU, log_theta=LOG_THETA)
def test_nb_log_prob_agrees_with_scipy(counts, log_mu, log_theta):
    """SciPy's nbinom, in its own (n, p) form, is the independent reference."""
    actual = nb_log_prob(*map(torch.from_numpy, (counts, log_mu, log_theta)))
    np.testing.assert_allclose(actual, nbinom(counts, log_mu, log_theta), rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, log_mu=LOG_MU, log_theta=LOG_THETA)
def test_nb_of_rows_is_the_sum_over_genes(counts, log_mu, log_theta):
    """SciPy again; and slopes are those of the formula that makes no difference of zeros."""
    rows, dense = CSRRows.of(counts), torch.from_numpy(counts)
    inputs = [torch.from_numpy(x).requires_grad_() for x in (log_mu, log_theta)]
    actual = nb_row_log_prob(rows, *inputs)
    expected = nbinom(counts, log_mu, log_theta)
    np.testing.assert_allclose(
        actual.detach(), expected.sum(axis=1), rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
    slopes = torch.autograd.grad(actual.sum(), inputs)
    for slope, own in zip(
        slopes, torch.autograd.grad(nb_log_prob(dense, *inputs).sum(), inputs), strict=True
    ):
        np.testing.assert_allclose(slope, own, rtol=1e-4, atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, log_mu=LOG_MU, log_theta=LOG_THETA, pi_logits=PI_LOGITS)
def test_zinb_log_prob_is_a_mixture_with_zero(counts, log_mu, log_theta, pi_logits):
    pi = special.expit(pi_logits)
    nb = np.exp(nbinom(counts, log_mu, log_theta))
    with np.errstate(divide="ignore"):
        expected = np.log(pi * (counts == 0) + (1 - pi) * nb)
    actual = zinb_log_prob(*map(torch.from_numpy, (counts, log_mu, log_theta, pi_logits))).numpy()
    seen = expected > -700  # a probability below may be no normal float; its log must be
    np.testing.assert_allclose(actual[seen], expected[seen], rtol=1e-6, atol=1e-6)
    assert (actual[~seen] < -699).all()


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, log_mu=LOG_MU)
def test_poisson_log_prob_agrees_with_scipy_and_is_the_limit_of_large_theta(counts, log_mu):
    actual = poisson_log_prob(*map(torch.from_numpy, (counts, log_mu)))
    np.testing.assert_allclose(
        actual, stats.poisson.logpmf(counts, np.exp(log_mu)), rtol=1e-6, atol=1e-6
    )
    few, small = np.minimum(counts, 20.0), np.minimum(log_mu, 3.0)
    limit = nb_log_prob(*map(torch.from_numpy, (few, small, np.full(SHAPE[1], 18.0))))
    np.testing.assert_allclose(
        limit, stats.poisson.logpmf(few, np.exp(small)), rtol=1e-4, atol=1e-4
    )


class Case:
    """Sparse counts with the tensors that give their law, in double precision."""

    def __init__(
        self,
        n_obs: int = 11,
        n_vars: int = 60,
        per_row: bool = False,
        inflated: bool = False,
        spread: float = 2.0,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        mu = np.exp(rng.normal(-1, 2, (n_obs, n_vars)))
        self.x = rng.negative_binomial(0.8, 0.8 / (0.8 + mu)).astype(float)
        self.x[3] = 0.0  # a row without counts
        self.x[4, :] = 0.0
        self.x[4, 7] = 1.0  # and one with a single one
        self.logits = torch.from_numpy(rng.normal(0, spread, (n_obs, n_vars)))
        self.library_size = torch.from_numpy(np.maximum(self.x.sum(axis=1), 1.0))
        shape = (n_obs, n_vars) if per_row else (n_vars,)
        self.log_theta = torch.from_numpy(rng.normal(0, 1.5, shape))
        self.pi_logits = torch.from_numpy(rng.normal(0, 2, (n_obs, n_vars))) if inflated else None

    @property
    def given(self) -> list[torch.Tensor]:
        """What has a gradient."""
        every = (self.logits, self.log_theta, self.pi_logits)
        return [part for part in every if part is not None]

    def dense(self, logits, log_theta, pi_logits=None) -> torch.Tensor:
        """Log-likelihood of each row by the dense formulas."""
        log_mu = logits.log_softmax(-1) + self.library_size.log()[:, None]
        law = nb_log_prob if pi_logits is None else zinb_log_prob
        more = [] if pi_logits is None else [pi_logits]
        return law(torch.from_numpy(self.x), log_mu, log_theta, *more).sum(-1)

    def sparse(self, function, *parts) -> torch.Tensor:
        logits, *more = (part.float() for part in parts)
        return function(CSRRows.of(self.x), logits, self.library_size.float(), *more)


CASES = [
    pytest.param({"per_row": per_row, "inflated": inflated}, id=f"{rows} {law}")
    for per_row, rows in ((False, "theta of genes"), (True, "theta of entries"))
    for inflated, law in ((False, "nb"), (True, "zinb"))
]


@pytest.mark.parametrize("block", [1, 150, 2**18], ids="block of {}".format)
@pytest.mark.parametrize("options", CASES)
def test_the_sparse_likelihood_is_the_dense_one(options, block, monkeypatch):
    """Value of each row and of their mean, to 1e-5, in blocks of one row, of two, of all."""
    monkeypatch.setattr(distributions, "BLOCK", block)
    case = Case(**options)
    expected = case.dense(*case.given)
    np.testing.assert_allclose(case.sparse(softmax_nb_rows, *case.given), expected, rtol=1e-5)
    np.testing.assert_allclose(case.sparse(softmax_nb, *case.given), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("block", [150, 2**18], ids="block of {}".format)
@pytest.mark.parametrize("options", CASES)
def test_the_sparse_gradient_is_that_of_the_dense_formula(options, block, monkeypatch):
    monkeypatch.setattr(distributions, "BLOCK", block)
    case = Case(**options)
    ours, theirs = (
        [part.clone().requires_grad_() for part in case.given] for _ in ("ours", "theirs")
    )
    (3.0 * case.sparse(softmax_nb, *ours)).backward()
    (3.0 * case.dense(*theirs).mean()).backward()
    for one, other in zip(ours, theirs, strict=True):
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize("options", CASES)
def test_the_gradient_is_the_slope_of_the_value(options):
    """Finite differences of the dense formula, along random directions."""
    case = Case(n_obs=6, n_vars=15, **options)
    parts = [part.clone().requires_grad_() for part in case.given]
    case.sparse(softmax_nb, *parts).backward()
    rng = np.random.default_rng(1)
    for _ in range(5):
        ways = [torch.from_numpy(rng.normal(size=part.shape)) for part in parts]
        ends = [
            case.dense(*(p.detach() + h * w for p, w in zip(parts, ways, strict=True))).mean()
            for h in (1e-5, -1e-5)
        ]
        slope = sum(float((p.grad * w).sum()) for p, w in zip(parts, ways, strict=True))
        assert slope == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("options", CASES)
def test_extreme_compositions_stay_finite_and_right(options):
    """Shares that are no float at all, with counts where they are; theta from 1e-4 to 1e4."""
    case = Case(spread=60.0, **options)
    rng = np.random.default_rng(2)
    case.log_theta = torch.from_numpy(rng.uniform(-9, 9, case.log_theta.shape))
    parts = [part.clone().requires_grad_() for part in case.given]
    expected = case.dense(*case.given)
    assert float(expected.min()) < -500  # counts where none are expected
    actual = case.sparse(softmax_nb_rows, *case.given)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    case.sparse(softmax_nb, *parts).backward()
    assert all(torch.isfinite(part.grad).all() for part in parts)


def test_counts_of_reads_keep_their_precision():
    """Counts in the thousands, theta up to 3,000: differences of large log-gammas."""
    case = Case()
    case.x = np.rint(case.x * 500)
    case.library_size = torch.from_numpy(np.maximum(case.x.sum(axis=1), 1.0))
    case.log_theta = torch.linspace(0, 8, case.x.shape[1], dtype=torch.float64)
    ours, theirs = ([part.clone().requires_grad_() for part in case.given] for _ in range(2))
    value, expected = case.sparse(softmax_nb, *ours), case.dense(*theirs).mean()
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    value.backward()
    expected.backward()
    for one, other in zip(ours, theirs, strict=True):
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5 * scale)


def test_a_row_without_counts_is_as_likely_as_its_zeros():
    case = Case()
    alone = CSRRows.of(case.x[3:4])
    assert len(alone.values) == 0
    logits, size = case.logits[3:4].float(), torch.tensor([5.0])
    theta = case.log_theta.exp()
    mu = 5.0 * case.logits[3:4].softmax(-1)
    expected = (theta * (theta / (theta + mu)).log()).sum()
    actual = softmax_nb_rows(alone, logits, size, case.log_theta.float())
    assert float(actual) == pytest.approx(float(expected), rel=1e-5)


def test_values_alone_are_computed_without_gradients():
    case = Case()
    logits = case.logits.float().requires_grad_()
    rows = softmax_nb_rows(
        CSRRows.of(case.x), logits, case.library_size.float(), case.log_theta.float()
    )
    assert not rows.requires_grad


def test_a_second_backward_is_refused():
    """The gradient is handed over, and not kept: a second one would be scaled twice."""
    case = Case()
    parts = [part.clone().requires_grad_() for part in case.given]
    value = case.sparse(softmax_nb, *parts)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_softmax_poisson_is_the_poisson_law_of_the_composition():
    case = Case()
    logits, other = (case.logits.clone().requires_grad_() for _ in range(2))
    actual = case.sparse(softmax_poisson, logits)
    log_mu = other.log_softmax(-1) + case.library_size.log()[:, None]
    expected = poisson_log_prob(torch.from_numpy(case.x), log_mu).sum(-1)
    reference = stats.poisson.logpmf(case.x, log_mu.detach().exp()).sum(axis=1)
    np.testing.assert_allclose(expected.detach(), reference, rtol=1e-9)
    np.testing.assert_allclose(actual.detach(), reference, rtol=1e-5)
    actual.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(logits.grad, other.grad, rtol=1e-4, atol=1e-4)
