"""The published VAE for rare-disease cohorts, as published.

For a sample x, scaled to [0, 1] by the minimum and maximum of each gene in the training rows:

    q(z | x) = Normal(m(x), s(x)²)                                      (1)
    x̂(z)     = sigmoid(decoder(z))                                      (2)
    loss     = sum_g (x_g - x̂_g)² + 0.005 * KL(q(z | x) || Normal(0, I)) (3)
    draw     = x̂(T * e),  e ~ Normal(0, I),  T = 2                       (4)

with hidden layers p -> 512 -> 256 -> 64 -> 256 -> 512 -> p, batch normalisation and ReLU. It knows
no labels, a draw is a mean without gene-level noise, and the sigmoid keeps every value between the
smallest and the largest seen in training. It is here to be compared with, not to be used.

Departures, none of which changes an equation: the best validation weights are really restored (the
published copy of them was shallow, so training's last weights were used); and, since users need
labelled rows and the model cannot make them, drawn rows get the label of the nearest class mean of
the training rows.

RareDisease-Transcriptome-VAE, public code of the publication, commit 2ddc8fb.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from synthome.anndata_schema import expression as expression_of
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.models.persistence import (
    arrays_of,
    like_training,
    load_weights,
    tensors_of,
    training_facts,
    with_training_facts,
)
from synthome.models.unlabelled import NearestClass, labelled_draw
from synthome.preprocessing.scaling import MinMaxScaler
from synthome.rng import generator, seeded
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit

TRAINING = TrainingConfig(
    learning_rate=1e-4,
    max_epochs=1000,
    batch_size=32,
    schedule="plateau",
    plateau_factor=0.5,
    plateau_patience=30,
    validation_fraction=0.2,
    patience=50,
    threads=2,
)


class PublishedVAEConfig(Config):
    """The published choices."""

    n_hidden: tuple[PositiveInt, PositiveInt] = (512, 256)
    n_latent: PositiveInt = 64
    kl_weight: NonNegativeFloat = 0.005
    temperature: PositiveFloat = 2.0
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class PublishedVAE(nn.Module):
    """Eqs. 1-3."""

    def __init__(self, n_vars: int, config: PublishedVAEConfig) -> None:
        super().__init__()
        wide, narrow = config.n_hidden
        self.kl_weight = config.kl_weight
        self.hidden = nn.Sequential(*_layer(n_vars, wide), *_layer(wide, narrow))
        self.posterior = nn.Linear(narrow, 2 * config.n_latent)
        self.decoder = nn.Sequential(
            *_layer(config.n_latent, narrow), *_layer(narrow, wide), nn.Linear(wide, n_vars)
        )

    def encode(self, x: Float[Tensor, "n_obs n_vars"]) -> Normal:
        """Eq. 1."""
        loc, log_variance = self.posterior(self.hidden(x)).float().chunk(2, dim=-1)
        return Normal(loc, (0.5 * log_variance).exp())

    def decode(self, z: Float[Tensor, "n_obs n_latent"]) -> Float[Tensor, "n_obs n_vars"]:
        """Eq. 2: expression scaled to [0, 1]."""
        return self.decoder(z).float().sigmoid()

    def loss(
        self, x: Float[Tensor, "n_obs n_vars"], kl_weight: float = 1.0
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 3 per sample; ``kl_weight`` of the training loop multiplies the published one."""
        qz = self.encode(x)
        reconstruction = (x - self.decode(qz.rsample())).square().sum(dim=-1).mean()
        kl = kl_divergence(qz, Normal(0.0, 1.0)).sum(dim=-1).mean()
        total = reconstruction + kl_weight * self.kl_weight * kl
        return {"loss": total, "reconstruction": reconstruction, "kl": kl}


def _layer(n_in: int, n_out: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()


class PublishedVAEGenerator:
    """The published system as a generator: fits scaled log expression, draws by eq. 4."""

    name = "published_vae"

    def __init__(self, config: PublishedVAEConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit to ``X`` of ``train``: log expression, (n_obs, n_vars)."""
        self.like, self.train_labels = like_training(train), labels_of(train)
        expression = expression_of(train)
        self.scaler = MinMaxScaler.fit(expression)
        scaled = torch.tensor(self.scaler.transform(expression).astype(np.float32))
        order = generator(self.seed, "validation").permutation(train.n_obs)
        n_validation = round(self.config.training.validation_fraction * train.n_obs)
        validation = [scaled[order[:n_validation]]] if n_validation else None
        with seeded(self.seed):
            self.network = PublishedVAE(train.n_vars, self.config)
        self.history = fit(
            self.network,
            [scaled[order[n_validation:]]],
            self.config.training,
            seed=self.seed,
            validation=validation,
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            description="published_vae",
        )
        self.classes = NearestClass.fit(expression, self.train_labels)
        return self

    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Eq. 4, each row labelled by the nearest training class mean."""
        return labelled_draw(
            lambda n: self._draw(n, rng, temperature),
            self.classes,
            n_obs,
            labels,
            rng,
            like=self.like,
            train_labels=self.train_labels,
            title="The published VAE",
        )

    @torch.no_grad()
    def _draw(self, n_obs: int, rng: np.random.Generator, temperature: float | None) -> np.ndarray:
        scale = self.config.temperature if temperature is None else temperature
        e = torch.tensor(rng.standard_normal((n_obs, self.config.n_latent), dtype=np.float32))
        with cpu_threads(self.config.training.threads):
            return self.scaler.invert(self.network.eval().decode(scale * e).numpy())

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, scaler and class means as arrays; everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network, scaler=self.scaler.state(), class_mean=self.classes.state()
        )
        return arrays, training_facts(self) | {"classes": self.classes.names.tolist()}

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = PublishedVAEConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.scaler = MinMaxScaler.from_state(tensors_of(arrays, "scaler"))
        result.network = PublishedVAE(result.like.n_vars, config)
        load_weights(result.network, arrays)
        result.classes = NearestClass.from_state(facts["classes"], tensors_of(arrays, "class_mean"))
        return result
