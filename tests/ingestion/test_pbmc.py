import warnings

import numpy as np
import pytest

from synthome.errors import InputError
from synthome.ingestion import pbmc
from synthome.ingestion.pbmc import read_pbmc68k_reduced


def test_the_counts_explain_every_value_that_scanpy_gives():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy as sc

        theirs = sc.datasets.pbmc68k_reduced().raw
    adata = read_pbmc68k_reduced()
    assert adata.shape == (700, 765)
    assert list(adata.var_names) == list(theirs.var_names)
    assert (adata.X.data == np.rint(adata.X.data)).all()
    assert adata.X.data.min() == 1
    per_cell = 1e4 / adata.obs["n_counts"].to_numpy()[:, None]
    logs = np.log1p(adata.X.toarray() * per_cell)
    assert np.abs(logs - theirs.X.toarray()).max() < 0.5005e-3
    assert (adata.X.sum(axis=1).A1 < adata.obs["n_counts"]).all()
    assert adata.obs["bulk_labels"].value_counts()["Dendritic"] == 240


def test_a_scanpy_without_the_file_is_told(monkeypatch):
    monkeypatch.setattr(pbmc, "FILE", "none.h5ad")
    with pytest.raises(InputError, match="not part of the installed scanpy"):
        read_pbmc68k_reduced()
