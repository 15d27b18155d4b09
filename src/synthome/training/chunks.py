"""Cells that do not fit in memory, streamed from chunks as shuffled minibatches.

An epoch e puts the chunks in an order of its own, and the rows of each chunk c:

    chunks: permutation(n_chunks; seed, e),   rows of c: permutation(n_c; seed, e, c)          (1)

Rank r of R takes the rows whose place p in that order has p mod R = r, of the first
R floor(n_obs / R) places. Minibatch t of that rank, of size B, is

    its rows t B, ..., (t + 1) B - 1,                                                          (2)

whichever chunks they are in. So all ranks have as many minibatches, of the same sizes and disjoint
rows; fewer than R rows are left out, others in each epoch. The order is that of seed and epoch
alone, and an epoch can be begun at any t without the chunks before it. A minibatch comes from one
chunk, or from neighbours in the order (1): cells that are sorted on disk should be shuffled once,
when the chunks are written. Every rank loads every chunk.

A thread loads the next ``prefetch`` chunks while one is used, and no more than these are alive.
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int

from synthome.errors import InputError
from synthome.rng import generator
from synthome.training.chunks_gather import Gatherer, Piece
from synthome.training.chunks_load import Chunk, loaded_ahead

Minibatch = tuple[Any, ...]  # CSRRows or a dense Tensor, then a tensor of each array


@dataclass(frozen=True, eq=False)
class ChunkStream:
    """Minibatches of all cells of ``chunks``, epoch by epoch.

    Attributes
    ----------
    arrays
        What is known of each cell, such as codes and library size; first axis n_obs of all chunks.
    batch_size
        Of each rank. The last minibatch of an epoch is smaller; with ``drop_last`` it is left out,
        and without, one of a single row joins the one before, as batch normalisation needs.
    shuffle
        Whether eq. 1 applies; else the order is that of the chunks.
    rank, n_ranks
        r and R.
    prefetch
        Chunks that are loaded ahead; ``prefetch + 1`` are alive at most.
    device, layout
        Where minibatches go, and whether the values are ``CSRRows`` or a dense tensor there.

    Raises
    ------
    InputError
        If the chunks do not fit each other, the arrays or the ranks.
    """

    chunks: Sequence[Chunk]
    arrays: tuple[np.ndarray, ...]
    batch_size: int
    seed: int
    _: KW_ONLY
    shuffle: bool = True
    rank: int = 0
    n_ranks: int = 1
    prefetch: int = 1
    drop_last: bool = False
    device: str | torch.device = "cpu"
    layout: Literal["sparse", "dense"] = "sparse"

    def __post_init__(self) -> None:
        widths = sorted({chunk.n_vars for chunk in self.chunks})
        if len(widths) != 1:
            raise InputError(
                f"The chunks of a stream must have the same genes, but these {len(self.chunks)} "
                f"have {widths or 'no'} columns. Write all of them from one table of genes."
            )
        for i, array in enumerate(self.arrays):
            if array.ndim == 0 or len(array) != self.n_obs:
                raise InputError(
                    f"Array {i} of a stream has the shape {array.shape}, but its chunks hold "
                    f"{self.n_obs:,} cells. Give one row per cell, in the order of the chunks."
                )
        if not 0 <= self.rank < self.n_ranks <= self.n_obs:
            raise InputError(
                f"Rank {self.rank} of {self.n_ranks} cannot have a part of {self.n_obs:,} cells. "
                "Ranks count from 0, and each needs a cell."
            )
        if self.batch_size < 1 or self.prefetch < 0 or self.n_minibatches < 1:
            raise InputError(
                f"A stream needs prefetch >= 0 and 1 <= batch_size, no more than its cells with "
                f"drop_last: here, prefetch is {self.prefetch} and batch_size {self.batch_size} "
                f"of {self.n_obs // self.n_ranks:,} cells."
            )

    @cached_property
    def starts(self) -> Int[np.ndarray, " n_chunks_plus_1"]:
        """The first row of each chunk among all cells, and n_obs."""
        return np.cumsum([0, *(chunk.n_obs for chunk in self.chunks)])

    @property
    def n_obs(self) -> int:
        """Cells of all chunks."""
        return int(self.starts[-1])

    @property
    def n_vars(self) -> int:
        """Genes."""
        return self.chunks[0].n_vars

    @property
    def n_minibatches(self) -> int:
        """Of an epoch, for each rank."""
        full, rest = divmod(self.n_obs // self.n_ranks, self.batch_size)
        return full + (not self.drop_last and rest > (full > 0))

    def _end(self, n_minibatches: int) -> int:
        """Rows of this rank in the first minibatches of an epoch, eq. 2."""
        if n_minibatches < self.n_minibatches or self.drop_last:
            return n_minibatches * self.batch_size
        return self.n_obs // self.n_ranks

    def epoch(self, epoch: int, start: int = 0) -> Generator[Minibatch, None, None]:
        """The minibatches of an epoch from number ``start`` on.

        Two runs with the same seed agree to the bit, whatever they load ahead, and a resumed one
        with the whole. ``close`` the iterator, or drop it, and its threads end.

        Raises
        ------
        InputError
            If a chunk cannot be loaded, or is not what it said; the message names it.
        """
        if not 0 <= start <= self.n_minibatches:
            raise InputError(
                f"Minibatch {start} of an epoch of {self.n_minibatches} cannot be the next. It "
                "belongs to other data, or to another batch_size."
            )
        return self._minibatches(epoch, start)

    def onwards(self, n_done: int = 0) -> Generator[Minibatch, None, None]:
        """Epoch after epoch without end, as they go on after ``n_done`` minibatches."""
        while True:
            epoch, start = divmod(n_done, self.n_minibatches)
            yield from self.epoch(epoch, start)
            n_done += self.n_minibatches - start

    def _minibatches(self, epoch: int, start: int) -> Generator[Minibatch, None, None]:
        turns = self._turns(epoch, start)
        t = start  # the minibatch that is put together, of these pieces and cells
        pieces: list[Piece] = []
        cells: list[np.ndarray] = []
        loads = loaded_ahead(self.chunks, [i for i, _ in turns], self.prefetch)
        with closing(loads), self._gatherer() as gatherer:
            for i, places in turns:
                matrix, rows = next(loads), self._order(epoch, i)[places]
                while len(rows):
                    wanted = self._end(t + 1) - self._end(t) - sum(map(len, cells))
                    taken, rows = rows[:wanted], rows[wanted:]
                    pieces.append((matrix, taken))
                    cells.append(self.starts[i] + taken)
                    if len(taken) == wanted:
                        yield self._minibatch(gatherer, pieces, np.concatenate(cells))
                        t, pieces, cells = t + 1, [], []
                if pieces:  # keep these few rows, so that the chunk can go
                    pieces[-1] = (matrix[taken], np.arange(len(taken)))
                del matrix

    def _minibatch(
        self, gatherer: Gatherer, pieces: list[Piece], cells: Int[np.ndarray, " n_rows"]
    ) -> Minibatch:
        values = gatherer.dense(pieces) if self.layout == "dense" else gatherer.sparse(pieces)
        arrays = (torch.from_numpy(array[cells]) for array in self.arrays)
        return (values, *(tensor.to(gatherer.device) for tensor in arrays))

    def _turns(self, epoch: int, start: int) -> list[tuple[int, slice]]:
        """Chunks in the order of the epoch, each with the places in it that this rank reads."""
        order = np.arange(len(self.chunks))
        if self.shuffle:
            order = generator(self.seed, "chunks", epoch).permutation(len(order))
        turns: list[tuple[int, slice]] = []
        p = 0  # of the first place in the chunk
        for i in order.tolist():
            after = p + self.chunks[i].n_obs
            first, last = (-((self.rank - end) // self.n_ranks) for end in (p, after))
            first = max(first, self._end(start))  # rows of this rank are numbered as in eq. 2
            last = min(last, self._end(self.n_minibatches))
            if first < last:
                a, b = (self.n_ranks * row + self.rank - p for row in (first, last - 1))
                turns.append((i, slice(a, b + 1, self.n_ranks)))
            p = after
        return turns

    def _order(self, epoch: int, i: int) -> Int[np.ndarray, " n_rows"]:
        """The rows of a chunk as they come in that epoch, eq. 1."""
        n_obs = self.chunks[i].n_obs
        if not self.shuffle:
            return np.arange(n_obs)
        return generator(self.seed, "rows", epoch, i).permutation(n_obs)

    def digest(self) -> str:
        """Tells these cells from others: sizes, sums of the arrays and of the first chunk.

        Other chunks are not read for it.
        """
        sums = [float(array.sum(dtype=np.float64)) for array in self.arrays]
        with closing(loaded_ahead(self.chunks, [0], 0)) as loads:
            first = float(next(loads).data.sum(dtype=np.float64))
        part = (self.rank, self.n_ranks, self.shuffle, self.drop_last, self.layout)
        return f"{self.starts.tolist()} {self.n_vars} {sums} {first} {part}"

    @contextmanager
    def _gatherer(self) -> Iterator[Gatherer]:
        n_threads = torch.get_num_threads()
        with ThreadPoolExecutor(n_threads, thread_name_prefix="chunks-gather") as pool:
            yield Gatherer(self.n_vars, torch.device(self.device), n_threads, pool)
