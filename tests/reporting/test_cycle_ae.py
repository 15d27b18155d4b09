"""The report of contexts says what the tables say, a plain average doing as well included."""

import math

import context_tables as tables
import pandas as pd
import pytest

from synthome.evaluation.metrics import METRICS
from synthome.plotting.style import png_bytes
from synthome.reporting import cycle_ae
from synthome.reporting.cycle_ae import cycle_ae_answers, cycle_ae_figures
from synthome.reporting.cycle_ae_words import FIGURES


def test_every_metric_has_words_and_stands_between_floor_and_ceiling():
    metrics = cycle_ae_answers(tables.results()).metrics
    assert set(metrics) <= set(METRICS)
    r2 = metrics["counterfactual/weighted_delta_r2"]
    assert (r2["floor"], r2["value"], r2["ceiling"]) == pytest.approx((0.91, 0.97, 0.99))
    assert metrics["cycle/integration"]["value"] == pytest.approx(0.04)
    assert metrics["cycle/generated_accuracy"]["ceiling"] == pytest.approx(0.96)
    assert metrics["cycle/planted_sign_accuracy"]["floor"] == pytest.approx(0.4)


def test_uninformative_combinations_leave_the_score_when_others_tell_more():
    both = pd.concat([
        tables.combinations(), tables.combinations(0.1, informative=False).replace(
            {"target": {"B, v2 → v3": "C, v2 → v3", "T, v2 → v3": "D, v2 → v3"}}),
    ])  # fmt: skip
    metrics = cycle_ae_answers(tables.results(combinations=both)).metrics
    assert metrics["counterfactual/weighted_delta_r2"]["value"] == pytest.approx(0.97)
    assert metrics["counterfactual/weighted_delta_r2"]["n"] == 2
    assert "Only 2 of them can tell much" in cycle_ae.counterfactual_answer(both)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.97, "beat the best additive baseline in 2 of 2"),
        (0.5, "A plain average of the other types does better in 2 of 2"),
        (0.921, "an average does as well"),
    ],
)
def test_the_additive_baseline_is_what_must_be_beaten(value, words):
    assert words in cycle_ae.counterfactual_answer(tables.combinations(value))


def test_without_combinations_nothing_is_claimed():
    text = cycle_ae.counterfactual_answer(tables.empty(tables.combinations()))
    assert "is not known here" in text
    metrics = cycle_ae_answers(
        tables.results(combinations=tables.empty(tables.combinations()))
    ).metrics
    assert "counterfactual/weighted_delta_r2" not in metrics


def test_a_judge_that_training_never_saw_has_the_last_word():
    assert "as surely as real ones" in cycle_ae.contexts_answer(tables.contexts())
    fooled = cycle_ae.contexts_answer(tables.contexts(generated=0.6))
    assert "less surely than real ones (60 % against 96 %" in fooled
    assert "though the classifier of training is satisfied (99 %)" in fooled
    leaky = cycle_ae.contexts_answer(tables.contexts(state=0.9, error=0.2))
    assert "badly calibrated for assay" in leaky
    assert "The state still tells assay (90 %, guessing 50 %)" in leaky


def test_effects_that_donors_explain_are_not_built_upon():
    assert "no larger than donors differ by chance" in cycle_ae.claims_answer(tables.claims())
    assert "are larger than donors differ" in cycle_ae.claims_answer(tables.claims(0.01))
    assert "none was named" in cycle_ae.claims_answer(tables.empty(tables.claims()))


def test_fields_that_cannot_be_told_apart_are_named():
    pair = {"a": "sex", "b": "site", "cramers_v": 1.0, "determined": "sex by site"}
    fields = {"fields": [{"name": "sex"}, {"name": "site"}], "confounding": [pair]}
    assert "sex and site cannot be told apart" in cycle_ae.fields_answer(fields)
    donor = {"a": "sex", "b": "donor", "cramers_v": 1.0, "determined": "sex by donor"}
    fields["confounding"] = [donor]
    assert "cannot be told apart" not in cycle_ae.fields_answer(fields).split(".")[0]
    fields["confounding"] = [donor | {"determined": "sex by donor and donor by sex"}]
    assert "sex and donor cannot be told apart" in cycle_ae.fields_answer(fields)


def test_figures_are_drawn_with_everything_and_with_nothing():
    """What these data cannot show is said in the place of the figure."""
    nothing = tables.results(
        **{
            name: tables.empty(getattr(tables, name)())
            for name in ("combinations", "planted", "heads", "head_genes", "contexts", "claims")
        }
    )
    for results in (tables.results(), nothing):
        figures = cycle_ae_figures(results)
        assert list(figures) == list(FIGURES)
        for figure in figures.values():
            assert len(png_bytes(figure)) > 2_000
        document = cycle_ae_answers(results).document()
        assert document["sections"]
        assert "nan" not in str(document["sections"]).lower()


def test_reconstruction_is_never_called_counterfactual():
    document = cycle_ae_answers(tables.results()).document()
    text = str(document["sections"])
    assert "A reconstruction is no counterfactual" in text
    assert not math.isnan(document["metrics"]["cycle/cycle_error"]["value"])
