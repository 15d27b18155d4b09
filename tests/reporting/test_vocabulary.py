"""A report of cells never calls them patients or samples, and leaves the user's own words alone."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.evaluation.metrics import METRICS
from synthome.plotting.attacks import attacks_figure
from synthome.plotting.standing import standing_figure
from synthome.reporting.content import FIGURES
from synthome.reporting.facts import CohortFacts
from synthome.reporting.html import render_report
from synthome.reporting.verdict import verdict
from synthome.reporting.vocabulary import (
    CELLS,
    CLOSE,
    OPEN,
    VOCABULARIES,
    outside,
    outside_of,
    unit_of,
)

PNG = b"\x89PNG\r\n\x1a\npatient samples"
say = VOCABULARIES["cell"]
TITLE, COLUMN, FILE = "Biopsies of patient samples", "patient", "patients.h5ad"


def page(unit, good, safe=True):
    """Everything that a report can say, with every score that the registry knows."""
    facts = CohortFacts(
        class_sizes={"neuron": 34, "sample": 9}, unit=unit, n_train=34, n_test=9, n_folds=1,
        n_never_tested=30, label=COLUMN, source=FILE, simulated=True, n_synthetic=100,
        external_class_sizes={"neuron": 4},
    )  # fmt: skip
    metrics = {key: good.get(key, good["utility/tstr_auc"]) for key in METRICS}
    if not safe:
        metrics = {k: v for k, v in metrics.items() if not k.startswith(("privacy", "external"))}
    return render_report(
        title=TITLE,
        metrics=metrics,
        verdict=verdict(metrics, facts),
        facts=facts,
        figures=dict.fromkeys(FIGURES, PNG),
        validation={"steps": [{"step": "read", "kept_samples": 3, "why": "each patient"}]},
        run={"command": "kedro run --params=donor=patient", "parameters": {"samples": "patient"}},
    )


def words(html):
    """What a reader sees or hears, without the words that the user gave."""
    html = re.sub(
        r"<style>.*?</style>|<code>.*?</code>|data:image[^\"]*", "", html, flags=re.DOTALL
    )
    for given in (TITLE, FILE, f"column {COLUMN}", "each patient", "9 sample", "sample 9"):
        html = html.replace(given, "")
    return re.sub(r"\s+", " ", re.sub(r"<td>patient</td>|[<>]", " ", html))


NEVER = re.compile(r"(?<!two-)\b(patient|sample|person|people|clinic)s?\b", flags=re.IGNORECASE)


@pytest.mark.parametrize("safe", [True, False])
def test_a_page_of_cells_never_calls_them_patients(good, safe):
    text = words(page("cell", good, safe))
    assert not NEVER.findall(text)
    assert "copied cells" in text
    assert "43 simulated cells" in text


def test_the_words_of_the_user_are_left_alone(good):
    for unit in ("patient", "cell"):
        html = page(unit, good)
        assert html.count(TITLE) == 2
        assert "(column patient)" in html
        assert f"<dd>{FILE}</dd>" in html
        assert "each patient" in html
        assert "kedro run --params=donor=patient" in html
        assert "<code>samples</code></td><td>patient</td>" in html
        assert OPEN not in html
        assert CLOSE not in html


def test_every_phrase_is_one_that_some_page_has(good):
    """A phrase that was reworded at its source would no longer be replaced."""
    text = " ".join(words(page("patient", good, safe)) for safe in (True, False)).lower()
    assert [phrase for phrase, _ in CELLS if phrase.lower() not in text] == []


def test_a_page_of_patients_is_as_it_was_written(good):
    html = page("patient", good)
    assert "<h2>Are the synthetic patients faithful, useful and safe?</h2>" in html
    assert "synthetic cells" not in html


def test_capitals_line_breaks_and_compounds():
    assert say("Patients and\nsamples; a\nperson") == "Cells and\ncells; a cell"
    assert say("two-sample test, n_samples, resample, patient's") == (
        "two-sample test, n_samples, resample, cell's"
    )
    assert say("Which of those who  took\npart?") == "Which of those which cells took part?"


def test_outside_text_is_kept_and_cannot_mark_anything():
    assert say(f"patient {outside('patient')} patient") == "cell patient cell"
    assert say(outside(f"a{CLOSE} patient{OPEN}b")) == "a patientb"
    assert outside("") == ""
    assert say(outside_of(str.upper)("patient") + " patient") == "PATIENT cell"


def test_figures_are_said_in_the_same_words(good, make_entry):
    for draw in (standing_figure, attacks_figure):
        figure = draw(good, METRICS)
        assert say.figure(figure) is figure
        figure.canvas.draw()  # when names of ticks are written anew
        found = " ".join(text.get_text() for text in figure.findobj() if hasattr(text, "get_text"))
        assert not NEVER.findall(found)
        assert "opied cells" in found


def test_only_cells_know_their_row_in_a_source():
    patients = AnnData(np.zeros((2, 1)))
    cells = AnnData(np.zeros((2, 1)), obs=pd.DataFrame({"source_row": [0, 1]}, index=["a", "b"]))
    assert unit_of(patients) == "patient"
    assert unit_of(cells) == "cell"
