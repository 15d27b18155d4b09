"""rare_vae: a class-conditional VAE for cohorts of a few dozen patients.

For a sample with standardised log expression x (p genes) and condition c (its class, one-hot,
and covariates):

    z ~ Normal(0, K)                        one latent dimension per gene module               (1)
    x | z, c ~ Normal(V c + W z, diag(sigma²))                                                 (2)
    q(z | x, c) = Normal(m(x, c), diag(s(x, c)²))     a small network                          (3)
    loss = KL(q(z | x, c) || Normal(0, K)) - E_q log p(x | z, c) - log p(V, W) / n             (4)
    V_gy ~ Normal(0, t_y / d_V),   W_gj ~ Normal(0, t_j / d) outside the module of gene g      (5)

The modules, K, the start of W and t_j are those of ``gene_modules``; t_y is the variance of true
class effects, measured as the squares of the class means minus their sampling variance. The number
of modules is the number of principal axes that held-out patients show too. A synthetic sample of
class y with covariates drawn within its class:

    u ~ Normal(0, S_y),   z = m_y + T_y s_y (a v + b (v² - 1)),   v = u / s_y                  (6)
    x ~ Normal(V c + W z, diag(sigma_y²)),  then back to log expression                        (7)

m_y is the mean of m(x, c) over the training rows of class y; S_y is their covariance, shrunk
towards the one pooled over classes times the spread of the class, plus the mean of s²: the
aggregated posterior of class y, with standard deviations s_y. b bends it to the skewness of the
training rows (many mild patients, a few severe ones), a² = 1 - 2 b² keeps its variance. With v_yg
the variance of gene g in class y (shrunk as S_y is), the noise is what eqs. 2 and 6 leave of it.
Latents and noise of a class then grow alike until its total variance is that of held-out patients:

    T_y² sum_g v_yg = h_y,   h_y: total variance of held-out patients of class y               (8)
    sigma_yg² = T_y² max(v_yg - (W S_y W')_gg, v_yg / 20)                                      (9)

h_y is measured around the class mean of the other patients, over inner folds, v_yg in eq. 8 being
that of the other patients. A temperature that is asked for replaces T_y in eq. 6, as published.

Departures from the published system (``published_vae``), each because the published choice fails
on real cohorts of this size: labels enter both networks; the decoder is linear and each gene leans
on its own module, so that what can be memorised is about one number per gene and class; every
expressed gene is drawn; latent draws follow the classes; the temperature is solved and not 2; there
is no sigmoid, so values may leave the observed range. The encoder reads the most variable genes.

Kingma & Welling (2014), arXiv:1312.6114, eq. 10 (the bound). Tomczak & Welling (2018),
arXiv:1705.07120 (aggregated posterior). ``docs/decisions/0005-gene-modules.md`` (why modules).
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
from torch.distributions import Normal

from synthome.anndata_schema import expression as expression_of
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config, Names
from synthome.generator import as_synthetic, class_labels
from synthome.models.conditions import Conditions
from synthome.models.gene_modules import reproducible_axes, within
from synthome.models.linear_decoder import Decoder, explained, left_over
from synthome.models.persistence import arrays_of, like_training, tensors_of, training_facts
from synthome.preprocessing.scaling import Standardiser
from synthome.preprocessing.splits import inner_folds
from synthome.rng import stream
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit

MAX_MODULES = 15
FEWEST = 4  # modules that any cohort may have
ROWS_PER_MODULE = 20
REPRODUCED = 0.65  # share of an axis' variance that held-out rows must show
SKEWNESS_ROWS = 10.0  # weight of no skewness
MOST_BEND = 0.4
SCALE_ROWS = 2.0  # weight of "as wide as the others" for the spread of a class
INNER_FOLDS = 5
TEMPERATURES = (0.5, 2.0)  # limits of T_y
MIN_WIDTH = 1e-4  # variance of a prior below which a cross loading is closed

TRAINING = TrainingConfig(
    learning_rate=2e-3,
    max_epochs=200,
    batch_size=128,
    schedule="cosine",
)


class RareVAEConfig(Config):
    """Choices of the model.

    ``n_latent: null`` takes as many modules as the cohort shows reproducibly. ``temperature: null``
    takes the calibrated one of each class; a number replaces them all. ``privacy`` from 0 towards 1
    leaves fewer modules and shrinks effects and cross loadings more.
    """

    n_latent: PositiveInt | None = None
    n_hidden: PositiveInt = 64
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    temperature: PositiveFloat | None = None
    covariance_rows: NonNegativeFloat = 10.0  # weight of the pooled latent covariance
    variance_rows: NonNegativeFloat = 20.0  # weight of the pooled variance of a gene
    privacy: float = Field(default=0.0, ge=0.0, lt=1.0)
    covariates: Names = ()
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


def most_modules(n_obs: int) -> int:
    """Modules that ``n_obs`` training rows can carry unmemorised."""
    return int(np.clip(round(n_obs / ROWS_PER_MODULE), FEWEST, MAX_MODULES))


class RareVAE(nn.Module):
    """Eqs. 1-5 for one seed or several at once.

    Every parameter has a leading axis of seeds, and a product is one product for all of them. Noise
    is drawn from a stream of each seed and step, so that a model does not depend on those beside
    it.
    """

    read: Tensor
    correlation: Tensor
    effect_precision: Tensor
    loading_precision: Tensor
    loading_mask: Tensor

    def __init__(
        self,
        n_vars: int,
        n_conditions: int,
        n_latent: int,
        read: Tensor,
        config: RareVAEConfig,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        self.seeds, self.dropout, self.steps = tuple(seeds), config.dropout, 0
        self.register_buffer("read", read)  # indices of the genes that the encoder reads
        self.register_buffer("correlation", torch.eye(n_latent))  # K of eq. 1
        # of eq. 5, over n; the mask closes loadings whose prior has no width
        self.register_buffer("effect_precision", torch.zeros(n_conditions), persistent=False)
        self.register_buffer("loading_precision", torch.zeros(n_vars, n_latent), persistent=False)
        self.register_buffer("loading_mask", torch.ones(n_vars, n_latent), persistent=False)
        n_read, n_hidden = len(read) + n_conditions, config.n_hidden
        self.hidden = _stacked(self.seeds, n_read, n_hidden)
        self.hidden_bias = nn.Parameter(torch.zeros(len(self.seeds), 1, n_hidden))
        self.posterior = _stacked(self.seeds, n_hidden, 2 * n_latent)
        self.posterior_bias = nn.Parameter(torch.zeros(len(self.seeds), 1, 2 * n_latent))
        shape = len(self.seeds), n_vars
        self.effects = nn.Parameter(torch.zeros(*shape, n_conditions))  # V of eq. 2
        self.loadings = nn.Parameter(torch.zeros(*shape, n_latent))  # W of eq. 2
        self.log_sigma = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def start(self, decoder: Decoder, n_obs: int) -> None:
        """Start V, W and sigma at their moment estimates, with the priors of eq. 5."""
        structure = decoder.structure
        self.correlation.copy_(_tensor(structure.correlation))
        self.effects.copy_(_tensor(decoder.effects.T))
        self.loadings.copy_(_tensor(structure.loadings))
        self.log_sigma.copy_(_tensor(0.5 * np.log(decoder.noise())))
        self.effect_precision.copy_(_tensor(decoder.effect_precision / n_obs))
        cross = np.ones(structure.loadings.shape, dtype=bool)
        cross[np.arange(len(cross)), structure.own] = False
        width = structure.cross_variance / decoder.penalty
        closed = cross & (width < MIN_WIDTH)
        self.loading_mask.copy_(_tensor(~closed))
        self.loading_precision.copy_(
            _tensor(np.where(cross & ~closed, 1.0 / np.maximum(width, MIN_WIDTH), 0.0) / n_obs)
        )

    def encode(
        self, x: Float[Tensor, "n_obs n_vars"], c: Float[Tensor, "n_obs n_conditions"]
    ) -> Normal:
        """Eq. 3, (n_seeds, n_obs, n_latent); the scale stays between exp(-6) and exp(2)."""
        h = (_times(torch.cat([x[:, self.read], c], dim=1), self.hidden) + self.hidden_bias).relu()
        if self.training and self.dropout > 0:
            h = h * self._draw(h.shape[1:], torch.rand, "dropout").gt(self.dropout).to(h.dtype)
            h = h / (1.0 - self.dropout)
        loc, raw = (h @ self.posterior + self.posterior_bias).float().chunk(2, dim=-1)
        return Normal(loc, (4.0 * (raw / 4.0).tanh() - 2.0).exp())

    def decode(
        self,
        z: Float[Tensor, "n_seeds n_obs n_latent"],
        c: Float[Tensor, "n_obs n_conditions"],
    ) -> Float[Tensor, "n_seeds n_obs n_vars"]:
        """The mean of eq. 2, in standard units."""
        of_class = c @ self.effects.transpose(1, 2)
        return (of_class + z @ (self.loadings * self.loading_mask).transpose(1, 2)).float()

    def loss(
        self,
        x: Float[Tensor, "n_obs n_vars"],
        c: Float[Tensor, "n_obs n_conditions"],
        kl_weight: float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 4 in nats per sample, up to constants; the sum over seeds is what is minimised.

        The square of x - M u, with M = [V, W] and u = [c, z], is written out, so that x is only
        read by matrix products and nothing else of its size is made:
        x'Px - 2 u'M'Px + u'(M'PM)u, P = diag(1 / sigma²).
        """
        qz = self.encode(x, c)
        z = qz.loc + qz.scale * self._draw(qz.loc.shape[1:], torch.randn, "latent")
        u = torch.cat([c.expand(len(self.seeds), -1, -1), z], dim=-1)
        loadings = self.loadings * self.loading_mask
        m = torch.cat([self.effects, loadings], dim=-1)  # (n_seeds, n_vars, n_u)
        precision = (-2.0 * self.log_sigma).exp()
        pm = precision[:, :, None] * m
        own = precision @ x.square().T  # (n_seeds, n_obs)
        squares = own - 2.0 * (_times(x, pm) * u).sum(-1) + ((u @ (m.mT @ pm)) * u).sum(-1)
        terms = {
            "reconstruction": 0.5 * squares.mean(dim=1) + self.log_sigma.sum(dim=1),
            "kl": self.divergence(qz).mean(dim=1),
            "prior": 0.5
            * (
                (self.effects.square() @ self.effect_precision).sum(dim=1)
                + (loadings.square() * self.loading_precision).sum(dim=(1, 2))
            ),
        }
        terms["loss"] = terms["reconstruction"] + kl_weight * terms["kl"] + terms["prior"]
        if self.training:
            self.steps += 1
        if len(self.seeds) == 1:
            return {name: value[0] for name, value in terms.items()}
        of_seed = {f"{k}_{i}": v for k, value in terms.items() for i, v in enumerate(value)}
        return {"loss": terms["loss"].sum(), **of_seed}

    def divergence(self, qz: Normal) -> Float[Tensor, "n_seeds n_obs"]:
        """KL(q || Normal(0, K)) of a diagonal normal, in nats."""
        precision = torch.linalg.inv(self.correlation)
        variance = qz.scale.square()
        far = (qz.loc @ precision * qz.loc).sum(dim=-1) + variance @ precision.diagonal()
        spread = torch.logdet(self.correlation) - 2.0 * qz.scale.log().sum(dim=-1)
        return 0.5 * (far - qz.loc.shape[-1] + spread)

    def _draw(self, shape: torch.Size, how: Callable[..., Tensor], use: str) -> Tensor:
        """Noise of each seed at this step, (n_seeds, *shape)."""
        streams = [
            torch.Generator().manual_seed(stream(seed, use, self.steps)) for seed in self.seeds
        ]
        drawn = torch.stack([how(shape, generator=each) for each in streams])
        return drawn.to(self.log_sigma.device)

    def get_extra_state(self) -> Tensor:
        """Steps taken, so that a run that goes on draws the noise it would have drawn."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up where ``get_extra_state`` was."""
        self.steps = int(state)

    def one(self, i: int, config: RareVAEConfig) -> "RareVAE":
        """The model of the i-th seed alone."""
        sizes = self.effects.shape[1], self.effects.shape[2], self.loadings.shape[2]
        alone = RareVAE(*sizes, self.read, config, self.seeds[i : i + 1])
        weights = self.state_dict()
        names = dict(self.named_parameters())
        alone.load_state_dict({k: v[i : i + 1] if k in names else v for k, v in weights.items()})
        return alone.eval()


