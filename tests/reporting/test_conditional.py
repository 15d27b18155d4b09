import numpy as np
import pytest
from perturbation_tables import PREDICTED, TYPES, conditional_rows
from scipy import stats

from synthome.reporting.conditional import conditional_answer, conditional_table, mean_over_types

THREE = TYPES[:3]


def test_a_model_that_loses_to_the_additive_baseline_is_said_to_lose():
    text = conditional_answer(conditional_rows(THREE))
    assert "for each of 3 in turn" in text
    assert "the shift of the latents explains 0.34; latents with residuals 0.73; the" in text
    assert (
        "additive baseline, which needs no model, 0.79; no change at all −0.02; and other true"
        in text
    )
    assert (
        "Latents with residuals lose to the additive baseline in 6 of 6 comparisons (cell types "
        "and directions): to carry a change over to another cell type, no latent model is needed. "
        "The shift of the latents alone beats it in 0." in text
    )


def test_latents_no_better_than_no_change_are_said_to_be():
    idle = conditional_answer(conditional_rows(THREE, PREDICTED | {"no_change": 0.32}))
    assert "alone beats it in 0, and is hardly better than no change at all." in idle


def test_a_model_that_wins_is_said_to_win():
    text = conditional_answer(conditional_rows(THREE, PREDICTED | {"latents+residuals": 0.85}))
    assert "Latents with residuals beat the additive baseline in 6 of 6 comparisons" in text


def test_a_draw_is_a_draw():
    table = conditional_rows(THREE, PREDICTED | {"latents+residuals": 0.85})
    down = (table["method"] == "latents+residuals") & (table["condition"] == "down")
    table.loc[down, "weighted_delta_r2"] = 0.6
    text = conditional_answer(table)
    assert "in 3 of 6 comparisons (cell types and directions), and not in 3: neither" in text


def test_latents_alone_are_judged_where_nothing_else_was_read():
    values = {k: v for k, v in PREDICTED.items() if k != "latents+residuals"}
    text = conditional_answer(conditional_rows(THREE, values))
    assert "The shift of the latents loses to the additive baseline in 6 of 6" in text
    better = conditional_answer(conditional_rows(THREE, values | {"latents": 0.9}))
    assert "The shift of the latents beats the additive baseline in 6 of 6" in better


def test_without_room_between_no_change_and_the_ceiling_nobody_wins():
    """With few cells a change is mostly chance, and unchanged cells explain half of it."""
    text = conditional_answer(conditional_rows(THREE, PREDICTED | {"no_change": 0.86}))
    assert "Which is better cannot be told" in text
    assert "comparisons" not in text


def test_a_low_ceiling_leaves_little_to_predict():
    low = conditional_answer(conditional_rows(THREE, PREDICTED | {"ceiling": 0.3}))
    assert "The ceiling itself is only 0.29" in low
    assert "itself" not in conditional_answer(conditional_rows(THREE))


def test_the_table_has_means_by_direction_and_method():
    table = conditional_table(conditional_rows(THREE))
    assert len(table) == 2 * len(PREDICTED)
    assert table.loc[0].tolist() == [
        "genes turned down", "Shift of the latents", "0.34", "0.39", "6.50",
    ]  # fmt: skip


def test_the_interval_is_students_over_cell_types():
    table = conditional_rows(TYPES)
    mean, limits = mean_over_types(table, "additive", "weighted_delta_r2")
    values = 0.80 - 0.01 * np.arange(len(TYPES))
    expected = stats.t.interval(0.95, len(TYPES) - 1, values.mean(), stats.sem(values))
    assert mean == pytest.approx(values.mean())
    assert limits == pytest.approx(expected)
    one, unknown = mean_over_types(conditional_rows(TYPES[:1]), "additive", "weighted_delta_r2")
    assert one == pytest.approx(0.8)
    assert np.isnan(unknown).all()
    assert np.isnan(mean_over_types(table, "other", "weighted_delta_r2")[0])
