"""All that cycle_ae adds to the report: words for every figure and score, and for every gap."""

import dataclasses
import re

import context_tables as tables
import numpy as np
import pandas as pd
import pytest
from reporting.whole import check_whole

from synthome.evaluation.metrics import METRICS
from synthome.plotting.conditional import SCORE
from synthome.plotting.scores import read_scores
from synthome.plotting.standing import GROUPS, KEY_SCORES
from synthome.plotting.style import png_bytes
from synthome.reporting.cycle_ae import CycleAEResults, cycle_ae_answers, cycle_ae_figures
from synthome.reporting.cycle_ae_words import FIGURES, GLOSSARY, LIMITS

TABLES = ("combinations", "planted", "heads", "head_genes", "contexts", "claims")
FULL = tables.results()
WITHOUT_MODEL = tables.combinations().query("method != 'cycle_ae'")
CASES = {
    "full": FULL,
    "nan": tables.unknown(FULL),
    "no rows": tables.results(**{name: tables.empty(getattr(FULL, name)) for name in TABLES}),
    "no columns": tables.results(
        **dict.fromkeys((*TABLES, "history"), pd.DataFrame()), held_out={}, fields={}
    ),
    "published": tables.results(
        held_out={},
        combinations=WITHOUT_MODEL,
        planted=tables.planted().query("method == 'published'"),
        heads=tables.empty(tables.heads()),
        head_genes=tables.empty(tables.head_genes()),
        contexts=pd.DataFrame(),
    ),
    "nothing tells": tables.results(combinations=tables.combinations(informative=False)),
    "no curves": tables.results(history=pd.DataFrame({"epoch": [1, 2]})),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers():
    return cycle_ae_answers(FULL)


@pytest.mark.parametrize("results", CASES.values(), ids=CASES)
def test_whatever_is_missing_every_question_has_an_answer_in_whole_sentences(results):
    check_whole(cycle_ae_answers(results), FIGURES)


@pytest.mark.parametrize("results", CASES.values(), ids=CASES)
def test_whatever_is_missing_every_figure_has_its_place(results):
    """What these data cannot show is said in the place of the figure."""
    figures = cycle_ae_figures(results)
    assert list(figures) == list(FIGURES)
    for figure in figures.values():
        assert png_bytes(figure, dpi=15).startswith(b"\x89PNG")


def test_values_are_those_of_the_tables(answers):
    found = answers.metrics
    r2 = found["counterfactual/weighted_delta_r2"]
    assert (r2["floor"], r2["value"], r2["ceiling"]) == pytest.approx((0.91, 0.97, 0.99))
    assert r2["n"] == 2
    fall = found["cycle/down_regulation_accuracy"]
    assert (fall["floor"], fall["value"], fall["ceiling"]) == pytest.approx((0.505, 0.985, 0.995))
    assert found["counterfactual/e_distance"]["value"] == pytest.approx(0.9)
    sign = found["cycle/planted_sign_accuracy"]
    assert (sign["value"], sign["floor"], sign["n"]) == (1.0, 0.4, 200)  # of one method, not both
    made = found["cycle/generated_accuracy"]
    assert (made["floor"], made["value"], made["ceiling"]) == pytest.approx((0.5, 0.95, 0.96))
    assert (made["n"], found["cycle/cycle_error"]["value"]) == (300, 0.02)
    state = found["cycle/integration"]  # (0.52 - 0.5) / (1 - 0.5), and 0.9 of components
    assert (state["value"], state["floor"]) == pytest.approx((0.04, 0.8))


def test_combinations_that_tell_little_leave_the_score_when_others_tell_more():
    few = tables.combinations(0.1, informative=False)
    both = pd.concat([tables.combinations(), few.assign(target=few["target"] + ", too")])
    entry = cycle_ae_answers(tables.results(combinations=both)).metrics[f"counterfactual/{SCORE}"]
    assert (entry["value"], entry["n"]) == (pytest.approx(0.97), 2)
    assert "(informative)" in entry["protocol"]
    entry = cycle_ae_answers(CASES["nothing tells"]).metrics[f"counterfactual/{SCORE}"]
    assert "none of them informative" in entry["protocol"]


def test_the_published_model_is_no_floor_of_its_own():
    found = cycle_ae_answers(CASES["published"]).metrics
    assert found["cycle/planted_sign_accuracy"]["value"] == pytest.approx(0.4)
    assert found["cycle/planted_sign_accuracy"]["floor"] is None
    assert found[f"counterfactual/{SCORE}"]["value"] == pytest.approx(0.1)
    assert "cycle/integration" not in found


def test_what_was_not_measured_has_no_score():
    assert cycle_ae_answers(CASES["nan"]).metrics == {}
    assert cycle_ae_answers(CASES["no rows"]).metrics == {}


def test_every_score_has_a_unit_a_group_and_a_place_in_the_key_figure(answers):
    for score in read_scores(answers.metrics, METRICS).values():
        assert score.short
        assert score.unit
        assert score.group in GROUPS
    shown = {key for key in KEY_SCORES if key.split("/")[0] in ("cycle", "counterfactual")}
    assert shown <= set(answers.metrics)


def test_a_star_stands_before_combinations_that_tell_little():
    def names(results):
        ax = cycle_ae_figures(results)["counterfactuals"].axes[0]
        return [label.get_text() for label in ax.get_yticklabels()]

    assert names(FULL) == ["B, v2 → v3", "T, v2 → v3"]
    assert names(CASES["nothing tells"]) == ["* B, v2 → v3", "* T, v2 → v3"]
    assert "A star stands before" in FIGURES["counterfactuals"].how_to_read


def test_reconstruction_is_never_called_counterfactual(answers):
    text = str(answers.document()["sections"])
    assert "A reconstruction is no counterfactual" in text
    assert text.lower().count("reconstruct") == 1


def test_the_words_speak_of_cells_and_end_as_sentences(answers):
    said = [*LIMITS, *GLOSSARY.values()]
    said += [w for f in FIGURES.values() for w in (f.how_to_read, f.alt)]
    for text in said:
        assert text.endswith(".")
    spoken = " ".join(p for section in answers.sections for p in section.paragraphs)
    assert not re.findall(r"\b(?:patients?|samples?)\b", f"{said} {spoken}")


def test_results_are_what_the_pipeline_hands_over():
    """The node calls with these names, and nothing can be changed afterwards."""
    names = [field.name for field in dataclasses.fields(CycleAEResults)]
    assert names == [
        "held_out", "combinations", "planted", "heads", "head_genes", "contexts", "claims",
        "fields", "history",
    ]  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.heads = np.nan
