"""How well ldvae and LinearSCVI of scvi-tools describe cells that they were not trained on.

Four fifths of the cells of each real set are trained on, at random, and the others scored. ldvae
ends by its own rule; LinearSCVI is given the 100 epochs that are usual. Neither should be worse
than a negative binomial without latents. Scores are nats per cell, the lower the better: ``bound``
is -ELBO, ``nll`` the part of it that is not the divergence, with five draws of z.
"""

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData, read_h5ad
from scipy import sparse

from benchmarks.harness import Comparison
from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, UNS
from synthome.csr import CSRRows
from synthome.models.ldvae import LDVAEConfig, LDVAEGenerator
from synthome.models.null_nb import NullNB
from synthome.training.device import cpu_threads

DATA = Path(os.environ.get("SYNTHOME_DATA", "../shared/data"))
BARS = {  # of nll
    "onek1k_subset": 354.0,
    "zeisel2018_telencephalon_subset": 1_050.0,
    "human_acc_v1_nuclei": 8_600.0,
}
SEEDS = (0, 1, 2)  # of the split
N_LATENT, EPOCHS, DRAWS = 36, 100, 5
N_HIGHLY_VARIABLE = 3_000
LEAST_COUNTS = 20_000  # of a nucleus that was read to full length
EXPRESSION_SUM = 1e4
ROWS_AT_A_TIME = 1_024

Result = dict[str, Any]


def run(device: str) -> Comparison:
    """Every set that is there, each divided by every seed."""
    return gathered([compare(name, seed, device) for name in BARS for seed in SEEDS])


def gathered(results: list[Result]) -> Comparison:
    """One comparison of results, whose scores are means over the splits of a set."""
    table = pd.DataFrame(results)
    means = table.drop(columns=["likelihood", "seed"]).groupby("set", sort=False).mean()
    extra: dict[str, Any] = {}
    for name, row in means.iterrows():
        extra[f"{name}, nll"] = {
            "ours": round(row["nll"], 1),
            "LinearSCVI": round(row["scvi_nll"], 1),
            "without latents": round(row["null"], 1),
            "bar": BARS[str(name)],
        }
        extra[f"{name}, bound"] = {
            "ours": round(row["bound"], 1),
            "LinearSCVI": round(row["scvi_bound"], 1),
        }
        extra[f"{name}, CPU"] = {
            "ours over LinearSCVI": round(row["seconds"] / row["scvi_seconds"], 2),
            "steps": round(row["steps"]),
            "LinearSCVI, steps": round(row["scvi_steps"]),
        }
    extra["likelihood"] = table.groupby("set", sort=False)["likelihood"].first().to_dict()
    extra["splits"] = table.groupby("set", sort=False)["seed"].nunique().to_dict()
    return Comparison(
        name="ldvae_fit",
        claim="ldvae until it converges, on real cells",
        protocol="one thread, seconds of the processor, of each set and split in turn; reference: "
        f"LinearSCVI, {EPOCHS} epochs, batches of 128, learning rate 1e-3, NB, observed library",
        ours=table["seconds"].round(1).tolist(),
        reference=table["scvi_seconds"].round(1).tolist(),
        extra=extra,
    )


def compare(name: str, seed: int, device: str = "cpu") -> Result:
    """Both models, and the law without latents, on one split."""
    cells = _cells(name)
    order = np.random.default_rng(seed).permutation(cells.n_obs)
    n_train = int(0.8 * cells.n_obs)
    train, test = cells[order[:n_train]].copy(), cells[order[n_train:]].copy()
    _ours(train[:200].copy(), test, device, max_epochs=1)  # imports what is imported once
    _scvi(train[:200].copy(), test, device, epochs=1)
    null = NullNB.fit(train.layers[COUNTS], train.obs[LIBRARY_SIZE].to_numpy())
    rows = CSRRows.of(test.layers[COUNTS])
    return {
        "set": name,
        "seed": seed,
        "null": float(null.row_nll(rows, rows.row_sums()).mean()),
        **_ours(train, test, device),
        **{f"scvi_{key}": value for key, value in _scvi(train, test, device).items()},
    }


