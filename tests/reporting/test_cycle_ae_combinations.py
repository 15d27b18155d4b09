"""Held-out combinations in words: who is ahead, by which score, and whether that can be told."""

import context_tables as tables
import numpy as np
import pandas as pd
import pytest

from synthome.reporting.cycle_ae_combinations import (
    combinations_table,
    counterfactual_answer,
    counterfactual_verdict,
)


def with_score(table, score, **values):
    """``table`` with a score of some methods changed."""
    table = table.copy()
    for method, value in values.items():
        table.loc[table["method"] == method, score] = value
    return table


def both_kinds():
    """Two combinations that tell much, on which the model wins, and two that do not."""
    few = tables.combinations(0.1, informative=False)
    few["target"] = few["target"].map({"B, v2 → v3": "C, v2 → v3", "T, v2 → v3": "D, v2 → v3"})
    return pd.concat([tables.combinations(), few], ignore_index=True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.97, "beat the best additive baseline in 2 of 2 held-out combinations."),
        (0.5, "A plain average of the other types does better in 2 of 2"),
        (0.921, "a plain average of the other types does as well"),
    ],
)
def test_the_additive_baseline_is_what_must_be_beaten(value, words):
    assert words in counterfactual_answer(tables.combinations(value))
    assert words in counterfactual_verdict(tables.combinations(value))


def test_the_better_of_two_baselines_is_to_be_beaten():
    """Against the additive one alone, which is at 0.91, the model would win."""
    table = with_score(tables.combinations(0.95), "weighted_delta_r2", similarity=0.98)
    assert "A plain average" in counterfactual_verdict(table)


def test_scores_on_which_the_baseline_is_ahead_are_said_where_the_model_wins():
    """A model may win by R² and be the worse one by all else."""
    table = with_score(tables.combinations(), "e_distance", cycle_ae=45.1, additive=40.0,
                       similarity=39.3)  # fmt: skip
    table = with_score(table, "down_accuracy", cycle_ae=0.93, additive=1.0)
    assert counterfactual_verdict(table).endswith(
        "By E-distance (45.10 against 39.30) and lowered genes that are predicted to fall "
        "(93 % against 100 %), the baseline does better."
    )


def test_scores_on_which_the_model_is_ahead_are_said_where_the_baseline_wins():
    table = with_score(tables.combinations(0.5), "pearson_delta_top50", cycle_ae=0.99)
    assert counterfactual_verdict(table).endswith(
        "By correlation of the genes that change most (0.99 against 0.93), the model does better."
    )


def test_distances_that_true_cells_have_too_count_for_nothing():
    """E-distances of 1 and 3 are equal where two halves of the true cells are 3 apart."""
    far = with_score(tables.combinations(), "e_distance", cycle_ae=3.0, additive=1.0,
                     similarity=1.0)  # fmt: skip
    assert "By E-distance" in counterfactual_verdict(with_score(far, "e_distance", ceiling=0.1))
    assert "E-distance" not in counterfactual_verdict(with_score(far, "e_distance", ceiling=3.0))


def test_lowered_genes_stand_beside_the_published_model():
    assert "98 % are predicted to fall (by the published model 55 %, by the additive" in (
        counterfactual_answer(tables.combinations())
    )


def test_combinations_that_tell_little_leave_numbers_and_verdict():
    """The score of the report leaves them out as well: words and score must agree."""
    answer = counterfactual_answer(both_kinds())
    assert "4 combinations of contexts were left out" in answer
    assert "on average: counterfactual cells 0.97;" in answer
    assert "baseline in 2 of 2 held-out combinations" in answer
    assert "These are the 2 of 4 that can tell much: elsewhere few genes change" in answer


def test_where_none_can_tell_much_it_is_said():
    answer = counterfactual_verdict(tables.combinations(informative=False))
    assert answer.endswith(
        "None of this can tell much: few genes change surely, or true cells themselves predict "
        "true cells badly."
    )


def test_without_combinations_nothing_is_claimed():
    for nothing in (tables.empty(tables.combinations()), pd.DataFrame()):
        assert "is not known here" in counterfactual_answer(nothing)
        assert "is not known here" in counterfactual_verdict(nothing)
        assert combinations_table(nothing) is None


def test_the_published_model_speaks_for_itself():
    """Where it was chosen, no other is scored, and no counterfactual cells are ours."""
    table = tables.combinations()
    table = with_score(table[table["method"] != "cycle_ae"], "weighted_delta_r2", published=0.96)
    answer = counterfactual_answer(table)
    assert "The published model beats the best additive baseline in 2 of 2" in answer
    assert "Counterfactual cells" not in answer
    assert "by the published model" not in answer  # it does not stand beside itself


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["additive", "similarity"], "there is no plain average to compare with"),
        (["cycle_ae", "published"], "The prediction of the model could not be scored."),
    ],
)
def test_what_was_not_predicted_is_said(missing, words):
    table = tables.combinations()
    assert words in counterfactual_answer(table[~table["method"].isin(missing)])
    unknown = with_score(table, "weighted_delta_r2", **dict.fromkeys(missing, np.nan))
    assert words in counterfactual_answer(unknown)


def test_every_method_has_its_row_and_no_number_is_nan():
    table = with_score(tables.combinations(), "down_accuracy", cycle_ae=np.nan)
    shown = combinations_table(table)
    assert len(shown) == len(table)
    ours = shown[shown["Prediction"] == "Counterfactual cells"]
    assert set(ours["Lowered genes fall"]) == {"not known"}
    assert set(ours["Weighted R²"]) == {"0.97"}
    assert "nan" not in shown.to_string()
