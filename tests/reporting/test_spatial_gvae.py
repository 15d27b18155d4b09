"""All that spatial_gvae adds to the report: words for every figure and score, and for every gap."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import tissue_tables as tables
from reporting.whole import check_whole
from tissues import prepared_tissue

from synthome.evaluation.metrics import METRICS
from synthome.plotting.scores import read_scores
from synthome.plotting.style import png_bytes
from synthome.reporting.content import FIGURES as SHARED
from synthome.reporting.facts import cohort_facts
from synthome.reporting.html import render_report
from synthome.reporting.spatial_gvae import SpatialResults, spatial_answers, spatial_figures
from synthome.reporting.spatial_gvae_words import FIGURES
from synthome.reporting.tissue_domains import map_ari
from synthome.reporting.verdict import verdict

EMPTY = pd.DataFrame()
FULL = SpatialResults(
    tissue_map=tables.spots(side=10),
    domain_scores=tables.domain_scores(),
    image_gain=tables.image_gain(),
    discordance=tables.DISCORDANCE,
    domain_genes=tables.domain_genes(),
    spatial_genes=tables.spatial_genes(),
    trajectory=tables.TRAJECTORY,
    integration=tables.integration(),
    held_out=tables.HELD_OUT,
    image_report=tables.IMAGE,
)


def nan_in_every_number(results):
    """Every float of every table and document is nan, or None."""
    found = {}
    for field in dataclasses.fields(results):
        value = getattr(results, field.name)
        if isinstance(value, pd.DataFrame):
            keep = ["x", "y"]
            floats = [c for c in value.select_dtypes("float") if c not in keep]
            found[field.name] = value.assign(**dict.fromkeys(floats, np.nan))
        else:
            found[field.name] = {k: None if type(v) in (int, float) else v
                                 for k, v in value.items()}  # fmt: skip
    none = dict.fromkeys(("gain", "low", "high", "p_value", "n_pairs"))
    found["image_gain"]["scores"] = {"ari": none | {"best_control": "", "arms": {}}}
    found["trajectory"]["connectivities"] = [[np.nan] * 3] * 3
    return SpatialResults(**found)


GAPS = {
    "no image": dict(
        tissue_map=tables.spots(side=10, image=False, planted=False),
        domain_scores=tables.domain_scores(("none",)),
        image_gain=tables.NO_GAIN,
        discordance={"tested": False, "reason": "The tissue has no image.", "n_spots": 9},
        image_report={"kind": "none"},
    ),
    "no labels": dict(
        tissue_map=tables.spots(side=10, labelled=False),
        domain_scores=tables.domain_scores(labelled=False),
    ),
    "one section": dict(
        tissue_map=tables.spots(("a",), side=10),
        domain_scores=tables.domain_scores(sections=("a",), seeds=(0,)),
        integration=EMPTY,
    ),
    "no spot": dict(tissue_map=FULL.tissue_map.iloc[:0]),
    "no scores": dict(domain_scores=FULL.domain_scores.iloc[:0]),
    "no genes": dict(domain_genes=EMPTY, spatial_genes=EMPTY),
    "empty with columns": dict(
        domain_genes=FULL.domain_genes.iloc[:0],
        spatial_genes=FULL.spatial_genes.iloc[:0],
        integration=FULL.integration.iloc[:0],
    ),
    "no key genes": dict(tissue_map=FULL.tissue_map.filter(regex="^[^:]*$")),
    "documents empty": dict(
        image_gain={}, discordance={}, trajectory={}, held_out={}, image_report={}
    ),
    "everything empty": {
        f.name: EMPTY if isinstance(getattr(FULL, f.name), pd.DataFrame) else {}
        for f in dataclasses.fields(FULL)
    },
}  # fmt: skip
CASES = {"full": FULL, "nan": nan_in_every_number(FULL)} | {
    name: dataclasses.replace(FULL, **changes) for name, changes in GAPS.items()
}


@pytest.fixture(scope="module")
def answers():
    return spatial_answers(FULL)


def said_by(answers):
    return " ".join(p for section in answers.sections for p in section.paragraphs)


@pytest.mark.parametrize("results", CASES.values(), ids=CASES)
def test_whatever_is_missing_every_question_has_an_answer_in_whole_sentences(results):
    check_whole(spatial_answers(results), FIGURES)


@pytest.mark.parametrize("name", ["full", "nan", "no image", "no spot", "everything empty"])
def test_whatever_is_missing_every_figure_has_its_place(name):
    figures = spatial_figures(CASES[name])
    assert list(figures) == list(FIGURES)
    if name in ("nan", "everything empty"):
        for figure in figures.values():
            png_bytes(figure, dpi=15)


def test_values_are_those_of_the_tables(answers):
    found = answers.metrics
    real = FULL.domain_scores[FULL.domain_scores["arm"] == "real"]
    bare = FULL.domain_scores[FULL.domain_scores["arm"] == "components"]
    for name in ("ari", "nmi", "ari_refined", "balanced_accuracy", "coherence"):
        assert found[f"spatial/{name}"]["value"] == pytest.approx(real[name].mean())
        assert found[f"spatial/{name}"]["floor"] == pytest.approx(bare[name].mean())
    assert found["spatial/ari"]["n"] == 6
    assert found["spatial/vote_ari"]["value"] == pytest.approx(map_ari(FULL.tissue_map))
    assert found["spatial/vote_ari"]["floor"] == pytest.approx(bare["ari"].mean())
    gain = found["spatial/image_gain"]
    assert (gain["value"], gain["interval"], gain["floor"], gain["n"]) == (0.04, [0.02, 0.06], 0, 6)
    assert found["spatial/image_gain_ari"]["value"] == 0.05
    assert found["spatial/discordance_auprc"]["value"] == 0.81
    assert found["spatial/discordance_auprc"]["floor"] == 0.72
    assert found["spatial/section_mixing"]["value"] == 0.74
    assert found["spatial/section_mixing"]["floor"] == 0.31
    assert (found["spatial/elbo"]["value"], found["spatial/elbo"]["floor"]) == (-810.8, -860.2)
    assert (found["spatial/nll"]["value"], found["spatial/nll"]["floor"]) == (801.5, 860.2)
    assert found["spatial/count_nll"]["floor"] == 170.9


def test_every_score_has_a_unit(answers):
    for score in read_scores(answers.metrics, METRICS).values():
        assert score.short
        assert "sample" not in score.unit


def test_without_an_image_the_model_itself_is_scored_and_has_no_floor():
    entry = spatial_answers(CASES["no image"]).metrics["spatial/ari"]
    none = CASES["no image"].domain_scores
    assert entry["value"] == pytest.approx(none["ari"].mean())
    assert entry["floor"] is None


@pytest.fixture(scope="module")
def page(answers):
    """The report of a simulated tissue, with every score that there is."""
    tissue = prepared_tissue()
    tissue.obs["molecular_layer"] = tissue.obs["molecular_layer"].astype(str)
    tissue.obs.iloc[:7, tissue.obs.columns.get_loc("molecular_layer")] = ""
    facts = cohort_facts(tissue, synthetic=tissue, simulated=True, n_genes_scored=60)
    entry = {"value": 0.7, "interval": [0.6, 0.8], "floor": 0.5, "ceiling": 0.9, "cheat": 0.9}
    shared = ("fidelity", "utility", "biology", "privacy", "external")
    metrics = {k: entry for k, m in METRICS.items() if m.group in shared} | answers.metrics
    return render_report(
        title="Cortex",
        metrics=metrics,
        verdict=verdict(metrics, facts),
        facts=facts,
        figures=dict.fromkeys((*SHARED, *answers.figures), b"\x89PNG\r\n\x1a\nnothing"),
        captions=answers.figures,
        sections=answers.sections,
        limits=answers.limits,
        glossary=answers.glossary,
    )


def test_a_report_holds_the_map_and_every_caption(page, answers):
    assert page.count('<script type="application/json"') == 1
    assert page.count('class="plot"') == 1
    assert "Mapped: do domains, image and counts fit?" in page
    for words in answers.figures.values():
        assert words.title in page
    terms = ("Domain", "ARI", "NMI", "KL", "Pseudotime", "Moran&#39;s I", "Internal score")
    for term in (*terms, "Block", "Neighbour"):
        assert f"<dt>{term}</dt>" in page


def test_the_words_speak_of_spots_and_end_as_sentences(answers):
    said = [*answers.limits, *answers.glossary.values()]
    said += [w for f in answers.figures.values() for w in (f.how_to_read, f.alt)]
    for text in said:
        assert text.endswith(".")
    assert not re.findall(r"\b(?:patients?|samples?)\b", f"{said} {said_by(answers)}")


def test_a_report_of_a_tissue_speaks_of_spots(page):
    """Texts that all systems share are written of patients, and no row of a tissue is one."""
    said = re.sub(r"<(style|script).*?</\1>|<code>.*?</code>", "", page, flags=re.DOTALL)
    never = r"\b(?:(?:patient|sample|person|people|clinic|disease)s?|the diagnosis)\b"
    assert re.findall(never, said, flags=re.IGNORECASE) == []
    assert re.findall(r"\w+ cells?\b", said) == ["several cells"]  # of a spot of most platforms
    for text in ("300 simulated spots", "copied spots", "The synthetic spots", "tissue of another"):
        assert text in said
    assert "<dd>7, left out where synthetic spots are scored</dd>" in said
    assert "The smallest group, ," not in said
