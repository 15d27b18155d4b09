"""rare_vae: a class-conditional VAE for cohorts of a few dozen patients.

For a sample with standardised log expression x (p genes) and condition c (its class, one-hot,
and covariates):

    z ~ Normal(0, I_k)                                                     (1)
    x | z, c ~ Normal(V c + W z, diag(sigma²))                             (2)
    q(z | x, c) = Normal(m(x, c), diag(s(x, c)²))     a small network      (3)
    loss = KL(q(z | x, c) || Normal(0, I)) - E_q log p(x | z, c)           (4)

A synthetic sample of class y with covariates drawn within its class:

    z ~ Normal(m_y, T² S_y)       aggregated posterior of class y          (5)
    x ~ Normal(V c + W z, diag(sigma²)),  then back to log expression      (6)

m_y is the mean of m(x, c) over the training rows of class y; S_y is their covariance, shrunk
towards the covariance pooled over classes, plus the mean of s². T is the temperature, 1 unless
asked otherwise: the spread is right at T = 1, because after training

    sigma_g² = max(v_g - structured_g, v_g / 20)                           (7)

where v_g is the within-class variance of gene g in the training rows (divisor n - number of
classes) and structured_g the part of it that eqs. 5 and 2 already draw.

Departures from the published system (``published_vae``), each because the published choice fails
on real cohorts of this size: labels enter both networks; the decoder is linear, so p genes cost
p (k + classes + 1) parameters, every expressed gene is drawn, and what can be memorised is bounded
by k, about n / 20; the decoder has gene-level noise; latent draws follow the classes; there is no
sigmoid, so values may leave the observed range. The encoder reads the most variable genes only.

Kingma & Welling (2014), arXiv:1312.6114, eq. 10 (the bound). Tipping & Bishop (1999),
doi:10.1111/1467-9868.00196 (the start of W). Tomczak & Welling (2018), arXiv:1705.07120 (aggregated
posterior).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from synthome.anndata_schema import labels as labels_of
from synthome.config import Config, Names
from synthome.generator import as_synthetic, class_labels
from synthome.models.conditions import Conditions
from synthome.models.persistence import arrays_of, like_training, tensors_of, training_facts
from synthome.preprocessing.scaling import Standardiser
from synthome.rng import seeded
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit

MAX_LATENT = 10
ROWS_PER_LATENT = 20

TRAINING = TrainingConfig(
    learning_rate=2e-3,
    max_epochs=200,
    batch_size=128,
    max_grad_norm=1e4,
    schedule="cosine",
)


class RareVAEConfig(Config):
    """Choices of the model; ``n_latent: null`` takes one dimension per 20 training rows."""

    n_latent: PositiveInt | None = None
    n_hidden: PositiveInt = 64
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    temperature: PositiveFloat = 1.0
    shrinkage_rows: NonNegativeFloat = 10.0
    covariates: Names = ()
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


def latent_budget(n_obs: int) -> int:
    """Latent dimensions for ``n_obs`` training rows: what a small cohort can carry unmemorised."""
    return int(np.clip(round(n_obs / ROWS_PER_LATENT), 1, MAX_LATENT))


class RareVAE(nn.Module):
    """Eqs. 1-4."""

    read: Tensor

    def __init__(
        self, n_vars: int, n_conditions: int, n_latent: int, read: Tensor, config: RareVAEConfig
    ) -> None:
        super().__init__()
        self.register_buffer("read", read)  # indices of the genes that the encoder reads
        self.encoder = nn.Sequential(
            nn.Linear(len(read) + n_conditions, config.n_hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.n_hidden, 2 * n_latent),
        )
        self.effects = nn.Linear(n_conditions, n_vars, bias=False)  # V of eq. 2
        self.loadings = nn.Linear(n_latent, n_vars, bias=False)  # W of eq. 2
        self.log_sigma = nn.Parameter(torch.zeros(n_vars))

    @torch.no_grad()
    def start(
        self, x: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_conditions"]
    ) -> None:
        """Start V at the least-squares effects and W at the principal axes of what they leave.

        The axes are those of probabilistic PCA (Tipping & Bishop 1999, eq. 7).
        """
        ridge = 1e-3 * torch.eye(c.shape[1])
        effects = torch.linalg.solve(c.T @ c + ridge, c.T @ x)  # (n_conditions, n_vars)
        self.effects.weight.copy_(effects.T)
        residual = x - c @ effects
        axes, n_latent = residual.T, self.loadings.in_features
        u, s, _ = torch.linalg.svd(axes, full_matrices=False)
        rank = min(n_latent, len(s))
        self.loadings.weight.zero_()
        self.loadings.weight[:, :rank] = u[:, :rank] * s[:rank] / len(x) ** 0.5
        self.log_sigma.copy_(residual.std(dim=0).clamp_min(0.1).log())

    def encode(
        self, x: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_conditions"]
    ) -> Normal:
        """Eq. 3; the scale stays between exp(-6) and exp(2)."""
        h = self.encoder(torch.cat([x[:, self.read], c], dim=1)).float()
        loc, raw = h.chunk(2, dim=-1)
        return Normal(loc, (4.0 * (raw / 4.0).tanh() - 2.0).exp())

    def decode(
        self, z: Float[Tensor, "n_obs n_latent"], c: Float[Tensor, "n_obs n_conditions"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """The mean of eq. 2, in standard units."""
        return (self.effects(c) + self.loadings(z)).float()

    def loss(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        c: Float[Tensor, "n_obs n_conditions"],
        kl_weight: float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 4 in nats per sample, up to the constant p/2 log(2 pi).

        The square of x - M u, with M = [V, W] and u = [c, z], is written out, so that x is only
        read by matrix products and nothing else of its size is made:
        x'Px - 2 u'M'Px + u'(M'PM)u, P = diag(1 / sigma²).
        """
        qz = self.encode(x, c)
        u = torch.cat([c, qz.rsample()], dim=1)  # (n_obs, n_conditions + n_latent)
        m = torch.cat([self.effects.weight, self.loadings.weight], dim=1)
        precision = (-2.0 * self.log_sigma).exp()
        pm = precision[:, None] * m  # (n_vars, n_conditions + n_latent)
        own = x.square() @ precision
        squares = own - 2.0 * ((x @ pm) * u).sum(dim=1) + ((u @ (m.T @ pm)) * u).sum(dim=1)
        reconstruction = 0.5 * squares.mean() + self.log_sigma.sum()
        kl = kl_divergence(qz, Normal(0.0, 1.0)).sum(dim=-1).mean()
        return {
            "loss": reconstruction + kl_weight * kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }


