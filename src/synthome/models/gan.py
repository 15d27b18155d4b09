"""The vanilla GAN of the published rare-disease system, as published: its baseline.

For a sample x, scaled to [0, 1] by the minimum and maximum of each gene in the training rows, and
z, z' ~ Normal(0, I):

    G(z)   = sigmoid(generator(z))                          64 -> 256 -> 512 -> p, ReLU      (1)
    D(x)   = sigmoid(discriminator(x))                      p -> 512 -> 256 -> 1, LeakyReLU  (2)
    loss_D = -log D(x) - log(1 - D(G(z))),                  one step of D                    (3)
    loss_G = -log D(G(z')),                                 then one of G                    (4)
    draw   = G(T e),  e ~ Normal(0, I),  T = 1                                               (5)

over 3,000 epochs of minibatches of 32, each network with an Adam of its own (2e-4; 0.5, 0.999). It
knows no labels and collapses onto few patterns, as its authors show; it is here to be compared
with. The one departure: drawn rows get the label of the nearest class mean of the training rows.

It trains on all genes given. On one shared CPU core, 34 rows take about 4 minutes with 2,000 genes
and 13 with 15,000 (16 million weights; the time goes to Adam and to the two widest layers).

Goodfellow et al. (2014), arXiv:1406.2661 (eq. 3, and eq. 4 as its section 3 advises).
RareDisease-Transcriptome-VAE, supplementary/gan_baseline, commit fe39fe9.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

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
from synthome.rng import seeded
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, Update, fit

TRAINING = TrainingConfig(learning_rate=2e-4, max_epochs=3000, batch_size=32)


class GANConfig(Config):
    """The published choices; ``n_hidden`` of G, and in reverse of D."""

    n_latent: PositiveInt = 64
    n_hidden: tuple[PositiveInt, PositiveInt] = (256, 512)
    temperature: PositiveFloat = 1.0
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class GAN(nn.Module):
    """Eqs. 1-4."""

    betas = (0.5, 0.999)

    def __init__(self, n_vars: int, config: GANConfig) -> None:
        super().__init__()
        narrow, wide = config.n_hidden
        self.n_latent = config.n_latent
        self.generator = nn.Sequential(
            nn.Linear(config.n_latent, narrow),
            nn.ReLU(),
            nn.Linear(narrow, wide),
            nn.ReLU(),
            nn.Linear(wide, n_vars),
            nn.Sigmoid(),
        )
        self.discriminator = nn.Sequential(
            nn.Linear(n_vars, wide),
            nn.LeakyReLU(0.2),
            nn.Linear(wide, narrow),
            nn.LeakyReLU(0.2),
            nn.Linear(narrow, 1),  # the logit of D
        )

    def decode(self, z: Float[Tensor, "n_obs n_latent"]) -> Float[Tensor, "n_obs n_vars"]:
        """Eq. 1: expression scaled to [0, 1]."""
        return self.generator(z)

    def discriminator_loss(self, x: Float[Tensor, "n_obs n_vars"]) -> Float[Tensor, ""]:
        """Eq. 3 in nats per sample; softplus(-a) is -log sigmoid(a)."""
        with torch.no_grad():
            fake = self.decode(self._noise(x))
        logits = self.discriminator(torch.cat([x, fake]))  # (2 n_obs, 1): in one pass
        real, drawn = logits.chunk(2)
        return softplus(-real).mean() + softplus(drawn).mean()

    def generator_loss(self, x: Float[Tensor, "n_obs n_vars"]) -> Float[Tensor, ""]:
        """Eq. 4 for as many draws as ``x`` has rows."""
        return softplus(-self.discriminator(self.decode(self._noise(x)))).mean()

    def _noise(self, x: Tensor) -> Float[Tensor, "n_obs n_latent"]:
        return torch.randn(len(x), self.n_latent, device=x.device)

    def players(self) -> list[nn.Module]:
        """D and G are optimised apart."""
        return [self.discriminator, self.generator]

    def step(
        self, x: Float[Tensor, "n_obs n_vars"], *, update: Update
    ) -> dict[str, Float[Tensor, ""]]:
        """One step of D, then one of G."""
        d = self.discriminator_loss(x)
        update(self.discriminator, d)
        g = self.generator_loss(x)
        update(self.generator, g)
        return {"loss": d + g, "discriminator": d, "generator": g}

    def loss(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        kl_weight: float = 1.0,  # noqa: ARG002 - of the training loop
    ) -> dict[str, Float[Tensor, ""]]:
        """Eqs. 3 and 4 without a step; their sum is watched, and never minimised."""
        d, g = self.discriminator_loss(x), self.generator_loss(x)
        return {"loss": d + g, "discriminator": d, "generator": g}


class GANGenerator:
    """The vanilla GAN as a generator: fits scaled log expression, draws by eq. 5."""

    name = "gan"

    def __init__(self, config: GANConfig, seed: int = 0) -> None:
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
        self.classes = NearestClass.fit(expression, self.train_labels)
        with seeded(self.seed):
            self.network = GAN(train.n_vars, self.config)
        self.history = fit(
            self.network,
            [torch.tensor(self.scaler.transform(expression).astype(np.float32))],
            self.config.training,
            seed=self.seed,
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            description=self.name,
        )
        return self

    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Eq. 5, each row labelled by the nearest training class mean."""
        return labelled_draw(
            lambda n: self._draw(n, rng, temperature),
            self.classes,
            n_obs,
            labels,
            rng,
            like=self.like,
            train_labels=self.train_labels,
            title="The vanilla GAN",
        )

    @torch.no_grad()
    def _draw(self, n_obs: int, rng: np.random.Generator, temperature: float | None) -> np.ndarray:
        scale = self.config.temperature if temperature is None else temperature
        e = torch.tensor(rng.standard_normal((n_obs, self.config.n_latent), dtype=np.float32))
        with cpu_threads(self.config.training.threads):
            return self.scaler.invert(self.network.decode(scale * e).numpy())

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, scaler and class means as arrays; everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network, scaler=self.scaler.state(), class_mean=self.classes.state()
        )
        return arrays, training_facts(self) | {"classes": self.classes.names.tolist()}

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = GANConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.scaler = MinMaxScaler.from_state(tensors_of(arrays, "scaler"))
        result.network = GAN(result.like.n_vars, config)
        load_weights(result.network, arrays)
        result.classes = NearestClass.from_state(facts["classes"], tensors_of(arrays, "class_mean"))
        return result
