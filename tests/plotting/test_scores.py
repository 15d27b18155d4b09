import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.plotting.scores import axis_limits, format_number, position, read_score, read_scores


def entry(**changes):
    numbers = {"value": 0.9, "interval": [0.8, 0.95], "floor": 0.5, "ceiling": 0.97, "cheat": 1.0}
    return numbers | {"n": 15} | changes


WORDS = {
    "utility/tstr_auc": SimpleNamespace(
        name="Ranking", meaning="How well", best=1.0, direction="higher", reference="test"
    )
}


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.931, False, "0.93"),
        (1.0, False, "1.00"),
        (0.9961, False, "0.996"),  # not 1
        (-0.9961, False, "−0.996"),
        (0.99999, False, "1.000"),
        (0.0214, False, "0.021"),
        (0.00012, False, "1.2e−04"),
        (0.0, False, "0.00"),
        (-0.0, True, "0.00"),
        (0.02, True, "+0.02"),
        (-0.03, True, "−0.03"),
        (704.5, False, "704"),
        (12345.6, False, "12,346"),
        (math.nan, False, "–"),
        (math.inf, False, "–"),
        (None, False, "–"),
    ],
)
def test_numbers_are_written_as_a_reader_expects(value, signed, text):
    assert format_number(value, signed) == text


@pytest.mark.parametrize("nothing", [None, math.nan, "n/a", math.inf])
def test_whatever_stands_for_nothing_is_not_measured(nothing):
    score = read_score("utility/tstr_auc", entry(value=nothing))
    assert not score.measured
    assert not score.has_interval
    assert score.text == "not measured"


@pytest.mark.parametrize("interval", [None, [], [0.8], [None, None], [math.nan, 0.9], [0.8, None]])
def test_a_value_without_an_interval_says_so(interval):
    score = read_score("utility/tstr_auc", entry(interval=interval))
    assert score.measured
    assert not score.has_interval
    assert score.text == "0.90 (no interval)"


def test_value_and_interval_in_one_text():
    assert read_score("utility/tstr_auc", entry()).text == "0.90 [0.80, 0.95]"
    gain = entry(value=0.02, interval=[-0.03, 0.07])
    assert read_score("utility/augmentation_gain_auc", gain).text == "+0.02 [−0.03, +0.07]"


@pytest.mark.parametrize(
    ("key", "value", "low", "high", "text"),
    [
        ("fidelity/mmd2", 0.037, 0.006, 0.068, "0.037 [0.006, 0.068]"),
        ("fidelity/mean_r2", 0.998, 0.996, 0.999, "0.998 [0.996, 0.999]"),
        ("fidelity/mean_r2", 0.99996, 0.99994, 1.0, "1.000 [1.000, 1.000]"),
        ("utility/tstr_auc", 0.996, 0.91, 1.0, "1.00 [0.91, 1.00]"),
        ("utility/augmentation_gain", -0.014, -0.074, 0.046, "−0.01 [−0.07, +0.05]"),
        ("utility/augmentation_gain", 0.0, 0.0, 0.0, "0.00 [0.00, 0.00]"),
        ("fidelity/mmd2", 0.00002, -0.0001, 0.00014, "2.0e−05 [−1.0e−04, 1.4e−04]"),
        ("ldvae/elbo", -1533.2, -1600.0, -1500.0, "−1,533 [−1,600, −1,500]"),
    ],
)
def test_an_interval_has_the_decimals_that_its_width_deserves(key, value, low, high, text):
    assert read_score(key, entry(value=value, interval=[low, high])).text == text


def test_words_come_from_the_registry():
    score = read_score("utility/tstr_auc", entry(), WORDS)
    assert (score.name, score.meaning, score.best) == ("Ranking", "How well", 1.0)
    assert (score.group, score.unit, score.short) == ("utility", "AUC, 0 to 1", "AUC")


def test_a_metric_that_is_not_registered_is_named_after_its_key():
    score = read_score("spatial/ari", entry(), WORDS)
    assert score.name == "ARI"
    assert score.direction == "higher"
    assert math.isnan(score.best)
    assert read_score("privacy/new_attack_auc", entry()).direction == "lower"
    assert read_score("biology/lfc_slope", entry()).direction == "target"


def test_best_of_the_entry_wins_over_the_registry():
    assert read_score("utility/tstr_auc", entry(best=0.5), WORDS).best == 0.5


@pytest.mark.parametrize(
    ("key", "short"),
    [
        ("utility/tstr_auc_forest", "AUC"),
        ("utility/tstr_balanced_accuracy", "balanced accuracy"),
        ("fidelity/coexpression_train_r", "r"),
        ("fidelity/std_r2", "R²"),
        ("fidelity/std_slope", "slope"),
        ("utility/augmentation_gain_auc_logistic", "gain in AUC"),
        ("utility/augmentation_gain_logistic", "gain"),
        ("privacy/worst_tpr_at_fpr10", "share named"),
        ("privacy/worst_tpr_at_fpr1", "share named"),
        ("fidelity/density_train", "ratio"),
        ("odd/thing", ""),
    ],
)
def test_units_follow_the_key(key, short):
    assert read_score(key, entry()).short == short


def test_every_registered_metric_has_a_unit():
    from synthome.evaluation.metrics import METRICS

    lacking = [key for key in METRICS if not read_score(key, entry(), METRICS).unit]
    # densities and connectivities of modules are told by their meaning
    assert [key for key in lacking if "module" not in key and "interval" not in key] == []


finite = st.floats(-5, 5)


@given(finite, finite, finite, finite, st.sampled_from(["higher", "lower", "target"]))
def test_every_mark_lies_on_the_line_and_right_is_better(a, b, floor, cheat, direction):
    words = {"x/y": SimpleNamespace(**vars(WORDS["utility/tstr_auc"]) | {"direction": direction})}
    low, value, high = sorted([a, b, (a + b) / 2])
    numbers = entry(value=value, interval=[low, high], floor=floor, cheat=cheat)
    score = read_score("x/y", numbers, words)
    limits = axis_limits(score)
    for mark in (low, value, high, floor, cheat, score.ceiling):
        assert 0.0 < position(mark, limits) < 1.0
    right, left = (floor, cheat) if (floor > cheat) != (direction == "lower") else (cheat, floor)
    assert position(right, limits) >= position(left, limits)


def test_a_best_value_far_away_does_not_squeeze_the_others():
    numbers = entry(value=0.02, interval=[-0.03, 0.07], floor=0.0, ceiling=0.03, cheat=0.0)
    far = read_score("utility/tstr_auc", numbers, WORDS)  # best is 1, ten widths away
    near = read_score("utility/tstr_auc", entry(), WORDS)
    assert position(far.best, axis_limits(far)) > 1.0
    assert 0.0 < position(near.best, axis_limits(near)) < 1.0


def test_an_empty_score_still_has_a_line():
    nothing = dict.fromkeys(("value", "interval", "floor", "ceiling", "cheat"))
    assert axis_limits(read_score("x/y", nothing)) == (0.0, 1.0)


def test_scores_keep_the_order_of_the_file():
    assert list(read_scores({"b/x": entry(), "a/x": entry()})) == ["b/x", "a/x"]
