"""One decomposition, all penalties, every group left out: as the slow way would have it."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from synthome.evaluation.ridge import _decomposed, fit_ridge, held_out_residuals


def data(n=60, p=30, k=3, seed=0, signal=1.0):
    rng = np.random.default_rng(seed)
    y = np.array(["a", "b", "c"])[np.arange(n) % k]
    x = rng.standard_normal((n, p)) + 5.0
    x[:, :3] += signal * (y[:, None] == np.array(["a", "b", "c"]))
    return x, y, np.arange(n) // 4


@pytest.mark.parametrize("p", [12, 150])
def test_residuals_of_a_group_are_those_of_a_fit_without_it(p):
    x, _, groups = data(p=p)
    x = x - x.mean(axis=0)
    target = np.random.default_rng(1).standard_normal((60, 2))
    u, d, _ = _decomposed(x)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    found = held_out_residuals(u, d**2 / (d**2 + 7.0), target, members)
    for rows in members:
        rest = np.setdiff1d(np.arange(60), rows)
        gram = x[rest].T @ x[rest] + 7.0 * np.eye(p)
        weights = np.linalg.solve(gram, x[rest].T @ target[rest])
        np.testing.assert_allclose(found[rows], target[rows] - x[rows] @ weights, atol=1e-8)


def test_groups_of_different_sizes_are_left_out_as_well():
    x, _, _ = data()
    x = x - x.mean(axis=0)
    groups = np.repeat(np.arange(5), [1, 4, 10, 20, 25])
    u, d, _ = _decomposed(x)
    target = np.random.default_rng(1).standard_normal((60, 1))
    members = [np.flatnonzero(groups == g) for g in range(5)]
    found = held_out_residuals(u, d**2 / (d**2 + 2.0), target, members)
    for rows in members:
        rest = np.setdiff1d(np.arange(60), rows)
        gram = x[rest].T @ x[rest] + 2.0 * np.eye(30)
        weights = np.linalg.solve(gram, x[rest].T @ target[rest])
        np.testing.assert_allclose(found[rows], target[rows] - x[rows] @ weights, atol=1e-8)


@pytest.mark.parametrize("p", [12, 150])
def test_predictions_are_those_of_scikit_learn_at_the_same_penalty(p):
    x, y, groups = data(p=p)
    model = fit_ridge(x, y, groups, penalties=[0.5])
    centred = x - x.mean(axis=0)
    alpha = 0.5 * np.square(centred).sum() / min(x.shape)
    reference = RidgeClassifier(alpha=alpha).fit(x, y)
    new = data(p=p, seed=9)[0]
    np.testing.assert_allclose(model.weights * 2, reference.coef_.T, atol=1e-8)
    np.testing.assert_array_equal(model.predict(new), reference.predict(new))


def test_a_clear_signal_among_noise_is_found_in_new_rows():
    x, y, groups = data(n=300, p=200, signal=3.0)
    new, true, _ = data(n=300, p=200, signal=3.0, seed=5)
    assert (fit_ridge(x, y, groups).predict(new) == true).mean() > 0.9


@pytest.mark.parametrize("p", [12, 150])
def test_single_precision_gives_the_same_classes(p):
    x, y, groups = data(n=90, p=p)
    double, single = fit_ridge(x, y, groups), fit_ridge(x.astype(np.float32), y, groups)
    assert single.weights.dtype == np.float32
    assert single.penalty == double.penalty
    new = data(n=90, p=p, seed=9)[0]
    np.testing.assert_array_equal(single.predict(new), double.predict(new))


def test_of_equal_penalties_the_strongest_is_taken():
    """Classes that are far apart are told apart at any of these."""
    x, y, groups = data(signal=200.0)
    assert fit_ridge(x, y, groups, penalties=[1e-6, 1e-3, 1e-5]).penalty == 1e-3
