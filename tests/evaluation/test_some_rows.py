"""Parts of many rows are in the shares of class, fields and split."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.evaluation.some_rows import some_rows


@pytest.fixture
def cells() -> AnnData:
    """Halves of both types; the assay of 24 of 96 cells is rare in one of them alone."""
    obs = pd.DataFrame(
        {
            "type": np.repeat(["a", "b"], 48),
            "assay": np.repeat(["v2", "v3", "v2"], [24, 24, 48]),
            "split": ["train", "train", "test"] * 32,
        },
        index=np.arange(96).astype(str),
    )
    uns = {"synthome": {"label_key": "type", "scale": "counts"}}
    return AnnData(np.zeros((96, 1)), obs=obs, uns=uns)


@pytest.mark.parametrize(("fields", "expected"), [([], False), (["type", "assay"], True)])
def test_each_combination_has_its_share(cells, fields, expected):
    cells.uns["synthome"]["field_keys"] = fields
    always = []
    for seed in range(5):
        rows = some_rows(cells, 24, seed)
        assert (np.diff(rows) > 0).all()
        sizes = cells.obs.iloc[rows].groupby(["type", "split"]).size()
        assert sizes.tolist() == [4, 8, 4, 8]
        always.append((cells.obs["assay"].iloc[rows] == "v3").sum() == 6)
    assert all(always) is expected


def test_few_rows_are_all_there(cells):
    assert some_rows(cells, 96, 0).tolist() == list(range(96))
    assert some_rows(cells, None, 0).tolist() == list(range(96))
