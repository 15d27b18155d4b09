"""Cells with metadata fields from raw counts to log expression, as the pipelines prepare them."""

import json

import anndata as ad
import numpy as np
import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from project_copy import PROJECT, run

from synthome import pipeline_registry
from synthome.anndata_schema import field_keys, group_key, label_key
from synthome.errors import InputError
from synthome.fields import Fields
from synthome.pipelines import evaluation, ingestion, preprocessing
from synthome.simulate.contexts import FIELDS, ContextsConfig, simulate_contexts

SMALL = ContextsConfig(n_obs=300, n_vars=200, n_least=3, n_types=2)
SPLIT = "03_primary/contexts/split_cohort.h5ad"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The two stages under a name of their own, beside what is registered."""
    register = pipeline_registry.register_pipelines
    stages = ingestion.create_pipeline("contexts") + preprocessing.create_pipeline("contexts")
    monkeypatch.setattr(
        pipeline_registry, "register_pipelines", lambda: register() | {"contexts": stages}
    )


def read(project, path: str) -> ad.AnnData:
    return ad.read_h5ad(project / "data" / path)


def report(project, name: str) -> dict:
    return json.loads((project / "data/08_reporting/contexts" / f"{name}.json").read_text())


def test_simulated_contexts_are_prepared_with_the_contract_that_models_rely_on(project):
    run(project, "contexts")
    assert read(project, "02_intermediate/contexts/cohort.h5ad").X is None
    split = read(project, SPLIT)
    log = read(project, "04_feature/contexts/prepared.h5ad")
    for adata in (split, log):
        assert field_keys(adata) == tuple(FIELDS)
        assert (label_key(adata), group_key(adata)) == ("cell_type", None)
        assert Fields.of(adata.obs, field_keys(adata)).sizes == (3, 2, 2)
        assert {"library_size", "fold_0", "split", "donor"} <= set(adata.obs)
        assert adata.layers["counts"].dtype == np.float32
    assert split.n_obs == 700
    assert split.var["highly_variable"].sum() == 150
    assert log.var["highly_variable"].sum() == 80
    expected = np.log1p(
        log.layers["counts"].toarray() * (1e4 / log.obs["library_size"].to_numpy()[:, None])
    )
    np.testing.assert_allclose(log.X.toarray(), expected, rtol=1e-6)

    described, validation = report(project, "fields"), report(project, "validation_report")
    assert described == {key: validation[key] for key in described}
    assert [field["name"] for field in described["fields"]] == list(FIELDS)
    assert described["combinations"]["present"] == 3 * 2 * 2
    assert report(project, "external_report") == {"absent": True}


def test_a_file_of_ones_own_is_prepared_with_the_fields_that_are_named(project, tmp_path):
    adata = simulate_contexts(SMALL)
    del adata.uns["synthome"], adata.uns["truth"]
    adata.obs.loc[adata.obs_names[:9], "assay"] = None
    adata.write_h5ad(tmp_path / "mine.h5ad")
    choices = {
        "h5ad": str(tmp_path / "mine.h5ad"),
        "fields": "cell_type+assay+condition",
        "donor": "donor",
        "missing": "drop",
        "n_top_genes": 50,
    }
    run(project, "contexts", "cells", **choices)
    split = read(project, SPLIT)
    assert field_keys(split) == ("cell_type", "assay", "condition")
    assert split.n_obs == 291
    assert (split.obs.groupby("donor")["split"].nunique() == 1).all()
    found = report(project, "fields")
    assert [field["n_missing"] for field in found["fields"]] == [0, 9, 0]
    pairs = {(pair["a"], pair["b"]): pair["determined"] for pair in found["confounding"]}
    assert pairs["condition", "donor"] == "condition by donor"


def test_blood_cells_have_types_and_phases_of_the_cycle_without_a_network(project):
    run(project, "contexts", "pbmc")
    split = read(project, SPLIT)
    assert field_keys(split) == ("bulk_labels", "phase")
    assert set(split.obs["phase"]) == {"G1", "S", "G2M"}
    assert split.n_vars >= 700  # of 765


def test_a_category_that_only_held_out_cells_have_stops_before_genes_are_read(project, tmp_path):
    adata = simulate_contexts(SMALL)
    adata.uns = {}
    adata.obs["place"] = np.where(adata.obs["donor"] == "D01", "far", "near")
    adata.write_h5ad(tmp_path / "mine.h5ad")
    choices = {
        "h5ad": str(tmp_path / "mine.h5ad"),
        "fields": "cell_type+place",
        "donor": "donor",
        "n_tested_folds": 5,
    }
    with pytest.raises(
        InputError, match="'far' of 'place'.*The cells of one 'donor' stay together"
    ):
        run(project, "contexts", "cells", **choices)
    assert not (project / "data" / SPLIT).exists()


@pytest.mark.parametrize("env", ["base", "cells", "pbmc", "test"])
def test_every_dataset_of_the_modality_is_declared_with_a_layer(env):
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT, env=env) as session:
        catalog = session.load_context().catalog
        for name in pipelines["contexts"].datasets():
            if not name.startswith("params:"):
                assert name in catalog
                assert catalog.get(name).metadata["kedro-viz"]["layer"], name


def test_the_modality_has_the_nodes_of_single_cells_and_one_more():
    """What is said of one holds for the other: the same functions, in another namespace."""
    of = {
        modality: ingestion.create_pipeline(modality) + preprocessing.create_pipeline(modality)
        for modality in ("single_cell", "contexts")
    }
    names = {modality: {n.name.split(".")[1] for n in p.nodes} for modality, p in of.items()}
    assert names["contexts"] - names["single_cell"] == {"describe_fields"}
    assert names["single_cell"] <= names["contexts"]


def test_of_many_cells_some_are_scored():
    """As of single cells: some scores compare all pairs of rows."""
    scored = evaluation.create_pipeline("system", "contexts")
    assert "system.choose_rows" in {node.name for node in scored.nodes}
    assert "contexts.split_cohort" in scored.inputs()
