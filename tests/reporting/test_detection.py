import numpy as np
import pandas as pd
import pytest
from perturbation_tables import TYPES, alarm_rows, power_rows, smallest_rows

from synthome.reporting.detection import (
    against_signature,
    detection_answer,
    detection_table,
    dose_words,
    median_dose,
)

THREE = TYPES[:3]


def rows(ours, theirs):
    """Doses of the latents and of the signature score in as many cell types."""
    found = [(f"t{i}", "up", view, dose, dose / 1.1, dose * 1.1)
             for i, pair in enumerate(zip(ours, theirs, strict=True))
             for view, dose in zip(("latents", "signature"), pair, strict=True)]  # fmt: skip
    columns = ["cell_type", "gene_set", "representation", "dose", "low", "high"]
    return pd.DataFrame(found, columns=columns)


def test_each_direction_is_told_from_its_most_to_its_least_sensitive_type():
    text = detection_answer(smallest_rows(THREE, ()), power_rows(THREE), alarm_rows())
    assert text.startswith(
        "Genes turned down: from the latents, the change is seen in 80 % of repeats from 3.7 × "
        f"({THREE[0]}) on, and last from 4 × ({THREE[2]}) on. Genes turned up: "
    )
    assert "nan" not in text


def test_the_size_of_the_compared_groups_is_told():
    power = power_rows()
    assert "Each test compares 50 changed cells with as many others of their type." in (
        detection_answer(smallest_rows(THREE), power, alarm_rows())
    )
    power.loc[power["cell_type"] == TYPES[0], "n_cells"] = 12
    assert "compares 12 to 50 changed" in detection_answer(smallest_rows(), power, alarm_rows())


def test_types_in_which_no_dose_is_seen_are_counted_and_a_few_are_named():
    text = detection_answer(smallest_rows(THREE, (("latents", 1),)), power_rows(), alarm_rows())
    assert f"in 1 of 3 cell types ({THREE[2]}) it is not seen, up to 10 ×." in text
    many = detection_answer(smallest_rows(TYPES, (("latents", 5),)), power_rows(), alarm_rows())
    assert "in 5 of 12 cell types it is not seen" in many
    none = detection_answer(smallest_rows(THREE, (("latents", 3),)), power_rows(), alarm_rows())
    assert "is not seen in 80 % of repeats in any of 3 cell types, up to 10 ×." in none


@pytest.mark.parametrize(
    ("ours", "theirs", "start"),
    [
        ([3, 4, 5, 6], [2, 3, 4, 7], "The plain signature score, two numbers for each cell, wins"),
        ([2, 3, 4, 5], [3, 4, 5, 4], "The latents win over the plain signature score"),
        ([2, 3, 4, 5], [3, 4, 3, 4], "Neither the latents nor the plain signature score"),
        ([3, 4, np.nan, np.nan], [2, 3, np.nan, np.nan], "The plain signature score, two"),
        ([3, np.nan, np.nan, np.nan], [2, np.nan, np.nan, np.nan], "Neither the latents"),
        ([2, 2, 2, 2], [2, 2, 2, 2], "Neither the latents nor the plain signature score"),
        ([2, 3, np.nan, np.nan], [9, 9, 9, 9], "Neither the latents nor"),
        ([np.nan] * 4, [9, 9, 9, np.nan], "The plain signature score, two numbers for each cell, "),
    ],
)
def test_the_smaller_dose_wins_and_one_that_is_not_reached_loses(ours, theirs, start):
    text = against_signature(rows(ours, theirs))
    assert text.startswith(start)
    assert "It is told which genes to look for, and the latents are not." in text


def test_the_numbers_of_the_comparison_are_said():
    text = against_signature(rows([3, 4, 5, 6], [2, 3, 4, 7]))
    assert "in 3 of 4 comparisons" in text
    assert "median 3.5 × against 4.5 ×" in text
    assert against_signature(rows([3], [2])[lambda of: of["representation"] == "latents"]) == ""


def test_false_alarms_beyond_what_is_allowed_are_named():
    fine = detection_answer(smallest_rows(THREE), power_rows(), alarm_rows(0.05, 0.045, 0.055))
    assert "raise an alarm in 5.0 % of repeats, 5 % being allowed." in fine
    alarms = alarm_rows(0.05, 0.045, 0.055)
    alarms.loc[0, ["share", "low"]] = 0.09, 0.08
    text = detection_answer(smallest_rows(THREE), power_rows(), alarms)
    assert "in 5.0 % to 9.0 % of repeats, 5 % being allowed: more than is allowed for the" in text
    assert "for the latents alone, whose power is therefore too high." in text


def test_the_table_has_intervals_and_says_what_was_not_reached():
    table = detection_table(smallest_rows(THREE, (("latents", 1),)))
    assert table.columns.tolist() == [
        "Cell type", "Genes", "Latents alone", "Latents and gene sets", "Signature score",
        "Principal components",
    ]  # fmt: skip
    assert len(table) == 6
    assert table.loc[0, "Latents alone"] == "3.7 × [3.1, 4.8]"
    last = table[(table["Cell type"] == THREE[2]) & (table["Genes"] == "genes turned up")]
    assert last["Latents alone"].item() == "not reached (above 3.5 ×)"
    open_ended = smallest_rows(THREE, ()).assign(high=np.nan)
    assert detection_table(open_ended).loc[0, "Latents alone"] == "3.7 × [3.1, not reached]"


def test_a_median_with_half_not_reached_is_infinite():
    table = rows([2.0, 3.0, np.nan], [1, 1, 1])
    assert median_dose(table, "latents") == 3.0
    assert median_dose(rows([2.0, np.nan, np.nan], [1, 1, 1]), "latents") == np.inf
    assert np.isnan(median_dose(table, "pca"))
    assert dose_words(np.inf) == "not reached"
