import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.evaluation.metrics import METRICS
from synthome.plotting.scores import read_score
from synthome.reporting.rules import RULES, VerdictConfig, is_learnable, judge

CONFIG = VerdictConfig()
RULE = {rule.key: rule for rule in RULES}


def score(key, make_entry, *numbers):
    return read_score(key, make_entry(*numbers), METRICS)


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (0.92, 1.05, "holds"),
        (0.90, 1.10, "holds"),  # the limits belong to the good side
        (0.89, 1.05, "unclear"),
        (0.95, 1.11, "unclear"),
        (0.80, 1.20, "unclear"),
        (0.60, 0.89, "fails"),
        (0.60, 0.90, "unclear"),
        (1.11, 1.30, "fails"),
    ],
)
def test_an_interval_is_judged_as_a_whole(low, high, finding, make_entry):
    found = score("fidelity/std_slope", make_entry, (low + high) / 2, low, high)
    assert judge(found, (0.90, 1.10)) == finding


@pytest.mark.parametrize("value", [None, math.nan])
def test_nothing_measured_is_missing(value, make_entry):
    assert judge(score("fidelity/std_slope", make_entry, value, 0.9, 1.0), (0.9, 1.1)) == "missing"


def test_a_perfect_value_without_an_interval_claims_nothing(make_entry):
    assert judge(score("fidelity/std_slope", make_entry, 1.0), (0.9, 1.1)) == "unclear"


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.floats(0, 1))
def test_a_narrower_interval_never_loses_a_finding(a, b, left, right):
    """Whatever a wide interval supports, a narrower one inside it supports too."""
    low, high = sorted((a, b))
    inner = sorted((low + left * (high - low), low + right * (high - low)))

    def finding(low, high):
        entry = {"value": (low + high) / 2, "interval": [low, high]}
        return judge(read_score("x/y", entry), (0.9, 1.1))

    if finding(low, high) in {"holds", "fails"}:
        # rounding may put an end a hair outside
        assert finding(max(inner[0], low), min(inner[1], high)) == finding(low, high)


@pytest.mark.parametrize("ceiling", [1.0, 0.7, 1.4, None])
def test_a_slope_counts_as_one_whatever_the_ceiling(ceiling, make_entry):
    """Few held-out rows lower the ceiling of a slope: that excuses no generator."""
    found = score("biology/lfc_slope", make_entry, 0.8, 0.75, 0.85, 0.5, ceiling)
    assert judge(found, RULE["biology/lfc_slope"].limits(found, CONFIG)) == "fails"


@pytest.mark.parametrize(
    ("key", "low", "high", "finding"),
    [
        ("utility/tstr_auc", 0.90, 0.97, "holds"),  # ceiling 0.95, margin 0.05
        ("utility/tstr_auc", 0.89, 0.97, "unclear"),
        ("utility/tstr_auc", 0.80, 0.89, "fails"),
        ("fidelity/coexpression_r", 0.90, 0.99, "holds"),
        ("fidelity/coexpression_r", 0.70, 0.80, "fails"),
    ],
)
def test_what_real_data_reach_is_what_can_be_asked(key, low, high, finding, make_entry):
    found = score(key, make_entry, (low + high) / 2, low, high, 0.5, 0.95)
    assert judge(found, RULE[key].limits(found, CONFIG)) == finding


@pytest.mark.parametrize("ceiling", [None, math.nan, math.inf])
def test_without_a_ceiling_nothing_is_near_it(ceiling, make_entry):
    found = score("utility/tstr_auc", make_entry, 0.99, 0.98, 1.0, 0.5, ceiling)
    assert judge(found, RULE["utility/tstr_auc"].limits(found, CONFIG)) == "unclear"


@pytest.mark.parametrize(
    ("low", "high", "ceiling", "finding"),
    [
        (0.30, 0.45, 0.5, "holds"),  # below 0.5 is no signal, and no fault
        (0.50, 0.60, 0.5, "holds"),
        (0.55, 0.65, 0.5, "unclear"),
        (0.61, 0.90, 0.5, "fails"),
        (0.61, 0.64, 0.65, "holds"),  # real against real is told apart as well
    ],
)
def test_two_samples_are_told_apart_above_the_threshold(low, high, ceiling, finding, make_entry):
    found = score("fidelity/c2st_auc", make_entry, (low + high) / 2, low, high, 0.9, ceiling)
    assert judge(found, RULE["fidelity/c2st_auc"].limits(found, CONFIG)) == finding


@pytest.mark.parametrize(
    ("key", "ceiling", "n_classes", "learnable"),
    [
        ("utility/tstr_auc", 0.53, 2, False),
        ("utility/tstr_auc", 0.60, 2, True),
        ("utility/tstr_balanced_accuracy", 0.59, 2, False),
        ("utility/tstr_balanced_accuracy", 0.59, 5, True),
        ("utility/tstr_auc", None, 2, True),
    ],
)
def test_a_label_that_real_data_cannot_predict_judges_nobody(
    key, ceiling, n_classes, learnable, make_entry
):
    found = score(key, make_entry, 0.5, 0.4, 0.6, 0.5, ceiling)
    assert is_learnable(found, n_classes, CONFIG) is learnable


def test_every_rule_is_about_a_registered_metric():
    assert [rule.key for rule in RULES if rule.key not in METRICS] == []


def test_thresholds_are_checked():
    with pytest.raises(ValueError, match="attack_auc"):
        VerdictConfig(attack_auc=0.4)
    with pytest.raises(ValueError, match="slope_lo"):
        VerdictConfig(slope_lo=0.8)