def _cells(name: str) -> AnnData:
    """Counts with their log expression, every cell of one class."""
    cells = read_h5ad(DATA / name / f"{name}.h5ad")
    counts = sparse.csr_matrix(cells.X, dtype=np.float32)
    if name == "human_acc_v1_nuclei":
        counts = counts[np.asarray(counts.sum(axis=1)).ravel() > LEAST_COUNTS]
    total = np.asarray(counts.sum(axis=1)).ravel()
    x = sparse.csr_matrix(sparse.diags_array(EXPRESSION_SUM / total) @ counts).log1p()
    made = AnnData(
        x,
        obs=pd.DataFrame({"cell": "any", LIBRARY_SIZE: total}, index=map(str, range(len(total)))),
        layers={COUNTS: counts},
        uns={UNS: {"label_key": "cell", "scale": "counts"}},
    )
    if made.n_vars <= N_HIGHLY_VARIABLE:
        return made
    import scanpy

    scanpy.pp.highly_variable_genes(made, n_top_genes=N_HIGHLY_VARIABLE)
    made = made[:, made.var["highly_variable"].to_numpy()].copy()
    made.obs[LIBRARY_SIZE] = np.asarray(made.layers[COUNTS].sum(axis=1)).ravel()
    return made


def _ours(train: AnnData, test: AnnData, device: str, **training: Any) -> Result:
    config = LDVAEConfig.model_validate(
        {"n_latent": N_LATENT, "training": {"device": device, "threads": 1, **training}}
    )
    start = time.process_time()
    made = LDVAEGenerator(config).fit(train)
    seconds = time.process_time() - start
    scores = made.held_out(test, DRAWS)
    return {
        "seconds": seconds,
        "nll": scores["nll"],
        "bound": -scores["elbo"],
        "steps": len(made.history) * int(config.training.steps_per_epoch or 1),
        "likelihood": made.likelihood,
    }


def _scvi(train: AnnData, test: AnnData, device: str, epochs: int = EPOCHS) -> Result:
    with warnings.catch_warnings(), cpu_threads(1):
        warnings.simplefilter("ignore")
        import scvi

        for name in ("scvi", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        scvi.settings.seed = 0
        start = time.process_time()
        counts = AnnData(train.layers[COUNTS], obs=train.obs[[]])
        scvi.model.LinearSCVI.setup_anndata(counts)
        model = scvi.model.LinearSCVI(counts, n_latent=N_LATENT, use_observed_lib_size=True)
        model.train(
            max_epochs=epochs, batch_size=128, train_size=1.0, accelerator=_lightning(device),
            enable_progress_bar=False, logger=False, enable_checkpointing=False,
        )  # fmt: skip
        seconds = time.process_time() - start
        nll, kl = _score(model.module.cpu().eval(), test.layers[COUNTS])
    steps = epochs * -(-train.n_obs // 128)
    return {"seconds": seconds, "nll": nll, "bound": nll + kl, "steps": steps}


def _lightning(device: str) -> str:
    return "gpu" if device == "cuda" else "cpu"


@torch.no_grad()
def _score(network: Any, counts: sparse.csr_matrix) -> tuple[float, float]:
    """Negative log-likelihood and divergence of LinearSCVI, mean over cells."""
    torch.manual_seed(0)
    total = np.zeros(2)
    for a in range(0, counts.shape[0], ROWS_AT_A_TIME):
        x = torch.from_numpy(counts[a : a + ROWS_AT_A_TIME].toarray())
        batch = torch.zeros(len(x), 1, dtype=torch.int64)
        for _ in range(DRAWS):
            inferred = network.inference(x, batch)
            generated = network.generative(inferred["z"], inferred["library"], batch, y=batch)
            terms = network.loss({"X": x, "batch": batch, "labels": batch}, inferred, generated)
            (nll,), kl = terms.reconstruction_loss.values(), terms.kl_local["kl_divergence_z"]
            total += [float(nll.double().sum()) / DRAWS, float(kl.double().sum()) / DRAWS]
    nll_mean, kl_mean = total / counts.shape[0]
    return float(nll_mean), float(kl_mean)
