"""The page of a study: four answers first, every number as text, and no patient in it."""

import numpy as np
import pandas as pd
import pytest

from synthome.reporting import study_tables
from synthome.reporting.dose import DoseVerdict
from synthome.reporting.facts import CohortFacts
from synthome.reporting.study import QUESTIONS, StudyResults, answers, render_study

PNG = b"\x89PNG\r\n\x1a\nnothing"
FACTS = CohortFacts(class_sizes={"FSHD": 34, "control": 9})


def few_shot_rows(gain=0.1):
    rows = [
        (n + fold, arm, "forest", metric, 0.6 + 0.01 * n + gain * (arm == "augmented"), 0, fold)
        for fold in (0, 1)
        for n in (10, 20)
        for arm in ("real", "augmented")
        for metric in ("auc", "balanced_accuracy")
    ]
    columns = ["n_real", "arm", "kind", "metric", "value", "repeat", "fold"]
    return pd.DataFrame(rows, columns=columns).assign(n_train=34, n_test=9)


def dose_rows():
    rows = [
        (dose, kind, metric, value + 0.1 * fold, 0, fold)
        for fold in (0, 1)
        for dose, kind, value in ((0.0, "forest", 0.6), (5.0, "forest", 0.8),
                                  (0.0, "balanced_forest", 0.65))
        for metric in ("auc", "balanced_accuracy")
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["dose", "kind", "metric", "value", "repeat", "fold"])


def curve_rows():
    keys = ("fidelity/variance_ratio", "utility/tstr_auc", "privacy/worst_auc")
    rows = [
        ("rare_vae", T, key, value, value - 0.1, value + 0.1)
        for T in (0.5, 1.0, 2.0)
        for key, value in zip(keys, (T, 0.9, 0.55), strict=True)
    ]
    columns = ["generator", "temperature", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def published_rows():
    rows = [
        (name, metric, value, 0.01, 42)
        for name in ("rare_vae", "copies", "independent_noise")
        for metric, value in (("tstr_accuracy", 0.95), ("mean_r2", 0.99), ("std_slope", 1.0))
    ]
    return pd.DataFrame(rows, columns=["generator", "metric", "mean", "sd", "representative_seed"])


MARKERS = {
    "k": 10,
    "agreement": 0.425,
    "real": {"stability": 0.31, "interval": [0.2, 0.42], "genes": {"PAX7": 1.0, "<b>": 0.4}},
    "synthetic": {"stability": 0.6, "interval": [None, None], "genes": {"PAX7": 0.2}},
}


@pytest.fixture
def results():
    privacy = pd.DataFrame(
        [
            ("noise", 0.0, 0.95, 0.9, 1.0, 0.8, 0.7, 0.9),
            ("noise", 1.0, 0.8, 0.7, 0.9, 0.5, 0.4, 0.6),
        ],
        columns=["knob", "setting", "utility", "utility_low", "utility_high", "attack",
                 "attack_low", "attack_high"],
    )  # fmt: skip
    return StudyResults(
        dose=dose_rows(),
        few_shot=few_shot_rows(),
        verdict=DoseVerdict(advice="do not augment", sentence="Do not augment: nothing is gained."),
        biomarkers=MARKERS,
        temperature=curve_rows(),
        chosen={"FSHD": 1.0, "control": 1.2},
        privacy=privacy,
        reference={"privacy/likelihood_ratio_auc": {"value": 0.7, "interval": [0.6, 0.8]}},
        published=published_rows(),
    )


def test_the_four_questions_are_answered_in_their_order(results):
    found = answers(results)
    assert [answer["question"] for answer in found] == list(QUESTIONS.values())
    assert found[0]["word"] == "do not augment"
    assert found[0]["text"] == "Do not augment: nothing is gained."
    assert "calibrated" in found[1]["text"]
    assert "strongest attack reaches AUC 0.80" in found[2]["text"]
    assert "published check" in found[3]["text"]


def test_the_page_opens_with_the_answers_and_escapes_what_comes_from_outside(results):
    names = ("dose", "few_shot", "temperature", "privacy_curve", "published")
    html = render_study(
        "Study of <FSHD>",
        results,
        dict.fromkeys(names, PNG),
        FACTS,
        run={"command": "kedro run --params=x=patient_7", "parameters": {"a": "patient_7"}},
        identifiers={"patient_7"},
    )
    order = [html.index(f'id="answer-{key}"') for key in QUESTIONS]
    assert order == sorted(order)
    assert order[-1] < html.index('id="figure-dose"')
    assert html.count("data:image/png;base64") == len(names)
    assert "Study of &lt;FSHD&gt;" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "patient_7" not in html
    assert "<script" not in html


def test_a_figure_that_was_not_drawn_is_left_out(results):
    html = render_study("Study", results, {"dose": PNG}, FACTS)
    assert 'id="figure-dose"' in html
    assert 'id="figure-published"' not in html


def test_doses_are_means_over_folds():
    table = study_tables.dose_table(dose_rows()).set_index(["Classifier", "Dose"])
    assert table.loc[("Random forest", "5 ×"), "AUC"] == pytest.approx(0.85)
    assert table.loc[("Class-weighted forest", "0"), "AUC"] == pytest.approx(0.70)


def test_few_shots_are_paired_by_fold_and_sizes_by_rank():
    text = study_tables.few_shot_words(few_shot_rows())
    assert text.startswith("With 10 to 11 real patients")
    assert "+0.10" in text
    table = study_tables.few_shot_table(few_shot_rows())
    assert table["Real rows"].tolist() == ["10 to 11", "20 to 21"]
    gains = table["AUC, with synthetic"] - table["AUC, alone"]
    assert gains.tolist() == pytest.approx([0.1, 0.1])
    assert "smaller" in study_tables.few_shot_words(few_shot_rows().iloc[:0])


def test_biomarkers_are_named_with_their_folds():
    words = study_tables.biomarker_words(MARKERS)
    assert "42 % are also named" in words
    assert "0.31 [0.20, 0.42] with real and to 0.60 with synthetic" in words
    table = study_tables.biomarker_table(MARKERS)
    assert table.to_numpy().tolist() == [["PAX7", "100 %", "20 %"], ["<b>", "40 %", "–"]]


def test_tables_of_curves_have_a_row_per_setting(results):
    wide = study_tables.temperature_table(results.temperature)
    assert wide["T"].tolist() == ["0.5", "1", "2"]
    assert wide["Strongest attack (AUC)"].tolist() == [0.55] * 3
    privacy = study_tables.privacy_table(results.privacy, results.reference)
    assert privacy["Attack"].tolist() == [
        "0.80 [0.70, 0.90]", "0.50 [0.40, 0.60]", "0.70 [0.60, 0.80]",
    ]  # fmt: skip
    assert len(study_tables.privacy_table(results.privacy, {})) == 2
    published = study_tables.published_table(results.published)
    assert published.loc[0, "Accuracy on clusters"] == "0.950 ± 0.010"


def test_an_interval_that_is_not_known_is_not_written():
    marked = MARKERS | {"real": MARKERS["real"] | {"interval": [np.nan, np.nan]}}
    assert "to 0.31 with real" in study_tables.biomarker_words(marked)
