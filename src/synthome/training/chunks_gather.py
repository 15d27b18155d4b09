"""Rows of chunks gathered to a minibatch, by threads, straight into the memory that it keeps.

Neither a shuffled chunk nor a copy in between is ever made. Threads write disjoint rows, so that
their number changes nothing. For a GPU, rows stay sparse until they are there.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from synthome.csr import CSRRows

Piece = tuple[sparse.csr_matrix, Int[np.ndarray, "_"]]  # a matrix, and which of its rows


@dataclass(frozen=True, eq=False)
class Gatherer:
    """Makes minibatches of ``pieces``, one piece after the other.

    Attributes
    ----------
    n_vars
        Columns of every piece.
    n_threads, pool
        How many threads do the work: the one that asks, and others of the pool.
    """

    n_vars: int
    device: torch.device
    n_threads: int
    pool: ThreadPoolExecutor

    def __post_init__(self) -> None:
        """Compile, with no rows: for a while, compiling keeps alive what it is called with."""
        nothing = sparse.csr_matrix((0, self.n_vars), dtype=np.float32)
        for make in (self.sparse, self.dense):
            make([(nothing, np.arange(0))])

    def dense(self, pieces: list[Piece]) -> Float[Tensor, "n_obs n_vars"]:
        """With zeros."""
        if self.device.type != "cpu":
            return self.sparse(pieces).dense()
        out = self._empty(_edges(pieces)[-1], self.n_vars, dtype=torch.float32)
        values = out.numpy()
        for (matrix, rows), (first, last) in zip(pieces, pairwise(_edges(pieces)), strict=True):
            self._in_blocks(_fill, rows, *_parts(matrix), values[first:last])
        return out

    def sparse(self, pieces: list[Piece]) -> CSRRows:
        """Without."""
        edges = _edges(pieces)
        indptr = self._empty(edges[-1] + 1, dtype=torch.int64)
        starts = indptr.numpy()
        starts[0] = 0
        for (matrix, rows), (first, last) in zip(pieces, pairwise(edges), strict=True):
            starts[first + 1 : last + 1] = matrix.indptr[rows + 1] - matrix.indptr[rows]
        np.cumsum(starts, out=starts)
        parts = [self._empty(int(starts[-1]), dtype=kind) for kind in (torch.int32, torch.float32)]
        arrays = [part.numpy() for part in parts]  # columns, values
        for (matrix, rows), (first, last) in zip(pieces, pairwise(edges), strict=True):
            own = starts[first : last + 1]
            self._in_blocks(_copy, rows, *_parts(matrix), own, *arrays)
        sent = [part.to(self.device, non_blocking=True) for part in (indptr, *parts)]
        return CSRRows(sent[0], sent[1], sent[2], self.n_vars)

    def _empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """Memory of the CPU, pinned if a GPU will read it."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.device.type == "cuda")

    def _in_blocks(self, kernel: Callable[..., None], rows: np.ndarray, *arguments: Any) -> None:
        """Run ``kernel`` on ranges of ``rows``, one for each thread, of which this is one."""
        n = max(1, min(self.n_threads, len(rows)))
        ends = [len(rows) * k // n for k in range(n + 1)]
        own, *others = pairwise(ends)
        running = [self.pool.submit(kernel, *part, rows, *arguments) for part in others]
        kernel(*own, rows, *arguments)
        for each in running:
            each.result()


def _edges(pieces: list[Piece]) -> list[int]:
    """Where each piece starts in the minibatch, and where the last one ends."""
    return [0, *accumulate(len(rows) for _, rows in pieces)]


def _parts(matrix: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr, matrix.indices, matrix.data


def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """``kernel`` as machine code, made at its first call; it runs beside other threads.

    Numba is imported then, so that a trained model is rebuilt and drawn from without it.
    """
    lock = Lock()

    @cache
    def made() -> Callable[..., Any]:
        from synthome.training.machine_code import machine_code

        return machine_code(kernel)

    def run(*arguments: Any) -> Any:
        with lock:  # of two threads, one makes it
            code = made()
        return code(*arguments)

    return run


@compiled
def _fill(a, b, rows, indptr, indices, values, out):
    """Rows ``a`` to ``b``, with zeros: a row at a time, while it is in the cache."""
    for i in range(a, b):
        out[i, :] = 0.0
        for k in range(indptr[rows[i]], indptr[rows[i] + 1]):
            out[i, indices[k]] = values[k]


@compiled
def _copy(a, b, rows, indptr, indices, values, starts, out_indices, out_values):
    """Rows ``a`` to ``b``, which go to ``starts`` of the minibatch."""
    for i in range(a, b):
        start, to = indptr[rows[i]], starts[i]
        for k in range(starts[i + 1] - to):
            out_indices[to + k] = indices[start + k]
            out_values[to + k] = values[start + k]
