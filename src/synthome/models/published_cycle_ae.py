"""The published context-conditioned cycle autoencoder, as published.

A cell has log expression x = log(1 + t c / l), counts c and library size l, and a category s_f of
each metadata field f. It is brought to other categories t_f by

    h = x W',                x_0 = h W                                   base, with tied weights (1)
    h_f = x E_f M_f[s_f],    x_f = h_f M_f[t_f] D_f                      each field              (2)
    F(x; s, t) = x_0 + 0.0159 sum_f x_f                                                          (3)

where a field has one encoder E_f, one decoder D_f and a full map M_f for each category. All is
linear, without bias, and every weight is set to 0 when a step takes it below. So nothing that a
head adds is ever negative, and no context takes a gene below x_0. Two contexts still differ either
way, by how much each adds: from one to another, a gene falls by as much as the first had added at
most. What a head says is therefore no effect; only differences of two categories are.

A cycle draws targets t, goes there and comes back; with the classifiers p_f of
``context_classifier``, which saw real cells only, the loss is a sum of means over cells and genes,

    y = F(x; s, t),   z = F(y; t, s)                                                             (4)
    L = mean (z - x)^2 + sum_k mean (h_k(x; s) - h_k(y; t))^2 - mean_f log p_f(t_f | y)          (5)

k being the base and each field. The publication means to draw another category for every field, but
its code begins anew with each field, so that the last one alone changes (``swap: last``), while the
last term speaks of all; ``swap: all`` does what was meant. There is no noise: a made cell has F in
``X``, and as counts a Poisson draw of mean l (exp(F) - 1) / t. It is here to be compared with, not
to be used.

Departures, none of which changes an equation: x is on the log scale, since the published loader
normalises nothing; weights begin uniform as published, but times the mean of the gene, and W, E_f
and D_f times what gives heads the scale of x, the base two thirds and the fields one, as 0.0159 is
meant to (for 2,000 genes, the published x_0 begins 1,500 times too large); the classifier is fitted
before, not beside; one weight decay, that of the base, serves all; and the epoch is the best on
cells set aside. The order of fields decides which is last: the label comes first here. The
publication draws no cells: here, h of eq. 1 comes from a mixture of each label, and x of eq. 2 is
h W.

Weights below 0 are set to 0 as the loss begins, which is after each step, and once more at the end.

Context-Conditioned Cycle Autoencoder for scRNA-seq, public code of the publication.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor, nn

from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.csr import CSRRows
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
from synthome.models.context_maps import ContextMaps, Grouping
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
from synthome.preprocessing.splits import set_aside
from synthome.rng import generator, seeded, stream
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit

BASE = "base"
START_ROWS = 2_000  # that the start is measured on
LEAST_SPREAD = 1e-3  # of a state, of the mean one: many are 0 in all cells

TRAINING = TrainingConfig(
    learning_rate=1e-3,
    max_epochs=40,
    batch_size=128,
    steps_per_epoch=20,
    optimizer="adamw",
    weight_decay=1e-4,
    max_grad_norm=10.0,
    validation_fraction=0.1,
    patience=8,
    tolerance=1e-3,
)


class PublishedCycleAEConfig(Config):
    """The published choices; the weights are those of the last two terms of eq. 5."""

    n_latent: PositiveInt = 128
    n_field_latent: PositiveInt = 128
    field_scale: NonNegativeFloat = 0.0159
    swap: Literal["last", "all"] = "last"
    integration_weight: NonNegativeFloat = 1.0
    consistency_weight: NonNegativeFloat = 1.0
    temperature: PositiveFloat | None = None
    max_components: PositiveInt = 5
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class PublishedCycleAE(nn.Module):
    """Eqs. 1-5."""

    target_sum: Tensor

    def __init__(self, n_vars: int, sizes: Sequence[int], config: PublishedCycleAEConfig) -> None:
        super().__init__()
        self.sizes, self.config = tuple(sizes), config
        k, own = config.n_latent, config.n_field_latent
        self.register_buffer("target_sum", torch.tensor(1e4))
        self.loadings = nn.Parameter(torch.rand(k, n_vars))  # W
        self.field_encoder = nn.ParameterList(torch.rand(n_vars, own) for _ in sizes)  # E_f
        self.maps = nn.ModuleList(
            ContextMaps(n, own, rank=None, non_negative=True) for n in sizes
        )  # M_f
        self.field_decoder = nn.ParameterList(torch.rand(own, n_vars) for _ in sizes)  # D_f
        self.classifier = ContextClassifier(n_vars, sizes)
        self.classifier.requires_grad_(False)

    def groups(self, codes: Int[Tensor, "n_obs n_fields"]) -> list[Grouping]:
        """The cells by category of each field."""
        return [Grouping.of(codes[:, f]) for f in range(len(self.sizes))]

    def hidden(
        self, x: Float[Tensor, "n_obs n_vars"], source: Sequence[Grouping]
    ) -> list[Float[Tensor, "n_obs _"]]:
        """H of eq. 1, then h_f of eq. 2."""
        fields = zip(self.field_encoder, self.maps, source, strict=True)
        return [x @ self.loadings.T, *(maps(x @ encoder, own) for encoder, maps, own in fields)]

    def heads(
        self, hidden: Sequence[Float[Tensor, "n_obs _"]], target: Sequence[Grouping]
    ) -> list[Float[Tensor, "n_obs n_vars"]]:
        """The terms of eq. 3."""
        h, *others = hidden
        fields = zip(others, self.maps, target, self.field_decoder, strict=True)
        scale = self.config.field_scale
        return [
            h @ self.loadings,
            *(scale * (maps(own, to) @ decoder) for own, maps, to, decoder in fields),
        ]

    def swapped(self, codes: Int[Tensor, "n_obs n_fields"]) -> Int[Tensor, "n_obs n_fields"]:
        """Other categories, drawn for the last field or for all; a single one has no other."""
        target = codes.clone()
        first = 0 if self.config.swap == "all" else len(self.sizes) - 1
        for f in range(first, len(self.sizes)):
            if self.sizes[f] > 1:
                shift = torch.randint(1, self.sizes[f], (len(codes),), device=codes.device)
                target[:, f] = (codes[:, f] + shift) % self.sizes[f]
        return target

    def log_expression(
        self, counts: CSRRows, library_size: Float[Tensor, " n_obs"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """X of counted cells."""
        return torch.log1p(counts.dense() * (self.target_sum / library_size)[:, None])

    def loss(
        self,
        counts: CSRRows,
        library_size: Float[Tensor, " n_obs"],
        codes: Int[Tensor, "n_obs n_fields"],
        kl_weight: float = 1.0,  # noqa: ARG002, models without one are trained by the same loop
    ) -> dict[str, Float[Tensor, ""]]:
        """Eqs. 4 and 5, means over cells; the weights are brought to 0 or above first."""
        self.project()
        self.classifier.eval()  # without dropout
        x, target_codes = self.log_expression(counts, library_size), self.swapped(codes)
        source, target = self.groups(codes), self.groups(target_codes)
        first = self.hidden(x, source)
        there = torch.stack(self.heads(first, target)).sum(dim=0)  # y of eq. 4
        second = self.hidden(there, target)
        back = torch.stack(self.heads(second, source)).sum(dim=0)  # z
        reconstruction = (back - x).square().mean()
        integration = torch.stack(
            [(a - b).square().mean() for a, b in zip(first, second, strict=True)]
        ).sum()
        consistency = self.classifier.nll(there, target_codes) / len(self.sizes)
        loss = reconstruction + self.config.integration_weight * integration
        return {
            "loss": loss + self.config.consistency_weight * consistency,
            "reconstruction": reconstruction,
            "integration": integration,
            "consistency": consistency,
        }

    @torch.no_grad()
    def project(self) -> None:
        """Set every weight that is below 0 to 0; those of the classifier are no part of this."""
        for maps in self.maps:
            cast(ContextMaps, maps).project()
        for weight in (self.loadings, *self.field_encoder, *self.field_decoder):
            weight.clamp_(min=0.0)

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "n_obs n_vars"], codes: Int[Tensor, "n_obs n_fields"]) -> None:
        """Bring the uniform weights to the scale of ``x``."""
        mean, groups = x.mean(dim=0), self.groups(codes)
        for weight in (self.loadings, *self.field_decoder):
            weight *= mean
        for encoder in self.field_encoder:
            encoder *= mean[:, None]

        def share(part: Tensor, wanted: float) -> Tensor:
            return wanted * x.mean() / part.mean().clamp(min=1e-12)

        self.loadings *= share(x @ self.loadings.T @ self.loadings, 2 / 3).sqrt()
        states = (x @ self.loadings.T).mean()
        for encoder in self.field_encoder:
            encoder *= states / (x @ encoder).mean().clamp(min=1e-12)
        fields = self.heads(self.hidden(x, groups), groups)[1:]
        for decoder, head in zip(self.field_decoder, fields, strict=True):
            decoder *= share(head, 1 / 3 / len(fields)) if self.config.field_scale else 1.0


class PublishedCycleAEGenerator:
    """The published system as a generator: cells in other contexts, and drawn ones."""

    name = "published_cycle_ae"

    def __init__(self, config: PublishedCycleAEConfig, seed: int = 0) -> None:
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
        counts, size, codes = counted_cells(train, self.like, self.fields)
        self.combinations, place, self.combination_cells = combinations_of(codes)
        self.depths = Depths.fit(train, size, combination_names(place))
        aside = set_aside(train, self.config.training.validation_fraction, self.seed)
        rows, held_out = training_rows(counts, size, codes, aside, self.seed)
        with cpu_threads(self.config.training.threads):
            with seeded(self.seed):
                self.network = PublishedCycleAE(train.n_vars, self.fields.sizes, self.config)
            self.network.target_sum.fill_(self.depths.target_sum)
            self.network.begin(*self._start(counts, size, codes))
            self.classifier_scores = fit_classifier(
                self.network.classifier,
                rows,
                held_out,
                self.depths.target_sum,
                self.fields.names,
                stream(self.seed, "classifier"),
            )
            self.history = fit(
                self.network,
                rows,
                self.config.training,
                seed=self.seed,
                validation=held_out,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
                description=self.name,
            )
            self.network.project()  # after the last step
            h = self.embed(train)
        variance = np.full_like(h, np.square(LEAST_SPREAD * h.mean()) + 1e-12)
        self.mixture = LatentMixture.fit(
            h, variance, self.train_labels, self.config.max_components, self.seed
        )
        return self

    def _start(
        self, counts: sparse.csr_matrix, size: Float[np.ndarray, " n_obs"], codes: Codes
    ) -> tuple[Tensor, Tensor]:
        """Log expression and codes of some cells."""
        some = np.sort(generator(self.seed, "start").permutation(len(size))[:START_ROWS])
        x = self.network.log_expression(CSRRows.of(counts[some]), as_tensor(size[some]))
        return x, torch.from_numpy(codes[some])

    def codes(self, adata: AnnData) -> Codes:
        """Category of each cell in each field."""
        return self.fields.encode(adata.obs)

    @torch.no_grad()
    def embed(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_latent"]:
        """State h of the base of each cell: eq. 1."""
        counts, size, _ = counted_cells(adata, self.like, self.fields)
        with cpu_threads(self.config.training.threads):
            parts = [
                self.network.log_expression(CSRRows.of(counts[rows]), as_tensor(size[rows]))
                @ self.network.loadings.T
                for rows in blocks(len(size))
            ]
        return torch.cat(parts).double().numpy()

    @torch.no_grad()
    def expected_log_expression(
        self, adata: AnnData, target: Mapping[str, str]
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Eq. 3 of cells with the fields of ``target`` changed; without any, in their own contexts.

        Raises
        ------
        InputError
            If a field or a category of ``target``, or of the cells, is not known.
        """
        counts, size, codes = counted_cells(adata, self.like, self.fields)
        there, network, parts = self.fields.with_target(codes, target), self.network, []
        with cpu_threads(self.config.training.threads):
            for rows in blocks(len(size)):
                x = network.log_expression(CSRRows.of(counts[rows]), as_tensor(size[rows]))
                source, goal = (
                    network.groups(torch.from_numpy(each[rows])) for each in (codes, there)
                )
                parts.append(torch.stack(network.heads(network.hidden(x, source), goal)).sum(dim=0))
        return torch.cat(parts).double().numpy()

    def effect(
        self, field: str, category: str, reference: str, adata: AnnData
    ) -> Float[np.ndarray, " n_vars"]:
        """Mean change of the log expression of cells between two categories of a field."""
        sides = [self.expected_log_expression(adata, {field: c}) for c in (category, reference)]
        found: np.ndarray = (sides[0] - sides[1]).mean(axis=0)
        return found

    @property
    def head_names(self) -> tuple[str, ...]:
        """The heads of eq. 3 in order: the base, then each field."""
        return (BASE, *self.fields.names)

    @torch.no_grad()
    def contributions(
        self, h: Float[np.ndarray, "n_obs n_latent"], codes: Codes
    ) -> dict[str, Float[np.ndarray, "n_obs n_vars"]]:
        """What each head adds to the log expression of a cell in its own contexts, x being h W."""
        base = as_tensor(h) @ self.network.loadings
        groups = self.network.groups(torch.from_numpy(codes))
        heads = [base, *self.network.heads(self.network.hidden(base, groups), groups)[1:]]
        return {
            name: head.double().numpy() for name, head in zip(self.head_names, heads, strict=True)
        }

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

    def counterfactual(
        self, adata: AnnData, target: Mapping[str, str], rng: np.random.Generator
    ) -> AnnData:
        """The same cells with the fields of ``target`` changed: eq. 3.

        Returns
        -------
        Predicted log expression in ``X``, counts drawn around it in ``layers``, the new categories
        and the library size of each cell; names of cells and other columns stay behind.

        Raises
        ------
        InputError
            If a field or a category of ``target``, or of the cells, is not known.
        """
        _, size, codes = counted_cells(adata, self.like, self.fields)
        x = self.expected_log_expression(adata, target)
        return self._made(x, size, self.fields.with_target(codes, target), rng)

    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Cells of the combinations that the training cells of their label had."""
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        label = np.array([self.fields.fields[0].code(name) for name in wanted])
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
        hot = temperature or self.config.temperature or 1.0
        h = np.maximum(self.mixture.draw(wanted, hot, rng), 0.0)
        total, _ = self.depths.draw(combination_names(place), rng)
        with cpu_threads(self.config.training.threads):
            parts = [
                np.sum(list(self.contributions(h[rows], codes[rows]).values()), axis=0)
                for rows in blocks(len(place))
            ]
        return self._made(np.concatenate(parts), total, codes, rng)

    def balance(self, rng: np.random.Generator, least: int | None = None) -> AnnData:
        """Cells that bring each combination of the training cells to ``least`` (their median)."""
        return self.sample_combinations(missing_cells(self.combination_cells, least), rng)

    def _made(
        self,
        x: Float[np.ndarray, "n_obs n_vars"],
        size: Float[np.ndarray, " n_obs"],
        codes: Codes,
        rng: np.random.Generator,
    ) -> AnnData:
        """Cells of log expression ``x``, with counts drawn around it: a rate is a share of l."""
        drawn = []
        for rows in blocks(len(x)):
            rate = np.minimum(np.expm1(x[rows]) / self.depths.target_sum, 1.0)
            drawn.append(draw_counts(rate * size[rows, None], None, None, rng))
        counts = sparse.vstack(drawn, format="csr")
        result = made_cells(counts, size, codes, self.fields, self.depths, self.like)
        result.X = x.astype(np.float32)
        return result

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, mixture, depths and combinations as arrays; everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network,
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
        config = PublishedCycleAEConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.fields = Fields.from_state(facts["fields"])
        result.network = PublishedCycleAE(result.like.n_vars, result.fields.sizes, config)
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
