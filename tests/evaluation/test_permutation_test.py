"""One matrix product for all permutations: the same as a loop, and exact when nothing differs."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from synthome.evaluation.permutation_test import (
    balanced_folds,
    block_kernel,
    cross_fitted_hat,
    permuted_labels,
    two_sample_p_values,
)


def samples(n=20, p=6, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2 * n, p))
    x[n:, 0] += shift
    return x


def naive_scores(x, fold, y, penalty):
    """Ridge of scikit-learn, fitted anew for each fold."""
    centred = x - x.mean(axis=0)
    alpha = penalty * np.square(centred).sum() / len(x)
    scores = np.empty(len(x))
    for f in np.unique(fold):
        out = fold == f
        model = Ridge(alpha=alpha, fit_intercept=False, solver="cholesky")
        scores[out] = model.fit(centred[~out], y[~out]).predict(centred[out])
    return scores


@pytest.mark.parametrize("p", [3, 90])
@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_scores_of_all_permutations_are_those_of_a_loop(p, penalty):
    x, fold = samples(p=p), balanced_folds(20, 4)
    y = permuted_labels(fold, 8, np.random.default_rng(1))
    g = cross_fitted_hat((x @ x.T)[None], fold, penalty)[0]
    for column in y.T:
        np.testing.assert_allclose(g @ column, naive_scores(x, fold, column, penalty), atol=1e-8)


def test_no_row_predicts_itself_or_its_fold():
    x, fold = samples(), balanced_folds(20, 5)
    g = cross_fitted_hat((x @ x.T)[None], fold, 1.0)[0]
    assert (g[fold[:, None] == fold] == 0).all()
    assert (g[fold[:, None] != fold] != 0).all()


def test_p_values_are_those_of_a_loop_over_permutations():
    x = samples(shift=0.8)
    fold = balanced_folds(20, 5)
    y = permuted_labels(fold, 99, np.random.default_rng(3))
    statistic = [column @ naive_scores(x, fold, column, 2.0) for column in y.T]
    expected = (1 + (np.array(statistic[1:]) >= statistic[0] - 1e-9).sum()) / 100
    found = two_sample_p_values((x @ x.T)[None], 2.0, 5, 99, np.random.default_rng(3))
    assert found.tolist() == [expected]


def test_permutations_keep_folds_balanced_and_the_first_column_is_the_truth():
    fold = balanced_folds(13, 5)
    y = permuted_labels(fold, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(y[:, 0], np.repeat([-1.0, 1.0], 13))
    for f in range(5):
        np.testing.assert_array_equal(y[fold == f].sum(axis=0), 0.0)
    assert len(np.unique(y, axis=1).T) > 45


def test_without_a_difference_p_is_uniform():
    """At most alpha with probability alpha; 1,500 tests."""
    x = np.stack([samples(n=12, p=4, seed=s) for s in range(1500)])
    p = two_sample_p_values(x @ x.transpose(0, 2, 1), 1.0, 4, 99, np.random.default_rng(0))
    assert stats.kstest(p, "uniform").statistic < 0.05
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.017)


def test_a_difference_is_found_more_often_the_larger_it_is():
    powers = []
    for shift in (0.0, 0.7, 2.0):
        x = np.stack([samples(seed=s, shift=shift) for s in range(100)])
        p = two_sample_p_values(x @ x.transpose(0, 2, 1), 1.0, 5, 99, np.random.default_rng(0))
        powers.append((p <= 0.05).mean())
    assert powers[0] < 0.15 < powers[1] < powers[2]
    assert powers[2] > 0.95


def test_rows_that_are_all_alike_are_no_difference():
    p = two_sample_p_values(np.zeros((1, 20, 20)), 1.0, 5, 99, np.random.default_rng(0))
    assert p[0] == 1.0


def test_blocks_count_the_same_whatever_their_width():
    rng = np.random.default_rng(0)
    wide, narrow = rng.standard_normal((8, 50)), rng.standard_normal((8, 2))
    expected = 0.5 * (wide @ wide.T / 50 + narrow @ narrow.T / 2)
    np.testing.assert_allclose(block_kernel([wide, narrow]), expected)
