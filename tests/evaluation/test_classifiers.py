"""The classifiers are scikit-learn's, sooner: same weights, same trees."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthome.evaluation import classifiers
from synthome.evaluation.classifiers import (
    fit_forest,
    fit_logistic,
    fit_neighbours,
    fit_network,
    standardised_logistic,
    train_classifier,
)


def labelled(n, p, k=2, seed=0):
    rng = np.random.default_rng(seed)
    y = np.array([f"class_{i % k}" for i in range(n)])
    x = rng.standard_normal((n, p))
    x[:, 0] += (y == "class_1") * 1.5
    return x, y


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize(("n", "p"), [(20, 150), (60, 20), (30, 45)])
def test_logistic_regression_equals_scikit_learn_solved_tightly(n, p, k, C):
    """A ridge penalty is blind to rotation: solving on the span of the rows changes nothing."""
    (x, y), (new, _) = labelled(n, p, k), labelled(40, p, k, seed=1)
    expected = LogisticRegression(C=C, tol=1e-12, max_iter=100_000).fit(x, y)
    model = fit_logistic(x, y, C)
    np.testing.assert_array_equal(model.classes, expected.classes_)
    # two classes by Newton's method to 1e-6, more by L-BFGS at its tolerance
    tolerance = 1e-5 if k == 2 else 5e-3
    np.testing.assert_allclose(
        model.probabilities(new), expected.predict_proba(new), atol=tolerance
    )
    np.testing.assert_allclose(model.weights.T, expected.coef_, atol=10 * tolerance)


def test_standardising_equals_a_pipeline_and_survives_a_constant_gene():
    """Mean and sd of the training arm, and of nothing else."""
    (x, y), (new, _) = labelled(30, 90), labelled(10, 90, seed=1)
    x[:, 5] = 3.0
    expected = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-12, max_iter=100_000)).fit(
        x, y
    )
    found = standardised_logistic(x, y).probabilities(new)
    np.testing.assert_allclose(found, expected.predict_proba(new), atol=1e-5)


def test_separable_rows_with_a_weak_penalty_still_have_a_solution():
    """Newton's method halves steps that overshoot."""
    x, y = labelled(12, 200)
    model = fit_logistic(1e3 * x, y, C=1e4)
    assert np.isfinite(model.weights).all()
    assert (model.classes[model.probabilities(1e3 * x).argmax(axis=1)] == y).all()


def test_constant_rows_give_the_class_shares():
    """With no gene to learn from, the intercept alone is left."""
    y = np.array(["a"] * 9 + ["b"] * 3)
    found = fit_logistic(np.zeros((12, 100)), y).probabilities(np.zeros((1, 100)))
    np.testing.assert_allclose(found, [[0.75, 0.25]], atol=1e-6)


def test_probabilities_add_up_to_one():
    """For every kind and number of classes."""
    for kind in ("logistic", "forest"):
        for k in (1, 2, 4):
            x, y = labelled(24, 30, k)
            model = train_classifier(kind, x, y, n_train=24, seed=0)
            p = model.probabilities(x)
            assert p.shape == (24, k)
            np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("n", "n_train", "most"), [(200, 34, None), (400, 34, 300), (900, 675, 675)]
)
def test_a_tree_sees_as_many_rows_as_the_protocol_allows(n, n_train, most, monkeypatch):
    """``max(300, n_train)``, or a bootstrap of all rows when these are fewer."""
    monkeypatch.setattr(classifiers, "N_TREES", 3)
    forest = fit_forest(*labelled(n, 5), n_train=n_train, seed=0).forest
    assert forest.max_samples == most
    assert len(forest.estimators_) == 3


def test_the_same_seed_grows_the_same_forest(small_forests):
    """Gains compare two forests of one seed."""
    x, y = labelled(60, 20)
    found = [fit_forest(x, y, n_train=60, seed=4).probabilities(x) for _ in range(2)]
    np.testing.assert_array_equal(*found)


def test_neighbours_and_network_are_those_of_scikit_learn_on_scaled_genes():
    """A gene in units a thousand times smaller must not be all that neighbours look at."""
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[np.arange(90) % 3]
    x = (
        rng.standard_normal((90, 6))
        + 2.0 * (y[:, None] == np.array(["a", "b", "c"]))[:, [0, 1, 2] * 2]
    )
    x[:, 5] = 1000.0 * rng.standard_normal(90)
    expected = make_pipeline(StandardScaler(), KNeighborsClassifier(5)).fit(x, y)
    neighbours = fit_neighbours(x, y)
    np.testing.assert_allclose(neighbours.probabilities(x), expected.predict_proba(x))
    network = fit_network(x, y, seed=0)
    predicted = network.classes[network.probabilities(x).argmax(axis=1)]
    assert (predicted == y).mean() > 0.9
    again = fit_network(x, y, seed=0)
    np.testing.assert_array_equal(again.probabilities(x), network.probabilities(x))
