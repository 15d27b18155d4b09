"""Five seeds of rare_vae on 43 x 20,000 genes: trained together against one after the other.

Together, parameters are stacked and each product is one product for all seeds; what does not depend
on a seed (scales, modules, loadings to start from) is done once.
"""

import statistics
import time

import numpy as np
import pandas as pd
from anndata import AnnData

from benchmarks.harness import Comparison, in_pairs, peak_memory
from synthome.anndata_schema import UNS
from synthome.models.rare_vae import TRAINING, RareVAEConfig, RareVAEGenerator

N_OBS, N_VARS, N_READ = 43, 20_000, 2_000
SEEDS = (42, 10, 2024, 777, 99)


def _cohort() -> AnnData:
    """Three factors and noise; every tenth gene counts as highly variable."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_OBS, 3)) @ rng.normal(size=(3, N_VARS)) + rng.normal(
        size=(N_OBS, N_VARS)
    )
    obs = pd.DataFrame({"class": ["a"] * 34 + ["b"] * 9}, index=[f"s{i}" for i in range(N_OBS)])
    var = pd.DataFrame({"highly_variable": np.arange(N_VARS) % (N_VARS // N_READ) == 0})
    var.index = [f"g{i}" for i in range(N_VARS)]
    return AnnData(x, obs=obs, var=var, uns={UNS: {"label_key": "class", "scale": "log"}})


def _config(device: str) -> RareVAEConfig:
    return RareVAEConfig(training=TRAINING.model_copy(update={"device": device}))


def together(device: str = "cpu") -> None:
    RareVAEGenerator.fit_seeds(_cohort(), _config(device), SEEDS)


def one_by_one(device: str = "cpu") -> None:
    for seed in SEEDS:
        RareVAEGenerator(_config(device), seed).fit(_cohort())


def run(device: str) -> Comparison:
    ours, reference = in_pairs(
        lambda: together(device),
        lambda: one_by_one(device),
        pairs=3,
        clock=time.process_time if device == "cpu" else time.perf_counter,
    )
    one = [seconds / len(SEEDS) for seconds in reference]
    cost = statistics.median(a / b for a, b in zip(ours, one, strict=True))
    suffix = "" if device == "cpu" else f"_{device}"
    return Comparison(
        name=f"rare_vae_seeds{suffix}",
        claim=f"{len(SEEDS)} seeds of rare_vae at {N_OBS} x {N_VARS:,}",
        protocol="whole fits, 200 epochs; reference: one seed after the other; on a CPU one thread "
        "and the seconds of the processor",
        ours=ours,
        reference=reference,
        peak_mb={"ours": peak_memory(together), "reference": peak_memory(one_by_one)}
        if device == "cpu"
        else {},
        extra={"cost in units of one seed": round(cost, 2)},
    )
