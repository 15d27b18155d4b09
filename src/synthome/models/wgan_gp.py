"""wgan_gp: a class-conditional Wasserstein GAN with gradient penalty.

For a sample x of class c (one-hot), each gene standardised in the training rows, and z, z' ~
Normal(0, I), u ~ Uniform(0, 1):

    G(z, c) = generator(z, c),   f(x, c) = critic(x, c)          two perceptrons, LeakyReLU    (1)
    loss_f  = f(G(z, c), c) - f(x, c) + 10 (|grad_x f(v, c)| - 1)²                             (2)
    v       = u x + (1 - u) G(z, c)                              on the line between the two   (3)
    loss_G  = -f(G(z', c), c)                                                                  (4)
    draw    = G(T e, c),  e ~ Normal(0, I),  T = 1,              back to log expression        (5)

with five steps of f for one of G, each network with an Adam of its own (betas 0, 0.9). The negative
of the first two terms of eq. 2, ``wasserstein`` in the history, estimates the distance between the
two distributions, and falls as G learns.

Departures from the paper: labels enter both networks; the five steps of f see the same training
rows, each with new z and u, since a small cohort is one minibatch or two; sizes and learning rate
are ours.

It trains on all genes given. On one shared CPU core, 34 rows take about half a minute with 2,000
genes and 3 minutes with 15,000 (4 million weights).

Gulrajani et al. (2017), arXiv:1704.00028, eq. 3 and algorithm 1.
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

from synthome.anndata_schema import expression as expression_of
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.generator import as_synthetic, class_labels
from synthome.models.persistence import (
    arrays_of,
    like_training,
    load_weights,
    tensors_of,
    training_facts,
    with_training_facts,
)
from synthome.preprocessing.scaling import Standardiser
from synthome.rng import seeded
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, Update, fit

TRAINING = TrainingConfig(learning_rate=5e-4, max_epochs=500, batch_size=64)


class WGANGPConfig(Config):
    """Sizes of both networks, and the published penalty and steps of the critic."""

    n_latent: PositiveInt = 32
    n_hidden: PositiveInt = 128
    penalty: NonNegativeFloat = 10.0
    critic_steps: PositiveInt = 5
    temperature: PositiveFloat = 1.0
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class Perceptron(nn.Module):
    """Two hidden layers, of values and of a class.

    The class has weights of its own size: as one more input beside thousands of genes it would
    start, and in training stay, all but unheard.
    """

    def __init__(
        self, n_in: int, n_classes: int, n_hidden: int, n_out: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.values = nn.Linear(n_in, n_hidden)
        self.classes = nn.Linear(n_classes, n_hidden, bias=False)
        self.rest = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Linear(n_hidden, n_hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(n_hidden, n_out, bias=bias),
        )

    def forward(
        self, values: Float[Tensor, "n_obs n_in"], c: Float[Tensor, "n_obs n_classes"]
    ) -> Float[Tensor, "n_obs n_out"]:
        """Both enter the first hidden layer."""
        return self.rest(self.values(values) + self.classes(c))


class WGANGP(nn.Module):
    """Eqs. 1-4."""

    betas = (0.0, 0.9)

    def __init__(self, n_vars: int, n_classes: int, config: WGANGPConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Perceptron(config.n_latent, n_classes, config.n_hidden, n_vars)
        # A constant added to f changes neither loss: no bias at its end.
        self.critic = Perceptron(n_vars, n_classes, config.n_hidden, 1, bias=False)

    def decode(
        self, z: Float[Tensor, "n_obs n_latent"], c: Float[Tensor, "n_obs n_classes"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """Eq. 1: standardised expression."""
        return self.generator(z, c)

    def critic_terms(
        self, x: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_classes"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 2 as ``critic``, and its parts."""
        with torch.no_grad():
            fake = self.decode(self._noise(x), c)
        scores = self.critic(torch.cat([x, fake]), torch.cat([c, c]))
        real, drawn = scores.chunk(2)
        wasserstein = real.mean() - drawn.mean()
        u = torch.rand(len(x), 1, device=x.device)
        penalty = self.gradient_penalty(torch.lerp(fake, x, u), c)  # eq. 3
        critic = self.config.penalty * penalty - wasserstein
        return {"critic": critic, "wasserstein": wasserstein, "penalty": penalty}

    def gradient_penalty(
        self, v: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_classes"]
    ) -> Float[Tensor, ""]:
        """Squared distance of the length of the gradient at ``v`` from 1."""
        with torch.enable_grad():
            v = v.detach().requires_grad_()
            total = self.critic(v, c).sum()
            (slope,) = torch.autograd.grad(total, v, create_graph=True)  # (n_obs, n_vars)
        return (slope.norm(dim=1) - 1).square().mean()

    def generator_loss(
        self, x: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_classes"]
    ) -> Float[Tensor, ""]:
        """Eq. 4 for draws of the classes ``c``."""
        return -self.critic(self.decode(self._noise(x), c), c).mean()

    def _noise(self, x: Tensor) -> Float[Tensor, "n_obs n_latent"]:
        return torch.randn(len(x), self.config.n_latent, device=x.device)

    def players(self) -> list[nn.Module]:
        """The critic and the generator are optimised apart."""
        return [self.critic, self.generator]

    def step(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        c: Float[Tensor, "n_obs n_classes"],
        *,
        update: Update,
    ) -> dict[str, Float[Tensor, ""]]:
        """Five steps of f, then one of G; the terms are those of the last step of f."""
        for _ in range(self.config.critic_steps):
            terms = self.critic_terms(x, c)
            update(self.critic, terms["critic"])
        g = self.generator_loss(x, c)
        update(self.generator, g)
        return {"loss": terms["critic"] + g, **terms, "generator": g}

    def loss(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        c: Float[Tensor, "n_obs n_classes"],
        kl_weight: float = 1.0,  # noqa: ARG002 - of the training loop
    ) -> dict[str, Float[Tensor, ""]]:
        """Eqs. 2 and 4 without a step; their sum is watched, and never minimised."""
        terms, g = self.critic_terms(x, c), self.generator_loss(x, c)
        return {"loss": terms["critic"] + g, **terms, "generator": g}


