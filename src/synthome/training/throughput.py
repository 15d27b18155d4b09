"""How fast a language model is trained, in tokens per second and as a share of what is possible.

Per token, forward and backward, with N weights in matrix products that are learned, N_kept that are
kept as they are (and have no gradient of their own), L layers, width d and length T:

    operations = 6 N + 4 N_kept + 12 L d T                                                 (1)
    share      = tokens per second x operations / peak                                     (2)

where the peak is that of a large matrix product in the same precision, measured here and not taken
from a data sheet. What is computed twice to save memory is not counted.

Kaplan et al. (2020), arXiv:2001.08361. Chowdhery et al. (2022), arXiv:2204.02311, appendix B.
"""

import time
from functools import cache

import torch
from torch import nn

from synthome.training.device import autocast

SIZE = {"cpu": 1024, "cuda": 8192}  # of the matrices
LEAST_SECONDS, TRIES = 0.1, 40  # few tries on a busy machine halve the peak


def operations_per_token(network: nn.Module, n_layers: int, n_hidden: int, length: int) -> float:
    """Eq. 1; the embedding counts once, as the matrix that gives the logits."""
    of_weights = sum(
        p.numel() * (6.0 if p.requires_grad else 4.0)
        for name, p in network.named_parameters()
        if p.dim() > 1 and "slots" not in name
    )
    return of_weights + 12.0 * n_layers * n_hidden * length


@cache
def matrix_peak(device: torch.device, precision: str, threads: int) -> float:
    """Operations per second of a product of two square matrices; best of several tries.

    ``threads`` are those of the CPU now; they are an argument so that each number is measured once.
    """
    del threads
    size = SIZE.get(device.type, 1024)
    a = torch.randn(size, size, device=device)
    best, spent, tries = float("inf"), 0.0, 0
    with torch.no_grad(), autocast(device, precision):
        a = a @ a / size  # in the precision of autocast, and warm
        while spent < LEAST_SECONDS or tries < TRIES:
            _wait(device)
            start = time.perf_counter()
            a @ a
            _wait(device)
            best = min(best, time.perf_counter() - start)
            spent, tries = spent + best, tries + 1
    return 2.0 * size**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
