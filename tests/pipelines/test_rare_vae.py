"""The whole pipeline on a cohort of seconds: what a user finds afterwards."""

import json
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from project_copy import run

from synthome.anndata_schema import COUNTS, labels, provenance
from synthome.evaluation.metrics import METRICS
from synthome.models.registry import load_generator

DESIGN_KEYS = [
    "fidelity/mean_r2",
    "fidelity/std_r2",
    "fidelity/std_slope",
    "fidelity/diversity",
    "fidelity/c2st_auc",
    "fidelity/mmd2",
    "fidelity/coverage",
    "fidelity/coexpression_r",
    "utility/tstr_auc",
    "utility/tstr_balanced_accuracy",
    "utility/augmentation_gain",
    "biology/de_recovery",
    "biology/lfc_slope",
    "privacy/nearest_auc",
    "privacy/nearest_tpr_at_fpr10",
    "privacy/subspace_auc",
    "privacy/mahalanobis_auc",
]


@pytest.fixture
def trained(finished, project) -> Path:
    shutil.copytree(finished / "data", project / "data")
    return project


def metrics_of(project: Path) -> dict:
    return json.loads((project / "data/08_reporting/rare_vae/metrics.json").read_text())


def synthetic_of(project: Path) -> ad.AnnData:
    return ad.read_h5ad(project / "data/07_model_output/rare_vae/synthetic.h5ad")


def test_outputs_lie_where_the_design_says(finished):
    for path in (
        "data/07_model_output/rare_vae/synthetic.h5ad",
        "data/06_models/rare_vae/weights.safetensors",
        "data/08_reporting/rare_vae/metrics.json",
        "data/08_reporting/rare_vae/report.html",
        "data/08_reporting/bulk/validation_report.json",
    ):
        assert (finished / path).is_file(), path
    assert not (finished / "data/06_models/rare_vae/checkpoint.pt").exists()


@pytest.mark.parametrize("key", DESIGN_KEYS)
def test_a_stable_key_has_all_its_parts(finished, key):
    """Value, interval, floor, ceiling and cheat, each a number."""
    entry = metrics_of(finished)[key]
    low, high = entry["interval"]
    assert low <= entry["value"] <= high
    assert all(np.isfinite(entry[part]) for part in ("floor", "ceiling", "cheat"))
    assert entry["n"] > 0


def test_every_key_is_complete(finished):
    for key, entry in metrics_of(finished).items():
        missing = [k for k in ("value", "floor", "ceiling", "cheat") if entry[k] is None]
        assert not missing, f"{key} lacks {missing}"
        assert key in METRICS


def test_the_cheat_wins_where_it_must_and_the_report_says_so(finished):
    """Copies are the optimum of what is measured against training rows, and any attack breaks."""
    metrics = metrics_of(finished)
    assert metrics["fidelity/mean_r2"]["cheat_wins"]
    assert metrics["fidelity/std_r2"]["cheat_wins"]
    assert metrics["privacy/nearest_auc"]["cheat"] == 1.0
    assert metrics["privacy/subspace_auc"]["cheat"] > 0.99
    report = (finished / "data/08_reporting/rare_vae/report.html").read_text()
    assert "reward copying" in report
    assert "copies win" in report


def test_synthetic_rows_say_what_they_are(finished):
    adata = synthetic_of(finished)
    assert adata.n_obs == 120
    assert adata.obs["synthetic"].all()
    assert set(labels(adata)) == {"disease", "healthy"}
    counts = adata.layers[COUNTS]
    assert (counts >= 0).all()
    assert (counts == np.round(counts)).all()
    facts = provenance(adata)
    assert facts["generator"] == "rare_vae"
    assert {"source", "sha256", "code_version", "parameters", "seed"} <= set(facts)


