import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from kedro.io import DatasetError
from scipy import sparse

from synthome.datasets.adata import COMPRESS_ABOVE, AnnDataDataset, storable
from synthome.errors import InputError


@pytest.fixture
def adata():
    obs = pd.DataFrame(
        {
            "condition": ["ill", "well", "ill"],
            "sex": ["f", None, "m"],
            "age": [1.5, np.nan, 3.0],
            "flag": [True, False, True],
        },
        index=["s1", "s2", "s3"],
    )
    var = pd.DataFrame({"symbol": ["A", None]}, index=["g1", "g2"])
    x = np.arange(6, dtype=float).reshape(3, 2)
    return AnnData(
        x,
        obs=obs,
        var=var,
        layers={"counts": x.copy(), "sparse": sparse.csr_matrix(x)},
        obsm={"X_pca": x.copy()},
        uns={
            "synthome": {"label_key": "condition", "files": {"a.csv": "0"}},
            "truth": np.arange(3),
        },
    )


@pytest.fixture
def dataset(tmp_path):
    return AnnDataDataset(str(tmp_path / "x.h5ad"))


def test_everything_comes_back(adata, dataset):
    dataset.save(adata)
    loaded = dataset.load()
    np.testing.assert_array_equal(loaded.X, adata.X)
    np.testing.assert_array_equal(loaded.layers["sparse"].toarray(), adata.X)
    np.testing.assert_array_equal(loaded.obsm["X_pca"], adata.X)
    assert loaded.uns["synthome"] == adata.uns["synthome"]
    pd.testing.assert_frame_equal(loaded.obs.drop(columns="sex"), adata.obs.drop(columns="sex"))
    assert loaded.obs["sex"].astype(str).tolist() == ["f", "nan", "m"]
    assert loaded.obs["condition"].dtype == object
    assert loaded.var["symbol"].isna().tolist() == [False, True]


def test_a_matrix_that_stands_in_two_places_is_stored_once(adata, dataset, tmp_path):
    counts = sparse.csr_matrix(np.arange(6, dtype=np.float32).reshape(3, 2))
    adata.X = adata.layers["counts"] = counts
    dataset.save(adata)
    loaded = dataset.load()
    assert loaded.X is loaded.layers["counts"]
    assert (loaded.X != counts).nnz == 0
    assert set(loaded.layers) == {"counts", "sparse"}
    np.testing.assert_array_equal(loaded.obsm["X_pca"], adata.obsm["X_pca"])
    assert loaded.uns["synthome"] == adata.uns["synthome"]
    assert loaded.obs.equals(dataset.load().obs)
    theirs = read_h5ad(tmp_path / "x.h5ad")  # any other program finds both
    assert (theirs.X != theirs.layers["counts"]).nnz == 0
    assert adata.X is counts
    assert dataset.preview()["data"][0][2] == "layers: counts, sparse"


def test_saving_does_not_change_what_is_saved(adata, dataset):
    """AnnData's own writer turns text columns of the object into categories."""
    before = adata.copy()
    dataset.save(adata)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert storable(adata).X is adata.X


@pytest.mark.parametrize("view", [np.s_[:2], np.s_[:, :1], np.s_[:0]])
def test_views_and_empty_cohorts_are_saved(adata, dataset, view):
    dataset.save(adata[view])
    assert dataset.load().shape == adata[view].shape


def test_an_absent_cohort_comes_back_absent(dataset):
    empty = pd.DataFrame(index=pd.Index([], dtype=str))
    dataset.save(AnnData(np.zeros((0, 0)), obs=empty, var=empty.copy()))
    assert dataset.load().shape == (0, 0)


def test_large_data_are_compressed_and_small_ones_are_not(tmp_path):
    rows = COMPRESS_ABOVE // 8 // 1000 + 1
    empty = AnnData(np.zeros((rows, 1000)))
    AnnDataDataset(str(tmp_path / "auto.h5ad")).save(empty)
    AnnDataDataset(str(tmp_path / "never.h5ad"), compression=None).save(empty)
    assert (tmp_path / "auto.h5ad").stat().st_size < (tmp_path / "never.h5ad").stat().st_size / 5


def test_the_preview_tells_the_size_and_the_columns_without_identities(adata, dataset):
    dataset.save(adata)
    preview = dataset.preview()
    rows = {row[0]: row[1:] for row in preview["data"]}
    assert preview["columns"] == ["column", "kind", "values", "missing"]
    assert rows["3 samples"][:2] == ["2 genes", "layers: counts, sparse"]
    assert rows["condition"] == ["text", "2 different values", 0]
    assert rows["sex"][2] == 1
    assert "s1" not in str(preview)


def test_a_file_cut_short_is_told(adata, dataset, tmp_path):
    dataset.save(adata)
    path = tmp_path / "x.h5ad"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="not a readable AnnData file") as error:
        dataset.load()
    assert isinstance(error.value.__cause__, InputError)
