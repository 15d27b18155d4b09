"""Context-conditioned cycle autoencoder: a log rate that is a sum of heads, one for each field.

A cell i has counts x, library size l and one category c_f of each metadata field f. With a latent
state h, and effects beta, gamma that ``context_effects`` has estimated (its eq. 2),

    eta = [b + W h] + sum_f [beta_f[c_f] + s_f V_f M_f[c_f] E_f h] + sum_ff' [gamma_ff'[c_f, c_f']]
                                                                                              (1)
    x_g ~ NegativeBinomial(l exp(eta_g), theta_g)                                             (2)
    h = Q(y - y_0(c)),   y = log(1 + t x / l),   y_0(c) = log(1 + t exp(eta at h = 0))        (3)

The brackets are heads: the base, one for each field with a shared encoder E_f, a map M_f of low
rank for each category (``context_maps``) and a shared decoder V_f, and one for each pair of fields.
What they add up to is the prediction, and each is signed: a context may lower a gene. The state is
read from what the contexts leave of a cell, so that it knows little of them from the start.

A cycle draws a target category for every field, goes there and comes back:

    y' = log(1 + t exp(eta(h, c'))),   h' = Q(y' - y_0(c')),   x from eta(h', c)              (4)

and the loss, per cell, with the classifiers p_f of ``context_classifier``, fitted to real cells
before and held fixed, is

    L = [nll(x; eta(h, c)) + nll(x; eta(h', c))] / n_vars + w_i mean (h - h')^2
        - w_c sum_f log p_f(c'_f | y')                                                        (5)

reconstruction, cycle, integration (states agree across the cycle) and target consistency. The
scale s_f starts at the measured ratio of a field's effects to the base's (root mean squares over
the training cells), and is learnt.

A counterfactual cell keeps its own noise: counts change by the ratio exp(eta(h, c') - eta(h, c)),
times that of the depths, by thinning where it is below 1 and by adding Poisson counts above
(``simulate.counts.shifted_counts``), with its own expected counts given its own counts,

    E[mu | x] = mu (x + theta) / (mu + theta)                                                 (6)

Departures from the published model, which ``published_cycle_ae`` is: there every weight is clamped
at 0, so that no context can lower a gene; only the last field changes; fields are scaled by 0.0159,
whatever they are; the loss is a squared error, without a reconstruction of the first pass. Here
effects of combinations are estimated in closed form and held fixed, as gradient steps on a few
hundred cells estimate them worse.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor, nn

from synthome.anndata_schema import group_key
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.csr import CSRRows
from synthome.distributions import nb_row_log_prob
from synthome.fields import Codes, Fields
from synthome.generator import class_labels
from synthome.models.combinations import (
    as_tensor,
    blocks,
    combination_names,
    combinations_of,
    counted_cells,
    draw_combinations,
    label_first,
    made_cells,
    missing_cells,
    need_counts,
    training_rows,
)
from synthome.models.context_classifier import ContextClassifier, fit_classifier
from synthome.models.context_effects import ContextEffects
from synthome.models.context_maps import Grouping, low_rank_maps
from synthome.models.depths import Depths, draw_counts
from synthome.models.latent_mixture import LatentMixture
from synthome.models.persistence import (
    arrays_of,
    like_training,
    load_weights,
    tensors_of,
    training_facts,
    with_training_facts,
)
from synthome.models.pooled_effects import ContextEffectsConfig, Key
from synthome.preprocessing.splits import set_aside
from synthome.rng import generator, seeded, stream
from synthome.simulate.counts import shifted_counts
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit

BASE = "base"
START_ROWS = 5_000  # that the start is measured on
LEAST_LOG_RATE, MOST_LOG_RATE = -25.0, 2.0  # of eq. 1: a rate is a share of a library
SEPARATOR = " × "

TRAINING = TrainingConfig(
    learning_rate=1e-3,
    max_epochs=30,
    batch_size=256,
    steps_per_epoch=20,
    schedule="plateau",
    plateau_patience=3,
    validation_fraction=0.1,
    patience=6,
    tolerance=1e-4,
    max_grad_norm=5.0,
)


class CycleAEConfig(Config):
    """Choices of the model; weights are those of eq. 5, ``map_rank`` that of M_f."""

    n_latent: PositiveInt = 16
    n_hidden: PositiveInt = 128
    n_field_latent: PositiveInt = 8
    map_rank: PositiveInt = 4
    integration_weight: NonNegativeFloat = 1.0
    consistency_weight: NonNegativeFloat = 0.01
    temperature: PositiveFloat | None = None
    max_components: PositiveInt = 5
    effects: ContextEffectsConfig = Field(default_factory=ContextEffectsConfig)
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class CycleAE(nn.Module):
    """Eqs. 1-5."""

    base: Tensor
    target_sum: Tensor

    def __init__(
        self, n_vars: int, sizes: Sequence[int], n_pairs: Mapping[Key, int], config: CycleAEConfig
    ) -> None:
        super().__init__()
        self.sizes, self.pairs = tuple(sizes), tuple(n_pairs)
        self.integration_weight = config.integration_weight
        self.consistency_weight = config.consistency_weight
        self.register_buffer("target_sum", torch.tensor(1e4))
        self.register_buffer("base", torch.zeros(n_vars))
        for f, n in enumerate(sizes):
            self.register_buffer(f"main_{f}", torch.zeros(n, n_vars))
        for (a, b), n in n_pairs.items():  # the last row is zero, of pairs that were not seen
            self.register_buffer(f"pair_{a}_{b}", torch.zeros(n + 1, n_vars))
            self.register_buffer(f"row_{a}_{b}", torch.full((sizes[a] * sizes[b],), n))
        k, own, rank = config.n_latent, config.n_field_latent, config.map_rank
        self.loadings = nn.Linear(k, n_vars, bias=False)  # W
        self.read = nn.Linear(n_vars, k)  # Q is linear, and what a perceptron adds to it
        self.hidden = nn.Linear(n_vars, config.n_hidden)
        self.correct = nn.Linear(config.n_hidden, k)
        self.field_encoder = nn.ModuleList(nn.Linear(k, own, bias=False) for _ in sizes)  # E_f
        self.down = nn.ParameterList(torch.randn(n, own, rank) * own**-0.5 for n in sizes)
        self.up = nn.ParameterList(torch.zeros(n, rank, own) for n in sizes)
        self.field_decoder = nn.ModuleList(nn.Linear(own, n_vars, bias=False) for _ in sizes)
        self.log_scale = nn.Parameter(torch.zeros(len(sizes)))  # of s_f
        self.log_theta = nn.Parameter(torch.zeros(n_vars))
        self.classifier = ContextClassifier(n_vars, sizes)
        self.classifier.requires_grad_(False)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)

    def heads(
        self, h: Float[Tensor, "n_obs n_latent"], codes: Int[Tensor, "n_obs n_fields"]
    ) -> list[Float[Tensor, "n_obs n_vars"]]:
        """The brackets of eq. 1: the base, each field, each pair."""
        return _heads(self.effects(codes), self.moves(h, codes))

    def effects(self, codes: Int[Tensor, "n_obs n_fields"]) -> list[Float[Tensor, "..."]]:
        """The heads at h = 0, the base being the same for all cells."""
        found = [self.base]
        found += [getattr(self, f"main_{f}")[codes[:, f]] for f in range(len(self.sizes))]
        for a, b in self.pairs:
            row = getattr(self, f"row_{a}_{b}")[codes[:, a] * self.sizes[b] + codes[:, b]]
            found.append(getattr(self, f"pair_{a}_{b}")[row])
        return found

    def moves(
        self, h: Float[Tensor, "n_obs n_latent"], codes: Int[Tensor, "n_obs n_fields"]
    ) -> list[Float[Tensor, "n_obs n_vars"]]:
        """What h adds to the base and to each field."""
        latents = self._latents(h, codes)
        return [x @ w.T for x, w in zip(latents, self._decoders, strict=True)]

    def moved(
        self, h: Float[Tensor, "n_obs n_latent"], codes: Int[Tensor, "n_obs n_fields"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """The sum of ``moves``, in one product."""
        return torch.cat(self._latents(h, codes), dim=1) @ torch.cat(self._decoders, dim=1).T

    def _latents(self, h: Tensor, codes: Tensor) -> list[Tensor]:
        """H, and s_f M_f[c_f] E_f h of each field."""
        found = [h]
        for f, encoder in enumerate(self.field_encoder):
            grouping = Grouping.of(codes[:, f])
            own = low_rank_maps(encoder(h), self.down[f], self.up[f], None, grouping)
            found.append(self.log_scale[f].exp() * own)
        return found

    @property
    def _decoders(self) -> list[Tensor]:
        """W, and V_f of each field."""
        layers = cast(Iterable[nn.Linear], self.field_decoder)
        return [self.loadings.weight, *(layer.weight for layer in layers)]

    def log_rate(
        self, h: Float[Tensor, "n_obs n_latent"], codes: Int[Tensor, "n_obs n_fields"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """Eta of eq. 1."""
        return _sum(self.effects(codes)) + self.moved(h, codes)

    def expected(self, log_rate: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Log expression y' of eq. 4 at a log rate; y_0 of eq. 3 at that of h = 0."""
        return torch.log1p(self.target_sum * log_rate.clamp(LEAST_LOG_RATE, MOST_LOG_RATE).exp())

    def encode(
        self, y: Float[Tensor, "n_obs n_vars"], codes: Int[Tensor, "n_obs n_fields"]
    ) -> Float[Tensor, "n_obs n_latent"]:
        """H of eq. 3, of log expression ``y``."""
        return self.state(y - self.expected(_sum(self.effects(codes))))

    def state(self, left: Float[Tensor, "n_obs n_vars"]) -> Float[Tensor, "n_obs n_latent"]:
        """Q of eq. 3, of what contexts leave of log expression."""
        h: Tensor = self.read(left) + self.correct(self.hidden(left).relu())
        return h

    def nll(
        self,
        counts: CSRRows,
        library_size: Float[Tensor, " n_obs"],
        log_rate: Float[Tensor, "n_obs n_vars"],
    ) -> Float[Tensor, " n_obs"]:
        """Eq. 2 in nats per cell."""
        log_mu = log_rate.clamp(LEAST_LOG_RATE, MOST_LOG_RATE) + library_size.log()[:, None]
        return -nb_row_log_prob(counts, log_mu, self.log_theta)

    def loss(
        self,
        counts: CSRRows,
        library_size: Float[Tensor, " n_obs"],
        codes: Int[Tensor, "n_obs n_fields"],
        kl_weight: float = 1.0,  # noqa: ARG002, models without one are trained by the same loop
    ) -> dict[str, Float[Tensor, ""]]:
        """Eqs. 4 and 5, means over cells."""
        self.classifier.eval()  # without dropout
        y = torch.log1p(counts.dense() * (self.target_sum / library_size)[:, None])
        target = torch.stack(
            [torch.randint(n, (len(y),), device=y.device) for n in self.sizes], dim=1
        )
        effects = self.effects(codes)
        own, others = _sum(effects), _sum(self.effects(target))  # eta at h = 0, here and there
        h = self.state(y - self.expected(own))
        moves = self.moves(h, codes)
        reconstruction = self.nll(counts, library_size, own + _sum(moves)).mean()
        there = self.expected(others + self.moved(h, target))  # y' of eq. 4
        back = self.state(there - self.expected(others))
        cycle = self.nll(counts, library_size, own + self.moved(back, codes)).mean()
        integration = (h - back).square().mean()
        consistency = self.classifier.nll(there, target)
        loss = (reconstruction + cycle) / y.shape[1]
        loss = loss + self.integration_weight * integration + self.consistency_weight * consistency
        heads = _heads(effects, [move.detach() for move in moves])
        return {
            "loss": loss,
            "nll": reconstruction,
            "cycle": cycle,
            "integration": integration,
            "consistency": consistency,
            **{f"norm_{k}": _norm(head) for k, head in enumerate(heads)},
        }

    @torch.no_grad()
    def begin(
        self,
        effects: ContextEffects,
        counts: sparse.csr_matrix,
        library_size: Float[np.ndarray, " n_obs"],
        codes: Codes,
        seed: int,
    ) -> None:
        """Start at the effects, with W and Q at the principal axes of what they leave.

        The column of W for a score is one step of Fisher scoring for a Poisson law.
        """
        self.base.copy_(as_tensor(effects.base))
        for f, effect in enumerate(effects.main):
            getattr(self, f"main_{f}").copy_(as_tensor(effect))
        for (a, b), (seen, effect) in effects.pairs.items():
            place = torch.from_numpy(seen[:, 0] * self.sizes[b] + seen[:, 1])
            getattr(self, f"row_{a}_{b}")[place] = torch.arange(len(seen))
            getattr(self, f"pair_{a}_{b}")[:-1] = as_tensor(effect)
        x = np.asarray(counts.todense(), dtype=np.float64)
        y = torch.log1p(as_tensor(x * (float(self.target_sum) / library_size)[:, None]))
        own = _sum(self.effects(torch.from_numpy(codes)))
        left = (y - self.expected(own)).double().numpy()
        k = min(self.read.out_features, *(n - 1 for n in left.shape))
        axes, scores, mean = _principal_axes(left, k, seed)
        self.read.weight.zero_()
        self.read.weight[:k] = as_tensor(axes.T)
        self.read.bias.zero_()
        self.read.bias[:k] = as_tensor(-mean @ axes)
        mu = library_size[:, None] * np.exp(effects.log_rate(codes))
        gain = np.square(scores).T @ mu  # (k, n_vars)
        self.loadings.weight.zero_()
        slope = scores.T @ (x - mu) / (gain + 0.5 * np.median(gain))
        self.loadings.weight[:, :k] = as_tensor(slope.T)
        excess = (np.square(x - mu) - mu).sum(axis=0) / np.square(mu).sum(axis=0)  # 1 / theta
        self.log_theta.copy_(as_tensor(-np.log(np.clip(excess, 1e-3, 1e2))))
        base = float(np.sqrt(np.square(scores @ slope).mean()))
        for f, effect in enumerate(effects.main):
            size = float(np.sqrt(np.square(effect[codes[:, f]]).mean()))
            self.log_scale[f] = float(np.log(np.clip(size / max(base, 1e-6), 1e-2, 1e1)))