class RareVAEGenerator:
    """rare_vae as a generator: fits log expression with labels, draws by eqs. 6 and 7."""

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
        rows = self._read_rows(train)
        network, self.history = _train(train, [self], *rows, on_epoch, checkpoint)
        return self._finish(network, *rows[:3])

    @classmethod
    def fit_seeds(cls, train: AnnData, config: RareVAEConfig, seeds: Sequence[int]) -> list[Self]:
        """One generator for each seed, trained together, each as ``fit`` would make it."""
        together = [cls(config, seed) for seed in seeds]
        rows = together[0]._read_rows(train)
        network, history = _train(train, together, *rows, None, None)
        for i, each in enumerate(together):
            for name in ("like", "train_labels", "conditions", "scaler"):
                setattr(each, name, getattr(together[0], name))
            each.history = _history_of(history, i, len(seeds))
            each._finish(network.one(i, config), *rows[:3])
        return together

    def _read_rows(self, train: AnnData) -> tuple[np.ndarray, np.ndarray, np.ndarray, Decoder]:
        """Standardised expression, conditions, inner folds, and where training starts.

        Nothing here depends on the seed.
        """
        self.like, self.train_labels = like_training(train), labels_of(train)
        self.conditions = Conditions.fit(train, self.config.covariates)
        expression = expression_of(train)
        self.scaler = Standardiser.fit(expression)
        x = self.scaler.transform(expression)
        c = self.conditions.encode(self.train_labels, train.obs).astype(np.float64)
        read, fold = _genes_to_read(train), inner_folds(train, INNER_FOLDS, seed=0)
        n_modules = self._n_modules(x[:, read], fold)
        n_classes = len(self.conditions.classes)
        return x, c, fold, Decoder.fit(x, c, n_classes, read, n_modules, self.config.privacy)

    @torch.no_grad()
    def _finish(self, network: RareVAE, x: np.ndarray, c: np.ndarray, fold: np.ndarray) -> Self:
        """Close the masked loadings, then eqs. 6, 8 and 9."""
        self.network = network
        network.loadings.mul_(network.loading_mask)
        rows = (_tensor(x), _tensor(c))
        with cpu_threads(self.config.training.threads):
            self._aggregate(*rows)
            self._calibrate(*rows, self._held_out_ratio(x, fold))
        return self

    def _n_modules(self, x: Float[np.ndarray, "n_obs n_read"], fold: np.ndarray) -> int:
        """Modules by eq. 4 of ``gene_modules``; fewer the more ``privacy`` is asked for."""
        if self.config.n_latent is not None:
            return self.config.n_latent
        class_of = self._class_of()
        found = reproducible_axes(x, fold, class_of, most_modules(len(x)), REPRODUCED)
        return max(1, round(found * (1.0 - self.config.privacy)))

    def _class_of(self, labels: np.ndarray | None = None) -> np.ndarray:
        """Index of the class of each row."""
        wanted = self.train_labels if labels is None else labels
        return np.searchsorted(self.conditions.classes, wanted)

    def _held_out_ratio(
        self, x: Float[np.ndarray, "n_obs n_vars"], fold: np.ndarray
    ) -> Float[np.ndarray, " n_classes"]:
        """T_y² of eq. 8: variance of held-out rows over the v_y of the rows that are left.

        A ratio of few rows is drawn towards 1 as the variance of a gene is towards the pooled one.
        """
        n_classes = len(self.conditions.classes)
        class_of = self._class_of()
        held, drawn, n_held = np.zeros(n_classes), np.zeros(n_classes), np.zeros(n_classes)
        for f in np.unique(fold):
            train = fold != f
            rows, deviations = within(x[train], class_of[train], x[~train], class_of[~train])
            known = np.isin(class_of[~train], class_of[train])
            pooled = np.square(rows).sum(axis=0) / max(1, len(rows) - n_classes)
            for y in range(n_classes):
                of_class = class_of[~train][known] == y
                own = rows[class_of[train] == y]
                if not of_class.any() or len(own) < 2:
                    continue
                variance = self._towards_pooled(np.square(own).sum(axis=0), len(own) - 1, pooled)
                held[y] += np.square(deviations[of_class]).sum()
                drawn[y] += of_class.sum() * variance.sum()
                n_held[y] += of_class.sum()
        ratio = np.divide(held, drawn, out=np.ones(n_classes), where=drawn > 0)
        weight = n_held / (n_held + self.config.variance_rows)
        return weight * ratio + (1.0 - weight)

    def _towards_pooled(self, squares: Any, free: int, pooled: Any) -> Any:
        """Variance of each gene in a class, shrunk towards the pooled one at its own scale."""
        weight = free / max(free + self.config.variance_rows, 1.0)
        pooled = pooled * _scale(float(squares.sum() / max(pooled.sum(), 1e-12)), free)
        return weight * squares / max(free, 1) + (1.0 - weight) * pooled

    @torch.no_grad()
    def _aggregate(self, x: Tensor, c: Tensor) -> None:
        """Fit m_y, S_y and b of eq. 6."""
        qz = self.network.encode(x, c)
        means, scales = qz.loc[0], qz.scale[0]  # (n_obs, n_latent)
        classes = range(len(self.conditions.classes))
        class_of = torch.tensor(self._class_of())
        loc = torch.stack([means[class_of == y].mean(dim=0) for y in classes])
        centred = means - loc[class_of]
        pooled = centred.T @ centred / max(1, len(x) - len(classes))
        covariance = []
        for y in classes:
            own, free = centred[class_of == y], max(int((class_of == y).sum()) - 1, 0)
            weight = free / max(free + self.config.covariance_rows, 1.0)
            squares = own.T @ own
            scale = _scale(float(squares.trace() / pooled.trace().clamp_min(1e-12)), free)
            within_row = torch.diag(scales[class_of == y].square().mean(dim=0))
            shrunk = weight * squares / max(free, 1) + (1.0 - weight) * scale * pooled
            covariance.append(shrunk + within_row)
        self.latent_loc, self.latent_covariance = loc, torch.stack(covariance)
        self.latent_bend = torch.stack([_bend(centred[class_of == y]) for y in classes])

    @torch.no_grad()
    def _calibrate(self, x: Tensor, c: Tensor, held_out: np.ndarray) -> None:
        """Sigma_y and T_y of eqs. 8 and 9."""
        classes = range(len(self.conditions.classes))
        class_of = torch.tensor(self._class_of())
        rows, effects = x.double(), (c @ self.network.effects[0].T).double()
        for y in classes:
            rows[class_of == y] -= rows[class_of == y].mean(dim=0)
            effects[class_of == y] -= effects[class_of == y].mean(dim=0)
        pooled = rows.square().sum(dim=0) / max(1, len(rows) - len(classes))
        loadings = self.network.loadings[0].double().numpy()
        low, high = TEMPERATURES
        hot = np.clip(np.sqrt(held_out), low, high)
        sigma = []
        for y in classes:
            own, free = rows[class_of == y], max(int((class_of == y).sum()) - 1, 0)
            variance = self._towards_pooled(own.square().sum(dim=0), free, pooled).numpy()
            latent = explained(loadings, self.latent_covariance[y].double().numpy())
            of_covariates = effects[class_of == y].square().sum(dim=0).numpy() / max(free, 1)
            sigma.append(hot[y] * np.sqrt(left_over(variance, latent + of_covariates)))
        self.sigma = _tensor(np.stack(sigma))
        self.temperatures = dict(zip(self.conditions.classes, hot.tolist(), strict=True))

    @torch.no_grad()
    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Eqs. 6 and 7: ``n_obs`` samples as log expression, covariates in ``obs``."""
        constant = self.config.temperature if temperature is None else temperature
        hot = [constant or self.temperatures[name] for name in self.conditions.classes]
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        drawn = self.conditions.draw(wanted, rng)
        c = torch.tensor(self.conditions.encode(wanted, drawn))
        class_of = self._class_of(wanted)
        with cpu_threads(self.config.training.threads):
            root = torch.linalg.cholesky(self.latent_covariance.double()).float()
            e = torch.tensor(
                rng.standard_normal((n_obs, self.latent_loc.shape[1]), dtype=np.float32)
            )
            spread = torch.tensor(hot, dtype=torch.float32)[class_of, None]
            u = torch.einsum("nij,nj->ni", root[class_of], e)
            std = self.latent_covariance.diagonal(dim1=1, dim2=2).sqrt()[class_of]
            z = self.latent_loc[class_of] + spread * std * _bent(
                u / std, self.latent_bend[class_of]
            )
            noise = torch.tensor(rng.standard_normal((n_obs, self.like.n_vars), dtype=np.float32))
            x = self.network.decode(z[None], c)[0] + noise * self.sigma[class_of]
        result = as_synthetic(self.scaler.invert(x.numpy()), wanted, self.like)
        for name in drawn:
            result.obs[name] = drawn[name].to_numpy()
        return result

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, scaler, latent moments and noise as arrays; everything else as plain JSON."""
        latent = {
            "loc": self.latent_loc.numpy(),
            "covariance": self.latent_covariance.numpy(),
            "bend": self.latent_bend.numpy(),
            "sigma": self.sigma.numpy(),
        }
        arrays = arrays_of(network=self.network, scaler=self.scaler.state(), latent=latent)
        return arrays, training_facts(self) | {
            "conditions": self.conditions.state(),
            "temperatures": self.temperatures,
        }

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
        result.latent_bend = torch.tensor(latent["bend"])
        result.sigma = torch.tensor(latent["sigma"])
        result.temperatures = facts["temperatures"]
        weights = {k: torch.tensor(v) for k, v in tensors_of(arrays, "network").items()}
        result.network = RareVAE(
            result.like.n_vars,
            result.conditions.width,
            result.latent_loc.shape[1],
            weights["read"],
            result.config,
            [result.seed],
        )
        result.network.load_state_dict(weights)
        result.network.eval()
        return result


