"""All that omics_lm adds to the report: figures with words, scores, and sentences that are true."""

import json

import pandas as pd
import pytest
from matched_tables import CODE, attack_rows, results_of, score_rows

from synthome.evaluation.metrics import METRICS
from synthome.plotting.style import png_bytes
from synthome.reporting.content import Answers
from synthome.reporting.omics_lm import (
    attack_table,
    distortion_table,
    in_short,
    lm_answers,
    lm_figures,
    matched_table,
)
from synthome.reporting.omics_lm_words import FIGURES


@pytest.fixture(scope="module")
def results():
    return results_of()


@pytest.fixture(scope="module")
def answers(results):
    return lm_answers(results)


def test_every_figure_has_words_and_a_section_and_the_order_is_one(results, answers):
    figures = lm_figures(results)
    assert list(figures) == list(answers.figures) == list(FIGURES)
    placed = [name for section in answers.sections for name in section.figures]
    assert sorted(placed) == sorted(FIGURES)
    assert png_bytes(figures["distortion"], dpi=30).startswith(b"\x89PNG")


def test_answers_survive_json(answers):
    document = json.loads(json.dumps(answers.document()))
    again = Answers.from_document(document)
    assert again.document() == answers.document()
    assert set(again.metrics) <= set(METRICS)


def test_scores_stand_between_guessing_real_patients_and_copies(answers):
    entry = answers.metrics["lm/balanced_accuracy"]
    assert entry["value"] == pytest.approx(0.80)
    assert entry["floor"] == pytest.approx(1 / 3)
    assert entry["ceiling"] == pytest.approx(0.83)
    assert entry["cheat"] == pytest.approx(0.80)
    assert (entry["n"], entry["n_folds"]) == (60, 5)
    assert answers.metrics["lm/gap"]["value"] == pytest.approx(-0.05)
    assert answers.metrics["encoding/decode_r2"]["floor"] == pytest.approx(0.85)
    assert answers.metrics["encoding/published_r"]["floor"] == CODE["published_r_independent"]
    assert answers.metrics["lm/drawn_attack_auc"]["value"] == 0.66


@pytest.mark.parametrize(
    ("lm", "said"),
    [
        (0.80, "(logistic regression) is 5 points better: use the plain classifier"),
        (0.84, "1 points better, which is about the same: the language model reads as well"),
        (0.90, "is 5 points worse: here the language model reads better"),
    ],
)
def test_the_comparison_is_said_as_it_is(lm, said):
    text = " ".join(in_short(results_of(scores=score_rows(lm))))
    assert said in text


def test_what_synthetic_rows_lost_is_said():
    assert "nothing was lost" in " ".join(in_short(results_of()))
    scores = score_rows()
    low = scores["arm"].eq("drawn") & scores["metric"].eq("balanced_accuracy")
    scores.loc[low, "value"] -= 0.1
    assert "8 points were lost on the way" in " ".join(in_short(results_of(scores=scores)))


def test_a_successful_attack_on_texts_is_said():
    assert "does not clearly tell who was a training patient" in " ".join(in_short(results_of()))
    found = " ".join(in_short(results_of(attacks=attack_rows(written=0.75))))
    assert "tells who was a training patient (AUC 0.75" in found
    assert "Treat rows and texts like patient data" in found


def test_the_published_score_is_put_beside_its_null(answers):
    text = " ".join(p for section in answers.sections for p in section.paragraphs)
    assert "published score of the same texts is 0.86, and 0.88 when patients are shuffled" in text
    assert "do not clearly have texts that need fewer edits" in text
    assert "32 % of values are cut off" in text
    assert "Of 3 samples of the external cohort, 75 % were named rightly" in text


def test_noise_that_teaches_as_much_is_said(results):
    text = str(lm_answers(results).sections)
    assert "noise of each class and gene taught 75.0 %" in text
    assert "Noise taught as much" not in text
    scores = score_rows()
    scores.loc[scores["arm"] == "noise", "value"] += 0.12
    assert "Noise taught as much" in str(lm_answers(results_of(scores=scores)).sections)


def test_given_signatures_are_named(results):
    report = {"sets": {"CMS1": {"n_given": 30, "n_found": 20, "found_by": {"as written": 20},
                                "renamed": {}, "not_found": ["X"] * 10}}}  # fmt: skip
    text = str(lm_answers(results_of(signatures=report)).sections)
    assert "those of the given signatures (30 genes)" in text
    assert "No signature was given" in str(lm_answers(results).sections)


def test_tables_hold_every_model_precision_and_attack(results):
    table = matched_table(results)
    assert len(table) == 4 * 4 + 1 + 5
    assert table["Balanced accuracy"].iloc[0].startswith("0.800 [0.7")
    assert distortion_table(results.distortion)["Alphabet"].tolist()[-1] == "values themselves"
    assert attack_table(results.attacks).shape == (2, 5)


def test_without_a_language_model_the_report_says_so():
    scores = score_rows(published=False)
    scores = scores[scores["model"] != "language_model"]
    nothing = results_of(
        scores=scores, answers=results_of().answers.iloc[:0], attacks=attack_rows().iloc[:0]
    )
    answers = lm_answers(nothing)
    assert "not trained on any fold" in " ".join(answers.sections[0].paragraphs)
    assert "lm/balanced_accuracy" not in answers.metrics
    assert isinstance(lm_figures(nothing)["called"].get_size_inches()[0], float)
    assert isinstance(answers.sections[1].table, pd.DataFrame)
