"""The price of privacy in words, each number from the table."""

import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.reporting.privacy import privacy_answer


def curve(*rows):
    table = pd.DataFrame(rows, columns=["knob", "setting", "utility", "attack"])
    for name in ("utility", "attack"):
        table[f"{name}_low"] = table[name] - 0.1
        table[f"{name}_high"] = table[name] + 0.1
    return table


LEAKS = curve(
    ("noise", 0.0, 0.95, 0.80), ("noise", 0.5, 0.90, 0.58), ("noise", 1.0, 0.80, 0.51),
    ("shrinkage", 0.0, 0.95, 0.80), ("shrinkage", 0.5, 0.949, 0.75),
)  # fmt: skip


def test_the_cheapest_setting_that_is_enough_is_named_with_its_price():
    text = privacy_answer(LEAKS, {})
    assert "reaches AUC 0.80 [0.70, 0.90]" in text
    assert "more than guessing" in text
    assert (
        "Added noise of 0.5 × the standard deviation is enough, of 2 settings: attack from 0.80 to "
        "0.58, utility from 0.95 to 0.90." in text
    )


def test_a_knob_that_is_not_enough_says_so():
    text = privacy_answer(LEAKS, {})
    assert (
        "Shrinkage 0.5 protects most, but not enough: attack from 0.80 to 0.75, utility stays at "
        "0.95." in text
    )


def test_no_knob_is_needed_where_the_attack_guesses():
    table = curve(("noise", 0.0, 0.95, 0.604), ("noise", 1.0, 0.80, 0.50))
    text = privacy_answer(table, {})
    assert "no knob has to be turned" in text  # 0.604 is printed as 0.60
    assert "would protect most: attack from 0.60 to 0.50" in text
    assert "public cohort" not in text


def test_somebody_with_a_reference_is_reported_beside_the_others():
    entry = {"value": 0.82, "interval": [0.7, 0.9], "floor": 0.8, "cheat": 0.99, "ceiling": None}
    text = privacy_answer(LEAKS, {"privacy/likelihood_ratio_auc": entry})
    assert "AUC 0.82 [0.70, 0.90], against 0.80 for noise and 0.99 for copied patients;" in text
    assert "not counted as the strongest" in text
    assert "proves nothing" not in text
    blind = {"privacy/likelihood_ratio_auc": entry | {"cheat": 0.61}}
    assert "misses copied patients too, it proves nothing here." in privacy_answer(LEAKS, blind)
    assert "public" not in privacy_answer(LEAKS, {"privacy/likelihood_ratio_auc": {"value": None}})


def test_epsilon_has_no_unturned_setting_and_a_table_without_numbers_is_refused():
    table = curve(
        ("noise", 0.0, 0.95, 0.80), ("epsilon", 8.0, 0.5, 0.5), ("epsilon", 1.0, 0.4, 0.5)
    )
    text = privacy_answer(table, {})
    assert "Differentially private training at ε = 8 is enough, of 2 settings" in text
    with pytest.raises(InputError, match="no setting"):
        privacy_answer(table.assign(utility=np.nan), {})
