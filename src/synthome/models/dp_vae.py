"""dp_vae: a class-conditional VAE with a linear decoder, trained with differential privacy.

For a sample with log expression v (p genes) and class c (one-hot), u a constant:

    x = min(max(v, low), high) - u                                                             (1)
    z ~ Normal(0, I),   x | z, c ~ Normal(b + V c + W z, sigma² I)                             (2)
    q(z | x, c) = Normal(S W' (x - b - V c) / sigma², S),   S = (I + W'W / sigma²)^-1          (3)
    loss = KL(q(z | x, c) || Normal(0, I)) - E_q log p(x | z, c)                               (4)
    step: clipped gradients of single patients and noise, eq. 1 of ``training.private``        (5)
    draw = b + V c + T (W z + sigma e) + u,  e ~ Normal(0, I),  within the bounds              (6)

Nothing else looks at the patients. Bounds, u and the start are constants; there is no scaling, and
no moment estimate. The encoder is the exact posterior of the decoder (eq. 3), so that no privacy is
spent on its weights. Latents of a draw come from the prior, not from those of the patients. The
``loss`` of the history is the length of the noisy gradient, because that of patients would tell of
them.

Public are the number of patients of each class, the list of genes and all settings. The pipelines
choose genes on the training rows: whoever needs the guarantee to the letter fixes the list before.
``noise: seeded`` repeats a run to the bit, and hides nothing from somebody who knows the seed; it
is for comparisons. What is released needs ``noise: secret``. Scores of the rows are not private.

The noise on the mean of a gene grows as sqrt(p) / (n epsilon): 34 patients and 2,000 genes need an
epsilon near 100 to teach anything (docs/decisions/0007).

Abadi et al. (2016), doi:10.1145/2976749.2978318. Tipping & Bishop (1999),
doi:10.1111/1467-9868.00196 (eq. 3).
"""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from synthome.anndata_schema import labels as labels_of
from synthome.anndata_schema import with_provenance
from synthome.config import Config
from synthome.generator import as_synthetic, class_labels
from synthome.models.persistence import (
    arrays_of,
    like_training,
    load_weights,
    training_facts,
    with_training_facts,
)
from synthome.rng import seeded, stream
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, Update, fit
from synthome.training.private import Mechanism, clipped_sum, surrogate

TRAINING = TrainingConfig(learning_rate=0.1, max_epochs=150, batch_size=2048, schedule="cosine")
DELTA_POWER = 1.1  # delta is n^-1.1 unless it is given
LOADING_UNIT = 0.02  # under one noise for all, what there is less to learn of moves less
SIGMA = 0.7  # of log1p CPM within a class, at the start


