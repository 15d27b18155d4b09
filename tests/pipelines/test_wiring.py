"""Every dataset is declared, every config builds, and every environment draws the same graph."""

from pathlib import Path

import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[2]
LAYERS = {
    "raw", "intermediate", "primary", "feature", "model_input", "models", "model_output",
    "reporting",
}  # fmt: skip


@pytest.mark.parametrize(
    "env", ["base", "cells", "cohort", "geo", "pbmc", "slurm", "test", "tissue", "visium"]
)
def test_every_dataset_is_declared(env):
    """Nothing passes between nodes in memory, so a run can be taken up anywhere."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT, env=env) as session:
        catalog = session.load_context().catalog
        for name, pipeline in pipelines.items():
            undeclared = [
                dataset
                for dataset in pipeline.datasets()
                if not dataset.startswith("params:") and dataset not in catalog
            ]
            assert not undeclared, f"{name} uses {undeclared}"


def test_every_dataset_has_a_layer():
    """Kedro-Viz draws the columns of the data layers from the catalog."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        for dataset in pipelines["__default__"].datasets():
            if dataset.startswith("params:"):
                continue
            layer = catalog.get(dataset).metadata["kedro-viz"]["layer"]
            assert layer in LAYERS, dataset


def test_shared_stages_are_pipelines_of_their_own():
    bootstrap_project(PROJECT)
    expected = {"rare_vae", "ingestion", "preprocessing", "augmentation", "evaluation", "export"}
    expected |= {"rare_vae_study", "leaderboard", "ldvae", "omics_lm", "spatial_gvae"}
    expected |= {"cycle_ae", "counterfactual"}
    assert expected | {"__default__"} == set(pipelines)
    names = {node.name for node in pipelines["rare_vae"].nodes}
    assert {"bulk.validate", "rare_vae.train", "rare_vae.sample", "rare_vae.report"} <= names
    assert {node.name for node in pipelines["augmentation"].nodes} == {
        "rare_vae.sample",
        "omics_lm.sample",
        "ldvae.sample",
        "spatial_gvae.sample",
        "cycle_ae.sample",
    }
    assert not {node.name for node in pipelines["__default__"].nodes if "study" in node.tags}
