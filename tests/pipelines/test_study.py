"""The study on a cohort of seconds: what a user finds afterwards."""

import json
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest
from project_copy import copy_project, run

from synthome.reporting.study import QUESTIONS

TABLES = (
    "dose_scores", "few_shot_scores", "biomarkers", "temperature_curve", "privacy_curve",
    "published_scores", "published_summary",
)  # fmt: skip
DOCUMENTS = ("dose_verdict", "stable_genes", "temperature_chosen", "reference_attack")


@pytest.fixture(scope="module")
def studied(tmp_path_factory) -> Path:
    """A project in which the study of rare_vae ran, and nothing else; few trees are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHOME_TRACKING", "off")
        patch.setattr("synthome.evaluation.classifiers.N_TREES", 4)
        return run(copy_project(tmp_path_factory.mktemp("studied")), "rare_vae_study")


def folder(project: Path) -> Path:
    return project / "data/08_reporting/rare_vae"


def document(project: Path, name: str) -> dict:
    return json.loads((folder(project) / f"study/{name}.json").read_text())


def test_everything_lies_where_the_catalog_says(studied):
    for name in TABLES:
        assert len(pd.read_parquet(folder(studied) / f"study/{name}.parquet")), name
    for name in DOCUMENTS:
        assert document(studied, name), name
    for name in ("dose", "few_shot", "temperature", "privacy_curve", "published"):
        assert (folder(studied) / f"figures/{name}.png").stat().st_size > 5_000


def test_the_main_report_is_not_part_of_it(studied):
    assert not (folder(studied) / "report.html").exists()
    assert not (studied / "data/06_models/rare_vae").exists()


def test_the_page_answers_the_four_questions_from_the_tables(studied):
    page = (folder(studied) / "study.html").read_text()
    for question in QUESTIONS.values():
        assert question in page
    assert document(studied, "dose_verdict")["sentence"].split(":")[0] in page
    assert page.count("data:image/png") == 5


def test_curves_cover_what_the_parameters_ask(studied):
    curve = pd.read_parquet(folder(studied) / "study/temperature_curve.parquet")
    assert set(curve["temperature"]) == {1.0, 2.0}
    assert set(curve["generator"]) == {"rare_vae", "published_vae"}
    knobs = pd.read_parquet(folder(studied) / "study/privacy_curve.parquet")
    settings = set(zip(knobs["knob"], knobs["setting"], strict=True))
    assert settings == {("noise", 0), ("noise", 0.5), ("shrinkage", 0.5), ("epsilon", 10)}
    check = pd.read_parquet(folder(studied) / "study/published_scores.parquet")
    names = {"rare_vae", "published_vae", "copies", "independent_noise"}
    assert set(check["generator"]) == names
    assert set(document(studied, "temperature_chosen")) == {"disease", "healthy"}


def test_the_attack_with_a_public_cohort_stands_beside_the_others(studied):
    entries = document(studied, "reference_attack")
    entry = entries["privacy/likelihood_ratio_auc"]
    assert None not in (entry["value"], entry["floor"], entry["ceiling"], entry["cheat"])
    assert "privacy/worst_auc" not in entries


def test_no_patient_is_named(studied):
    cohorts = [
        ad.read_h5ad(studied / f"data/02_intermediate/bulk/{name}.h5ad")
        for name in ("cohort", "external")
    ]
    names = {str(name) for cohort in cohorts for name in cohort.obs_names}
    for path in [*folder(studied).rglob("*.json"), *folder(studied).rglob("*.html")]:
        text = path.read_text()
        assert not [name for name in names if name in text], path
    for path in folder(studied).rglob("*.parquet"):
        table = pd.read_parquet(path).select_dtypes("object").astype(str)
        assert not names & set(table.to_numpy().ravel()), path
