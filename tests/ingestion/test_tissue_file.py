import h5py
import numpy as np
import pytest
from anndata.io import write_elem
from ingestion.test_tissue import tissue

from synthome.errors import InputError
from synthome.ingestion.files import sha256_of
from synthome.ingestion.tissue_file import read_tissue


@pytest.fixture
def path(tmp_path):
    raw = tissue()
    names = raw.var_names.to_list()
    names[1] = "G0"
    raw.var_names = names
    raw.uns["synthome"] = {"label_key": "domain", "section_key": "slide", "reading": "[]"}
    raw.write_h5ad(tmp_path / "mine.h5ad")
    return tmp_path / "mine.h5ad"


def test_a_file_is_read_whole_with_its_digest_and_the_columns_it_names(path):
    adata = read_tissue(path)
    assert adata.uns["spatial"]["s1"]["images"]["hires"].shape == (60, 80, 3)
    assert adata.var_names.is_unique
    assert adata.var["source_name"].tolist()[:2] == ["G0", "G0"]
    facts = adata.uns["synthome"]
    assert facts["sha256"] == facts["files"]["mine.h5ad"] == sha256_of(path)
    assert (facts["source"], facts["label_key"], facts["section_key"]) == (
        "mine",
        "domain",
        "slide",
    )


@pytest.mark.parametrize("key", ["image_features", "spatial"])
def test_rows_that_are_not_those_of_the_spots_are_told(path, key):
    with h5py.File(path, "a") as file:
        if key in file["obsm"]:
            del file["obsm"][key]
        write_elem(file["obsm"], key, np.zeros((39, 2)))
    with pytest.raises(InputError, match=rf"obsm\['{key}'\] has 39 rows, but there are 40 spots"):
        read_tissue(path)


def test_a_file_that_is_not_there_or_no_anndata_is_told(path, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_tissue(tmp_path / "none.h5ad")
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="probably cut short"):
        read_tissue(cut)
