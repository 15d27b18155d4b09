"""Chunks of cells: what they offer, and how a thread loads the next while one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from scipy import sparse

from synthome.errors import InputError
from synthome.training.chunks_gather import compiled


@runtime_checkable
class Chunk(Protocol):
    """Some cells that are loaded together."""

    @property
    def n_obs(self) -> int:
        """Cells."""
        ...

    @property
    def n_vars(self) -> int:
        """Genes."""
        ...

    def load(self) -> sparse.csr_matrix:
        """Their values: float32, rows in any order, zeros kept; columns that repeat are summed."""
        ...


def load(chunks: Sequence[Chunk], i: int) -> sparse.csr_matrix:
    """Chunk ``i``, checked, since compiled code will trust its indices.

    Raises
    ------
    InputError
        If it cannot be loaded, or is not what it said; the message names it.
    """
    chunk, name = chunks[i], f"Chunk {i} of {len(chunks)}, {chunks[i]!r},"
    try:
        matrix = sparse.csr_matrix(chunk.load(), dtype=np.float32)
        matrix.check_format(full_check=True)
    except Exception as error:
        raise InputError(
            f"{name} cannot be loaded: {type(error).__name__}: {error}. Write it again."
        ) from error
    if matrix.shape != (chunk.n_obs, chunk.n_vars):
        raise InputError(
            f"{name} should be {chunk.n_obs:,} x {chunk.n_vars:,}, but is {matrix.shape[0]:,} x "
            f"{matrix.shape[1]:,}. Write it again."
        )
    if matrix.nnz < 2**31:  # the types that the kernels are compiled for
        matrix.indptr = matrix.indptr.astype(np.int32, copy=False)
        matrix.indices = matrix.indices.astype(np.int32, copy=False)
    in_order = matrix.has_canonical_format  # at once; when it is not, columns may still differ
    if not in_order and _repeats(matrix.indptr, matrix.indices, np.zeros(chunk.n_vars, np.int64)):
        matrix = matrix.copy()  # of what may be the caller's
        matrix.sum_duplicates()
    return matrix


def loaded_ahead(
    chunks: Sequence[Chunk], order: Iterable[int], prefetch: int
) -> Generator[sparse.csr_matrix, None, None]:
    """Chunks in that ``order``, of which a thread loads the next ``prefetch`` while one is used.

    Whoever reads them drops each before asking for the next: then ``prefetch + 1`` are alive at
    most. The thread ends with the iterator.

    Raises
    ------
    InputError
        If a chunk cannot be loaded, when its turn comes.
    """
    none = np.zeros(1, np.int32)  # compile now: see Gatherer
    _repeats(none, none[1:], none.astype(np.int64))
    ahead = iter(order)
    pool = ThreadPoolExecutor(1, thread_name_prefix="chunks-load")
    try:
        loads = deque(pool.submit(load, chunks, i) for i in islice(ahead, prefetch + 1))
        while loads:
            yield loads.popleft().result()
            loads.extend(pool.submit(load, chunks, i) for i in islice(ahead, 1))
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class RowBlock:
    """Rows ``start`` to ``stop`` of a table that is read by blocks, as a chunk."""

    read_rows: Callable[[int, int], sparse.csr_matrix]
    start: int
    stop: int
    n_vars: int

    @property
    def n_obs(self) -> int:
        """Cells."""
        return self.stop - self.start

    def load(self) -> sparse.csr_matrix:
        """Their values."""
        return self.read_rows(self.start, self.stop)

    def __repr__(self) -> str:
        return f"rows {self.start:,} to {self.stop:,}"


def block_chunks(
    read_rows: Callable[[int, int], sparse.csr_matrix], n_obs: int, n_vars: int, block: int
) -> list[RowBlock]:
    """Chunks of ``block`` rows of anything that reads rows, as AnnData on zarr.

    Parameters
    ----------
    read_rows
        ``read_rows(start, stop)`` gives these rows, float32; ``CellSource.rows`` is one.
    """
    starts = range(0, n_obs, block)
    return [RowBlock(read_rows, start, min(start + block, n_obs), n_vars) for start in starts]


@dataclass(frozen=True, eq=False)
class PickedRows:
    """Rows from all over a matrix in memory, as a chunk: a copy of no more than these."""

    matrix: sparse.csr_matrix
    rows: Int[np.ndarray, " n_obs"]

    @property
    def n_obs(self) -> int:
        """Cells."""
        return len(self.rows)

    @property
    def n_vars(self) -> int:
        """Genes."""
        return int(self.matrix.shape[1])

    def load(self) -> sparse.csr_matrix:
        """Their values."""
        return self.matrix[self.rows]

    def __repr__(self) -> str:
        return f"{self.n_obs:,} rows of {self.matrix.shape[0]:,}"


@compiled
def _repeats(indptr, indices, seen):
    """Whether a row has a column twice; ``seen`` has a zero for each column."""
    for i in range(len(indptr) - 1):
        for k in range(indptr[i], indptr[i + 1]):
            if seen[indices[k]] == i + 1:
                return True
            seen[indices[k]] = i + 1
    return False
