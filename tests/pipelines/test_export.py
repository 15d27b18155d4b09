"""One table of a synthetic cohort, however its values are stored."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from synthome.errors import InputError
from synthome.pipelines.export.nodes import to_table

COUNTS = np.array([[0, 2, 0], [1, 0, 0]], dtype=np.float32)


@pytest.fixture(params=[np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def synthetic(request) -> ad.AnnData:
    obs = pd.DataFrame({"cell_type": ["a", "b"]}, index=["s0", "s1"])
    var = pd.DataFrame(index=["g0", "g1", "g2"])
    x = request.param(np.log1p(COUNTS))
    return ad.AnnData(x, obs=obs, var=var, layers={"counts": request.param(COUNTS)})


@pytest.mark.parametrize(
    ("values", "expected"), [("original", COUNTS), ("counts", COUNTS), ("log", np.log1p(COUNTS))]
)
def test_values_are_written_out_beside_what_is_known_of_each_row(synthetic, values, expected):
    table = to_table(synthetic, values)
    assert table.columns.tolist() == ["cell_type", "g0", "g1", "g2"]
    np.testing.assert_array_equal(table[["g0", "g1", "g2"]].to_numpy(), expected)
    assert table.index.tolist() == ["s0", "s1"]


def test_values_that_are_not_there_are_refused_with_those_that_are(synthetic):
    with pytest.raises(InputError, match="values=tpm.*log, counts"):
        to_table(synthetic, "tpm")
