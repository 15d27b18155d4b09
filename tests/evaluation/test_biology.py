"""Differences between classes: SciPy's Welch test, planted genes, and known slopes."""

import numpy as np
import pytest
from scipy import stats

from synthome.evaluation import biology


def labelled(n, seed=0, p=40, n_planted=8, shift=2.0, classes=("a", "b")):
    rng = np.random.default_rng(seed)
    y = np.array([classes[i % len(classes)] for i in range(n)])
    x = rng.standard_normal((n, p)) * np.linspace(0.5, 2, p) + 5
    x[y == classes[-1], :n_planted] += shift
    return x, y


def test_welch_t_agrees_with_scipy_and_a_frozen_gene_has_none():
    """Unequal variances, unequal sizes."""
    x, y = labelled(31)
    x[:, 7] = 4.0
    inside = y == "b"
    expected = stats.ttest_ind(
        np.delete(x, 7, axis=1)[inside], np.delete(x, 7, axis=1)[~inside], equal_var=False
    )
    found = biology.welch_t(x, y, "b")
    np.testing.assert_allclose(np.delete(found, 7), expected.statistic)
    assert found[7] == 0.0


def test_one_row_borrows_the_variance_of_the_other_side():
    """A test part often has one control."""
    x, y = labelled(12)
    one = np.r_[np.flatnonzero(y == "a"), np.flatnonzero(y == "b")[:1]]
    t = biology.welch_t(x[one], y[one], "b")
    rest = x[y == "a"]
    error = np.sqrt(rest.var(axis=0, ddof=1) * (1 + 1 / len(rest)))
    np.testing.assert_allclose(t, (x[one][-1] - rest.mean(axis=0)) / error)
    assert np.isnan(biology.welch_t(x[:2], y[:2], "b")).all()
    assert np.isnan(biology.welch_t(x[y == "a"], y[y == "a"], "b")).all()


def test_real_rows_against_themselves_recover_everything():
    """The score that copies win."""
    x, y = labelled(30, classes=("a", "b", "c"))
    assert biology.de_recovery(x, y, x, y, k=10) == 1.0
    assert biology.lfc_slope(x, y, x, y) == pytest.approx(1.0)


def test_unrelated_rows_recover_what_chance_gives():
    """k / n_vars."""
    found = [
        biology.de_recovery(*labelled(20, seed=s, shift=0), *labelled(20, seed=99 + s, shift=0), 10)
        for s in range(200)
    ]
    assert np.mean(found) == pytest.approx(10 / 40, abs=0.03)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.3])
def test_the_slope_is_the_size_of_the_differences(factor):
    """A generator that shrinks every class towards the mean by half has slope 0.5."""
    x, y = labelled(40)
    centre = x.mean(axis=0)
    pull = x.copy()
    for c in ("a", "b"):
        mean = x[y == c].mean(axis=0)
        pull[y == c] += (factor - 1) * (mean - centre)
    assert biology.lfc_slope(x, y, pull, y) == pytest.approx(factor, abs=1e-9)


def test_two_classes_are_one_comparison_and_three_are_three():
    """The second of two would only change every sign."""
    assert biology.contrasts(np.array(["a", "b"])).tolist() == ["b"]
    assert biology.contrasts(np.array(["a", "b", "c"])).tolist() == ["a", "b", "c"]


def test_a_class_that_was_not_drawn_is_left_out():
    """Not counted as a failure of the others, and NaN when nothing is left."""
    x, y = labelled(30, classes=("a", "b", "c"))
    kept = y != "c"
    assert 0 < biology.de_recovery(x, y, x[kept], y[kept], 10) <= 1
    only = y == "a"
    assert np.isnan(biology.lfc_slope(x, y, x[only], y[only]))
    assert np.isnan(biology.de_recovery(x, y, x[only], y[only]))


def test_planted_genes_rank_first_and_noise_ranks_them_by_chance():
    """AUPRC 1 against 8 / 40."""
    planted = np.arange(40) < 8
    assert biology.planted_auprc(*labelled(60, shift=6), planted) == pytest.approx(1.0)
    chance = [biology.planted_auprc(*labelled(20, seed=s, shift=0), planted) for s in range(200)]
    assert np.mean(chance) == pytest.approx(8 / 40, abs=0.07)  # small samples lie above the share
    assert np.isnan(biology.planted_auprc(*labelled(20), np.zeros(40, dtype=bool)))
