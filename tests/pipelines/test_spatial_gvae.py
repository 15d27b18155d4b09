"""The whole pipeline on a slice of seconds: what a user finds afterwards."""

import json
import shutil

import anndata as ad
import pandas as pd
import pytest
from project_copy import run

from synthome.models.registry import load_generator
from synthome.pipelines import spatial_gvae

pytestmark = pytest.mark.slow
KEYS = {
    "spatial/ari", "spatial/nmi", "spatial/elbo", "spatial/image_gain_elbo", "spatial/coherence",
    "spatial/discordance_auprc", "fidelity/std_slope", "utility/tstr_auc", "privacy/worst_auc",
}  # fmt: skip


def test_a_run_leaves_what_the_readme_says(finished_spatial_gvae):
    data = finished_spatial_gvae / "data"
    answers = data / "08_reporting/spatial_gvae/answers"
    metrics = json.loads((data / "08_reporting/spatial_gvae/metrics.json").read_text())
    assert set(metrics) >= KEYS
    page = (data / "08_reporting/spatial_gvae/report.html").read_text()
    assert "image" in page
    assert "synthetic spots" in page
    assert "synthetic patients" not in page
    scores = pd.read_parquet(answers / "domain_scores.parquet")
    assert set(scores["arm"]) == {"real", "shuffled", "none", "components"}
    spots = pd.read_parquet(answers / "tissue_map.parquet")
    prepared = ad.read_h5ad(data / "04_feature/spatial/prepared.h5ad")
    assert len(spots) == prepared.n_obs
    for name in spatial_gvae.FIGURES:
        assert (data / f"08_reporting/spatial_gvae/figures/{name}.png").stat().st_size > 5_000
    synthetic = ad.read_h5ad(data / "07_model_output/spatial_gvae/synthetic.h5ad")
    assert synthetic.obs["synthetic"].all()
    assert "spatial" not in synthetic.obsm  # drawn spots belong to a domain, not to a place
    names = set(prepared.obs_names)
    assert not any(name in page for name in names)


def test_the_released_model_saw_the_training_blocks_alone(finished_spatial_gvae):
    data = finished_spatial_gvae / "data"
    prepared = ad.read_h5ad(data / "04_feature/spatial/prepared.h5ad")
    train = prepared[prepared.obs["split"] == "train"]
    model = load_generator(data / "06_models/spatial_gvae/weights.safetensors")
    assert len(model.train_labels) == train.n_obs
    of_map = load_generator(data / "06_models/spatial_gvae/tissue_weights.safetensors")
    assert len(of_map.train_labels) == prepared.n_obs


def test_the_published_architecture_runs(finished_spatial_gvae, project):
    shutil.copytree(finished_spatial_gvae / "data", project / "data")
    run(project, "spatial_gvae", architecture="published")
    model = load_generator(project / "data/06_models/spatial_gvae/weights.safetensors")
    assert model.config.guidance == 1.0
    assert model.likelihood == "zinb"
