"""The whole pipeline on cells of seconds: what a user finds afterwards."""

import json
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from project_copy import run

from synthome.models.registry import load_generator
from synthome.pipelines import cycle_ae

pytestmark = pytest.mark.slow
KEYS = {
    "counterfactual/weighted_delta_r2", "counterfactual/pearson_delta_top50",
    "cycle/down_regulation_accuracy", "cycle/integration", "fidelity/std_slope",
    "utility/tstr_auc", "privacy/worst_auc",
}  # fmt: skip


def test_a_run_leaves_what_the_readme_says(finished_cycle_ae):
    data = finished_cycle_ae / "data"
    answers = data / "08_reporting/cycle_ae/answers"
    metrics = json.loads((data / "08_reporting/cycle_ae/metrics.json").read_text())
    assert set(metrics) >= KEYS
    page = (data / "08_reporting/cycle_ae/report.html").read_text()
    assert "synthetic cells" in page
    scores = pd.read_parquet(answers / "combination_scores.parquet")
    assert set(scores["method"]) >= {"no_change", "additive", "cycle_ae", "published", "ceiling"}
    for name in cycle_ae.FIGURES:
        assert (data / f"08_reporting/cycle_ae/figures/{name}.png").stat().st_size > 5_000
    fields = json.loads((data / "08_reporting/contexts/fields.json").read_text())
    assert [field["name"] for field in fields["fields"]] == ["cell_type", "assay", "condition"]
    prepared = ad.read_h5ad(data / "04_feature/contexts/prepared.h5ad")
    assert not any(f'"{name}"' in page or f">{name}<" in page for name in prepared.obs_names)


def test_rare_combinations_are_filled_up(finished_cycle_ae):
    data = finished_cycle_ae / "data"
    fields = ["cell_type", "assay", "condition"]
    prepared = ad.read_h5ad(data / "04_feature/contexts/prepared.h5ad")
    train = prepared[prepared.obs["split"] == "train"].obs
    balanced = ad.read_h5ad(data / "07_model_output/cycle_ae/balanced.h5ad")
    assert balanced.obs["synthetic"].all()
    own = train.groupby(fields, observed=True).size()
    both = own.add(balanced.obs.groupby(fields, observed=True).size(), fill_value=0)
    assert own.min() < own.median()
    assert both.min() == int(own.median())


def test_counterfactual_cells_come_from_trained_weights(finished_cycle_ae, project):
    shutil.copytree(finished_cycle_ae / "data", project / "data")
    model = load_generator(project / "data/06_models/cycle_ae/weights.safetensors")
    here, there = model.fields["assay"].categories[:2]
    run(project, "counterfactual", source=f"assay={here}", target=f"assay={there}")
    made = ad.read_h5ad(project / "data/07_model_output/cycle_ae/counterfactual.h5ad")
    assert set(made.obs["assay"]) == {there}
    assert made.obs["synthetic"].all()
    counts = made.layers["counts"]
    assert (counts.data == np.round(counts.data)).all()
    prepared = ad.read_h5ad(project / "data/04_feature/contexts/prepared.h5ad")
    assert made.n_obs == (prepared.obs["assay"] == here).sum()
    assert not set(made.obs_names) & set(prepared.obs_names)


def test_the_published_architecture_runs(finished_cycle_ae, project):
    shutil.copytree(finished_cycle_ae / "data", project / "data")
    run(project, "cycle_ae", architecture="published")
    model = load_generator(project / "data/06_models/cycle_ae/weights.safetensors")
    assert model.name == "published_cycle_ae"
    answers = project / "data/08_reporting/cycle_ae/answers"
    scores = pd.read_parquet(answers / "combination_scores.parquet")
    assert "cycle_ae" not in set(scores["method"])
    page = (project / "data/08_reporting/cycle_ae/report.html").read_text()
    assert "Counts have no law under the published model" in page
