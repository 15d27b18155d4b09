"""All that ldvae adds to the report: every figure has words, every score its entry, no patient."""

import json
import re

import numpy as np
import pytest
from perturbation_tables import TYPES, alarm_rows, held_out, results_of, smallest_rows

from synthome.evaluation.metrics import METRICS
from synthome.plotting.style import png_bytes
from synthome.reporting.content import Answers
from synthome.reporting.facts import CohortFacts
from synthome.reporting.html import render_report
from synthome.reporting.ldvae import in_short, ldvae_answers, ldvae_figures
from synthome.reporting.ldvae_words import FIGURES
from synthome.reporting.verdict import verdict

PNG = b"\x89PNG\r\n\x1a\nnothing"


@pytest.fixture(scope="module")
def results():
    return results_of()


@pytest.fixture(scope="module")
def answers(results):
    return ldvae_answers(results)


def test_every_figure_has_words_and_a_section_and_the_order_is_one(results, answers):
    figures = ldvae_figures(results)
    assert list(figures) == list(answers.figures) == list(FIGURES)
    placed = [name for section in answers.sections for name in section.figures]
    assert sorted(placed) == sorted(FIGURES)
    assert png_bytes(figures["planted"], dpi=30).startswith(b"\x89PNG")
    assert "5 ×" in figures["confusion"].get_suptitle()


def test_scores_have_the_shape_of_all_scores(answers):
    assert set(answers.metrics) == {
        *("ldvae/nll", "ldvae/elbo", "ldvae/three_class_accuracy", "ldvae/planted_auprc"),
        *("ldvae/planted_auprc_down", "ldvae/planted_auprc_up", "ldvae/smallest_detectable_dose"),
        *("counterfactual/weighted_delta_r2", "counterfactual/pearson_delta_top50"),
        "counterfactual/e_distance",
    }
    fields = ["value", "interval", "floor", "ceiling", "cheat", "n", "n_folds", "cheat_wins",
              "best", "protocol"]  # fmt: skip
    for key, entry in answers.metrics.items():
        assert list(entry) == fields
        assert key in METRICS
        assert entry["cheat_wins"] is False
        assert entry["protocol"]


def test_values_are_those_of_the_tables(answers):
    found = answers.metrics
    assert found["ldvae/nll"]["value"] == 345.0
    assert found["ldvae/nll"]["floor"] == 398.0
    assert found["ldvae/nll"]["interval"] == pytest.approx([341.08, 348.92], abs=0.01)
    assert found["ldvae/elbo"]["value"] == -365.0
    assert found["ldvae/elbo"]["floor"] == -398.0
    accuracy = found["ldvae/three_class_accuracy"]
    assert (accuracy["value"], accuracy["ceiling"], accuracy["n"]) == (0.43, 0.63, 1350)
    assert accuracy["floor"] == pytest.approx(1 / 3)
    assert found["ldvae/planted_auprc"]["value"] == pytest.approx((0.88 + 0.91) / 2)
    assert found["ldvae/planted_auprc_down"]["ceiling"] == 0.90
    assert found["ldvae/planted_auprc_down"]["floor"] == pytest.approx(33 / 2068)
    assert found["ldvae/planted_auprc_up"]["n"] == 50
    r2 = found["counterfactual/weighted_delta_r2"]
    assert (r2["value"], r2["floor"], r2["ceiling"]) == pytest.approx((0.73, 0.79, 0.91))


def test_a_median_dose_that_is_not_reached_is_none():
    smallest = smallest_rows(TYPES[:3], (("latents", 2), ("pca", 3)))
    entry = ldvae_answers(results_of(smallest=smallest)).metrics["ldvae/smallest_detectable_dose"]
    assert entry["value"] is None
    assert entry["floor"] is None
    assert entry["interval"] is None
    assert entry["ceiling"] == pytest.approx(2.0, abs=0.1)


def test_answers_survive_being_stored_as_json(answers):
    document = json.loads(json.dumps(answers.document()))
    again = Answers.from_document(document)
    assert [s.title for s in again.sections] == [s.title for s in answers.sections]
    assert again.metrics == document["metrics"]


def test_the_short_answer_says_what_was_done_and_what_came_of_it(results):
    text = " ".join(in_short(results))
    assert "8 genes (down) were turned down and 8 genes (up) were turned up by a factor" in text
    assert "better than no latents at all" in text
    assert "The plain signature score, two numbers for each cell, wins" in text
    assert "it flatters by 12 points" in text
    worse = " ".join(in_short(results_of(held_out=held_out(nll=500.0))))
    assert "nothing below should be built on its latents" in worse


def test_a_report_of_cells_with_these_answers_names_no_patient(answers):
    facts = CohortFacts(class_sizes=dict.fromkeys(TYPES, 100), unit="cell", n_train=960, n_test=240)
    html = render_report(
        title="Cortex",
        metrics=answers.metrics,
        verdict=verdict(answers.metrics, facts),
        facts=facts,
        figures=dict.fromkeys(answers.figures, PNG),
        captions=answers.figures,
        sections=answers.sections,
        limits=answers.limits,
        glossary=answers.glossary,
    )
    text = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    assert not re.findall(r"\b(?:patients?|samples?)\b", text, flags=re.IGNORECASE)
    assert "Seen: does the model see a change of the cells?" in html
    for words in answers.figures.values():
        assert words.title in html
    for term in ("Latent", "Twin", "AUPRC", "ELBO", "Signature score", "Power", "E-distance"):
        assert f"<dt>{term}</dt>" in html


def test_every_sentence_is_finished_and_no_number_is_missing(answers):
    said = [p for section in answers.sections for p in section.paragraphs]
    said += [*answers.limits, *answers.glossary.values()]
    said += [w for f in answers.figures.values() for w in (f.how_to_read, f.alt)]
    for text in said:
        assert text.endswith(".")
        assert "  " not in text
        assert not re.search(r"\bnan\b|\binf\b|None", text)


def test_alarms_beyond_the_level_reach_the_report():
    found = ldvae_answers(results_of(alarms=alarm_rows(0.09, 0.08, 0.1)))
    text = " ".join(p for section in found.sections for p in section.paragraphs)
    assert "whose power is therefore too high" in text
    assert np.isfinite(found.metrics["ldvae/nll"]["value"])


def test_with_too_few_cells_the_report_says_that_it_cannot_tell():
    """What could not be measured has neither a number nor a picture, but its place."""
    whole = results_of()
    results = results_of(
        power=whole.power.iloc[:0],
        smallest=whole.smallest.iloc[:0],
        alarms=whole.alarms.iloc[:0],
        conditional=whole.conditional.iloc[:0],
    )
    answers = ldvae_answers(results)
    assert list(ldvae_figures(results)) == list(FIGURES)
    said = {section.title: section for section in answers.sections}
    for title in (
        "From which dose on is a change seen?",
        "Does the change carry over to another cell type?",
    ):
        assert said[title].paragraphs[0].startswith("Cannot tell")
        assert said[title].table is None
    for key in ("ldvae/smallest_detectable_dose", "counterfactual/weighted_delta_r2"):
        entry = answers.metrics[key]
        assert (entry["value"], entry["interval"], entry["n"]) == (None, None, 0)
    Answers.from_document(json.loads(json.dumps(answers.document())))