class CycleAEGenerator:
    """cycle_ae as a generator: fits counts of cells with fields, draws cells of combinations."""

    name = "cycle_ae"

    def __init__(self, config: CycleAEConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit to ``layers["counts"]`` of ``train``, (n_obs, n_vars), with fields in ``obs``.

        Raises
        ------
        NotApplicable
            If there are no counts.
        """
        need_counts(train, self.name)
        self.like, self.train_labels = like_training(train), labels_of(train)
        self.fields = Fields.of(train.obs, label_first(train))
        counts, size, codes = self._cells(train)
        aside = set_aside(train, self.config.training.validation_fraction, self.seed)
        donor = None
        if group_key(train) is not None and group_key(train) not in self.fields.names:
            donor = np.unique(train.obs[group_key(train)].astype(str), return_inverse=True)[1]
        with cpu_threads(self.config.training.threads):
            effects = ContextEffects.fit(
                counts, size, codes, self.fields.sizes, donor, self.config.effects
            )
            self.effects = effects
            with seeded(self.seed):
                self.network = CycleAE(
                    train.n_vars, self.fields.sizes, effects.n_pairs, self.config
                )
            some = np.sort(generator(self.seed, "start").permutation(train.n_obs)[:START_ROWS])
            self.network.begin(effects, counts[some], size[some], codes[some], self.seed)
            kept, held_out = training_rows(counts, size, codes, aside, self.seed)
            self.classifier_scores = fit_classifier(
                self.network.classifier,
                kept,
                held_out,
                float(self.network.target_sum),
                self.fields.names,
                stream(self.seed, "classifier"),
            )
            self.history = fit(
                self.network,
                kept,
                self.config.training,
                seed=self.seed,
                validation=held_out,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
                description=self.name,
            )
            self._measure(train, size, codes)
        named = {
            f"{part}_norm_{k}": f"{part}_norm_{name}"
            for k, name in enumerate(self.head_names)
            for part in ("train", "validation")
        }
        self.history = self.history.rename(columns=named)
        return self

    def _cells(
        self, adata: AnnData
    ) -> tuple[sparse.csr_matrix, Float[np.ndarray, " n_obs"], Codes]:
        return counted_cells(adata, self.like, self.fields)

    def _measure(self, train: AnnData, size: np.ndarray, codes: Codes) -> None:
        """States of each label, combinations, and depths: what drawing needs."""
        h = self.embed(train)
        self.mixture = LatentMixture.fit(
            h, np.zeros_like(h), self.train_labels, self.config.max_components, self.seed
        )
        self.combinations, place, self.combination_cells = combinations_of(codes)
        self.depths = Depths.fit(train, size, combination_names(place))

    @torch.no_grad()
    def embed(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_latent"]:
        """State h of each cell: eq. 3."""
        counts, size, codes = self._cells(adata)
        parts = []
        with cpu_threads(self.config.training.threads):
            for rows in blocks(len(size)):
                y = torch.log1p(
                    as_tensor(counts[rows].toarray())
                    * as_tensor(float(self.network.target_sum) / size[rows])[:, None]
                )
                parts.append(self.network.encode(y, torch.from_numpy(codes[rows])))
        return torch.cat(parts).double().numpy()

    @torch.no_grad()
    def log_rate(
        self, h: Float[np.ndarray, "n_obs n_latent"], codes: Codes
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Eta of eq. 1."""
        with cpu_threads(self.config.training.threads):
            parts = [
                self.network.log_rate(as_tensor(h[rows]), torch.from_numpy(codes[rows]))
                for rows in blocks(len(h))
            ]
        return torch.cat(parts).double().numpy()

    @property
    def head_names(self) -> tuple[str, ...]:
        """The heads of eq. 1 in order: the base, each field, each pair of fields."""
        names = self.fields.names
        pairs = tuple(SEPARATOR.join(names[f] for f in key) for key in self.network.pairs)
        return (BASE, *names, *pairs)

    @torch.no_grad()
    def contributions(
        self, h: Float[np.ndarray, "n_obs n_latent"], codes: Codes
    ) -> dict[str, Float[np.ndarray, "n_obs n_vars"]]:
        """What each head adds to the log rate of each cell; they sum to ``log_rate``."""
        heads = self.network.heads(as_tensor(h), torch.from_numpy(codes))
        return {
            name: head.double().numpy() for name, head in zip(self.head_names, heads, strict=True)
        }

    @torch.no_grad()
    def there_and_back(
        self, h: Float[np.ndarray, "n_obs n_latent"], target: Codes
    ) -> Float[np.ndarray, "n_obs n_latent"]:
        """State h' that is read in the contexts ``target``: eq. 4."""
        codes = torch.from_numpy(target)
        there = self.network.expected(self.network.log_rate(as_tensor(h), codes))
        return self.network.encode(there, codes).double().numpy()

    @torch.no_grad()
    def context_probabilities(
        self, y: Float[np.ndarray, "n_obs n_vars"]
    ) -> dict[str, Float[np.ndarray, "n_obs _"]]:
        """What the classifier of contexts makes of log expression, by field."""
        logits = self.network.classifier(as_tensor(y))
        return {
            name: each.softmax(dim=1).double().numpy()
            for name, each in zip(self.fields.names, logits, strict=True)
        }

    def balance(self, rng: np.random.Generator, least: int | None = None) -> AnnData:
        """Cells that bring each combination of the training cells to ``least`` (their median)."""
        return self.sample_combinations(missing_cells(self.combination_cells, least), rng)

    def codes(self, adata: AnnData) -> Codes:
        """Category of each cell in each field."""
        return self.fields.encode(adata.obs)

    def counterfactual(
        self, adata: AnnData, target: Mapping[str, str], rng: np.random.Generator
    ) -> AnnData:
        """The same cells in other contexts: eq. 6, with the fields of ``target`` changed.

        Returns
        -------
        Counts in ``layers``, log expression in ``X``, the new categories, and the library size of
        the new contexts; names of cells and other columns stay behind.

        Raises
        ------
        InputError
            If a field or a category of ``target``, or of the cells, is not known.
        """
        counts, size, codes = self._cells(adata)
        there = self.fields.with_target(codes, target)
        h = self.embed(adata)
        depth = np.exp(self.effects.log_depth(there) - self.effects.log_depth(codes))
        theta = self.theta
        parts = []
        for rows in blocks(len(size)):
            x = counts[rows].toarray().astype(np.float64)
            here = self.log_rate(h[rows], codes[rows])
            ratio = np.exp(self.log_rate(h[rows], there[rows]) - here) * depth[rows, None]
            mu = np.exp(here) * size[rows, None]
            mu = mu * (x + theta) / (mu + theta)  # eq. 6
            parts.append(sparse.csr_matrix(shifted_counts(x, mu, ratio, rng), dtype=np.float32))
        new = sparse.vstack(parts, format="csr")
        return made_cells(new, size * depth, there, self.fields, self.depths, self.like)

    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Cells of the combinations that the training cells of their label had."""
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        label = np.array([self.fields.fields[0].code(name) for name in wanted], dtype=np.int64)
        place = draw_combinations(label, self.combinations, self.combination_cells, rng)
        return self.sample_combinations(place, rng, temperature)

    def sample_combinations(
        self,
        place: Int[np.ndarray, " n_obs"],
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Cells of given combinations, by their rows in ``combinations``."""
        codes = self.combinations[place]
        wanted = np.array(self.fields.fields[0].categories)[codes[:, 0]]
        h = self.mixture.draw(wanted, temperature or self.config.temperature or 1.0, rng)
        total, _ = self.depths.draw(combination_names(place), rng)
        parts = []
        for rows in blocks(len(place)):
            rate = np.exp(self.log_rate(h[rows], codes[rows]).clip(LEAST_LOG_RATE, MOST_LOG_RATE))
            rate /= np.maximum(rate.sum(axis=1, keepdims=True), 1.0)  # shares of one library
            parts.append(draw_counts(rate * total[rows, None], self.theta, None, rng))
        counts = sparse.vstack(parts, format="csr")
        return made_cells(counts, total, codes, self.fields, self.depths, self.like)

    @property
    def theta(self) -> Float[np.ndarray, " n_vars"]:
        """Inverse dispersion of each gene."""
        return self.network.log_theta.detach().double().exp().numpy()

    @torch.no_grad()
    def cell_scores(self, adata: AnnData) -> pd.DataFrame:
        """Of each cell, in nats: ``nll`` given its state, and ``contexts_nll`` without one."""
        counts, size, codes = self._cells(adata)
        h, rows = self.embed(adata), CSRRows.of(counts)
        zero, parts = np.zeros_like(h), []
        for block in blocks(len(size)):
            index = torch.arange(len(size))[block]
            x, l_size = rows[index], as_tensor(size[block])
            rates = [as_tensor(self.log_rate(z[block], codes[block])) for z in (h, zero)]
            nll = [self.network.nll(x, l_size, rate) for rate in rates]
            parts.append(torch.stack(nll).double())
        nll, without = torch.cat(parts, dim=1).numpy()
        return pd.DataFrame({"nll": nll, "contexts_nll": without})

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, effects, mixture and depths as arrays; everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network,
            effects=self.effects.state(),
            mixture=self.mixture.state(),
            depth=self.depths.state(),
            cells={"combinations": self.combinations, "n": self.combination_cells},
        )
        return arrays, training_facts(self) | {
            "fields": self.fields.state(),
            "classes": list(self.mixture.classes),
            "depth_classes": list(self.depths.totals.classes),
            "target_sum": self.depths.target_sum,
            "classifier": self.classifier_scores,
        }

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = CycleAEConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.fields = Fields.from_state(facts["fields"])
        result.effects = ContextEffects.from_state(tensors_of(arrays, "effects"))
        result.network = CycleAE(
            result.like.n_vars, result.fields.sizes, result.effects.n_pairs, config
        )
        load_weights(result.network, arrays)
        result.mixture = LatentMixture.from_state(
            tuple(facts["classes"]), tensors_of(arrays, "mixture")
        )
        depth = tensors_of(arrays, "depth")
        result.depths = Depths.from_state(tuple(facts["depth_classes"]), depth, facts["target_sum"])
        cells = tensors_of(arrays, "cells")
        result.combinations, result.combination_cells = cells["combinations"], cells["n"]
        result.classifier_scores = facts["classifier"]
        return result


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """Of heads, or of what is added to them."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _heads(effects: Sequence[Tensor], moves: Sequence[Tensor]) -> list[Tensor]:
    """Effects of the base and of fields with what h adds to them; those of pairs as they are."""
    return [*map(torch.add, effects, moves), *effects[len(moves) :]]


def _norm(head: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Length over genes of a head less its mean over cells, mean over cells."""
    return (head - head.mean(dim=0)).norm(dim=-1).mean()


def _principal_axes(
    left: Float[np.ndarray, "n_obs n_vars"], k: int, seed: int
) -> tuple[
    Float[np.ndarray, "n_vars k"], Float[np.ndarray, "n_obs k"], Float[np.ndarray, " n_vars"]
]:
    """Axes over their standard deviation, the scores of unit variance, and the mean of ``left``."""
    from sklearn.decomposition import PCA

    pca = PCA(k, svd_solver="randomized", random_state=seed % 2**32).fit(left)
    axes = pca.components_.T / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))
    return axes, (left - pca.mean_) @ axes, pca.mean_
