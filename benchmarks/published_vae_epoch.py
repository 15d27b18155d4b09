"""An epoch of the published VAE at 96 x 20,000: our loop against the loop as usually written.

The reference is Adam with its defaults, a DataLoader, and ``.item()`` in every step. Each step
touches every weight, so memory bandwidth is the limit: forward and backward read the weights once
each, backward writes gradients, Adam reads gradient, weight and two moments and writes three of
them back, 10 passes over 4 bytes per weight.
"""

import time

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.harness import Comparison, in_pairs, peak_memory
from synthome.models.published_vae import PublishedVAE, PublishedVAEConfig
from synthome.training.config import TrainingConfig
from synthome.training.device import memory_kept
from synthome.training.loop import _Run

N_OBS, N_VARS, BATCH = 96, 20_000, 32
EPOCHS = 3
PASSES = 10


def _model() -> PublishedVAE:
    torch.manual_seed(0)
    return PublishedVAE(N_VARS, PublishedVAEConfig())


def _data() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(N_OBS, N_VARS)


class Ours:
    """Epochs of the training loop of the project, which takes up its memory anew each time."""

    def __init__(self, device: str) -> None:
        config = TrainingConfig(
            learning_rate=1e-4, batch_size=BATCH, max_epochs=1000, device=device, precision="fp32"
        )
        self.device = torch.device(device)
        self.run = _Run(_model().to(device), [_data().to(device)], None, config, seed=0)

    def __call__(self) -> None:
        with memory_kept(self.device):
            for _ in range(EPOCHS):
                self.run.one_epoch()


class Naive:
    """The same epochs as usually written."""

    def __init__(self, device: str) -> None:
        self.device, self.model = device, _model().to(device).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.loader = DataLoader(TensorDataset(_data()), batch_size=BATCH, shuffle=True)

    def __call__(self) -> float:
        total = 0.0
        for _ in range(EPOCHS):
            for (x,) in self.loader:
                self.optimizer.zero_grad()
                loss = self.model.loss(x.to(self.device))["loss"]
                loss.backward()
                self.optimizer.step()
                total += loss.item()
        return total


def ours_once() -> None:
    Ours("cpu")()


def naive_once() -> None:
    Naive("cpu")()


def bandwidth(device: str) -> float:
    """Bytes per second of a large copy, reads and writes counted."""
    source = torch.rand(64_000_000, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * source.nbytes / (time.perf_counter() - start))
    return best


def run(device: str) -> Comparison:
    ours, naive = Ours(device), Naive(device)
    a, b = in_pairs(ours, naive, pairs=7, warmup=1)
    n_weights = sum(p.numel() for p in _model().parameters())
    steps = -(-N_OBS // BATCH)
    floor = EPOCHS * steps * PASSES * 4 * n_weights / bandwidth(device)
    suffix = "" if device == "cpu" else f"_{device}"
    return Comparison(
        name=f"published_vae_epoch{suffix}",
        claim=f"{EPOCHS} epochs of the published VAE at {N_OBS} x {N_VARS:,}",
        protocol="3 steps an epoch; reference: default Adam, DataLoader, .item() per step",
        ours=a,
        reference=b,
        peak_mb={"ours": peak_memory(ours_once), "reference": peak_memory(naive_once)}
        if device == "cpu"
        else {},
        extra={"fraction of the memory-bandwidth limit": round(floor / min(a), 2)},
    )
