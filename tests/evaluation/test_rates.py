"""Rates and intervals against scikit-learn, SciPy, closed forms and simulated coverage."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from synthome.evaluation.rates import (
    Z95,
    auc,
    auc_interval,
    binomial_interval,
    resampled_interval,
    tpr_at_fpr,
)

scores = st.lists(st.integers(-3, 3), min_size=1, max_size=20).map(np.array)


@settings(deadline=None)
@given(positive=scores, negative=scores)
def test_auc_agrees_with_scikit_learn_ties_included(positive, negative):
    """Mann-Whitney with ties at one half."""
    positive, negative = positive.astype(float), negative.astype(float)
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    expected = roc_auc_score(truth, np.concatenate([positive, negative]))
    assert auc(positive, negative) == pytest.approx(expected)
    assert auc(negative, positive) == pytest.approx(1 - expected)


@settings(deadline=None)
@given(positive=scores, negative=scores, fpr=st.sampled_from([0.01, 0.1, 0.3, 1.0]))
def test_detection_rate_is_the_best_threshold_that_keeps_false_alarms_low(positive, negative, fpr):
    """By trying every threshold."""
    positive, negative = positive.astype(float), negative.astype(float)
    thresholds = np.append(np.concatenate([positive, negative]), -np.inf)
    allowed = [t for t in thresholds if (negative > t).mean() <= fpr + 1e-12]
    expected = max((positive > t).mean() for t in allowed)
    assert tpr_at_fpr(positive, negative, fpr) == pytest.approx(expected)


def test_one_percent_of_43_people_is_nobody():
    """So that one loud non-member silences the attack."""
    negative = np.append(np.zeros(42), 10.0)
    assert tpr_at_fpr(np.full(5, 9.0), negative, 0.01) == 0.0
    assert tpr_at_fpr(np.full(5, 9.0), negative, 0.10) == 1.0


@pytest.mark.parametrize("value", [0.5, 0.7, 0.95, 1.0])
@pytest.mark.parametrize(("m", "n"), [(43, 43), (34, 9), (675, 169)])
def test_auc_interval_solves_newcombes_score_equation(value, m, n):
    """Each limit is z standard errors away, the error taken at the limit (2006, method 5)."""
    for limit in auc_interval(value, m, n):
        if 0 < limit < 1:
            half = (m + n) / 2 - 1
            spread = 1 + half * ((1 - limit) / (2 - limit) + limit / (1 + limit))
            error = math.sqrt(limit * (1 - limit) * spread / (m * n))
            assert abs(value - limit) == pytest.approx(Z95 * error, rel=1e-6)


def test_auc_interval_is_mirrored_and_has_width_at_one():
    """A Wald interval has none there, where a broken generator lies."""
    low, high = auc_interval(0.8, 30, 20)
    assert auc_interval(1 - 0.8, 30, 20) == pytest.approx((1 - high, 1 - low))
    low, high = auc_interval(1.0, 43, 43)
    assert high == 1.0
    assert 0.90 < low < 0.99
    assert np.isnan(auc_interval(float("nan"), 3, 3)).all()


@pytest.mark.parametrize(("shift", "m", "n"), [(0.0, 34, 9), (1.0, 20, 20), (2.5, 20, 20)])
def test_auc_interval_covers_the_truth_in_19_of_20_cohorts(shift, m, n):
    """1,000 simulated cohorts leave a standard error of 0.7 percent."""
    rng = np.random.default_rng(0)
    interval = cache(lambda value: auc_interval(value, m, n))
    truth = stats.norm.cdf(shift / math.sqrt(2))
    hits = 0
    for _ in range(1000):
        low, high = interval(auc(rng.standard_normal(m) + shift, rng.standard_normal(n)))
        hits += low <= truth <= high
    assert 0.93 < hits / 1000 <= 0.99


@pytest.mark.parametrize(("k", "n"), [(0, 43), (3, 43), (43, 43), (17, 170)])
def test_binomial_interval_agrees_with_scipy(k, n):
    """Clopper-Pearson for whole numbers of successes."""
    expected = stats.binomtest(k, n).proportion_ci(method="exact")
    assert binomial_interval(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_binomial_interval_of_a_fraction_lies_between_its_neighbours():
    """A rate pooled over folds is not always a whole number of patients."""
    low, high = binomial_interval(3.5 / 43, 43)
    below, above = binomial_interval(3 / 43, 43), binomial_interval(4 / 43, 43)
    assert below[0] < low < above[0]
    assert below[1] < high < above[1]


def test_resampled_interval_is_wider_than_the_naive_one_by_nadeau_and_bengio():
    """Five folds of an 80/20 split: sqrt(1/5 + 1/4) instead of sqrt(1/5), a factor of 1.5."""
    values = np.array([0.9, 0.8, 0.85, 0.95, 0.7])
    low, high = resampled_interval(values, n_train=80, n_test=20)
    naive = stats.t.interval(0.95, 4, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(5))
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert (high - low) / (naive[1] - naive[0]) == pytest.approx(1.5)


def test_resampled_interval_needs_two_folds_and_ignores_folds_without_a_value():
    """One fold says nothing about other folds."""
    assert np.isnan(resampled_interval(np.array([0.9]), 80, 20)).all()
    with_gap = resampled_interval(np.array([0.9, np.nan, 0.7]), 80, 20)
    assert with_gap == resampled_interval(np.array([0.9, 0.7]), 80, 20)


def test_resampled_interval_covers_the_truth_where_the_naive_one_does_not():
    """Accuracy of a nearest-mean rule over cohorts of 60, each cross-validated five-fold."""
    rng = np.random.default_rng(1)
    gap, p, covered = 0.4, 5, {"corrected": 0, "naive": 0}
    means = [_cross_validated_accuracy(rng, gap, p) for _ in range(400)]
    truth = np.mean([m.mean() for m in means])
    for folds in means:
        low, high = resampled_interval(folds, 48, 12)
        covered["corrected"] += low <= truth <= high
        low, high = stats.t.interval(0.95, 4, loc=folds.mean(), scale=stats.sem(folds))
        covered["naive"] += low <= truth <= high
    assert covered["corrected"] / 400 > 0.95
    assert covered["corrected"] > covered["naive"]


def _cross_validated_accuracy(rng, gap, p):
    y = np.arange(60) % 2
    x = rng.standard_normal((60, p)) + gap * y[:, None]
    fold = rng.permutation(60) % 5
    found = []
    for f in range(5):
        fit, held = fold != f, fold == f
        means = [x[fit & (y == c)].mean(axis=0) for c in (0, 1)]
        nearer = np.linalg.norm(x[held] - means[1], axis=1) < np.linalg.norm(
            x[held] - means[0], axis=1
        )
        found.append((nearer == y[held]).mean())
    return np.array(found)


def test_folds_that_agree_exactly_still_have_an_interval():
    """No variance among 40 held-out rows is no proof of none: the rule of three, 3 / 40."""
    low, high = resampled_interval(np.zeros(5), n_train=32, n_test=8)
    assert (low, high) == (-0.075, 0.075)
