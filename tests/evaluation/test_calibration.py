import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from synthome.evaluation.calibration import brier, expected_calibration_error


def test_brier_of_two_classes_is_twice_that_of_scikit_learn():
    """Which scores one class of the two alone."""
    rng = np.random.default_rng(0)
    p = rng.random(50)
    true = rng.integers(0, 2, 50)
    ours = brier(true, np.column_stack([1 - p, p]), np.array([0, 1]))
    assert ours == pytest.approx(2 * brier_score_loss(true, p))


def test_a_class_that_was_never_learned_costs_as_much_as_a_sure_mistake():
    sure = np.array([[1.0, 0.0]])
    known = np.array(["a", "b"])
    assert brier(np.array(["c"]), sure, known) == brier(np.array(["b"]), sure, known) == 2.0


def test_calibration_error_is_the_mean_gap_of_the_bins():
    """By hand: 10 rows in two bins, the first sure of 0.6 and right in 2 of 5, the other 0.9, 5."""
    p = np.repeat([0.6, 0.9], 5)
    true = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 1])
    found = expected_calibration_error(true, np.column_stack([1 - p, p]), np.array([0, 1]))
    assert found == pytest.approx(0.5 * abs(0.4 - 0.6) + 0.5 * abs(1.0 - 0.9))


def test_a_calibrated_classifier_has_a_small_error_and_an_overconfident_one_has_not():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1.0, 20_000)
    true = (rng.random(20_000) < p).astype(int)
    known = np.array([0, 1])
    good = expected_calibration_error(true, np.column_stack([1 - p, p]), known)
    sure = 1 - (1 - p) / 4
    bad = expected_calibration_error(true, np.column_stack([1 - sure, sure]), known)
    assert good < 0.02 < 0.15 < bad
    assert np.isnan(expected_calibration_error(true[:0], np.zeros((0, 2)), known))