class DPVAEConfig(Config):
    """Choices of the model; all are public.

    ``epsilon`` is kept for ``delta``, which is n^-1.1 by default. ``bounds`` and ``centre`` are on
    the scale of log expression (log1p CPM). ``training.batch_size`` is the mean size of a Poisson
    sample: all patients take part in every step while there are no more.
    """

    epsilon: PositiveFloat = 10.0
    delta: float | None = Field(default=None, gt=0.0, lt=1.0)
    clip_norm: PositiveFloat = 1.0
    noise: Literal["secret", "seeded"] = "secret"
    bounds: tuple[float, float] = (0.0, 12.0)
    centre: float = 3.0
    n_latent: PositiveInt = 1
    temperature: PositiveFloat = 1.0
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class DPVAE(nn.Module):
    """Eqs. 2-5; to the training loop, a game with one player."""

    betas = (0.9, 0.97)  # a memory shorter than the run

    def __init__(self, n_vars: int, n_classes: int, config: DPVAEConfig, seed: int = 0) -> None:
        super().__init__()
        self.config, self.seed, self.steps = config, seed, 0
        self.mechanism: Mechanism | None = None
        self.base = nn.Parameter(torch.zeros(n_vars))  # b of eq. 2
        self.effects = nn.Parameter(torch.zeros(n_vars, n_classes))  # V
        self.loadings = nn.Parameter(torch.randn(n_vars, config.n_latent))  # W, in LOADING_UNIT
        # The gradient of log sigma is sqrt(p) times as long as the others, hence the unit.
        self.log_sigma = nn.Parameter(torch.zeros(1))  # over SIGMA, in 1 / sqrt(p)

    @property
    def sigma(self) -> Float[Tensor, " 1"]:
        """Sigma of eq. 2."""
        return SIGMA * (self.log_sigma / len(self.base) ** 0.5).exp()

    @property
    def directions(self) -> Float[Tensor, "n_vars n_latent"]:
        """W of eq. 2."""
        return LOADING_UNIT * self.loadings

    def encode(
        self, x: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_classes"]
    ) -> tuple[Float[Tensor, "n_obs n_latent"], Float[Tensor, "n_latent n_latent"]]:
        """Mean of each row, and the covariance of all: eq. 3."""
        w = self.directions / self.sigma
        covariance = torch.linalg.inv(torch.eye(w.shape[1], device=w.device) + w.T @ w)
        return (x - self._of_class(c)) / self.sigma @ w @ covariance, covariance

    def decode(
        self, z: Float[Tensor, "n_obs n_latent"], c: Float[Tensor, "n_obs n_classes"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """The mean of eq. 2."""
        return self._of_class(c) + z @ self.directions.T

    def _of_class(self, c: Float[Tensor, "n_obs n_classes"]) -> Float[Tensor, "n_obs n_vars"]:
        return self.base + c @ self.effects.T

    def loss(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        c: Float[Tensor, "n_obs n_classes"],
        kl_weight: float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 4 in nats per sample, up to constants; the expectation is exact."""
        loc, covariance = self.encode(x, c)
        squares = (x - self.decode(loc, c)).square().sum(dim=1).mean()
        squares = squares + ((self.directions @ covariance) * self.directions).sum()
        sigma = self.sigma[0]
        far = loc.square().sum(dim=1).mean() + covariance.diagonal().sum()
        terms = {
            "reconstruction": 0.5 * squares / sigma.square() + x.shape[1] * sigma.log(),
            "kl": 0.5 * (far - loc.shape[1] - torch.logdet(covariance)),
        }
        return {"loss": terms["reconstruction"] + kl_weight * terms["kl"], **terms}

    forward = loss  # what ``functional_call`` calls

    def players(self) -> list[nn.Module]:
        """One network, whose step is its own."""
        return [self]

    def step(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        c: Float[Tensor, "n_obs n_classes"],
        *,
        update: Update,
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 5 on a Poisson sample of the rows."""
        assert self.mechanism is not None
        self.steps += 1
        source = torch.Generator().manual_seed(self._noise_seed())
        taken = torch.rand(len(x), generator=source).to(x.device) < self.mechanism.sample_rate
        gradient = self.mechanism.release(
            clipped_sum(
                self._loss_of_one,
                self._learned(),
                (x[taken], c[taken]),
                self.mechanism.clip_norm,
            ),
            source,
        )
        update(self, surrogate(self, gradient))
        return {"loss": torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt()}

    def _loss_of_one(self, parameters: dict[str, Tensor], x: Tensor, c: Tensor) -> Tensor:
        return torch.func.functional_call(self, parameters, (x[None], c[None]))["loss"]

    def _learned(self) -> dict[str, Tensor]:
        """Parameters of this step: without W until half-time, or W would explain the means."""
        early = 2 * self.steps <= self.config.training.max_epochs
        names = dict(self.named_parameters())
        return {name: p for name, p in names.items() if not (early and name == "loadings")}

    def _noise_seed(self) -> int:
        if self.config.noise == "secret":
            return secrets.randbits(63)
        return stream(self.seed, "private", self.steps)

    def get_extra_state(self) -> Tensor:
        """Steps taken, so that a run that goes on draws the noise it would have drawn."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up where ``get_extra_state`` was."""
        self.steps = int(state)


class DPVAEGenerator:
    """dp_vae as a generator: fits log expression with labels, draws by eq. 6."""

    name = "dp_vae"

    def __init__(self, config: DPVAEConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()
        self.privacy: dict[str, Any] = {}

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit to ``X`` of ``train``: log expression, (n_obs, n_vars), with labels in ``obs``.

        Raises
        ------
        NotApplicable
            If Opacus is not installed.
        """
        config, n_obs, steps = self.config, train.n_obs, self.config.training.max_epochs
        delta = config.delta or n_obs**-DELTA_POWER
        rate = min(1.0, config.training.batch_size / n_obs)
        mechanism = Mechanism.calibrated(config.epsilon, delta, steps, config.clip_norm, rate)
        self.like, self.train_labels = like_training(train), labels_of(train)
        classes, (low, high) = np.unique(self.train_labels), config.bounds
        x = np.clip(np.asarray(train.X, dtype=np.float32), low, high) - config.centre
        c = self.train_labels[:, None] == classes
        with seeded(self.seed):
            self.network = DPVAE(train.n_vars, len(classes), config, self.seed)
        self.network.mechanism = mechanism
        self.history = fit(
            self.network,
            [torch.tensor(x), torch.tensor(c.astype(np.float32))],
            config.training.model_copy(update={"batch_size": n_obs}),  # sampled in ``step``
            seed=self.seed,
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            description=f"{self.name}, epsilon {config.epsilon:g}",
        )
        self.history["epsilon"] = mechanism.epsilons(self.history["epoch"], delta)
        self.privacy = {
            "epsilon": float(self.history["epsilon"].iloc[-1]),
            "delta": delta,
            **asdict(mechanism),
            "steps": steps,
            "accountant": "rdp",
            "noise": config.noise,
            "public": "patients per class, genes, settings",
        }
        return self

    @torch.no_grad()
    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Eq. 6; ``temperature`` replaces the one of the configuration."""
        hot = self.config.temperature if temperature is None else temperature
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        c = torch.tensor((wanted[:, None] == np.unique(self.train_labels)).astype(np.float32))
        z = torch.tensor(rng.standard_normal((n_obs, self.config.n_latent), dtype=np.float32))
        e = torch.tensor(rng.standard_normal((n_obs, self.like.n_vars), dtype=np.float32))
        with cpu_threads(self.config.training.threads):
            x = self.network.decode(hot * z, c) + hot * self.network.sigma * e
        low, high = self.config.bounds
        drawn = np.clip(x.numpy() + self.config.centre, low, high)
        result = as_synthetic(drawn, wanted, self.like)
        return with_provenance(result, privacy=json.dumps(self.privacy))

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights as arrays; everything else, epsilon among it, as plain JSON."""
        return arrays_of(network=self.network), training_facts(self) | {"privacy": self.privacy}

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = DPVAEConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        n_classes = len(np.unique(result.train_labels))
        result.network = DPVAE(result.like.n_vars, n_classes, config, result.seed)
        load_weights(result.network, arrays)
        result.privacy = facts["privacy"]
        return result
