import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.plotting.temperature import SPREAD
from synthome.reporting.temperature import beats_calibrated, crossing, temperature_answer

GRID = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
UTILITY, ATTACK = "utility/tstr_auc", "privacy/worst_auc"


def make_curve(spread=lambda T: T**2 / 1.44, utility=lambda T: 0.93 - 0.04 * abs(np.log2(T / 1.2)),
               attack=lambda T: 0.62, published=lambda T: 0.03 * T, half=0.05):  # fmt: skip
    rows = []
    for generator, metric, of in (
        ("rare_vae", SPREAD, spread),
        ("rare_vae", UTILITY, utility),
        ("rare_vae", ATTACK, attack),
        ("published_vae", SPREAD, published),
    ):
        if of is not None:
            rows += [(T, metric, generator, of(T), of(T) - half, of(T) + half) for T in GRID]
    names = ["temperature", "metric", "generator", "value", "low", "high"]
    return pd.DataFrame(rows, columns=names)


CHOSEN = {"FSHD": 1.3, "control": 1.1}


def answer(chosen=CHOSEN, **how):
    text = temperature_answer(make_curve(**how), chosen)
    assert 2 <= text.count(". ") + 1 <= 4
    assert text.endswith(".")
    assert "nan" not in text
    return text


def test_it_helps_only_to_set_the_spread():
    text = answer()
    assert text.startswith("Temperature helps here only to set the spread, which is 0.69 × ")
    assert "no T on the grid beats the calibrated 1.20" in text


def test_it_does_not_help_where_the_spread_is_right_already():
    text = answer(spread=lambda T: T**2, chosen={"a": 1.0}, utility=lambda T: 0.9)
    assert text.startswith("No, temperature does not help here: the spread is already right")


def test_it_helps_where_another_temperature_beats_the_calibrated_by_more_than_its_interval():
    text = answer(utility=lambda T: 0.7 + 0.05 * T)
    assert text.startswith("Yes, another temperature helps here: at T = 4")
    assert "AUC 0.90, more than the 0.76 at the calibrated T of 1.20" in text
    assert "price" not in text
    dear = answer(utility=lambda T: 0.7 + 0.05 * T, attack=lambda T: 0.5 + 0.1 * T)
    assert "at the price of a stronger attack (AUC from 0.62 to 0.90)" in dear


def test_a_gain_within_the_interval_is_none():
    assert not answer(utility=lambda T: 0.85 + 0.01 * T).startswith("Yes")


def test_without_a_spread_at_one_nothing_is_claimed_for_it():
    text = answer(spread=None, utility=lambda T: 0.9)
    assert text.startswith("No temperature is shown to help here")
    assert "The spread was not measured along the grid." in text


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"utility": None}, "was not scored around the calibrated T of 1.20"),
        ({"chosen": {"a": 9.0}}, "was not scored around the calibrated T of 9.00"),
        ({"half": np.nan}, "without intervals"),
    ],
)
def test_what_was_not_measured_cannot_be_told(how, why):
    text = answer(**how)
    assert text.startswith("Whether temperature helps here cannot be told")
    assert why in text


def test_where_the_spread_is_right_stands_beside_what_was_chosen():
    assert (
        "that of real ones at T = 1.20 (calibrated: 1.30 for FSHD, 1.10 for control); the published"
        " model never gets there: 0.12 × the real spread at most" in answer()
    )
    assert "the published model needs T = 2.50." in answer(published=lambda T: T / 2.5)
    assert "never gets down to it: 2.00 × at least" in answer(published=lambda T: 4 * T)
    alone = answer(published=None)
    assert "1.10 for control). At" in alone
    assert "published model" not in alone


def test_a_spread_that_is_never_right_is_told():
    small = answer(spread=lambda T: 0.1 * T)
    assert "too small at every T from 0.5 to 4 (at the nearest, 0.40 × the real one)" in small
    assert "calibration chose 1.30 for FSHD" in small
    assert "too large at every T" in answer(spread=lambda T: 3 * T)


def test_the_published_range_is_told_relative_to_the_chosen_temperature():
    text = answer(utility=lambda T: 1.0 - 0.05 * T, attack=lambda T: 0.5 + 0.05 * T)
    assert (
        "At the published T of 2 to 3 (the calibrated 1.20 is below it), the spread is 2.78 × to "
        "6.25 × the real one, learning from synthetic patients becomes worse (AUC from 0.94 to "
        "0.85), and the attack becomes stronger (AUC from 0.56 to 0.65)." in text
    )
    other = answer(utility=lambda T: 0.8 + 0.01 * T, attack=lambda T: 0.7 - 0.05 * T)
    assert "becomes better (AUC from 0.81 to 0.83)" in other
    assert "becomes weaker (AUC from 0.64 to 0.55)" in other
    assert "the attack stays the same" in answer()


def test_the_chosen_temperature_may_lie_in_the_published_range_or_above():
    assert "(the calibrated 2.50 lies within it)" in answer(chosen={"a": 2.5})
    assert "(the calibrated 3.50 is above it)" in answer(chosen={"a": 3.5})


def test_a_grid_that_ends_before_the_published_range_says_so():
    curve = make_curve()
    text = temperature_answer(curve[curve["temperature"] < 2.0], CHOSEN)
    assert "The published T of 2 to 3 was not on the grid." in text
    assert "learning from synthetic patients" in text
    only = curve[(curve["temperature"] < 2.0) | (curve["metric"] == UTILITY)]
    assert "is below it), learning from synthetic patients becomes" in temperature_answer(
        only, CHOSEN
    )


def test_no_chosen_temperature_is_an_error():
    with pytest.raises(InputError, match="chosen T of each class"):
        temperature_answer(make_curve(), {})


@pytest.mark.parametrize(("power", "at"), [(1.0, 1.7), (2.0, 1.3), (-1.0, 2.2)])
def test_the_crossing_of_a_power_is_exact_between_grid_points(power, at):
    T = np.array(GRID)
    assert crossing(T, (T / at) ** power) == pytest.approx(at)


def test_the_crossing_may_lie_on_the_grid_or_nowhere():
    T = np.array(GRID)
    assert crossing(T, T / 1.5) == 1.5
    assert crossing(T, T / 0.5) == 0.5
    assert crossing(T, T / 10) is None
    assert crossing(T, np.array([0.5, 0.9, 1.2, 0.9, 1.0, 1.1, 2.0])) == pytest.approx(
        0.82, abs=0.02
    )


def test_of_several_better_temperatures_the_best_is_named():
    T = np.array([1.0, 2.0, 3.0])
    values = np.array([0.7, 0.9, 0.8])
    assert beats_calibrated((T, values, values - 0.05), 1.0) == (2.0, 0.9, 0.7)
    assert beats_calibrated((T, values, values - 0.3), 1.0) is None
    assert beats_calibrated((T, values, values * np.nan), 1.0) is None
