"""Run by torchrun: what one process and two ranks make of the same rows, written to a folder."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from training.chunked import N_VARS, cells, in_chunks

from synthome.csr import CSRRows
from synthome.training import ranks
from synthome.training.chunks import ChunkStream
from synthome.training.config import TrainingConfig
from synthome.training.loop import fit

N_OBS, BATCH = 100, 20  # rows of all ranks in a minibatch
CASES = {
    "rows": {},
    "few steps": {"steps_per_epoch": 3},
    "one minibatch": {"batch_size": N_OBS},
    "clipped": {"max_grad_norm": 0.05},
    "penalised": {"weight_decay": 0.1},  # beside which the size of the gradient matters
}


class Killed(Exception):
    pass


class Line(nn.Module):
    """Least squares of sparse rows; ``noisy`` adds noise to what it reads."""

    def __init__(self, seed: int = 1, noisy: bool = False, dies_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear, self.noisy, self.left = nn.Linear(N_VARS, 1), noisy, dies_at

    def loss(self, counts: CSRRows, number: Tensor, kl_weight: float = 1.0) -> dict[str, Tensor]:
        if self.training:
            self.left -= 1
            if self.left == 0:
                raise Killed
        x = counts.dense() / 100
        noise = 0.1 * torch.randn_like(x) if self.noisy and self.training else 0.0
        error = self.linear(x + noise).squeeze(1) - 0.01 * number
        return {"loss": error.square().mean(), "rows": torch.tensor(float(len(number)))}


def config(**changes: object) -> TrainingConfig:
    each = {"batch_size": BATCH} | changes
    batch = int(str(each["batch_size"])) // ranks.n_ranks()
    settings = {"learning_rate": 0.05, "max_epochs": 3, "patience": 3, **each, "batch_size": batch}
    return TrainingConfig.model_validate(settings)


def rows(n_obs: int = N_OBS) -> tuple[CSRRows, Tensor]:
    return CSRRows.of(cells(n_obs)), torch.arange(n_obs)


def stream() -> ChunkStream:
    chunks, _ = in_chunks(cells(N_OBS), [30, 10, 60])
    return ChunkStream(chunks, (np.arange(N_OBS),), batch_size=3, seed=77)


def run(out: Path) -> None:
    found = {}

    def note(name: str, model: nn.Module, history: object = None) -> None:
        weights = [p.detach().flatten() for p in model.parameters()]
        found[name] = torch.cat(weights).numpy()
        if history is not None:
            found[f"{name} history"] = history[["train_loss", "validation_loss"]].to_numpy()

    for name, changes in CASES.items():
        model = Line(seed=1 + ranks.rank())  # rank 0 says where all begin
        history = fit(model, rows(), config(**changes), seed=0, validation=rows(31))
        note(name, model, history)
    model = Line()
    note("stream", model, fit(model, stream(), config(), seed=0, validation=rows(31)))
    noisy = Line(noisy=True)
    fit(noisy, rows(), config(), seed=0)
    note("noisy", noisy)
    path = out / "killed"
    often = config(checkpoint_every=1)
    try:
        fit(Line(noisy=True, dies_at=8), rows(), often, seed=0, checkpoint=path)
    except Killed:
        kept = path.with_name("killed.1") if ranks.rank() else path
        assert kept.exists()
    resumed = Line(noisy=True)
    fit(resumed, rows(), often, seed=0, checkpoint=path)
    note("resumed", resumed)
    path = out / "apart"  # as after a kill between the files of two ranks
    try:
        fit(Line(noisy=True, dies_at=8), rows(), often, seed=0, checkpoint=path)
    except Killed:
        ranks.wait()
        if ranks.rank() > 0:
            path.with_name("apart.1").unlink()
    again = Line(noisy=True)
    fit(again, rows(), often, seed=0, checkpoint=path)
    note("from the start", again)
    np.savez(out / f"{ranks.rank()} of {ranks.n_ranks()}.npz", **found)


if __name__ == "__main__":
    with ranks.joined():
        run(Path(sys.argv[1]))
