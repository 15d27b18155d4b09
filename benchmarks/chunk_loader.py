"""Minibatches of cells from chunks, 30,000 genes of which one in twenty is counted.

The reference is the pattern that is published with such data: a PyTorch DataLoader for each chunk,
whose dataset makes dense one sparse row at a time and looks up the metadata of its cell in pandas,
as one-hot vectors. It is measured on fewer cells, whose number changes nothing per cell.

Files are uncompressed .npz, just written, so that they are read from the memory of the system.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import Comparison, in_pairs, peak_memory
from synthome.ingestion.chunk_folder import ChunkFolder
from synthome.training.chunks import ChunkStream
from synthome.training.chunks_load import Chunk
from synthome.training.device import cpu_threads, memory_kept, pick_device

N_OBS, N_VARS, STRATUM = 20_000, 30_000, 20  # of a chunk; one gene in each stratum is counted
CHUNK_MB = N_OBS * (N_VARS // STRATUM) * 8 / 2**20
N_CHUNKS, BATCH_SIZE, THREADS = 4, 256, 2
N_CODES = (20, 12, 3, 2)  # values of each field of the metadata
N_REFERENCE = 1_000  # cells
SLOW = 0.01  # seconds for each minibatch, so that the thread is as far ahead as it may
LAYOUTS: tuple[Literal["dense"], Literal["sparse"]] = ("dense", "sparse")
BARS = {"dense, loaded": 80_000, "sparse, loaded": 250_000, "dense, from files": 40_000}


def made_up(seed: int, n_obs: int = N_OBS) -> sparse.csr_matrix:
    """Counts of one chunk."""
    rng = np.random.default_rng(seed)
    n = N_VARS // STRATUM
    genes = rng.integers(0, STRATUM, (n_obs, n), dtype=np.int32)
    genes += np.arange(0, N_VARS, STRATUM, dtype=np.int32)
    values = rng.integers(1, 6, n_obs * n, dtype=np.int8).astype(np.float32)
    indptr = np.arange(0, n_obs * n + 1, n, dtype=np.int32)
    return sparse.csr_matrix((values, genes.ravel(), indptr), shape=(n_obs, N_VARS))


def metadata(n_obs: int) -> pd.DataFrame:
    """The number of a value, for each field."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({f"field {n}": rng.integers(0, n, n_obs) for n in N_CODES})


@dataclass(frozen=True)
class Loaded:
    """A chunk that is in memory already."""

    matrix: sparse.csr_matrix

    @property
    def n_obs(self) -> int:
        return self.matrix.shape[0]

    @property
    def n_vars(self) -> int:
        return self.matrix.shape[1]

    def load(self) -> sparse.csr_matrix:
        return self.matrix


class CellByCell(Dataset):
    """The published pattern."""

    def __init__(self, matrix: sparse.csr_matrix, obs: pd.DataFrame) -> None:
        self.matrix, self.obs = matrix, obs

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        x = torch.tensor(self.matrix[i].toarray().ravel(), dtype=torch.float32)
        row = self.obs.iloc[i]
        one_hot = []
        for field, n in zip(self.obs.columns, N_CODES, strict=True):
            code = torch.zeros(n)
            code[int(row[field])] = 1.0
            one_hot.append(code)
        return x, *one_hot


def cell_by_cell(chunks: list[Loaded], obs: pd.DataFrame) -> Iterator[list[torch.Tensor]]:
    for chunk in chunks:
        yield from DataLoader(CellByCell(chunk.matrix, obs), BATCH_SIZE, shuffle=True)


def consume(minibatches: Callable[[], Iterator[object]], seconds: float = 0.0) -> None:
    """Read them all, and take that long over each."""
    for minibatch in minibatches():
        del minibatch
        if seconds:  # even a sleep of none lets others go first
            time.sleep(seconds)