def _train(
    train: AnnData,
    together: Sequence["RareVAEGenerator"],
    x: np.ndarray,
    c: np.ndarray,
    fold: np.ndarray,
    decoder: Decoder,
    on_epoch: Callable[[Epoch], None] | None,
    checkpoint: Path | None,
) -> tuple[RareVAE, pd.DataFrame]:
    """Train the models of all seeds at once."""
    del fold
    config, seeds = together[0].config, [each.seed for each in together]
    k = decoder.structure.correlation.shape[0]
    with cpu_threads(config.training.threads):
        read = torch.tensor(_genes_to_read(train))
        network = RareVAE(x.shape[1], c.shape[1], k, read, config, seeds)
        network.start(decoder, len(x))
        history = fit(
            network,
            [_tensor(x), _tensor(c)],
            config.training,
            seed=0,  # of the order of rows, which is the same for all seeds
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            description="rare_vae" if seeds == [0] else f"rare_vae, seed {str(seeds)[1:-1]}",
        )
    return network, history


def _history_of(history: pd.DataFrame, i: int, n_seeds: int) -> pd.DataFrame:
    """Columns of the i-th seed, named as for one seed alone."""
    if n_seeds == 1:
        return history
    end = f"_{i}"
    own = {c: c.removesuffix(end) for c in history if c.startswith("train_") and c.endswith(end)}
    kept = [c for c in history if c in own or not c.startswith("train_")]
    return history[kept].rename(columns=own)


