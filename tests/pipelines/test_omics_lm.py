"""The whole pipeline on patients of seconds: what a user finds afterwards."""

import json
import re
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest
from project_copy import run

from synthome.anndata_schema import labels
from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.models.registry import load_generator
from synthome.pipelines import omics_lm
from synthome.pipelines.evaluation.nodes import FIGURES

pytestmark = pytest.mark.slow
WEIGHTS = "data/06_models/omics_lm/weights.safetensors"
TABLES = ("matched_scores", "lm_answers", "released_attacks", "distortion", "predictions")
KEYS = {
    "lm/balanced_accuracy", "lm/gap", "lm/auc", "lm/macro_f1", "lm/ece", "lm/text_attack_auc",
    "lm/drawn_attack_auc", "encoding/decode_r2", "encoding/clipped_fraction", "encoding/mantel_r",
    "encoding/published_r", "fidelity/std_slope", "utility/tstr_auc", "privacy/worst_auc",
}  # fmt: skip


def reporting(project: Path) -> Path:
    return project / "data/08_reporting/omics_lm"


def table(project: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(reporting(project) / f"answers/{name}.parquet")


def cohort_of(project: Path) -> ad.AnnData:
    return ad.read_h5ad(project / "data/03_primary/bulk/split_cohort.h5ad")


def test_outputs_lie_where_the_design_says(finished_omics_lm):
    for path in (
        "data/07_model_output/omics_lm/synthetic.h5ad",
        WEIGHTS,
        "data/08_reporting/omics_lm/metrics.json",
        "data/08_reporting/omics_lm/report.html",
        "data/08_reporting/bulk/signature_report.json",
    ):
        assert (finished_omics_lm / path).is_file(), path
    for name in TABLES:
        assert len(table(finished_omics_lm, name)), name
    for name in (*FIGURES, *omics_lm.FIGURES):
        png = reporting(finished_omics_lm) / f"figures/{name}.png"
        assert png.stat().st_size > 5_000, name


def test_every_score_is_there_and_between_its_limits(finished_omics_lm):
    metrics = json.loads((reporting(finished_omics_lm) / "metrics.json").read_text())
    assert set(metrics) >= KEYS
    for key, entry in metrics.items():
        assert entry["value"] is None or METRICS[key].clipped(entry["value"]) == entry["value"], key
        if entry["interval"] is not None and entry["value"] is not None:
            low, high = entry["interval"]
            assert low <= entry["value"] <= high, key


def test_each_patient_is_asked_about_once_and_never_named(finished_omics_lm):
    cohort = cohort_of(finished_omics_lm)
    answers = table(finished_omics_lm, "lm_answers")
    strict = answers[answers["protocol"] == "strict"]
    assert sorted(strict["true"]) == sorted(labels(cohort))
    names = set(cohort.obs_names) | set(cohort.obs["patient_id"].astype(str))
    for name in TABLES:
        assert not table(finished_omics_lm, name).astype(str).isin(names).to_numpy().any(), name
    page = (reporting(finished_omics_lm) / "report.html").read_text()
    page = re.sub(r"data:[a-z/+-]+;base64,[A-Za-z0-9+/=]+", "", page)
    assert not [name for name in names if re.search(rf"(?<![\w-]){name}(?![\w-])", page)]
    assert "The language model, in short" in page


def test_the_weights_alone_read_and_write(finished_omics_lm):
    model = load_generator(finished_omics_lm / WEIGHTS)
    prepared = ad.read_h5ad(finished_omics_lm / "data/04_feature/bulk/prepared.h5ad")
    is_test = (prepared.obs["split"] == "test").to_numpy()
    p = model.read(prepared[is_test])
    predictions = table(finished_omics_lm, "predictions").query("part == 'test'")
    assert predictions["confidence"].to_numpy() == pytest.approx(p.max(axis=1), abs=1e-6)
    synthetic = ad.read_h5ad(finished_omics_lm / "data/07_model_output/omics_lm/synthetic.h5ad")
    assert synthetic.n_obs == 120
    assert set(labels(synthetic)) == set(model.classes)


def test_given_signatures_are_what_the_model_reads(project, tmp_path):
    genes = [f"GENE{i:05d}" for i in range(30, 42)]
    file = tmp_path / "signatures.gmt"
    file.write_text("disease\tmine\t" + "\t".join(genes) + "\n")
    run(project, "omics_lm", only={"to_nodes": ["omics_lm.train"]}, signatures=str(file))
    report = json.loads((project / "data/08_reporting/bulk/signature_report.json").read_text())
    assert report["sets"]["disease"]["n_given"] == 12
    assert set(load_generator(project / WEIGHTS).genes) <= set(genes)


def test_signatures_of_other_names_are_refused_with_the_names(project, tmp_path):
    file = tmp_path / "signatures.gmt"
    file.write_text("mine\t-\tABC1\tABC2\tGENE00031\n")
    with pytest.raises(InputError, match=r"2 of the 3 genes.*ABC1, ABC2"):
        run(project, "omics_lm", only={"to_nodes": ["bulk.split"]}, signatures=str(file))