def stream_of(chunks: Sequence[Chunk], layout: Literal["dense", "sparse"]) -> ChunkStream:
    codes = metadata(sum(chunk.n_obs for chunk in chunks)).to_numpy()
    return ChunkStream(chunks, (codes,), BATCH_SIZE, seed=0, layout=layout)


def write_chunks(folder: Path) -> None:
    for i in range(N_CHUNKS):
        sparse.save_npz(folder / f"{i}.npz", made_up(i), compressed=False)
        metadata(N_OBS).to_csv(folder / f"{i}.csv", index=False)


def one_epoch(folder: Path, layout: Literal["dense", "sparse"], n_chunks: int) -> None:
    """In a process of its own, after a small one that compiles; slower than files are read."""
    with cpu_threads(THREADS), memory_kept(pick_device("cpu")):
        consume(partial(stream_of([Loaded(made_up(0, 500))], layout).epoch, 0))
        if n_chunks:
            files = ChunkFolder.open(folder).chunks[:n_chunks]
            consume(partial(stream_of(files, layout).epoch, 0), SLOW)


def cells_per_second(n_cells: int, epoch: Callable[[], object], times: int = 5) -> dict[str, int]:
    """On the wall: median and best; and per second of the processor, of all threads together."""
    epoch()  # warm
    clocks = []
    for _ in range(times):
        start = time.perf_counter(), time.process_time()
        epoch()
        clocks.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    walls, spent = zip(*clocks, strict=True)
    rates = {"median": median(walls), "best": min(walls), "per CPU second": median(spent)}
    return {name: round(n_cells / seconds, -2) for name, seconds in rates.items()}


def run(device: str) -> Comparison:  # noqa: ARG001
    """Dense minibatches of a loaded chunk; sparse ones and those from files are in ``extra``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks: dict[str, float] = {}
        # Memory first: a new process counts what this one has taken up by then as its own.
        peak_memory(partial(write_chunks, folder))
        for layout in LAYOUTS:
            whole, none = (
                peak_memory(partial(one_epoch, folder, layout, n)) for n in (N_CHUNKS, 0)
            )
            peaks[layout] = round(whole - none, 1)
        loaded = Loaded(made_up(0))
        few = Loaded(loaded.matrix[:N_REFERENCE])
        files = ChunkFolder.open(folder).chunks
        reference = partial(consume, partial(cell_by_cell, [few], metadata(N_REFERENCE)))
        with cpu_threads(THREADS), memory_kept(pick_device("cpu")):
            rates = {"published pattern": cells_per_second(N_REFERENCE, reference)}
            for place, chunks in (("loaded", [loaded] * N_CHUNKS), ("from files", files)):
                for layout in LAYOUTS:
                    epoch = partial(consume, partial(stream_of(chunks, layout).epoch, 0))
                    rates[f"{layout}, {place}"] = cells_per_second(N_CHUNKS * N_OBS, epoch)
            dense = partial(consume, partial(stream_of([loaded], "dense").epoch, 0))
            seconds = in_pairs(dense, reference, pairs=7)
    return Comparison(
        name="chunk_loader",
        claim=f"10,000 cells of {N_VARS:,} genes, 5 % of them counted, as dense minibatches of "
        f"{BATCH_SIZE} from a loaded chunk",
        protocol=f"{THREADS} threads, seconds on the wall; reference: a DataLoader that reads "
        f"cell by cell, {N_REFERENCE:,} cells; memory: an epoch of {N_CHUNKS} files above none",
        ours=[each * 10_000 / N_OBS for each in seconds[0]],
        reference=[each * 10_000 / N_REFERENCE for each in seconds[1]],
        peak_mb=peaks,
        extra={
            "cells/s": rates,
            "bars, cells/s": BARS,
            "peak, chunks": {layout: round(mb / CHUNK_MB, 2) for layout, mb in peaks.items()},
            "chunk, MB": round(CHUNK_MB),
        },
    )