def test_no_sample_of_the_cohort_is_named_in_any_output(finished):
    """Patients' identifiers never reach what is meant to leave."""
    cohort = ad.read_h5ad(finished / "data/02_intermediate/bulk/cohort.h5ad")
    names = {str(name) for name in cohort.obs_names} | set(cohort.obs["patient_id"].astype(str))
    reporting = finished / "data/08_reporting"
    for path in [*reporting.rglob("*.json"), *reporting.rglob("*.html")]:
        text = path.read_text()
        assert not [name for name in names if name in text], path
    for path in reporting.rglob("*.parquet"):
        table = pd.read_parquet(path).select_dtypes("object").astype(str)
        assert not names & set(table.to_numpy().ravel()), path
    adata = synthetic_of(finished)
    assert not names & set(adata.obs_names)
    assert not names & set(adata.obs.astype(str).to_numpy().ravel())


def test_the_held_out_part_was_not_seen(finished):
    """Changing the held-out rows changes nothing that was fitted: a leak would show in the bits."""
    prepared = ad.read_h5ad(finished / "data/04_feature/bulk/prepared.h5ad")
    generator = load_generator(finished / "data/06_models/rare_vae/weights.safetensors")
    train = prepared[prepared.obs["split"] == "train"]
    assert len(generator.train_labels) == train.n_obs < prepared.n_obs
    np.testing.assert_allclose(generator.scaler.shift, train.X.mean(axis=0), rtol=1e-6)


def test_the_same_seed_gives_the_same_cohort(finished, project):
    run(project, "rare_vae", only={"to_outputs": ["rare_vae.synthetic", "rare_vae.metrics"]})
    first, second = synthetic_of(finished), synthetic_of(project)
    np.testing.assert_array_equal(first.X, second.X)
    assert first.obs.equals(second.obs)
    assert metrics_of(finished) == metrics_of(project)


def test_another_seed_gives_another_cohort(finished, trained):
    run(trained, "augmentation", seed=5)
    assert not np.array_equal(synthetic_of(finished).X, synthetic_of(trained).X)


def test_augmentation_samples_again_without_training(trained):
    before = (trained / "data/06_models/rare_vae/weights.safetensors").stat().st_mtime_ns
    cold = synthetic_of(trained).X.std(axis=0).mean()
    run(trained, "augmentation", n_synthetic=500, temperature=3.0)
    adata = synthetic_of(trained)
    assert adata.n_obs == 500
    assert adata.X.std(axis=0).mean() > cold
    assert (trained / "data/06_models/rare_vae/weights.safetensors").stat().st_mtime_ns == before
    versions = list((trained / "data/07_model_output/rare_vae/versions").iterdir())
    assert len(versions) == 2


def test_class_sizes_are_kept(trained):
    run(trained, "augmentation", class_sizes="disease=7+healthy=3")
    assert sorted(labels(synthetic_of(trained))) == ["disease"] * 7 + ["healthy"] * 3


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_writes_a_table(trained, suffix):
    run(trained, "export", format=suffix)
    path = trained / f"data/07_model_output/rare_vae/synthetic.{suffix}"
    table = pd.read_csv(path, index_col=0) if suffix == "csv" else pd.read_parquet(path)
    adata = synthetic_of(trained)
    np.testing.assert_array_equal(table[adata.var_names].to_numpy(), adata.layers[COUNTS])
    assert table["condition"].tolist() == labels(adata).tolist()


def test_evaluation_scores_again_what_exists(trained):
    """The released rows are those on disk: scored again after sampling hot, their scores differ."""
    before = metrics_of(trained)
    run(trained, "augmentation", temperature=4.0)
    run(trained, "evaluation", temperature=4.0)
    after = metrics_of(trained)
    assert after["fidelity/std_slope"]["value"] > before["fidelity/std_slope"]["value"]


def test_the_published_architecture_runs(trained):
    """From the training to the report."""
    run(trained, "rare_vae", only={"from_nodes": ["rare_vae.train"]}, architecture="published")
    adata = synthetic_of(trained)
    prepared = ad.read_h5ad(trained / "data/04_feature/bulk/prepared.h5ad")
    train = prepared[prepared.obs["split"] == "train"].X
    assert provenance(adata)["generator"] == "published_vae"
    assert (adata.X <= train.max(axis=0) + 1e-4).all()  # the sigmoid of the published decoder
