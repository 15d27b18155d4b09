"""Effects of contexts: Newton's method in the values of fields against the same in the pools.

The reference is algorithm 3.1 of Rasmussen and Williams (2006) as it stands, with a covariance
matrix of all pools; everything around it is shared. Two fields of equal size, 20 cells a pool.
"""

from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Comparison, clock_of, in_pairs, seconds_of
from synthome.models import pooled_effects
from synthome.models.context_effects import ContextEffects
from synthome.models.pooled_effects import CONVERGED, LONGEST_STEP, NEWTON_STEPS, Pools
from synthome.training.device import cpu_threads

N_VARS = 100
SIZES = [(20, 20), (10, 10), (20, 40)]  # categories of both fields, the claim first


def in_pools(
    setting: pooled_effects.Setting,
    place: np.ndarray,
    counts: Tensor,
    offset: Tensor,
    start: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What ``pooled_effects.laplace`` gives, from matrices of all pools; few genes at a time."""
    few = max(1, pooled_effects.ENTRIES // counts.shape[1] ** 2)  # as memory allows
    if len(counts) > few:
        blocks = zip(*(each.split(few) for each in (counts, offset, start)), strict=True)
        parts = [in_pools(setting, place, *block) for block in blocks]
        values, alpha, evidence, f = (torch.cat(each) for each in zip(*parts, strict=True))
        return values, alpha, evidence, f
    column = torch.from_numpy(setting.column)
    k = counts.shape[1]
    u = torch.zeros(k, len(column), dtype=counts.dtype)
    for row in place:
        u[torch.arange(k), row] = 1.0
    covariance = (u * column) @ u.T + setting.diagonal * torch.eye(k, dtype=counts.dtype)
    f, one = start, torch.eye(k, dtype=counts.dtype)
    for _ in range(NEWTON_STEPS):
        mean = (f + offset).clamp(max=40.0).exp()
        w = mean.sqrt()
        root = torch.linalg.cholesky(one + w[:, :, None] * covariance * w[:, None, :])
        r = mean * f + counts - mean
        solved = torch.cholesky_solve((w * (r @ covariance))[:, :, None], root)[:, :, 0]
        alpha = r - w * solved
        step = (alpha @ covariance - f).clamp(-LONGEST_STEP, LONGEST_STEP)
        f = f + step
        if float(step.abs().max()) < CONVERGED:
            break
    mean = (f + offset).exp()
    evidence = (counts * (f + offset) - mean).sum(dim=1) - 0.5 * (alpha * f).sum(dim=1)
    evidence = evidence - root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return (alpha @ u) * column, alpha, evidence, f


def pools_of(sizes: tuple[int, int]) -> Pools:
    """Counts with effects of both fields, and pools in which the second acts in half the genes."""
    rng = np.random.default_rng(0)
    codes = np.indices(sizes).reshape(2, -1).T.copy()
    eta = rng.normal(-8.0, 1.5, N_VARS) + rng.normal(0, 1.0, (sizes[0], N_VARS))[codes[:, 0]]
    eta[:, ::2] += rng.normal(0, 0.4, (sizes[1], N_VARS))[codes[:, 1], ::2]
    exposure = 20 * rng.lognormal(8.0, 0.3, len(codes))
    return Pools(rng.poisson(exposure[:, None] * np.exp(eta)).astype(float), exposure, codes, None)


def ours(pools: Pools, sizes: tuple[int, int]) -> np.ndarray:
    return ContextEffects.of_pools(pools, sizes).log_rate(pools.codes)


def reference(pools: Pools, sizes: tuple[int, int]) -> np.ndarray:
    with patch.object(pooled_effects, "laplace", in_pools):
        return ours(pools, sizes)


def run(device: str) -> Comparison:
    seconds, off = {}, {}
    with cpu_threads(1):
        for sizes in SIZES:
            pools = pools_of(sizes)
            both = (partial(side, pools, sizes) for side in (ours, reference))
            seconds[sizes] = in_pairs(*both, pairs=3, clock=clock_of(device))
            off[sizes] = float(np.abs(ours(pools, sizes) - reference(pools, sizes)).max())
    names = {sizes: f"{sizes[0] * sizes[1]} pools" for sizes in SIZES}
    return Comparison(
        name="context_effects",
        claim=f"effects of two fields of 20 categories, 400 pools, {N_VARS} genes",
        protocol=f"{seconds_of(device)}, one thread; reference: the same in K x K matrices",
        ours=seconds[SIZES[0]][0],
        reference=seconds[SIZES[0]][1],
        extra={
            names[s]: f"{min(seconds[s][1]) / min(seconds[s][0]):.1f} x (off {off[s]:.0e})"
            for s in SIZES
        },
    )
