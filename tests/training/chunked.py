"""Cells in chunks that remember how often they were loaded, and how many are alive."""

import weakref
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy import sparse

N_VARS = 12


@dataclass
class Watch:
    """What became of the chunks of a stream."""

    loads: list[int] = field(default_factory=list)
    alive: int = 0
    most: int = 0


@dataclass
class FakeChunk:
    """Rows of a matrix in memory, copied as if they were read; ``broken`` ones cannot be."""

    matrix: sparse.csr_matrix
    number: int = 0
    watch: Watch = field(default_factory=Watch)
    broken: bool = False

    @property
    def n_obs(self) -> int:
        return self.matrix.shape[0]

    @property
    def n_vars(self) -> int:
        return self.matrix.shape[1]

    def load(self) -> sparse.csr_matrix:
        if self.broken:
            raise OSError("the disk is gone")
        copied = self.matrix.copy()
        watch = self.watch
        watch.loads.append(self.number)
        watch.alive += 1
        watch.most = max(watch.most, watch.alive)
        copied.data = np.array(copied.data)  # owns its memory: any view of it keeps it alive
        weakref.finalize(copied.data, self._gone)
        return copied

    def _gone(self) -> None:
        self.watch.alive -= 1

    def __repr__(self) -> str:
        return f"part {self.number}"


def cells(n_obs: int, n_vars: int = N_VARS) -> sparse.csr_matrix:
    """Counts; the first column of a row is its number and one, so that it can be told."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, (n_obs, n_vars)).astype(np.float32)
    counts[:, 0] = np.arange(1, n_obs + 1)
    return sparse.csr_matrix(counts)


def in_chunks(matrix: sparse.csr_matrix, sizes: list[int]) -> tuple[list[FakeChunk], Watch]:
    """Rows of ``matrix`` in chunks of these sizes."""
    watch, ends = Watch(), np.cumsum([0, *sizes])
    parts = [matrix[a:b] for a, b in pairwise(ends)]
    return [FakeChunk(part, i, watch) for i, part in enumerate(parts)], watch