class WGANGPGenerator:
    """wgan_gp as a generator: fits log expression with labels, draws by eq. 5."""

    name = "wgan_gp"

    def __init__(self, config: WGANGPConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit to ``X`` of ``train``: log expression, (n_obs, n_vars), with labels in ``obs``."""
        self.like, self.train_labels = like_training(train), labels_of(train)
        expression = expression_of(train)
        self.scaler = Standardiser.fit(expression)
        with seeded(self.seed):
            self.network = WGANGP(train.n_vars, len(np.unique(self.train_labels)), self.config)
        self.history = fit(
            self.network,
            [
                torch.tensor(self.scaler.transform(expression).astype(np.float32)),
                self._one_hot(self.train_labels),
            ],
            self.config.training,
            seed=self.seed,
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            description=self.name,
        )
        return self

    def _one_hot(self, labels: np.ndarray) -> Float[Tensor, "n_obs n_classes"]:
        return torch.tensor(labels[:, None] == np.unique(self.train_labels)).float()

    @torch.no_grad()
    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Eq. 5."""
        scale = self.config.temperature if temperature is None else temperature
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        e = torch.tensor(rng.standard_normal((n_obs, self.config.n_latent), dtype=np.float32))
        with cpu_threads(self.config.training.threads):
            x = self.network.decode(scale * e, self._one_hot(wanted)).numpy()
        return as_synthetic(self.scaler.invert(x), wanted, self.like)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights and scaler as arrays; everything else as plain JSON."""
        return arrays_of(network=self.network, scaler=self.scaler.state()), training_facts(self)

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = WGANGPConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.scaler = Standardiser.from_state(tensors_of(arrays, "scaler"))
        n_classes = len(np.unique(result.train_labels))
        result.network = WGANGP(result.like.n_vars, n_classes, config)
        load_weights(result.network, arrays)
        return result