class RareVAEGenerator:
    """rare_vae as a generator: fits log expression with labels, draws by eqs. 5 and 6."""

    name = "rare_vae"

    def __init__(self, config: RareVAEConfig, seed: int = 0) -> None:
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
        self.conditions = Conditions.fit(train, self.config.covariates)
        expression = np.asarray(train.X, dtype=np.float64)
        self.scaler = Standardiser.fit(expression)
        x = torch.tensor(self.scaler.transform(expression).astype(np.float32))
        c = torch.tensor(self.conditions.encode(self.train_labels, train.obs))
        n_latent = self.config.n_latent or latent_budget(train.n_obs)
        with seeded(self.seed), cpu_threads(self.config.training.threads):
            self.network = RareVAE(
                train.n_vars, c.shape[1], n_latent, _genes_to_read(train), self.config
            )
            self.network.start(x, c)
            self.history = fit(
                self.network,
                [x, c],
                self.config.training,
                seed=self.seed,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
                description="rare_vae",
            )
            self._aggregate(x, c)
        return self

    @torch.no_grad()
    def _aggregate(self, x: Tensor, c: Tensor) -> None:
        """m_y and S_y of eq. 5, and the calibrated sigma of eq. 7."""
        qz = self.network.encode(x, c)
        classes = self.conditions.classes
        rows = [torch.tensor(self.train_labels == name) for name in classes]
        loc = torch.stack([qz.loc[r].mean(dim=0) for r in rows])  # (n_classes, n_latent)
        class_of = torch.stack(rows).float().argmax(dim=0)
        free = max(1, len(x) - len(classes))
        centred = qz.loc - loc[class_of]
        pooled = centred.T @ centred / free
        covariance = []
        for r in rows:
            n_rows = int(r.sum())
            own = centred[r].T @ centred[r] / max(1, n_rows - 1)
            weight = n_rows / (n_rows + self.config.shrinkage_rows)
            within = torch.diag(qz.scale[r].square().mean(dim=0))
            covariance.append(weight * own + (1 - weight) * pooled + within)
        self.latent_loc, self.latent_covariance = loc, torch.stack(covariance)

        class_means = torch.stack([x[r].mean(dim=0) for r in rows])
        within_class = (x - class_means[class_of]).square().sum(dim=0) / free  # v of eq. 7
        share = torch.stack(rows).float().mean(dim=1)
        mixed = torch.einsum("c,cij->ij", share, self.latent_covariance)
        loadings = self.network.loadings.weight
        structured = ((loadings @ mixed) * loadings).sum(dim=1)
        covariate_effects = c @ self.network.effects.weight.T
        shift = torch.stack([covariate_effects[r].mean(dim=0) for r in rows])[class_of]
        structured += (covariate_effects - shift).square().sum(dim=0) / free
        sigma2 = torch.maximum(within_class - structured, within_class / 20).clamp_min(1e-8)
        self.network.log_sigma.copy_(0.5 * sigma2.log())

    @torch.no_grad()
    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Eqs. 5 and 6: ``n_obs`` samples as log expression, covariates in ``obs``."""
        scale = self.config.temperature if temperature is None else temperature
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        drawn = self.conditions.draw(wanted, rng)
        c = torch.tensor(self.conditions.encode(wanted, drawn))
        class_of = np.searchsorted(self.conditions.classes, wanted)
        with cpu_threads(self.config.training.threads):
            root = torch.linalg.cholesky(self.latent_covariance.double()).float()
            e = torch.tensor(
                rng.standard_normal((n_obs, self.latent_loc.shape[1]), dtype=np.float32)
            )
            z = self.latent_loc[class_of] + scale * torch.einsum("nij,nj->ni", root[class_of], e)
            noise = torch.tensor(rng.standard_normal((n_obs, self.like.n_vars), dtype=np.float32))
            x = self.network.decode(z, c) + noise * self.network.log_sigma.exp()
        result = as_synthetic(self.scaler.invert(x.numpy()), wanted, self.like)
        for name in drawn:
            result.obs[name] = drawn[name].to_numpy()
        return result

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, scaler and latent moments as arrays; everything else as plain JSON."""
        latent = {
            "loc": self.latent_loc.numpy(),
            "covariance": self.latent_covariance.numpy(),
        }
        arrays = arrays_of(network=self.network, scaler=self.scaler.state(), latent=latent)
        return arrays, training_facts(self) | {"conditions": self.conditions.state()}

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        result = cls(RareVAEConfig.model_validate(facts["config"]), facts["seed"])
        result.like, result.train_labels = like_training(facts=facts), np.array(facts["labels"])
        result.conditions = Conditions.from_state(facts["conditions"])
        result.scaler = Standardiser.from_state(tensors_of(arrays, "scaler"))
        latent = tensors_of(arrays, "latent")
        result.latent_loc = torch.tensor(latent["loc"])
        result.latent_covariance = torch.tensor(latent["covariance"])
        weights = {k: torch.tensor(v) for k, v in tensors_of(arrays, "network").items()}
        result.network = RareVAE(
            result.like.n_vars,
            result.conditions.width,
            result.latent_loc.shape[1],
            weights["read"],
            result.config,
        )
        result.network.load_state_dict(weights)
        result.network.eval()
        return result


def _genes_to_read(train: AnnData) -> Tensor:
    """Indices of the genes marked highly variable in the training rows; all when none are."""
    if "highly_variable" in train.var:
        return torch.tensor(np.flatnonzero(train.var["highly_variable"].to_numpy()))
    return torch.arange(train.n_vars)
