import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.recover import counts_of_log


@given(seed=st.integers(0, 100), decimals=st.sampled_from([3, 5]))
def test_counts_come_back_from_their_rounded_logarithm(seed, decimals):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.lognormal(0, 1, 40) * rng.lognormal(0, 0.3, (20, 1)))
    size = counts.sum(axis=1) + rng.integers(500, 3000, 20)  # most genes were left out
    x = np.round(np.log1p(1e4 * counts / size[:, None]), decimals)
    found = counts_of_log(sparse.csr_matrix(x), size.astype(float), rounding=10.0**-decimals)
    np.testing.assert_array_equal(found.toarray(), counts)
    assert found.dtype == np.float32


@pytest.mark.parametrize("wrong", ["another size", "another target", "no logarithm"])
def test_values_that_no_counts_explain_are_refused(wrong):
    counts = np.random.default_rng(0).poisson(2.0, (20, 30))
    size = counts.sum(axis=1) * 7.0
    x = np.log1p(1e4 * counts / size[:, None])
    if wrong == "another size":
        size = size * 1.37
    elif wrong == "no logarithm":
        x = np.sqrt(counts)
    target = 1.3e4 if wrong == "another target" else 1e4
    with pytest.raises(InputError, match="are not log1p of whole counts"):
        counts_of_log(sparse.csr_matrix(x), size, target, rounding=1e-3)
