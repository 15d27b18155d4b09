"""The negative binomial of ldvae, on counts alone, against the dense formula: a step of training.

Forward and backward with the softmax, 128 cells, 10 % of the entries counts, one thread.
"""

import numpy as np
import torch
from scipy import sparse

from benchmarks.harness import Comparison, clock_of, in_pairs, seconds_of
from synthome.csr import CSRRows
from synthome.distributions import nb_log_prob, softmax_nb
from synthome.training.device import cpu_threads, memory_kept, pick_device

N_OBS, DENSITY, STEPS = 128, 0.1, 10


def counts_of(n_obs: int, n_vars: int, density: float, seed: int = 0) -> sparse.csr_matrix:
    """Geometric counts, mostly ones, at random places."""
    matrix = sparse.random(n_obs, n_vars, density, "csr", np.float32, random_state=seed)
    matrix.data = np.ceil(-1.5 * np.log(matrix.data + 1e-6)).clip(1).astype(np.float32)
    return matrix


def run(device: str) -> Comparison:
    """At 20,000 genes; the ratio at 2,000 is in ``extra``."""
    wide, ratio = _compare(20_000, device), _compare(2_000, device).ratios
    wide.extra["ratio at 2,000 genes"] = round(float(np.median(ratio)), 2)
    return wide


def _compare(n_vars: int, device: str) -> Comparison:
    where = pick_device(device)
    counts = CSRRows.of(counts_of(N_OBS, n_vars, DENSITY)).to(where)
    dense, size = counts.dense(), counts.row_sums()
    torch.manual_seed(0)
    logits = torch.randn(N_OBS, n_vars, device=where, requires_grad=True)
    log_theta = torch.randn(n_vars, device=where, requires_grad=True)

    def ours() -> torch.Tensor:
        return softmax_nb(counts, logits, size, log_theta)

    def reference() -> torch.Tensor:
        log_mu = logits.log_softmax(dim=-1) + size.log()[:, None]
        return nb_log_prob(dense, log_mu, log_theta).sum(dim=-1).mean()

    def steps(loss) -> None:
        for _ in range(STEPS):
            logits.grad = log_theta.grad = None
            loss().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    with cpu_threads(1), memory_kept(where):
        off = abs(float(ours().detach()) / float(reference().detach()) - 1.0)
        seconds = in_pairs(
            lambda: steps(ours),
            lambda: steps(reference),
            pairs=5,
            clock=clock_of(device),
        )
    return Comparison(
        name="ldvae_nb",
        claim=f"NB likelihood on non-zeros, {N_OBS} x {n_vars:,}, 10 % dense",
        protocol=f"{STEPS} forward and backward passes, one thread, {seconds_of(device)}",
        ours=seconds[0],
        reference=seconds[1],
        extra={"relative difference": f"{off:.1e}"},
    )