def _stacked(seeds: Sequence[int], n_in: int, n_out: int) -> nn.Parameter:
    """Weights (n_seeds, n_in, n_out), uniform within 1 / sqrt(n_in) as PyTorch starts its own."""
    started = []
    for seed in seeds:
        source = torch.Generator().manual_seed(stream(seed, "weights", n_in, n_out))
        started.append((2.0 * torch.rand(n_in, n_out, generator=source) - 1.0) / n_in**0.5)
    return nn.Parameter(torch.stack(started))


def _times(
    x: Float[Tensor, "n_obs n_in"], weights: Float[Tensor, "n_seeds n_in n_out"]
) -> Float[Tensor, "n_seeds n_obs n_out"]:
    """``x @ weights`` of every seed in one product."""
    n_seeds, n_in, n_out = weights.shape
    wide = x @ weights.transpose(0, 1).reshape(n_in, n_seeds * n_out)
    return wide.reshape(len(x), n_seeds, n_out).transpose(0, 1)


def _genes_to_read(train: AnnData) -> np.ndarray:
    """Indices of the genes marked highly variable in the training rows; all when none are."""
    if "highly_variable" in train.var:
        return np.flatnonzero(train.var["highly_variable"].to_numpy())
    return np.arange(train.n_vars)


def _scale(squares: float, free: int) -> float:
    """How wide a class is, in units of the pooled variance: ``squares / free``, drawn towards 1.

    Seven controls of a disease with a broad spectrum can be ten times tighter than its patients.
    """
    return (squares + SCALE_ROWS) / (free + SCALE_ROWS)


def _bend(centred: Float[Tensor, "n_rows n_latent"]) -> Float[Tensor, " n_latent"]:
    """Find b of eq. 6 from the skewness of the latents of a class, shrunk towards none.

    a u + b (u² - 1) with a² + 2 b² = 1 has mean 0, variance 1 and skewness 6 b - 4 b³.
    """
    n = len(centred)
    std = centred.square().mean(dim=0).sqrt().clamp_min(1e-6)
    skewness = centred.pow(3).mean(dim=0) / std.pow(3) * n / (n + SKEWNESS_ROWS)
    grid = np.linspace(-MOST_BEND, MOST_BEND, 401)
    return _tensor(np.interp(skewness.numpy(), 6.0 * grid - 4.0 * grid**3, grid))


def _bent(
    u: Float[Tensor, "n_obs n_latent"], b: Float[Tensor, "n_obs n_latent"]
) -> Float[Tensor, "n_obs n_latent"]:
    """Standard normal values with the skewness of ``b``."""
    return (1.0 - 2.0 * b.square()).sqrt() * u + b * (u.square() - 1.0)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)
