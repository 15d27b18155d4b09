"""Cells trained on in a second of one core: ldvae against LinearSCVI of scvi-tools.

Both train on the same counts, 36 latents, batches of 128, one epoch; data are loaded before.
"""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from scipy import sparse

from benchmarks.harness import Comparison, clock_of, in_pairs, seconds_of
from benchmarks.ldvae_nb import counts_of
from synthome.csr import CSRRows
from synthome.models.ldvae import LDVAE, LDVAEConfig
from synthome.rng import seeded
from synthome.training.config import TrainingConfig
from synthome.training.loop import fit

DATA = Path(os.environ.get("SYNTHOME_DATA", "../shared/data"))
M1 = DATA / "human_m1_allen_markers" / "human_m1_allen_markers.h5ad"


def run(device: str) -> Comparison:
    """On 76,386 nuclei x 141 genes; those of 3,000 x 20,000 are in ``extra``."""
    narrow = _compare(_m1(), "76,386 x 141", pairs=1, device=device)
    wide = _compare(counts_of(3_000, 20_000, 0.1), "3,000 x 20,000, 10 % dense", 2, device)
    for name, found in (("141 genes", narrow), ("20,000 genes", wide)):
        narrow.extra[f"cells per second at {name}"] = found.extra["cells per second"]
        narrow.extra[f"LinearSCVI at {name}"] = found.extra["LinearSCVI"]
    narrow.extra["ratio at 20,000 genes"] = round(min(wide.ratios), 2)
    return narrow


def _m1() -> sparse.csr_matrix:
    """The real nuclei with a count; without the file, counts of their size and density."""
    if not M1.exists():
        return counts_of(76_386, 141, 0.09)
    import anndata

    counts = sparse.csr_matrix(anndata.read_h5ad(M1).X)
    return counts[counts.getnnz(axis=1) > 0]


def _compare(counts: sparse.csr_matrix, size: str, pairs: int, device: str) -> Comparison:
    rows = CSRRows.of(counts)
    data = [rows, rows.row_sums(), torch.zeros(len(rows), dtype=torch.int64)]
    config = TrainingConfig(
        batch_size=128, max_epochs=1, threads=1, device="cuda" if device == "cuda" else "cpu"
    )

    def ours() -> None:
        with seeded(0):
            network = LDVAE(counts.shape[1], 1, LDVAEConfig())
            network.depth.fill_(float(data[1].median()))
        fit(network, data, config, seed=0)

    reference = _linear_scvi(counts, device)
    seconds = in_pairs(
        ours,
        reference,
        pairs=pairs,
        clock=clock_of(device),
    )
    return Comparison(
        name="ldvae_training",
        claim=f"one epoch of ldvae, {size}",
        protocol=f"36 latents, batches of 128, one thread, {seconds_of(device)}; reference: "
        "LinearSCVI of scvi-tools, one epoch, data registered before",
        ours=seconds[0],
        reference=seconds[1],
        extra={
            "cells per second": round(len(rows) / min(seconds[0])),
            "LinearSCVI": round(len(rows) / min(seconds[1])),
        },
    )


def _linear_scvi(counts: sparse.csr_matrix, device: str) -> Any:
    """A function that trains one epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anndata
        import scvi

    scvi.settings.verbosity = logging.ERROR
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    adata = anndata.AnnData(counts)

    def train() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.set_num_threads(1)
            scvi.model.LinearSCVI.setup_anndata(adata)
            model = scvi.model.LinearSCVI(adata, n_latent=36, use_observed_lib_size=True)
            model.train(
                max_epochs=1,
                batch_size=128,
                train_size=1.0,
                accelerator="gpu" if device == "cuda" else "cpu",
                enable_progress_bar=False,
                logger=None,
                enable_checkpointing=False,
            )

    return train
