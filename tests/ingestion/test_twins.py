import numpy as np
from scipy import stats

from synthome.ingestion.twins import log_values, twins, twins_within

RNG = np.random.default_rng(0)
COUNTS = RNG.negative_binomial(2, 0.001, size=(6, 500)).astype(float)


def test_correlation_agrees_with_scipy():
    x = log_values(COUNTS, "counts")
    near = x[:1] + RNG.normal(0, 1e-3, size=(1, 500))
    ((i, j, r),) = twins(near, x)
    assert (i, j) == (0, 0)
    assert np.isclose(r, stats.pearsonr(near[0], x[0]).statistic, rtol=1e-12)


def test_the_same_library_is_found_whatever_its_depth():
    """Twice the same counts, or the same counts sequenced to twice the depth (nearly)."""
    copies = np.vstack([COUNTS[2], COUNTS[4] * 2])
    found = {
        (i, j) for i, j, _ in twins(log_values(copies, "linear"), log_values(COUNTS, "counts"))
    }
    assert (0, 2) in found


def test_technical_replicates_are_no_twins():
    """Two draws of one RNA: Poisson noise alone keeps them below the threshold."""
    mean = RNG.lognormal(4, 2, size=2000)
    replicates = RNG.poisson(mean, size=(2, 2000)).astype(float)
    assert twins_within(log_values(replicates, "counts")) == []


def test_each_pair_is_named_once():
    assert [(i, j) for i, j, _ in twins_within(np.vstack([COUNTS, COUNTS[:1]]))] == [(0, 6)]


def test_a_constant_row_is_nobodys_twin():
    assert twins(np.ones((1, 10)), np.ones((2, 10))) == []
