"""Rows gathered from chunks, against SciPy's slices."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from synthome.csr import CSRRows
from synthome.training.chunks_gather import Gatherer

N_VARS = 7


def gathered(pieces, layout, n_threads=2):
    with ThreadPoolExecutor(n_threads) as pool:
        gatherer = Gatherer(N_VARS, torch.device("cpu"), n_threads, pool)
        return getattr(gatherer, layout)(pieces)


@st.composite
def drawn_pieces(draw):
    """Some matrices, one maybe without values, and rows of each in any order, some repeated."""
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        n_obs, density = draw(st.integers(1, 9)), draw(st.sampled_from([0.0, 0.3, 1.0]))
        matrix = sparse.random(n_obs, N_VARS, density, "csr", np.float32, rng)
        pieces.append((matrix, rng.integers(0, n_obs, draw(st.integers(0, 6)))))
    return pieces


@settings(deadline=None)  # the first compiles
@given(pieces=drawn_pieces(), n_threads=st.integers(1, 3))
def test_rows_are_those_that_scipy_takes(pieces, n_threads):
    """To the bit, in their order, one piece after the other, for any number of threads."""
    expected = sparse.vstack([matrix[rows] for matrix, rows in pieces]).toarray()
    dense = gathered(pieces, "dense", n_threads)
    np.testing.assert_array_equal(dense.numpy(), expected)
    rows = gathered(pieces, "sparse", n_threads)
    np.testing.assert_array_equal(rows.dense().numpy(), expected)


def test_sparse_rows_are_as_if_made_of_the_matrix():
    """Every part, and its type, is that of CSRRows.of: a product would read beyond them else."""
    matrix = sparse.csr_matrix(np.random.default_rng(1).poisson(0.4, (20, N_VARS)))
    matrix = matrix.astype(np.float32)
    rows = np.random.default_rng(2).permutation(20)
    actual = gathered([(matrix, rows[:12]), (matrix, rows[12:])], "sparse")
    expected = CSRRows.of(matrix[rows])
    assert actual.shape == expected.shape == (20, N_VARS)
    for part in ("indptr", "rows", "indices", "values"):
        torch.testing.assert_close(getattr(actual, part), getattr(expected, part), rtol=0, atol=0)


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_long_indices_and_memory_that_must_not_be_written_are_read(layout):
    """Big matrices have 64-bit indices, and mapped files may not be written."""
    matrix = sparse.csr_matrix(np.eye(N_VARS, dtype=np.float32))
    matrix.indptr, matrix.indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    for part in (matrix.indptr, matrix.indices, matrix.data):
        part.flags.writeable = False
    rows = gathered([(matrix, np.array([4, 0, 6]))], layout)
    dense = rows if layout == "dense" else rows.dense()
    np.testing.assert_array_equal(dense.numpy(), np.eye(N_VARS)[[4, 0, 6]])


def test_a_minibatch_is_memory_of_its_own():
    """A model may keep it, or change it in place, while the next is made."""
    matrix = sparse.csr_matrix(np.ones((2, N_VARS), dtype=np.float32))
    pieces = [(matrix, np.array([0, 1]))]
    first, rows = gathered(pieces, "dense"), gathered(pieces, "sparse")
    first.zero_()
    rows.values.zero_()
    assert (matrix.data == 1).all()
    assert (gathered(pieces, "dense") == 1).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_a_gpu_gets_the_same_rows(layout):
    """Sent without waiting, and densified there."""
    matrix = sparse.random(50, N_VARS, 0.3, "csr", np.float32, np.random.default_rng(3))
    rows = np.random.default_rng(4).permutation(50)
    with ThreadPoolExecutor(2) as pool:
        sent = getattr(Gatherer(N_VARS, torch.device("cuda"), 2, pool), layout)([(matrix, rows)])
    dense = sent if layout == "dense" else sent.dense()
    assert dense.device.type == "cuda"
    np.testing.assert_array_equal(dense.cpu().numpy(), matrix[rows].toarray())
