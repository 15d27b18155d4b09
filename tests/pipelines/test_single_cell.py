"""Cells from raw counts to log expression, as a user runs it."""

import json

import anndata as ad
import numpy as np
import pytest
from kedro.io import DatasetError
from project_copy import run
from scipy import sparse

from synthome.simulate.cortex import CortexConfig, simulate_cortex

FOLDER = "single_cell"


@pytest.fixture
def prepared(project):
    """A project in which the cells of the test environment were prepared."""
    return run(run(project, "ingestion"), "preprocessing")


def read(project, path: str) -> ad.AnnData:
    return ad.read_h5ad(project / "data" / path.format(FOLDER))


def report(project, name: str) -> dict:
    return json.loads((project / "data/08_reporting/single_cell" / f"{name}.json").read_text())


def test_cells_are_prepared_with_the_contract_that_models_rely_on(prepared):
    assert read(prepared, "02_intermediate/{}/cohort.h5ad").X is None
    assert read(prepared, "02_intermediate/{}/folds.h5ad").X is None
    split = read(prepared, "03_primary/{}/split_cohort.h5ad")
    log = read(prepared, "04_feature/{}/prepared.h5ad")
    for adata in (split, log):
        counts = adata.layers["counts"]
        assert isinstance(counts, sparse.csr_matrix)
        assert counts.dtype == np.float32
        assert {"cell_type", "batch", "donor", "library_size", "fold_0", "split"} <= set(adata.obs)
        facts = adata.uns["synthome"]
        assert (facts["label_key"], facts["scale"]) == ("cell_type", "counts")
        assert (facts["down_set"], facts["up_set"]) == ("disease_down", "disease_up")
        assert set(adata.uns["gene_sets"]["disease_up"]) <= set(adata.var_names)
        assert "programme_loading" in adata.uns["truth"]
    assert split.var["highly_variable"].sum() == 120
    assert log.var["highly_variable"].sum() == 60
    expected = np.log1p(
        log.layers["counts"].toarray() * (1e4 / log.obs["library_size"].to_numpy()[:, None])
    )
    np.testing.assert_allclose(log.X.toarray(), expected, rtol=1e-6)
    assert report(prepared, "validation_report")["label"] == "cell_type"
    assert report(prepared, "gene_set_report")["origin"] == "planted"
    assert report(prepared, "external_report") == {"absent": True}


def test_a_file_of_ones_own_is_prepared_with_its_lists(project, tmp_path):
    adata = simulate_cortex(CortexConfig(n_obs=150, n_vars=120, n_types=2, n_down=5, n_up=6))
    adata.obs["lane"] = np.arange(150) % 2
    del adata.uns["synthome"], adata.uns["truth"]
    adata.write_h5ad(tmp_path / "mine.h5ad")
    (tmp_path / "lists.gmt").write_text(
        "MY_DOWN\t\tgene00001\tgene00002\tgene00003\nMY_UP\t\tGENE00004\tGENE00005\tX\n"
    )
    choices = {
        "h5ad": str(tmp_path / "mine.h5ad"),
        "cell_type": "cell_type",
        "donor": "donor",
        "batch": "lane",
        "gene_sets": str(tmp_path / "lists.gmt"),
        "n_top_genes": 50,
        "min_cells_per_type": 3,
    }
    run(run(project, "ingestion", "cells", **choices), "preprocessing", "cells", **choices)
    facts = read(project, "03_primary/{}/split_cohort.h5ad").uns["synthome"]
    assert (facts["source"], facts["batch_key"], facts["group_key"]) == ("mine", "lane", "donor")
    assert (facts["down_set"], facts["up_set"]) == ("MY_DOWN", "MY_UP")
    found = report(project, "gene_set_report")["sets"]
    assert found["MY_DOWN"]["found_by"] == {"in another case": 3}
    assert found["MY_UP"]["not_found"] == ["X"]


def test_blood_cells_are_prepared_without_a_network(project):
    run(run(project, "ingestion", "pbmc"), "preprocessing", "pbmc")
    split = read(project, "03_primary/{}/split_cohort.h5ad")
    assert split.uns["synthome"]["down_set"] == "random_down"
    assert (split.obs["library_size"] == split.obs["n_counts"]).all()
    assert any("left out" in why for why in report(project, "validation_report")["warnings"])


def test_without_a_file_the_command_that_was_meant_is_shown(project):
    with pytest.raises(DatasetError, match="--params=h5ad=FILE,cell_type=COLUMN"):
        run(project, "ingestion", "cells", cell_type="x")
