"""Scores of a predicted change, with their zero and their one in the right place."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from synthome.evaluation.counterfactual import (
    change_t,
    e_distance,
    pearson_delta_top,
    random_parts,
    weighted_delta_r2,
)


@pytest.fixture
def change():
    rng = np.random.default_rng(0)
    control = rng.normal(2.0, 1.0, 100)
    delta = np.where(np.arange(100) < 20, rng.normal(0, 1.0, 100), 0.01 * rng.normal(0, 1, 100))
    return control, control + delta, np.square(delta) + 1e-3


def test_no_change_is_zero_and_the_truth_is_one(change):
    control, true, weights = change
    assert weighted_delta_r2(control, true, control, weights) == 0.0
    assert weighted_delta_r2(true, true, control, weights) == 1.0
    half = weighted_delta_r2(control + 0.5 * (true - control), true, control, weights)
    assert half == pytest.approx(0.75)
    wrong = weighted_delta_r2(control - (true - control), true, control, weights)
    assert wrong == pytest.approx(-3.0)
    assert np.isnan(weighted_delta_r2(true, control, control, weights))


def test_r2_is_that_of_a_loop_and_genes_without_weight_do_not_count(change):
    control, true, weights = change
    predicted = np.random.default_rng(1).normal(2.0, 1.0, 100)
    error = sum(w * (p - y) ** 2 for w, p, y in zip(weights, predicted, true, strict=True))
    total = sum(w * (y - c) ** 2 for w, y, c in zip(weights, true, control, strict=True))
    assert weighted_delta_r2(predicted, true, control, weights) == pytest.approx(1 - error / total)
    weights = np.where(np.arange(100) < 20, weights, 0.0)
    other = np.where(np.arange(100) < 20, true, predicted)
    assert weighted_delta_r2(other, true, control, weights) == 1.0


def test_the_correlation_is_over_the_genes_that_change_most(change):
    control, true, _ = change
    t = 10 * (true - control)
    predicted = np.where(np.arange(100) < 20, 0.1 * (true - control), 5.0) + control
    assert pearson_delta_top(predicted, true, control, t, n_top=10) == pytest.approx(1.0)
    assert pearson_delta_top(predicted, true, control, t, n_top=100) < 0.9
    assert np.isnan(pearson_delta_top(control, true, control, t))


def loop(x, y, metric):
    n, m = len(x), len(y)
    within = [cdist(a, a, metric).sum() / (len(a) * (len(a) - 1)) for a in (x, y)]
    return 2 * cdist(x, y, metric).mean() - sum(within), n, m


@pytest.mark.parametrize(("squared", "metric"), [(True, "sqeuclidean"), (False, "euclidean")])
def test_energy_distance_is_that_of_all_pairs(squared, metric):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 5)), rng.standard_normal((21, 5)) + 0.3
    assert e_distance(x, y, squared) == pytest.approx(loop(x, y, metric)[0])


@pytest.mark.parametrize("squared", [True, False])
def test_energy_distance_is_zero_on_average_for_cells_of_one_kind(squared):
    rng = np.random.default_rng(1)
    found = [
        e_distance(rng.standard_normal((20, 4)), rng.standard_normal((30, 4)), squared)
        for _ in range(100)
    ]
    assert np.mean(found) == pytest.approx(0.0, abs=4 * np.std(found) / 10)
    assert min(found) < 0 < max(found)


def test_only_the_plain_distance_sees_a_spread():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((400, 4)), 3.0 * rng.standard_normal((400, 4))
    assert e_distance(x, y, squared=False) > 0.5
    assert np.isnan(e_distance(x[:1], y))


def test_the_weight_of_a_gene_grows_with_its_evidence():
    rng = np.random.default_rng(0)
    control, true = rng.standard_normal((50, 3)), rng.standard_normal((80, 3))
    true[:, 1] += 2.0
    t = change_t(control, true)
    assert np.argmax(np.abs(t)) == 1
    assert t[1] > 5


def test_parts_are_disjoint_and_even():
    parts = random_parts(np.arange(10, 21), 4, np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(10, 21))
    assert sorted(map(len, parts)) == [2, 3, 3, 3]
