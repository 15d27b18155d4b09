"""A two-sample test that is 0.5 when nothing differs, 1 when everything does, and not fooled."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from synthome.evaluation.two_sample import _folds, _principal_components, c2st_auc


def normal(n, p=50, seed=0, shift=0.0):
    return np.random.default_rng(seed).standard_normal((n, p)) + shift


def test_one_distribution_gives_one_half_on_average():
    """Over 25 pairs of cohorts of 30."""
    found = [
        c2st_auc(normal(30, seed=s), normal(60, seed=100 + s), np.random.default_rng(s), n_draws=1)
        for s in range(25)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_a_shift_is_seen_and_a_larger_one_always():
    """Every gene by 0.4 sd, then by 3."""
    rng = np.random.default_rng(0)
    assert c2st_auc(normal(40), normal(40, seed=1, shift=0.4), rng) > 0.75
    assert c2st_auc(normal(40), normal(40, seed=1, shift=3.0), rng) == 1.0


def test_copies_of_training_rows_look_like_chance_and_not_like_a_fault():
    """A row and its copy share a fold; otherwise every copy is pushed to the wrong side."""
    real = normal(40, p=200)
    copies = np.tile(real, (5, 1))
    found = [c2st_auc(real, copies, np.random.default_rng(s), n_draws=1) for s in range(8)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_identical_rows_share_a_fold_and_both_sides_are_spread():
    """Six distinct rows, each three times, on both sides."""
    x = np.concatenate([np.repeat(normal(6, p=4), 3, axis=0), normal(12, p=4, seed=1)])
    side = np.arange(30) % 2 == 0
    fold = _folds(x, side, 5, np.random.default_rng(0))
    for row in np.unique(x, axis=0):
        assert len(np.unique(fold[(x == row).all(axis=1)])) == 1
    sizes = [np.bincount(fold[side == s], minlength=5) for s in (False, True)]
    assert np.ptp(sizes, axis=1).max() <= 3
    assert np.min(sizes) >= 1


def test_distinct_rows_are_spread_evenly():
    """10 + 10 rows over five folds are 2 + 2 in each."""
    side = np.repeat([False, True], 10)
    fold = _folds(normal(20), side, 5, np.random.default_rng(0))
    for s in (False, True):
        np.testing.assert_array_equal(np.bincount(fold[side == s]), 2)


@pytest.mark.parametrize(("n", "p"), [(20, 90), (90, 20)])
def test_principal_components_agree_with_scikit_learn(n, p):
    """Up to the sign of a component."""
    train, other = normal(n, p), normal(7, p, seed=1)
    centre = train.mean(axis=0)
    pca = PCA(n_components=5, svd_solver="full").fit(train)
    found = _principal_components(train - centre, other - centre, 5)
    for ours, rows in zip(found, (train, other), strict=True):
        np.testing.assert_allclose(np.abs(ours), np.abs(pca.transform(rows)), atol=1e-8)


def test_too_few_rows_are_no_test():
    """Three rows of a side cannot be split."""
    assert np.isnan(c2st_auc(normal(3), normal(100, seed=1), np.random.default_rng(0)))


def test_the_same_random_numbers_give_the_same_answer():
    """Arms of a fold are compared on the same draws."""
    found = [c2st_auc(normal(9), normal(90, seed=1), np.random.default_rng(5)) for _ in range(2)]
    assert found[0] == found[1]
