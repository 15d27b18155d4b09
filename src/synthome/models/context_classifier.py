"""What context a cell is in, told from its log expression: one classifier for all fields.

    p_f(c | y) = softmax(U_f relu(A (y - m) / s) + u_f)                                       (1)

It is fitted to real cells alone, before a model is conditioned by it, and held fixed then. Its
accuracy and calibration on cells set aside are part of the result, as the conditioning leans on it.

The expected calibration error is the mean gap of confidence and accuracy over ten equal bins of
confidence, weighted by their cells (Guo et al. 2017, eq. 3).

Guo, Pleiss, Sun, Weinberger (2017), ICML, PMLR 70, 1321-1330.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from synthome.csr import CSRRows
from synthome.models.combinations import Rows, some_rows
from synthome.training.chunks import ChunkStream
from synthome.training.config import TrainingConfig
from synthome.training.loop import fit

N_HIDDEN = 64
N_BINS = 10
START_ROWS = 2_000  # that m and s are measured on
LEAST_SPREAD = 0.05  # of log expression; a gene that hardly varies tells no context
TRAINING = TrainingConfig(
    learning_rate=1e-3,
    max_epochs=20,
    batch_size=256,
    steps_per_epoch=20,
    weight_decay=1e-3,
    patience=4,
)


class ContextClassifier(nn.Module):
    """Eq. 1."""

    mean: Tensor
    spread: Tensor
    target_sum: Tensor

    def __init__(self, n_vars: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_vars))
        self.register_buffer("spread", torch.ones(n_vars))
        self.register_buffer("target_sum", torch.tensor(1e4))
        self.hidden = nn.Linear(n_vars, N_HIDDEN)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.ModuleList(nn.Linear(N_HIDDEN, n) for n in sizes)

    def forward(
        self, y: Float[Tensor, "n_obs n_vars"]
    ) -> list[Float[Tensor, "n_obs n_categories"]]:
        """Logits of each field."""
        h = self.dropout(self.hidden((y - self.mean) / self.spread).relu())
        return [out(h) for out in self.out]

    def nll(
        self, y: Float[Tensor, "n_obs n_vars"], codes: Int[Tensor, "n_obs n_fields"]
    ) -> Float[Tensor, ""]:
        """Sum over fields of the mean of -log p_f."""
        losses = [
            nn.functional.cross_entropy(logits, codes[:, f]) for f, logits in enumerate(self(y))
        ]
        return torch.stack(losses).sum()

    def log_expression(
        self, counts: CSRRows, library_size: Float[Tensor, " n_obs"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """What it reads of counted cells."""
        return torch.log1p(counts.dense() * (self.target_sum / library_size)[:, None])

    def loss(
        self,
        counts: CSRRows,
        library_size: Float[Tensor, " n_obs"],
        codes: Int[Tensor, "n_obs n_fields"],
        kl_weight: float = 1.0,  # noqa: ARG002, the loop gives it to every model
    ) -> dict[str, Float[Tensor, ""]]:
        """Its mean over a minibatch."""
        return {"loss": self.nll(self.log_expression(counts, library_size), codes)}


def fit_classifier(
    classifier: ContextClassifier,
    rows: Rows | ChunkStream,
    held_out: Rows | None,
    target_sum: float,
    names: Sequence[str],
    seed: int,
) -> dict[str, dict[str, float]]:
    """Fit in place, then hold fixed; returns its scores on ``held_out`` by field.

    Returns
    -------
    For each field ``accuracy``, ``balanced_accuracy``, ``calibration_error`` and ``n``; nothing
    without cells that were set aside.
    """
    classifier.requires_grad_(True)
    with torch.no_grad():
        classifier.target_sum.fill_(target_sum)
        y = classifier.log_expression(*some_rows(rows, START_ROWS, seed)[:2])
        classifier.mean.copy_(y.mean(dim=0))
        classifier.spread.copy_(y.std(dim=0).clamp(min=LEAST_SPREAD))
    fit(
        classifier, rows, TRAINING, seed=seed, validation=held_out,
        description="classifier of contexts",
    )  # fmt: skip
    classifier.requires_grad_(False)
    if held_out is None:
        return {}
    with torch.no_grad():
        logits = classifier(classifier.log_expression(*held_out[:2]))
    return {
        name: scores_of(logits[f].softmax(dim=1).double().numpy(), held_out[2][:, f].numpy())
        for f, name in enumerate(names)
    }


def scores_of(
    p: Float[np.ndarray, "n_obs n_categories"], true: Int[np.ndarray, " n_obs"]
) -> dict[str, float]:
    """Accuracy, its mean over categories, and the expected calibration error of probabilities."""
    found, confidence = p.argmax(axis=1), p.max(axis=1)
    right = found == true
    place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gap = sum(
        abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean()
        for b in np.unique(place)
    )
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[true == c].mean() for c in np.unique(true)])),
        "calibration_error": float(gap),
        "n": len(true),
    }
