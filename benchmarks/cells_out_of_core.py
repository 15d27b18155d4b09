"""114,600 x 29,651 cells from an h5ad file, prepared for training without loading all genes.

That is the size of the published atlas of the primary motor cortex. The reference does the same on
the matrix in memory. Both run in processes of their own, and seconds are those of the processor.
"""

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import sparse

from benchmarks.harness import Comparison

N_OBS, N_VARS = 114_600, 29_651
N_TYPES, N_DONORS = 20, 12
N_UMIS = 4_500  # of a cell, in the median
BLOCK = 2_000
BAR_MB = 6_000


def write_cells(path: Path, n_obs: int = N_OBS, n_vars: int = N_VARS) -> float:
    """Write cells block by block; return the share of counts that are not zero."""
    rng = np.random.default_rng(0)
    log_mean = rng.normal(0, 2.2, n_vars) + (rng.random((N_TYPES, n_vars)) < 0.05) * 2.0
    share = np.exp(log_mean - log_mean.max(axis=1, keepdims=True))
    cumulative = np.cumsum(share, axis=1) / share.sum(axis=1, keepdims=True)
    kind = rng.choice(N_TYPES, n_obs, p=(p := np.geomspace(1, 0.02, N_TYPES)) / p.sum())
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        x.attrs["shape"] = (n_obs, n_vars)
        data, indices = (
            x.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(2**18,))
            for name, dtype in (("data", "f4"), ("indices", "i4"))
        )
        indptr = [np.zeros(1, dtype=np.int64)]
        for start in range(0, n_obs, BLOCK):
            types = kind[start : start + BLOCK]
            n_umis = rng.lognormal(np.log(N_UMIS), 0.4, len(types)).astype(int)
            cell = np.repeat(np.arange(len(types)), n_umis)
            gene = np.empty(len(cell), dtype=np.int32)
            for t in np.unique(types):
                own = types[cell] == t
                gene[own] = np.searchsorted(cumulative[t], rng.random(own.sum())).clip(
                    0, n_vars - 1
                )
            ones = np.ones(len(cell), dtype=np.float32)
            block = sparse.coo_matrix((ones, (cell, gene)), (len(types), n_vars)).tocsr()
            for dataset, values in ((data, block.data), (indices, block.indices)):
                dataset.resize(len(dataset) + len(values), axis=0)
                dataset[-len(values) :] = values
            indptr.append(block.indptr[1:] + indptr[-1][-1])
        x["indptr"] = np.concatenate(indptr)
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical([f"type {t:02d}" for t in kind]),
                "donor": pd.Categorical([f"D{i % N_DONORS}" for i in range(n_obs)]),
            },
            index=[f"C{i:06d}" for i in range(n_obs)],
        )
        var = pd.DataFrame(index=[f"GENE{j:05d}" for j in range(n_vars)])
        for name, frame in (("obs", obs), ("var", var)):
            write_elem(file, name, frame)
        return float(len(data) / (n_obs * n_vars))


def steps(path: Path, in_memory: bool) -> dict[str, Any]:
    """Seconds of each step, and the peak of the process."""
    from anndata import read_h5ad

    from synthome.ingestion.cell_source import CellSource
    from synthome.ingestion.cells import CellsConfig, validate_cells
    from synthome.ingestion.prepare_cells import select_with_sets
    from synthome.preprocessing.gene_selection import SelectionConfig
    from synthome.preprocessing.splits import SplitConfig, assign_folds
    from synthome.preprocessing.transform import ExpressionTransform, TransformConfig

    times = [time.process_time()]

    def done(result: Any) -> Any:
        times.append(time.process_time())
        return result

    source = done(CellSource.of(read_h5ad(path)) if in_memory else CellSource.open(path))
    config = CellsConfig(cell_type="cell_type", donor="donor")
    cohort, _ = done(validate_cells(source, config))
    folds = done(assign_folds(cohort, SplitConfig(n_tested_folds=1)))
    selected, _ = done(select_with_sets(source, folds, SelectionConfig()))
    train = selected[selected.obs["split"] == "train"]
    plain = TransformConfig(target_sum=1e4, min_expression=0, min_fraction=0)
    done(ExpressionTransform.fit(train, plain).apply(selected))
    names = ("open", "validate", "split", "select genes", "log expression")
    return {
        "seconds": dict(zip(names, np.diff(times).round(1).tolist(), strict=True)),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "shape": selected.shape,
    }


def _in_a_process_of_its_own(path: Path, in_memory: bool) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(steps, (path, in_memory))


def run(device: str) -> Comparison:  # noqa: ARG001
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        density = write_cells(path)
        size = path.stat().st_size / 1e9
        ours = _in_a_process_of_its_own(path, in_memory=False)
        reference = _in_a_process_of_its_own(path, in_memory=True)
    return Comparison(
        name="cells_out_of_core",
        claim=f"{N_OBS:,} x {N_VARS:,} cells on disk: validated, split, 3,000 genes selected",
        protocol="CPU seconds of one process each; reference: the same with the matrix in memory",
        ours=[sum(ours["seconds"].values())],
        reference=[sum(reference["seconds"].values())],
        peak_mb={"ours": ours["peak_mb"], "reference": reference["peak_mb"]},
        extra={
            "file, GB": round(size, 2),
            "density": round(density, 3),
            "peak below 6 GB": ours["peak_mb"] < BAR_MB,
            "CPU s by step": ours["seconds"],
        },
    )
