"""The same data have the same digest, other data another one."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.tracking.inputs import anndata_sha256, describe_input
from synthome.tracking.records import dumps


def cohort(**facts):
    x = np.arange(12.0).reshape(4, 3)
    obs = pd.DataFrame(
        {"condition": ["b", "a", "a", "a"], "age": [1.5] * 4, "n": [1] * 4, "ok": [True] * 4},
        index=[f"s{i}" for i in range(4)],
    )
    return AnnData(x, obs=obs, uns={"synthome": {"label_key": "condition", **facts}})


def test_a_cohort_is_described_by_its_provenance():
    sha256 = "0123456789abcdef" * 4
    found = describe_input("bulk.raw", cohort(sha256=sha256, source="GSE1", scale="counts"))
    assert found.digest == sha256[:32]
    assert found.source == "GSE1"
    assert found.profile == {
        "n_obs": 4, "n_vars": 3, "sha256": sha256, "scale": "counts", "classes": {"a": 3, "b": 1},
    }  # fmt: skip
    assert found.columns == {
        "condition": "string", "age": "double", "n": "long", "ok": "boolean",
    }  # fmt: skip
    assert dumps(found)  # plain enough for a worker process


def test_without_provenance_the_content_is_the_digest():
    first, second = describe_input("x", cohort()), describe_input("x", cohort(), "/data/a.h5ad")
    assert first.digest == second.digest
    assert second.source == "/data/a.h5ad"


@pytest.mark.parametrize("change", ["value", "gene", "sample"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_any_change_of_the_data_changes_the_digest(form, change):
    adata = cohort()
    adata.X = form(adata.X)
    before = anndata_sha256(adata)
    if change == "value":
        adata.X[1, 1] = 99.0
    elif change == "gene":
        adata.var_names = ["x", "y", "z"]
    else:
        adata.obs_names = ["a", "b", "c", "d"]
    assert anndata_sha256(adata) != before


def test_a_table_is_described_too():
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    found = describe_input("sheet", table, "/x.csv")
    assert found.profile["rows"] == 2
    assert found.columns == {"a": "long", "b": "string"}
    assert found.digest == describe_input("sheet", table.copy()).digest
    assert found.digest != describe_input("sheet", table.assign(a=[1, 3])).digest
    assert found.digest != describe_input("sheet", table.rename(columns={"a": "c"})).digest


def test_an_absent_cohort_is_no_input():
    assert describe_input("bulk.external", AnnData(np.zeros((0, 0)))) is None
    assert describe_input("other", {"a": 1}) is None
