"""spatial_gvae: a graph VAE of tissue, in which the image is a prior and never a target.

For spot i with counts x_i, image features I_i and neighbours A_i, itself included:

    z_i ~ Normal(m_p, diag(s_p²)),  (m_p, log s_p²)_i = GAT_p(E_I(I))_i                    (1)
    h_i = MLP(z_i),  rho_i = softmax(W h_i + B s_i + b)          s_i the section, one-hot   (2)
    x_i ~ ZINB(mu = l_i rho_i, theta, pi)                        l_i the library size       (3)
    q(z_i | X, I, A) = Normal(m_q, diag(s_q²)),
                       (m_q, log s_q²)_i = GAT_q([E_X(X~), E_I(I)])_i                      (4)
    loss = KL(q || p) - E_q log p(x_i | z_i, s_i)                each per spot, in nats     (5)

E_X and E_I are two layers of linear maps, batch normalisation, ReLU and dropout; GAT is graph
attention (``graph_attention``). X~ are log rates at a common depth, averaged ``hops`` times over
a spot and its neighbours, standardised by the training spots. Where molecules are not what an image
lets one expect is judged by ``evaluation.discordance``. Without image features the prior is
Normal(0, I).

Two terms can be added, with weights of their own. Deep embedded clustering, with centres c_k:

    q_ik ~ (1 + |m_q,i - c_k|²)^-1,  p_ik ~ q_ik² / sum_j q_jk,  KL(p || q)                (6)

and contrast between spatial neighbours i, j among the spots B of a minibatch:

    -log exp(cos(m_i, m_j) / t) / sum_{b in B, b != i} exp(cos(m_i, m_b) / t)              (7)

Eq. 7 between E_X and E_I of the same spot is the pre-training of ``pretraining_epochs``.

A synthetic spot of domain y: training spots show a mixture of normals in the latent space,

    z ~ sum_c w_yc Normal(m_yc, T² S_yc)                                                   (8)

of their posteriors (``draws_from: posterior``) or of what their images alone say (``prior``), with
l drawn log-normal in its domain and s as often as there; then eqs. 2 and 3. Labels are used for
eq. 8 alone, after training: eqs. 1-7 never see one.

Departures from the published system, whose loaders fill the image with random numbers. All but the
last can be switched back:

* Where a spot has few molecules, eq. 5 lets the image decide what its molecules are: on the
  simulated slice, planted patches of another layer get the layer of their image (ARI 0.84 instead
  of 0.91). So the image guides by the share w, and learns from molecules for the rest:

      KL becomes  w KL(q || p) + (1 - w) (KL(q || Normal(0, I)) + KL(q held fixed || p))     (9)

* Training starts at the principal components of X~, averaged over neighbours (``start: moments``),
  with a decoder that one step of Fisher scoring gives, and not at random; KL has its full weight
  from there on. In each step E_X is shown a random half of the genes (``input_dropout``).
* Training ends by a rule, on compact pieces of tissue set aside for it, not after 200 epochs.
* Attention reads lists of neighbours, not an n x n mask; a large tissue is trained in tiles.

Kingma & Welling (2014), arXiv:1312.6114 (eq. 5). Velickovic et al. (2018), arXiv:1710.10903.
Xie, Girshick, Farhadi (2016), arXiv:1511.06335 (eq. 6). van den Oord et al. (2018),
arXiv:1807.03748 (eq. 7). Tomczak & Welling (2018), arXiv:1705.07120 (eq. 8).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from synthome.anndata_schema import COUNTS, SECTION, scale
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.csr import CSRRows
from synthome.distributions import softmax_nb, softmax_nb_rows
from synthome.errors import NotApplicable
from synthome.generator import class_labels
from synthome.graph import Graph
from synthome.models.depths import Depths, draw_batches, draw_counts, shares_of_batches
from synthome.models.graph_attention import GraphAttention
from synthome.models.latent_mixture import LatentMixture
from synthome.models.null_nb import NullNB
from synthome.models.persistence import (
    arrays_of,
    like_training,
    load_weights,
    tensors_of,
    training_facts,
    with_training_facts,
)
from synthome.models.tissue_inputs import (
    ROWS_AT_A_TIME,
    TissueInputs,
    in_parts,
    put_back,
    set_aside,
)
from synthome.models.tissue_objectives import clustering_loss, neighbour_contrast, student_t
from synthome.rng import generator, seeded, stream
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit
from synthome.training.tissue_rows import TissueRows

LOG_VARIANCE = (-10.0, 6.0)  # of latents
START_ROWS = 5_000  # that the start is measured on
START_LOG_VARIANCE = -2.0

TRAINING = TrainingConfig(
    learning_rate=1e-3,
    max_epochs=200,
    batch_size=4_096,
    max_grad_norm=5.0,
    validation_fraction=0.1,
    patience=25,
    tolerance=2e-4,
)
FINE_TUNING = TrainingConfig(learning_rate=1e-4, max_epochs=50, batch_size=4_096, max_grad_norm=5.0)


class ClusteringConfig(Config):
    """Fine-tuning by deep embedded clustering, eq. 6, after training."""

    n_clusters: PositiveInt
    weight: PositiveFloat = 0.01
    training: Annotated[TrainingConfig, onto(FINE_TUNING)] = FINE_TUNING


class SpatialGVAEConfig(Config):
    """Choices of the model; ``published`` in the parameters switches the departures back.

    ``hops`` and ``input_dropout`` belong to X~ of eq. 4; ``section_covariate`` is s of eq. 2, where
    there are several sections. ``use_image: false`` leaves image features unread, ``read_image:
    false`` keeps them from q, and ``guidance`` is w of eq. 9.
    """

    n_latent: PositiveInt = 32
    n_hidden: PositiveInt = 256
    n_heads: PositiveInt = 3
    attention: Literal["gat", "gatv2"] = "gat"
    hops: NonNegativeInt = 1
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    input_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    likelihood: Literal["auto", "nb", "zinb"] = "auto"
    use_image: bool = True
    guidance: float = Field(default=0.3, ge=0.0, le=1.0)
    read_image: bool = True
    section_covariate: bool = True
    start: Literal["moments", "random"] = "moments"
    neighbour_contrast: NonNegativeFloat = 0.0  # weight of eq. 7
    contrast_temperature: PositiveFloat = 0.5
    pretraining_epochs: NonNegativeInt = 0
    clustering: ClusteringConfig | None = None
    draws_from: Literal["posterior", "prior"] = "posterior"
    temperature: PositiveFloat | None = None
    max_components: PositiveInt = 5  # of eq. 8, in a domain
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class Encoder(nn.Module):
    """E_X or E_I: two layers of linear maps, batch normalisation, ReLU and dropout."""

    def __init__(self, n_in: int, n_hidden: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.drop_input, self.dropout = nn.Dropout(input_dropout), nn.Dropout(dropout)
        self.first, self.second = nn.Linear(n_in, n_hidden), nn.Linear(n_hidden, n_hidden)
        self.first_norm, self.second_norm = nn.BatchNorm1d(n_hidden), nn.BatchNorm1d(n_hidden)

    def forward(self, x: Float[Tensor, "n_sources n_in"]) -> Float[Tensor, "n_sources n_hidden"]:
        """Both layers."""
        h = self.dropout(self.first_norm(self.first(self.drop_input(x))).relu())
        out: Tensor = self.dropout(self.second_norm(self.second(h)).relu())
        return out

    @torch.no_grad()
    def begin(
        self, axes: Float[Tensor, "n_in k"], x: Float[Tensor, "n_rows n_in"]
    ) -> Float[Tensor, "n_rows n_hidden"]:
        """Start with two units for each axis, of opposite sign; returns what they give."""
        k = axes.shape[1]
        self.first.weight[:k], self.first.weight[k : 2 * k] = axes.T, -axes.T
        self.first.bias[: 2 * k] = 0.0
        self.second.weight[: 2 * k] = 0.0
        self.second.weight[: 2 * k, : 2 * k] = torch.eye(2 * k)
        self.second.bias[: 2 * k] = 0.0
        h = _measured(self.first_norm, self.first(x)).relu()
        read = self.second(h)
        own = slice(2 * k)  # what is read twice keeps its place and size
        self.second_norm.weight[own] = read.var(dim=0)[own].add(1e-5).sqrt()
        self.second_norm.bias[own] = read.mean(dim=0)[own]
        return _measured(self.second_norm, read).relu()


class SpatialGVAE(nn.Module):
    """Eqs. 1-7."""

    share_of_centre: Tensor

    def __init__(
        self,
        n_vars: int,
        n_features: int,
        n_sections: int,
        config: SpatialGVAEConfig,
        likelihood: str = "nb",
    ) -> None:
        super().__init__()
        n_hidden, n_latent = config.n_hidden, config.n_latent
        self.n_sections, self.likelihood = n_sections, likelihood
        self.contrast, self.contrast_temperature = (
            config.neighbour_contrast,
            config.contrast_temperature,
        )
        attention = partial(GraphAttention, n_heads=config.n_heads, kind=config.attention)
        self.genes = Encoder(n_vars, n_hidden, config.dropout, config.input_dropout)
        self.picture = Encoder(n_features, n_hidden, config.dropout, 0.0) if n_features else None
        self.prior_attention = attention(n_hidden, 2 * n_latent) if n_features else None
        self.guidance, self.read_image = config.guidance, bool(n_features and config.read_image)
        n_read = n_hidden * (2 if self.read_image else 1)
        self.attention = attention(n_read, 2 * n_latent)
        self.decoder = nn.Linear(n_latent, n_hidden)
        self.decoder_norm = nn.BatchNorm1d(n_hidden)
        n_decoded = n_hidden + (n_sections if n_sections > 1 else 0)
        self.logits = nn.Linear(n_decoded, n_vars)  # [W, B] and b of eq. 2
        self.pi_logits = nn.Linear(n_decoded, n_vars) if likelihood == "zinb" else None
        self.log_theta = nn.Parameter(torch.zeros(n_vars))
        clusters = config.clustering
        self.clustering_weight = 0.0  # until fine-tuning
        n_clusters = clusters.n_clusters if clusters else 0
        self.centres = nn.Parameter(torch.zeros(n_clusters, n_latent), requires_grad=False)
        self.register_buffer("share_of_centre", torch.ones(n_clusters))

    def encode(self, rows: TissueRows) -> tuple[Normal, Normal]:
        """The posterior of eq. 4 and the prior of eq. 1, for the spots of ``rows``."""
        h = self.genes(rows.expression)
        if self.picture is None:
            qz = _normal(self.attention(h, rows.graph))
            return qz, Normal(torch.zeros_like(qz.loc), torch.ones_like(qz.scale), False)
        seen = self.picture(rows.image)
        both = torch.cat([h, seen], dim=-1) if self.read_image else h
        qz = _normal(self.attention(both, rows.graph))
        return qz, self._prior(seen, rows.graph)

    def prior(self, rows: TissueRows) -> Normal:
        """The prior of eq. 1: nothing but image and graph is read."""
        if self.picture is None:
            loc = torch.zeros(len(rows), self.decoder.in_features, device=rows.device)
            return Normal(loc, torch.ones_like(loc), validate_args=False)
        return self._prior(self.picture(rows.image), rows.graph)

    def _prior(self, seen: Tensor, graph: Graph) -> Normal:
        assert self.prior_attention is not None
        return _normal(self.prior_attention(seen, graph))

    def decode(
        self, z: Float[Tensor, "n_obs n_latent"], batch: Int[Tensor, " n_obs"]
    ) -> tuple[Float[Tensor, "n_obs n_vars"], Float[Tensor, "n_obs n_vars"] | None]:
        """Log rho of eq. 2, up to a constant in each row, and logit pi of eq. 3."""
        h = self.decoder_norm(self.decoder(z)).relu()
        if self.n_sections > 1:
            h = torch.cat([h, nn.functional.one_hot(batch, self.n_sections).to(h.dtype)], dim=-1)
        return self.logits(h), None if self.pi_logits is None else self.pi_logits(h)

    def loss(self, rows: TissueRows, kl_weight: float = 1.0) -> dict[str, Float[Tensor, ""]]:
        """Eq. 5 in nats per spot, and what eqs. 6 and 7 add to it."""
        qz, pz = self.encode(rows)
        logits, pi_logits = self.decode(qz.rsample(), rows.batch)
        nll = -softmax_nb(rows.counts, logits, rows.library_size, self.log_theta, pi_logits)
        kl = kl_divergence(qz, pz).sum(dim=-1).mean()
        terms = {"loss": nll + kl_weight * self._guided(qz, pz, kl), "nll": nll, "kl": kl}
        if self.contrast:
            terms["contrast"] = neighbour_contrast(qz.loc, rows.graph, self.contrast_temperature)
            terms["loss"] = terms["loss"] + self.contrast * terms["contrast"]
        if self.clustering_weight:
            q = student_t(qz.loc, self.centres)
            terms["clustering"] = clustering_loss(q, self.share_of_centre)
            terms["loss"] = terms["loss"] + self.clustering_weight * terms["clustering"]
        return terms

    def _guided(self, qz: Normal, pz: Normal, kl: Tensor) -> Tensor:
        """Eq. 9."""
        if self.picture is None or self.guidance == 1.0:
            return kl
        w = self.guidance
        free = 0.5 * (qz.loc.square() + qz.variance - 1.0) - qz.scale.log()
        still = Normal(qz.loc.detach(), qz.scale.detach(), validate_args=False)
        learns = kl_divergence(still, pz).sum(dim=-1).mean()
        return w * kl + (1.0 - w) * (free.sum(dim=-1).mean() + learns)

    @torch.no_grad()
    def begin(self, rows: TissueRows, null: NullNB, seed: int) -> None:
        """Start at principal components, averaged over neighbours, and at ``null``.

        Component k of X~ has spread 1 for k = 1 and smaller in its proportion to the first. The
        decoder reads it by two units of opposite sign, whose columns in W are what one step of
        Fisher scoring gives for a Poisson law with that component.
        """
        from sklearn.decomposition import PCA

        n_latent, n_hidden = self.decoder.in_features, self.decoder.out_features
        x = rows.expression
        k = min(n_latent, n_hidden // 2, x.shape[0] - 1, x.shape[1] - 1)
        pca = PCA(k, svd_solver="arpack", random_state=seed).fit(x.double().numpy())
        spread = _tensor(np.sqrt(np.maximum(pca.explained_variance_, 1e-12)))
        self.genes.begin(_tensor(pca.components_).T / spread, x)
        weight = torch.zeros(2 * n_latent, self.attention.n_in)
        each = torch.arange(k)
        weight[each, each], weight[each, k + each] = spread / spread[0], -spread / spread[0]
        weight[n_latent:].normal_(0.0, 1e-3)
        bias = torch.zeros(2 * n_latent)
        bias[n_latent:] = START_LOG_VARIANCE
        self.attention.begin(weight, bias)
        if self.picture is not None:
            assert self.prior_attention is not None
            _measured(self.picture.first_norm, self.picture.first(rows.image))
            narrow = torch.randn(2 * n_latent, n_hidden) * 1e-3
            self.prior_attention.begin(narrow, torch.zeros(2 * n_latent))
        self.eval()
        z = self.encode(rows)[0].loc
        self.decoder.weight.mul_(0.3)
        self.decoder.weight[: 2 * k] = 0.0
        self.decoder.weight[each, each], self.decoder.weight[k + each, each] = 1.0, -1.0
        self.decoder.bias[: 2 * k] = 0.0
        read = self.decoder(z)
        variance = read.var(dim=0) + 0.1
        self.decoder_norm.weight.copy_(variance.sqrt())
        self.decoder_norm.bias.copy_(read.mean(dim=0))
        _measured(self.decoder_norm, read, 0.1)
        share, size = _tensor(np.exp(null.log_share)), rows.library_size[:, None]
        gain = share[:, None] * (size.T @ z[:, :k].square())
        residual = _transposed_product(rows.counts, z[:, :k]) - share[:, None] * (size.T @ z[:, :k])
        step = residual / (gain + 0.5 * gain.median())  # (n_vars, k)
        self.logits.weight.mul_(0.1)
        self.logits.weight[:, :k], self.logits.weight[:, k : 2 * k] = step, -step
        self.logits.weight[:, n_hidden:] = 0.0
        self.logits.bias.copy_(_tensor(null.log_share))
        self.log_theta.copy_(_tensor(np.clip(null.log_theta, -5.0, 8.0)))
        if self.pi_logits is not None:  # genes that fall together are zero together
            present = torch.bincount(rows.counts.indices, minlength=x.shape[1]) / len(rows)
            zeros = (0.7 * (1.0 - present)).clamp(0.01, 0.99)
            self.pi_logits.bias.copy_(zeros.logit())
            self.pi_logits.weight.copy_(-0.3 * self.logits.weight)
            self.log_theta.add_(1.0)


class ImageContrast(nn.Module):
    """Pre-training: E_X and E_I of a spot are to be found among those of the others, eq. 7."""

    def __init__(self, network: SpatialGVAE, n_shared: int = 64) -> None:
        super().__init__()
        assert network.picture is not None
        self.genes, self.picture = network.genes, network.picture
        self.temperature = network.contrast_temperature
        n_hidden = network.decoder.out_features
        self.of_genes = nn.Linear(n_hidden, n_shared)
        self.of_picture = nn.Linear(n_hidden, n_shared)

    def loss(self, rows: TissueRows, kl_weight: float = 1.0) -> dict[str, Float[Tensor, ""]]:  # noqa: ARG002
        """Mean of both directions."""
        n = len(rows)
        a = nn.functional.normalize(self.of_genes(self.genes(rows.expression[:n])), dim=-1)
        b = nn.functional.normalize(self.of_picture(self.picture(rows.image[:n])), dim=-1)
        similar, own = a @ b.T / self.temperature, torch.arange(n, device=a.device)
        both = [nn.functional.cross_entropy(s, own) for s in (similar, similar.T)]
        return {"loss": 0.5 * (both[0] + both[1])}


class SpatialGVAEGenerator:
    """spatial_gvae as a generator: fits the counts of spots, draws by eqs. 8, 2 and 3."""

    name = "spatial_gvae"

    def __init__(self, config: SpatialGVAEConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit to the spots of ``train``: ``layers["counts"]``, (n_obs, n_vars), and its graph.

        Image features in ``obsm["image_features"]`` are read where there are some; neighbours are
        those of ``obsp["spatial_connectivities"]``.

        Raises
        ------
        NotApplicable
            If there are no counts.
        InputError
            If there is no graph.
        """
        if COUNTS not in train.layers:
            raise NotApplicable(
                f"{self.name} models counts, but these data are on the {scale(train)} scale and "
                f"have no layers['{COUNTS}']. Give raw counts, or use another model."
            )
        self.like, labels = like_training(train), labels_of(train)
        self.train_labels = labels[labels != ""]  # of the spots that have one
        config = self.config.training
        aside = set_aside(train, config.validation_fraction, self.seed)
        own = train[~aside] if aside.any() else train
        self.inputs = TissueInputs.fit(
            own,
            hops=self.config.hops,
            use_image=self.config.use_image,
            use_section=self.config.section_covariate,
        )
        _, rows = self.inputs.rows(own)
        with cpu_threads(config.threads):
            held_out = None
            if aside.any():
                order, whole = self.inputs.rows(train)
                held_out = [whole[torch.from_numpy(np.flatnonzero(aside[order]))]]
            self._make(own, rows)
            self._pretrain(rows)
            self.history = fit(
                self.network,
                [rows],
                config,
                seed=self.seed,
                validation=held_out,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
                description=self.name,
            )
            self._fine_tune(rows)
            self._measure(train)
        return self

    def _make(self, train: AnnData, rows: TissueRows) -> None:
        """The network at its start, by the spots that it will be trained on."""
        part = rows
        if len(rows) > START_ROWS:  # tiles from all over the tissue
            with seeded(stream(self.seed, "start")):
                part = rows[rows.order()[:START_ROWS]]
        counts = sparse.csr_matrix(train.layers[COUNTS], dtype=np.float64)
        if counts.shape[0] > START_ROWS:
            picked = generator(self.seed, "null").permutation(counts.shape[0])[:START_ROWS]
            counts = counts[np.sort(picked)]
        library_size = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1.0)
        self.null = NullNB.fit(counts, library_size)
        self.likelihood = self.null.likelihood(self.config.likelihood, counts, library_size)
        with seeded(self.seed):
            self.network = self._network()
            _forget_within(self.network, -(-len(rows) // self.config.training.batch_size))
            if self.config.start == "moments":
                self.network.begin(_without_rim(part), self.null, self.seed)

    def _network(self) -> SpatialGVAE:
        return SpatialGVAE(
            self.like.n_vars,
            self.inputs.n_features,
            max(1, len(self.inputs.sections)),
            self.config,
            self.likelihood,
        )

    def _pretrain(self, rows: TissueRows) -> None:
        """Eq. 7 between image and genes, where asked for and where there is an image."""
        if not self.config.pretraining_epochs or self.network.picture is None:
            return
        update = {"max_epochs": self.config.pretraining_epochs, "patience": None}
        with seeded(stream(self.seed, "pretraining")):
            contrast = ImageContrast(self.network)
        fit(
            contrast,
            [rows],
            self.config.training.model_copy(update=update),
            seed=self.seed,
            description="image and genes",
        )

    def _fine_tune(self, rows: TissueRows) -> None:
        """Eq. 6, from centres of k-means, the sums over spots anew in each epoch."""
        config = self.config.clustering
        if config is None:
            return
        from sklearn.cluster import KMeans

        loc = self._posterior(rows)[0]
        found = KMeans(config.n_clusters, n_init=20, random_state=self.seed).fit(loc)
        self.network.centres.data.copy_(_tensor(found.cluster_centers_))
        self.network.centres.requires_grad_(True)
        self.network.clustering_weight = config.weight

        def renew(_: Epoch | None = None) -> None:
            q = student_t(_tensor(self._posterior(rows)[0]), self.network.centres.detach().cpu())
            self.network.share_of_centre.copy_(q.sum(dim=0))

        renew()
        tuned = fit(
            self.network,
            [rows],
            config.training,
            seed=self.seed,
            on_epoch=renew,
            description="clustering",
        )
        self.network.centres.requires_grad_(False)
        self.network.clustering_weight = 0.0
        tuned["epoch"] += len(self.history)
        self.history = pd.concat([self.history.assign(best=False), tuned], ignore_index=True)

    @torch.no_grad()
    def _posterior(
        self, rows: TissueRows, *, prior: bool = False
    ) -> tuple[Float[np.ndarray, "n_obs d"], Float[np.ndarray, "n_obs d"]]:
        """Means and variances of q, or of p, in the order of ``rows``."""
        self.network.eval()
        device = self.network.log_theta.device
        found = []
        for part in in_parts(rows):
            shown = part.to(device)
            found.append(self.network.prior(shown) if prior else self.network.encode(shown)[0])
        loc = torch.cat([each.loc for each in found]).double().cpu().numpy()
        return loc, torch.cat([each.variance for each in found]).double().cpu().numpy()

    def _measure(self, train: AnnData) -> None:
        """What eq. 8 needs, and the depths of the spots of each domain."""
        order, rows = self.inputs.rows(train)
        labels = labels_of(train)[order]
        known = labels != ""
        order, labels = order[known], labels[known]
        loc, variance = (
            each[known] for each in self._posterior(rows, prior=self.config.draws_from == "prior")
        )
        self.mixture = LatentMixture.fit(
            loc, variance, labels, self.config.max_components, self.seed
        )
        size = rows.library_size.double().numpy()[known]
        self.depths = Depths.fit(train[order], size, labels)
        self.section_share = shares_of_batches(
            self.mixture.classes, labels, rows.batch.numpy()[known], len(self.inputs.sections)
        )

    @torch.no_grad()
    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Spots with counts in ``layers`` and their log expression, at their depth, in ``X``.

        ``temperature`` is T of eq. 8. They have no place: they belong to a domain, not to a slice.
        """
        hot = temperature or self.config.temperature or 1.0
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        z = self.mixture.draw(wanted, hot, rng)
        batch = draw_batches(self.section_share, self.mixture.classes, wanted, rng)
        total, of_model = self.depths.draw(wanted, rng)
        blocks = []
        for a in range(0, n_obs, ROWS_AT_A_TIME):
            part = slice(a, a + ROWS_AT_A_TIME)
            mu, pi = self._expected(z[part], of_model[part], batch[part])
            blocks.append(draw_counts(mu, self.theta, pi, rng))
        counts = sparse.csr_matrix(sparse.vstack(blocks, format="csr"))
        result = self.depths.wrap(counts, total, wanted, self.like)
        if len(self.inputs.sections) > 1:
            result.obs[SECTION] = np.array(self.inputs.sections)[batch]
        return result

    @torch.no_grad()
    def _expected(
        self,
        z: Float[np.ndarray, "n_obs d"],
        library_size: Float[np.ndarray, " n_obs"],
        batch: Int[np.ndarray, " n_obs"],
    ) -> tuple[Float[np.ndarray, "n_obs n_vars"], Float[np.ndarray, "n_obs n_vars"] | None]:
        """Of eq. 3: mu, and pi where zeros are added."""
        logits, pi_logits = self.network.decode(_tensor(z), torch.from_numpy(batch))
        rho = logits.double().softmax(dim=-1).numpy()
        pi = None if pi_logits is None else pi_logits.double().sigmoid().numpy()
        return rho * np.asarray(library_size, dtype=np.float64)[:, None], pi

    @property
    def theta(self) -> Float[np.ndarray, " n_vars"]:
        """Inverse dispersion of each gene."""
        return self.network.log_theta.detach().double().exp().numpy()

    def embed(self, adata: AnnData, *, prior: bool = False) -> Float[np.ndarray, "n_obs n_latent"]:
        """Means of q (eq. 4), or of p (eq. 1): what image and graph alone say."""
        with cpu_threads(self.config.training.threads):
            order, rows = self.inputs.rows(adata)
            return put_back(order, self._posterior(rows, prior=prior)[0])

    def kl(self, adata: AnnData) -> Float[np.ndarray, " n_obs"]:
        """KL(q || p) of each spot in nats."""
        with cpu_threads(self.config.training.threads):
            order, rows = self.inputs.rows(adata)
            kl = kl_divergence(self._normal(rows), self._normal(rows, prior=True)).sum(dim=-1)
        return put_back(order, kl.numpy())

    def _normal(self, rows: TissueRows, *, prior: bool = False) -> Normal:
        loc, variance = map(torch.from_numpy, self._posterior(rows, prior=prior))
        return Normal(loc, variance.sqrt(), validate_args=False)

    def expected(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_vars"]:
        """Expected counts of each spot given its posterior mean, added zeros included."""
        with cpu_threads(self.config.training.threads):
            order, rows = self.inputs.rows(adata)
            loc = self._posterior(rows)[0]
            mu, pi = self._expected(loc, rows.library_size.double().numpy(), rows.batch.numpy())
        return put_back(order, mu if pi is None else mu * (1.0 - pi))

    @torch.no_grad()
    def spot_scores(
        self, adata: AnnData, target: Any | None = None, n_draws: int = 5
    ) -> pd.DataFrame:
        """Of each spot, in nats: ``nll``, ``kl``, ``elbo`` (their negative sum), ``null_nll``.

        ``target`` are other counts (n_obs, n_vars) that are scored instead of those that are
        read, as the hidden part of the counts of a spot. ``nll`` is the mean over ``n_draws`` of
        z; ``null_nll`` is that of the negative binomial without latents.
        """
        found = []
        with cpu_threads(self.config.training.threads), seeded(stream(self.seed, "held out")):
            order, rows = self.inputs.rows(adata)
            scored = rows.counts
            if target is not None:
                scored = CSRRows.of(sparse.csr_matrix(target)[order])
            for index in torch.arange(len(rows)).split(ROWS_AT_A_TIME):
                part, counts = rows[index], scored[index]
                size = counts.row_sums().clamp_min(1.0)
                qz, pz = self.network.encode(part)
                drawn = []
                for _ in range(n_draws):
                    logits, pi_logits = self.network.decode(qz.sample(), part.batch)
                    log_theta = self.network.log_theta
                    drawn.append(-softmax_nb_rows(counts, logits, size, log_theta, pi_logits))
                kl = kl_divergence(qz, pz).sum(dim=-1)
                null = self.null.row_nll(counts, size)
                found.append(torch.stack([torch.stack(drawn).mean(dim=0), kl, null]).double())
        columns = [put_back(order, each) for each in torch.cat(found, dim=1).numpy()]
        of_spot, of_prior, of_null = columns
        table = {"nll": of_spot, "kl": of_prior, "elbo": -(of_spot + of_prior), "null_nll": of_null}
        return pd.DataFrame(table)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, latent mixture, scales and depths as arrays; everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network,
            mixture=self.mixture.state(),
            null={"log_share": self.null.log_share, "log_theta": self.null.log_theta},
            inputs=self.inputs.state(),
            depth={**self.depths.state(), "section": self.section_share},
        )
        return arrays, training_facts(self) | {
            "classes": list(self.mixture.classes),
            "sections": list(self.inputs.sections),
            "likelihood": self.likelihood,
            "depth": self.inputs.depth,
            "target_sum": self.depths.target_sum,
        }

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = SpatialGVAEConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.likelihood = facts["likelihood"]
        result.inputs = TissueInputs(
            result.like.var_names,
            facts["depth"],
            config.hops,
            tuple(facts["sections"]),
            **tensors_of(arrays, "inputs"),
        )
        result.network = result._network()
        load_weights(result.network, arrays)
        classes = tuple(facts["classes"])
        result.mixture = LatentMixture.from_state(classes, tensors_of(arrays, "mixture"))
        result.null = NullNB(**tensors_of(arrays, "null"))
        depth = tensors_of(arrays, "depth")
        result.section_share = depth["section"]
        result.depths = Depths.from_state(classes, depth, facts["target_sum"])
        return result


def _normal(moments: Float[Tensor, "n_obs two_n_latent"]) -> Normal:
    loc, log_variance = moments.chunk(2, dim=-1)
    return Normal(loc, (0.5 * log_variance.clamp(*LOG_VARIANCE)).exp(), validate_args=False)


def _measured(norm: nn.BatchNorm1d, x: Tensor, added: float = 0.0) -> Tensor:
    """``norm`` of x, with x for its running statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(x.mean(dim=0))
    norm.running_var.copy_(x.var(dim=0) + added)
    was = norm.training
    out: Tensor = norm.eval()(x)
    norm.train(was)
    return out


def _forget_within(network: nn.Module, n_steps: int) -> None:
    """Let running statistics keep a tenth of what they were ``n_steps``, an epoch, before.

    A tissue of one minibatch makes one step an epoch. With the usual momentum, statistics lag ten
    epochs behind the weights, and the spots set aside are judged by a network that never was.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0 - 0.1 ** (1.0 / n_steps)


def _transposed_product(counts: CSRRows, dense: Tensor) -> Tensor:
    """The transpose of ``counts`` times ``dense``, (n_vars, k)."""
    parts = (counts.values.numpy(), counts.indices.numpy(), counts.indptr.numpy())
    return _tensor(sparse.csr_matrix(parts, shape=counts.shape).T @ dense.numpy())


def _without_rim(rows: TissueRows) -> TissueRows:
    """The spots of a part, reading one another alone."""
    if rows.graph.n_sources == len(rows):
        return rows
    n = len(rows)
    graph = Graph.of(rows.graph.matrix()[:, :n])
    return TissueRows(
        rows.expression[:n], rows.image[:n], rows.counts, rows.library_size, rows.batch, graph
    )


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)
