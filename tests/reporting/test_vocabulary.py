"""A report of cells or spots never calls them patients, and leaves the user's own words alone."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.evaluation.metrics import METRICS
from synthome.plotting.attacks import attacks_figure
from synthome.plotting.standing import standing_figure
from synthome.reporting.content import FIGURES, Section
from synthome.reporting.facts import CohortFacts
from synthome.reporting.html import render_report
from synthome.reporting.verdict import verdict
from synthome.reporting.vocabulary import (
    CELLS,
    CLOSE,
    OPEN,
    SPOTS,
    VOCABULARIES,
    outside,
    outside_of,
    unit_of,
)

PNG = b"\x89PNG\r\n\x1a\npatient samples"
say = VOCABULARIES["cell"]
SPOT = VOCABULARIES["spot"]
TITLE, COLUMN, FILE = "Biopsies of patient samples", "patient", "patients.h5ad"


def page(unit, good, safe=True, sections=()):
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
        sections=sections,
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


@pytest.mark.parametrize("safe", [True, False])
def test_a_page_of_spots_speaks_of_patients_where_their_privacy_is_at_stake_alone(good, safe):
    text = words(page("spot", good, safe))
    privacy = "the data of the patient who gave the tissue"
    assert (privacy in text) is not safe
    assert not NEVER.findall(text.replace(privacy, ""))
    assert not re.findall(r"disease|the diagnosis", text)
    assert "copied spots" in text
    assert "43 simulated spots" in text
    assert "This tissue is simulated" in text


def test_parts_of_a_tissue_are_blocks_of_its_sections(good):
    """Its spots are not dealt one by one, and what is held out is the same tissue."""
    text = words(page("spot", good))
    for said in (
        "learned from some blocks of the sections and checked on the spots of the others, which",
        "34 training and 9 held-out spots, in blocks of their own; scores from one held-out part",
        "One of the equal parts to which the blocks of the sections are dealt.",
        "in blocks of the same sections as those that were learned from",
        "ask whether a spot was used, and not whose tissue it is. Other attacks",
        "A map of the spots by expression (PCA)",
    ):
        assert said in text


@pytest.mark.parametrize("unit", VOCABULARIES)
def test_what_a_system_says_of_its_own_is_left_as_it_is(good, unit):
    """Names of sections or classes stand in it: no section Patient-3 is a Spot-3."""
    table = pd.DataFrame({"Section": ["Patient-3"], "Patient 4": ["a sample"]})
    section = Section("Of two samples", ("Patient 5 is nearest.",), table, "Of each patient.")
    html = page(unit, good, sections=(section,))
    for own in ("Patient-3", "Patient 4", "a sample", "Patient 5 is nearest.", "Of each patient."):
        assert own in html
    assert html.count("Of two samples") == 2
    assert OPEN not in html
    assert CLOSE not in html


def test_the_words_of_the_user_are_left_alone(good):
    for unit in VOCABULARIES:
        html = page(unit, good)
        assert html.count(TITLE) == 2
        assert "(column patient)" in html
        assert f"<dd>{FILE}</dd>" in html
        assert "each patient" in html
        assert "kedro run --params=donor=patient" in html
        assert "<code>samples</code></td><td>patient</td>" in html
        assert OPEN not in html
        assert CLOSE not in html


@pytest.mark.parametrize("phrases", [CELLS, SPOTS], ids=["cells", "spots"])
def test_every_phrase_is_one_that_some_page_has(good, phrases):
    """A phrase that was reworded at its source would no longer be replaced."""
    text = " ".join(words(page("patient", good, safe)) for safe in (True, False)).lower()
    assert [phrase for phrase, _ in phrases if phrase.lower() not in text] == []


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
    assert SPOT("Recognising real\npatients") == "Naming the labels of real spots"


def test_outside_text_is_kept_and_cannot_mark_anything():
    assert say(f"patient {outside('patient')} patient") == "cell patient cell"
    assert say(outside(f"a{CLOSE} patient{OPEN}b")) == "a patientb"
    assert outside("") == ""
    assert say(outside_of(str.upper)("patient") + " patient") == "PATIENT cell"


@pytest.mark.parametrize("unit", ["cell", "spot"])
def test_figures_are_said_in_the_same_words(good, unit):
    for draw in (standing_figure, attacks_figure):
        figure = draw(good, METRICS)
        assert VOCABULARIES[unit].figure(figure) is figure
        figure.canvas.draw()  # when names of ticks are written anew
        found = " ".join(text.get_text() for text in figure.findobj() if hasattr(text, "get_text"))
        assert not NEVER.findall(found)
        assert f"opied {unit}s" in found


def test_only_cells_know_their_row_in_a_source_and_only_spots_a_place():
    """A column of the user's, such as a section or block of wax, makes no tissue of a cohort."""
    sheet = pd.DataFrame({"section": ["1", "2"], "block": ["a", "b"]}, index=["a", "b"])
    patients = AnnData(np.zeros((2, 1)), obs=sheet)
    cells = AnnData(np.zeros((2, 1)), obs=sheet.assign(source_row=[0, 1]))
    spots = AnnData(np.zeros((2, 1)), obsm={"spatial": np.zeros((2, 2))})
    assert unit_of(spots) == "spot"
    cells.obsm["spatial"] = np.zeros((2, 2))
    assert unit_of(patients) == "patient"
    assert unit_of(cells) == "cell"
