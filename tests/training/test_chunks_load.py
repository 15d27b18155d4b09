"""Chunks loaded ahead by a thread."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from training.chunked import FakeChunk, cells, in_chunks

from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.training.chunks_load import Chunk, block_chunks, load, loaded_ahead


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_no_more_chunks_are_alive_than_promised(prefetch):
    """The bound on memory, and the order that was asked for."""
    chunks, watch = in_chunks(cells(60), [10] * 6)
    loads = loaded_ahead(chunks, [5, 0, 3, 1, 4, 2], prefetch)
    for number in (5, 0, 3, 1, 4, 2):
        matrix = next(loads)
        assert matrix[0, 0] == 10 * number + 1
        time.sleep(0.02)  # while the thread loads what it may
        del matrix
    assert next(loads, None) is None
    assert watch.loads == [5, 0, 3, 1, 4, 2]
    assert watch.most <= prefetch + 1


def test_the_next_chunk_is_loaded_while_one_is_used():
    """Before anyone asks for it, or the loader would only ever wait."""
    read = threading.Event()

    class Second(FakeChunk):
        def load(self):
            read.set()
            return super().load()

    matrix = cells(4)
    loads = loaded_ahead([FakeChunk(matrix), Second(matrix)], [0, 1], 1)
    next(loads)
    assert read.wait(timeout=5)
    loads.close()


def test_who_stops_early_leaves_no_thread():
    """A run that fails or is stopped must be able to end; nothing more is read."""
    chunks, watch = in_chunks(cells(60), [10] * 6)
    before = threading.active_count()
    loads = loaded_ahead(chunks, range(6), 2)
    next(loads)
    assert threading.active_count() > before
    loads.close()
    assert threading.active_count() == before
    assert watch.loads in ([0], [0, 1], [0, 1, 2])
    loads = loaded_ahead(chunks, range(6), 2)
    next(loads)
    del loads
    assert threading.active_count() == before


def test_a_chunk_that_cannot_be_loaded_is_named_when_its_turn_comes():
    """Those before it are read; the thread ends."""
    chunks, _ = in_chunks(cells(30), [10] * 3)
    chunks[1].broken = True
    before = threading.active_count()
    loads = loaded_ahead(chunks, range(3), 2)
    assert next(loads).shape == (10, 12)
    with pytest.raises(InputError, match="Chunk 1 of 3, part 1, cannot be loaded.*disk is gone"):
        next(loads)
    assert threading.active_count() == before


def outside(matrix):
    matrix.indices[3] = 12


def below(matrix):
    matrix.indices[3] = -1


def backwards(matrix):
    matrix.indptr[1] = matrix.indptr[3]


@pytest.mark.parametrize("damage", [outside, below, backwards])
def test_damaged_indices_are_refused(damage):
    """Compiled code would write to memory that is not its own."""
    chunks, _ = in_chunks(cells(10), [10])
    damage(chunks[0].matrix)
    with pytest.raises(InputError, match="Chunk 0 of 1, part 0, cannot be loaded: ValueError"):
        load(chunks, 0)


def test_a_chunk_of_another_size_than_it_said_is_refused():
    """Rows of the other chunks would be given the wrong codes."""

    class Short(FakeChunk):
        def load(self):
            return super().load()[:-1]

    with pytest.raises(InputError, match="part 0, should be 10 x 12, but is 9 x 12"):
        load([Short(cells(10))], 0)


def test_integers_and_other_layouts_come_as_float32_rows():
    """What a file holds is its own matter."""

    class Columns(FakeChunk):
        def load(self):
            return self.matrix.astype(np.int64).tocsc()

    class Long(FakeChunk):
        def load(self):
            matrix = super().load()
            matrix.indptr, matrix.indices = (
                part.astype(np.int64) for part in (matrix.indptr, matrix.indices)
            )
            return matrix

    for kind in (Columns, Long):
        matrix = load([kind(cells(10))], 0)
        assert isinstance(matrix, sparse.csr_matrix)
        assert matrix.dtype == np.float32
        assert matrix.indptr.dtype == matrix.indices.dtype == np.int32
        np.testing.assert_array_equal(matrix.toarray(), cells(10).toarray())


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default")
def test_cells_on_zarr_come_in_blocks(tmp_path):
    """Through CellSource, with a last block that is shorter."""
    matrix = cells(25)
    obs, var = (pd.DataFrame(index=[f"{i}" for i in range(n)]) for n in matrix.shape)
    AnnData(matrix, obs=obs, var=var).write_zarr(tmp_path / "cells.zarr")
    source = CellSource.open(tmp_path / "cells.zarr").at("X")
    chunks = block_chunks(source.rows, source.n_obs, source.n_vars, 10)
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    assert [chunk.n_obs for chunk in chunks] == [10, 10, 5]
    assert repr(chunks[2]) == "rows 20 to 25"
    read = sparse.vstack(list(loaded_ahead(chunks, range(3), 1)))
    np.testing.assert_array_equal(read.toarray(), matrix.toarray())


def test_columns_that_repeat_are_summed_and_others_left_in_their_order():
    """SciPy's sum is the reference; sorting each chunk would take longer than reading it."""

    class Shared(FakeChunk):
        def load(self):
            return self.matrix

    data = np.arange(1.0, 8.0, dtype=np.float32)
    matrix = sparse.csr_matrix((data, [3, 0, 1, 3, 2, 2, 0], [0, 3, 3, 7]), shape=(3, 12))
    expected = matrix.toarray()
    loaded = load([Shared(matrix)], 0)
    np.testing.assert_array_equal(loaded.toarray(), expected)
    assert loaded.nnz == 6
    assert matrix.indices.tolist() == [3, 0, 1, 3, 2, 2, 0]  # the caller's is as it was
    apart = sparse.csr_matrix((data[:5], [3, 0, 1, 0, 3], [0, 3, 5]), shape=(2, 12))
    assert load([Shared(apart)], 0).indices.tolist() == [3, 0, 1, 0, 3]
