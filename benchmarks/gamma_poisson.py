"""Modified gamma-Poisson, 1,000 samples x 978 genes: rows at once against a loop over genes.

The reference is the published sampler as it is described: for each new sample five random patients
of the class, for each gene the mean and variance of the five, a gamma rate and a Poisson count.
"""

import numpy as np
import pandas as pd
from anndata import AnnData

from benchmarks.harness import Comparison, clock_of, in_pairs
from synthome.anndata_schema import COUNTS, UNS
from synthome.samplers.moments import MomentSampler, MomentSamplerConfig

N_OBS, N_VARS, N_NEW, R = 60, 978, 1_000, 5
N_LOOPED = 50  # samples of the loop; its seconds are multiplied up


def run(device: str) -> Comparison:
    """One class; the loop draws 50 samples, and takes as long for each."""
    del device
    train = _cohort()
    counts = train.layers[COUNTS]
    fitted = MomentSampler(MomentSamplerConfig(law="gamma_poisson", members=R)).fit(train)
    wanted = ["a"] * N_NEW

    def ours() -> None:
        fitted.sample(N_NEW, wanted, np.random.default_rng(0))

    def reference() -> None:
        _looped(counts, N_LOOPED, np.random.default_rng(0))

    seconds = in_pairs(ours, reference, pairs=5, clock=clock_of("cpu"))
    return Comparison(
        name="gamma_poisson",
        claim=f"modified gamma-Poisson, {N_NEW:,} samples x {N_VARS} genes",
        protocol=f"r = {R}, one thread, seconds of the processor; reference: a loop over samples "
        f"and genes, {N_LOOPED} samples times {N_NEW // N_LOOPED}",
        ours=seconds[0],
        reference=[value * N_NEW / N_LOOPED for value in seconds[1]],
    )


def _looped(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.empty((n, counts.shape[1]))
    for i in range(n):
        members = counts[rng.choice(len(counts), R, replace=False)]
        for j in range(counts.shape[1]):
            mean, variance = members[:, j].mean(), members[:, j].var(ddof=1)
            rate = rng.gamma(mean**2 / variance, variance / mean) if variance > 0 else mean
            rows[i, j] = rng.poisson(rate)
    return rows


def _cohort() -> AnnData:
    rng = np.random.default_rng(0)
    mean = rng.lognormal(4, 1.5, N_VARS)
    counts = rng.poisson(rng.gamma(3.0, mean / 3.0, (N_OBS, N_VARS))).astype(np.float32)
    x = np.log1p(1e6 * counts / counts.sum(axis=1, keepdims=True))
    obs = pd.DataFrame({"label": "a"}, index=[f"s{i}" for i in range(N_OBS)])
    facts = {"label_key": "label", "scale": "counts"}
    return AnnData(x, obs=obs, layers={COUNTS: counts}, uns={UNS: facts})
