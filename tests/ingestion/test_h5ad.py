import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from ingestion.folders import counts_table, sheet_table

from synthome.anndata_schema import COUNTS, UNS
from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.h5ad import read_h5ad_cohort
from synthome.ingestion.validate import validate_cohort


@pytest.fixture
def path(tmp_path):
    counts = counts_table()
    adata = AnnData(
        np.log1p(counts.to_numpy(float)),
        obs=sheet_table().drop(columns="sex"),
        var=pd.DataFrame(index=counts.columns),
        layers={COUNTS: counts.to_numpy()},
    )
    adata.uns[UNS] = {"label_key": "condition", "source": "elsewhere"}
    adata.write_h5ad(tmp_path / "mine.h5ad")
    return tmp_path / "mine.h5ad"


def test_an_anndata_file_is_a_cohort(path):
    raw = read_h5ad_cohort(path)
    assert raw.uns[UNS]["source"] == "mine"
    assert list(raw.uns[UNS]["files"]) == ["mine.h5ad"]
    adata, report = validate_cohort(raw, IngestionConfig())
    np.testing.assert_array_equal(adata.X, counts_table())
    assert report["label"] == "condition"


def test_repeated_genes_are_merged_like_those_of_a_table(tmp_path):
    names = pd.Index(["A", "B", "A"])
    with pytest.warns(UserWarning, match="not unique"):
        adata = AnnData(counts_table(8, 3).to_numpy(float), obs=sheet_table().drop(columns="sex"),
                        var=pd.DataFrame(index=names))  # fmt: skip
    adata.write_h5ad(tmp_path / "x.h5ad")
    cohort, _ = validate_cohort(
        read_h5ad_cohort(tmp_path / "x.h5ad"), IngestionConfig(label="condition")
    )
    assert cohort.var_names.tolist() == ["A", "B"]


@pytest.mark.parametrize("kind", ["missing", "empty", "cut", "text", "folder"])
def test_files_that_are_no_anndata_are_told(path, tmp_path, kind):
    target = tmp_path / "x.h5ad"
    if kind == "empty":
        target.write_bytes(b"")
    elif kind == "cut":
        target.write_bytes(path.read_bytes()[:3000])
    elif kind == "text":
        target.write_text("a,b\n1,2\n")
    elif kind == "folder":
        target.mkdir()
    words = {"missing": "does not exist", "empty": "is empty", "folder": "is a folder"}
    with pytest.raises(InputError, match=words.get(kind, "not a readable AnnData file")):
        read_h5ad_cohort(target)
