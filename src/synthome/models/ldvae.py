"""ldvae: a deep encoder and one readable matrix of gene loadings, for counts of single cells.

For a cell with counts x over the p genes of the model, their sum l, and batch s (one-hot):

    z ~ Normal(0, I)                                                                       (1)
    rho = softmax(W z + B s + b)                                                           (2)
    x ~ NegativeBinomial(mu = l rho, theta)            theta of each gene, or gene and batch (3)
    q(z | x) = Normal(m(x), diag(s(x)²))               one hidden layer on log counts      (4)
    loss = KL(q(z | x) || Normal(0, I)) - E_q log p(x | z, s)                              (5)

``likelihood: zinb`` adds zeros with probability sigmoid(W_0 z + B_0 s + b_0) in eq. 3, ``poisson``
lets theta grow without bound, ``auto`` is ``zinb`` for counts that show more zeros than a negative
binomial without latents expects: reads do, molecules do not (Svensson 2020, Nature Biotechnology
38, 147-150. doi:10.1038/s41587-019-0379-5). Loadings are free up to a constant for each column,
which eq. 2 ignores: ``LDVAEGenerator.loadings`` centres them over genes.

A synthetic cell of type y: the types' training cells show a mixture of normals in the latent space,
the aggregated posterior,

    z ~ sum_c w_yc Normal(m_yc, T² S_yc)                                                   (6)

with l drawn log-normal in its type and s as often as in its type; then eqs. 2 and 3. T is 1.

Departures from the published model (LinearSCVI), each of which can be switched back:

* Training starts at the negative binomial without latents, with W and the encoder at the principal
  axes of log rates (``start: moments``), and not at random: at the published budget of epochs, the
  published start is worse than no latents at all on two of three real data sets.
* The decoder has a bias and no batch normalisation, whose running variance rescales each gene.
* The encoder reads counts at a common depth (``encoder_input: rates``), since l is observed.
* Training ends by a rule in steps, on cells set aside for it, and not after so many epochs.
* Zeros are never computed with where a term vanishes there (``distributions``).

Svensson, Gayoso, Yosef, Pachter (2020), Bioinformatics 36, 3418-3421 (eqs. 1-5).
doi:10.1093/bioinformatics/btaa169. Tomczak & Welling (2018), arXiv:1705.07120 (eq. 6).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor, nn
from torch.distributions import Normal

from synthome.anndata_schema import COUNTS, batch_key, scale
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.csr import CSRRows
from synthome.distributions import softmax_nb, softmax_nb_rows, softmax_poisson
from synthome.errors import InputError, NotApplicable
from synthome.generator import class_labels
from synthome.models.depths import Depths, draw_batches, draw_counts, shares_of_batches
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
from synthome.preprocessing.splits import set_aside
from synthome.rng import generator, seeded, stream
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import cpu_threads
from synthome.training.loop import Epoch, fit

EPSILON = 1e-4  # smallest posterior variance, as in LinearSCVI
BATCH_NORM: dict[str, float] = {"momentum": 0.01, "eps": 0.001}  # as there
START_ROWS = 5_000  # that the start is measured on
ROWS_AT_A_TIME = 2_048

TRAINING = TrainingConfig(
    learning_rate=2e-3,
    max_epochs=200,
    batch_size=128,
    steps_per_epoch=100,
    schedule="plateau",
    plateau_factor=0.3,
    plateau_patience=2,
    validation_fraction=0.1,
    patience=5,
    tolerance=2e-4,
)


class LDVAEConfig(Config):
    """Choices of the model; ``published`` in the parameters switches the departures back."""

    n_latent: PositiveInt = 36
    n_hidden: PositiveInt = 128
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    likelihood: Literal["auto", "nb", "zinb", "poisson"] = "auto"
    dispersion: Literal["gene", "gene_batch"] = "gene"
    encoder_input: Literal["rates", "counts"] = "rates"
    decoder_bias: bool = True
    decoder_batch_norm: bool = False
    start: Literal["moments", "random"] = "moments"
    temperature: PositiveFloat | None = None
    max_components: PositiveInt = 5  # of eq. 6, in a type
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


class LDVAE(nn.Module):
    """Eqs. 1-5."""

    depth: Tensor

    def __init__(
        self, n_vars: int, n_batches: int, config: LDVAEConfig, likelihood: str = "nb"
    ) -> None:
        super().__init__()
        self.likelihood, self.n_batches = likelihood, n_batches
        self.encoder_input = config.encoder_input
        self.register_buffer("depth", torch.tensor(1.0))  # at which the encoder reads rates
        self.hidden = nn.Parameter(torch.empty(n_vars, config.n_hidden))
        self.hidden_bias = nn.Parameter(torch.empty(config.n_hidden))
        for parameter in (self.hidden, self.hidden_bias):  # as nn.Linear starts
            nn.init.uniform_(parameter, -(n_vars**-0.5), n_vars**-0.5)
        self.norm = nn.BatchNorm1d(config.n_hidden, **BATCH_NORM)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(config.dropout)
        self.loc = nn.Linear(config.n_hidden, config.n_latent)
        self.log_variance = nn.Linear(config.n_hidden, config.n_latent)
        n_in = config.n_latent + (n_batches if n_batches > 1 else 0)
        self.logits = nn.Linear(n_in, n_vars, bias=config.decoder_bias)  # [W, B] and b of eq. 2
        self.decoder_norm = (
            nn.BatchNorm1d(n_vars, **BATCH_NORM)  # type: ignore[arg-type]
            if config.decoder_batch_norm
            else nn.Identity()
        )
        self.pi_logits = nn.Linear(n_in, n_vars) if likelihood == "zinb" else None
        shape = (n_batches, n_vars) if config.dispersion == "gene_batch" else (n_vars,)
        self.log_theta = nn.Parameter(torch.randn(shape))

    def encode(self, counts: CSRRows, library_size: Float[Tensor, " n_obs"]) -> Normal:
        """Eq. 4."""
        values = counts.values
        if self.encoder_input == "rates":
            values = values * (self.depth / library_size)[counts.rows]
        h = counts.with_values(values.log1p()) @ self.hidden + self.hidden_bias
        h = self.dropout(self.norm(h).relu())
        scale = (self.log_variance(h).exp() + EPSILON).sqrt()
        return Normal(self.loc(h), scale, validate_args=False)

    def conditioned(
        self, z: Float[Tensor, "n_obs n_latent"], batch: Int[Tensor, " n_obs"]
    ) -> Float[Tensor, "n_obs n_in"]:
        """[z, s], what the decoder reads."""
        if self.n_batches == 1:
            return z
        return torch.cat([z, nn.functional.one_hot(batch, self.n_batches).to(z.dtype)], dim=-1)

    def decode(
        self, z: Float[Tensor, "n_obs n_latent"], batch: Int[Tensor, " n_obs"]
    ) -> Float[Tensor, "n_obs n_vars"]:
        """Log rho of eq. 2, up to a constant in each row."""
        logits: Tensor = self.decoder_norm(self.logits(self.conditioned(z, batch)))
        return logits

    def inflation(
        self, z: Float[Tensor, "n_obs n_latent"], batch: Int[Tensor, " n_obs"]
    ) -> Float[Tensor, "n_obs n_vars"] | None:
        """Logit of the probability of an added zero; None without zero inflation."""
        return None if self.pi_logits is None else self.pi_logits(self.conditioned(z, batch))

    def dispersion(self, batch: Int[Tensor, " n_obs"]) -> Float[Tensor, "*n_obs n_vars"]:
        """Log theta of eq. 3, of each gene, or of each gene in each row."""
        return self.log_theta if self.log_theta.ndim == 1 else self.log_theta[batch]

    def loss(
        self,
        counts: CSRRows,
        library_size: Float[Tensor, " n_obs"],
        batch: Int[Tensor, " n_obs"],
        kl_weight: float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 5 in nats per cell."""
        qz = self.encode(counts, library_size)
        z = qz.rsample()
        logits = self.decode(z, batch)
        if self.likelihood == "poisson":
            nll = -softmax_poisson(counts, logits, library_size).mean()
        else:
            pi_logits = self.inflation(z, batch)
            nll = -softmax_nb(counts, logits, library_size, self.dispersion(batch), pi_logits)
        each = _kl(qz).mean(dim=0)  # (n_latent,)
        return {"loss": nll + kl_weight * each.sum(), "nll": nll, "kl": each.sum()}

    def row_nll(
        self,
        counts: CSRRows,
        library_size: Float[Tensor, " n_obs"],
        batch: Int[Tensor, " n_obs"],
        z: Float[Tensor, "n_obs n_latent"],
    ) -> Float[Tensor, " n_obs"]:
        """-log p(x | z, s) of each cell, in nats."""
        logits = self.decode(z, batch)
        if self.likelihood == "poisson":
            return -softmax_poisson(counts, logits, library_size)
        pi_logits = self.inflation(z, batch)
        return -softmax_nb_rows(counts, logits, library_size, self.dispersion(batch), pi_logits)

    @torch.no_grad()
    def begin(self, counts: sparse.csr_matrix, null: NullNB, seed: int) -> None:
        """Start at ``null``, with W and the encoder at the principal axes of log rates.

        Axis k is read by two hidden units, of opposite sign, whose difference after batch
        normalisation and ReLU is the score of the axis in units of its standard deviation. The
        column of W is what one step of Fisher scoring gives for a Poisson law with that score.
        """
        self.log_theta.copy_(_tensor(np.clip(null.log_theta, -5.0, 8.0)).expand_as(self.log_theta))
        if self.logits.bias is not None:
            self.logits.bias.copy_(_tensor(null.log_share))
        self.logits.weight.zero_()
        library_size = np.asarray(counts.sum(axis=1)).ravel()
        k = min(self.loc.out_features, len(self.hidden_bias) // 2, *(n - 1 for n in counts.shape))
        rates = counts
        if self.encoder_input == "rates":
            rates = sparse.diags_array(float(self.depth) / np.maximum(library_size, 1.0)) @ counts
        axes, scores = _principal_axes(sparse.csr_matrix(rates).log1p(), k, seed)
        share = np.exp(null.log_share)
        gain = np.outer(share, library_size @ np.square(scores))
        residual = counts.T @ scores - np.outer(share, library_size @ scores)
        self.logits.weight[:, :k] = _tensor(residual / (gain + 0.5 * np.median(gain)))
        self.hidden[:, :k], self.hidden[:, k : 2 * k] = _tensor(axes), _tensor(-axes)
        read = np.asarray(sparse.csr_matrix(rates).log1p() @ self.hidden.double().numpy())
        self.hidden_bias.zero_()
        self.norm.running_mean.copy_(_tensor(read.mean(axis=0)))  # type: ignore[union-attr]
        self.norm.running_var.copy_(_tensor(read.var(axis=0)))  # type: ignore[union-attr]
        each = torch.arange(k)
        for parameter in (self.loc.weight, self.loc.bias):
            parameter.zero_()
        self.loc.weight[each, each], self.loc.weight[each, k + each] = 1.0, -1.0
        self.log_variance.weight.mul_(0.1)
        self.log_variance.bias.fill_(-2.0)
        if self.pi_logits is not None:  # genes that fall together are zero together
            zeros = 1.0 - np.bincount(counts.indices, minlength=counts.shape[1]) / len(library_size)
            zeros = np.clip(0.7 * zeros, 0.01, 0.99)
            self.pi_logits.bias.copy_(_tensor(np.log(zeros / (1.0 - zeros))))
            self.pi_logits.weight.copy_(-0.3 * self.logits.weight)
            self.log_theta.add_(1.0)


class LDVAEGenerator:
    """ldvae as a generator: fits the raw counts of labelled cells, draws by eqs. 6, 2 and 3."""

    name = "ldvae"

    def __init__(self, config: LDVAEConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit to ``layers["counts"]`` of ``train``, (n_obs, n_vars), with labels in ``obs``.

        Raises
        ------
        NotApplicable
            If there are no counts.
        """
        if COUNTS not in train.layers:
            raise NotApplicable(
                f"{self.name} models counts, but these data are on the {scale(train)} scale and "
                f"have no layers['{COUNTS}']. Give raw counts, or use another model."
            )
        self.like, self.train_labels = like_training(train), labels_of(train)
        self.batches = _batches(train)
        counts = sparse.csr_matrix(train.layers[COUNTS], dtype=np.float32)
        rows = self._rows(train, counts)
        aside = set_aside(train, self.config.training.validation_fraction, self.seed)
        with cpu_threads(self.config.training.threads):
            self._make(counts[~aside])
            self.history = fit(
                self.network,
                [part[_index(~aside)] for part in rows],
                self.config.training,
                seed=self.seed,
                validation=[part[_index(aside)] for part in rows] if aside.any() else None,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
                description=self.name,
            )
            self._measure(train, rows)
        return self

    def _make(self, counts: sparse.csr_matrix) -> None:
        """The network at its start, by the cells that it will be trained on."""
        rng = generator(self.seed, "start")
        some = np.sort(rng.permutation(counts.shape[0])[:START_ROWS])
        part = counts[some].astype(np.float64)
        library_size = np.asarray(part.sum(axis=1)).ravel()
        null = NullNB.fit(part, library_size)
        self.null = null
        self.likelihood = null.likelihood(self.config.likelihood, part, library_size)
        with seeded(self.seed):
            self.network = LDVAE(
                counts.shape[1], max(1, len(self.batches)), self.config, self.likelihood
            )
            self.network.depth.fill_(float(np.median(library_size)))
            if self.config.start == "moments":
                self.network.begin(part, null, self.seed)

    def _rows(self, adata: AnnData, counts: Any = None) -> tuple[CSRRows, Tensor, Tensor]:
        """Counts, their sums, and the number of the batch of each cell.

        Raises
        ------
        InputError
            If genes of the model are missing, or a batch was not seen in training.
        """
        absent = self.like.var_names[~self.like.var_names.isin(adata.var_names)]
        if len(absent):
            raise InputError(
                f"{len(absent):,} of the {self.like.n_vars:,} genes of the model are missing in "
                f"the data, the first being {absent[0]}. Give the cells with the genes of the "
                "training."
            )
        if counts is None:
            if not adata.var_names.equals(self.like.var_names):
                adata = adata[:, self.like.var_names]
            counts = adata.layers[COUNTS]
        rows = CSRRows.of(counts)
        batch = np.zeros(adata.n_obs, dtype=np.int64)
        if len(self.batches) > 1:
            names = adata.obs[batch_key(adata)].astype(str).to_numpy()
            unknown = sorted(set(names) - set(self.batches))
            if unknown:
                raise InputError(
                    f"Batch {unknown[0]!r} was not seen in training, which had "
                    f"{', '.join(self.batches)}. Leave its cells out, or train on them too."
                )
            batch = np.searchsorted(self.batches, names)
        return rows, rows.row_sums(), torch.from_numpy(batch)

    @torch.no_grad()
    def _measure(self, train: AnnData, rows: tuple[CSRRows, Tensor, Tensor]) -> None:
        """What eq. 6 needs, and the depths of the cells of each type."""
        posterior = [self.network.encode(*part[:2]) for part in _in_parts(rows)]
        loc = torch.cat([qz.loc for qz in posterior]).double().numpy()
        variance = torch.cat([qz.scale.square() for qz in posterior]).double().numpy()
        self.mixture = LatentMixture.fit(
            loc, variance, self.train_labels, self.config.max_components, self.seed
        )
        self.depths = Depths.fit(train, rows[1].double().numpy(), self.train_labels)
        self.batch_share = shares_of_batches(
            self.mixture.classes, self.train_labels, rows[2].numpy(), len(self.batches)
        )

    @torch.no_grad()
    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Cells with counts in ``layers`` and their log expression, at their depth, in ``X``.

        ``temperature`` is T of eq. 6.
        """
        hot = temperature or self.config.temperature or 1.0
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        z = self.mixture.draw(wanted, hot, rng)
        batch = draw_batches(self.batch_share, self.mixture.classes, wanted, rng)
        total, of_model = self.depths.draw(wanted, rng)
        counts = self._draw_counts(z, of_model, batch, rng)
        result = self.depths.wrap(counts, total, wanted, self.like)
        if len(self.batches) > 1:
            result.obs[batch_key(self.like)] = np.array(self.batches)[batch]
        return result

    def _draw_counts(
        self, z: np.ndarray, library_size: np.ndarray, batch: np.ndarray, rng: np.random.Generator
    ) -> sparse.csr_matrix:
        """Eqs. 2 and 3, some rows at a time."""
        blocks = []
        for a in range(0, len(z), ROWS_AT_A_TIME):
            part = slice(a, a + ROWS_AT_A_TIME)
            codes = torch.from_numpy(batch[part])
            mu = self._mu(z[part], library_size[part], codes)
            theta = None
            if self.likelihood != "poisson":
                theta = self.network.dispersion(codes).exp().double().numpy()
            logits = self.network.inflation(_tensor(z[part]), codes)
            pi = None if logits is None else logits.sigmoid().numpy()
            blocks.append(draw_counts(mu, theta, pi, rng))
        return sparse.vstack(blocks, format="csr")

    @torch.no_grad()
    def embed(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_latent"]:
        """Posterior mean of each cell: m(x) of eq. 4."""
        with cpu_threads(self.config.training.threads):
            parts = [self.network.encode(*part[:2]).loc for part in _in_parts(self._rows(adata))]
        return torch.cat(parts).double().numpy()

    @torch.no_grad()
    def decode(
        self,
        z: Float[np.ndarray, "n_obs n_latent"],
        library_size: Float[np.ndarray, " n_obs"],
        batch: Int[np.ndarray, " n_obs"] | None = None,
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Expected counts, added zeros included; ``library_size`` is that of the model's genes."""
        codes = torch.from_numpy(np.zeros(len(z), dtype=np.int64) if batch is None else batch)
        with cpu_threads(self.config.training.threads):
            mu = self._mu(z, library_size, codes)
            pi_logits = self.network.inflation(_tensor(z), codes)
        return mu if pi_logits is None else mu * (1.0 - pi_logits.double().sigmoid().numpy())

    def _mu(self, z: np.ndarray, library_size: np.ndarray, batch: Tensor) -> np.ndarray:
        """Mu of eq. 3."""
        rho = self.network.decode(_tensor(z), batch).double().softmax(dim=-1).numpy()
        return rho * np.asarray(library_size, dtype=np.float64)[:, None]

    def expected(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_vars"]:
        """Expected counts of each cell given its posterior mean."""
        _, library_size, batch = self._rows(adata)
        return self.decode(self.embed(adata), library_size.double().numpy(), batch.numpy())

    def decoder(self, adata: AnnData) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Expected counts of given latents in the place of rows of ``adata``: their l and batch."""
        _, library_size, batch = self._rows(adata)

        def decode(z: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return self.decode(z, library_size.double().numpy()[rows], batch.numpy()[rows])

        return decode

    @torch.no_grad()
    def cell_scores(self, adata: AnnData, n_draws: int = 5) -> pd.DataFrame:
        """Of each cell, in nats: ``nll``, ``kl``, ``elbo`` (their negative sum), ``null_nll``.

        ``nll`` is the mean over ``n_draws`` of z; ``null_nll`` is that of the negative binomial
        without latents, fitted to the same training cells.
        """
        parts = []
        with cpu_threads(self.config.training.threads), seeded(stream(self.seed, "held out")):
            for counts, library_size, batch in _in_parts(self._rows(adata)):
                qz = self.network.encode(counts, library_size)
                drawn = [
                    self.network.row_nll(counts, library_size, batch, qz.sample())
                    for _ in range(n_draws)
                ]
                kl = _kl(qz).sum(dim=-1)
                null = self.null.row_nll(counts, library_size)
                parts.append(torch.stack([torch.stack(drawn).mean(dim=0), kl, null]).double())
        nll, kl, null_nll = torch.cat(parts, dim=1).numpy()
        return pd.DataFrame({"nll": nll, "kl": kl, "elbo": -(nll + kl), "null_nll": null_nll})

    def held_out(self, adata: AnnData, n_draws: int = 5) -> dict[str, float]:
        """Mean of ``cell_scores`` over cells."""
        return self.cell_scores(adata, n_draws).mean().to_dict()

    @property
    def loadings(self) -> Float[np.ndarray, "n_vars n_latent"]:
        """W of eq. 2, each column centred over genes; batch normalisation folded in."""
        weight = self.network.logits.weight.detach().double()[:, : self.config.n_latent]
        norm = self.network.decoder_norm
        if isinstance(norm, nn.BatchNorm1d):
            assert norm.running_var is not None
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * gain.detach().double()[:, None]
        return (weight - weight.mean(dim=0)).numpy()

    @property
    def theta(self) -> Float[np.ndarray, " n_vars"]:
        """Inverse dispersion of each gene; the geometric mean over batches where each has its own.

        Infinite for a Poisson law.
        """
        if self.likelihood == "poisson":
            return np.full(self.like.n_vars, np.inf)
        log_theta = self.network.log_theta.detach().double()
        return log_theta.reshape(-1, self.like.n_vars).mean(dim=0).exp().numpy()

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, latent mixture and depths as arrays; everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network,
            mixture=self.mixture.state(),
            null={"log_share": self.null.log_share, "log_theta": self.null.log_theta},
            depth={**self.depths.state(), "batch": self.batch_share},
        )
        return arrays, training_facts(self) | {
            "classes": list(self.mixture.classes),
            "batches": list(self.batches),
            "likelihood": self.likelihood,
            "target_sum": self.depths.target_sum,
        }

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The generator that ``state`` described."""
        config = LDVAEConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.batches = tuple(facts["batches"])
        result.likelihood = facts["likelihood"]
        result.network = LDVAE(
            result.like.n_vars, max(1, len(result.batches)), config, result.likelihood
        )
        load_weights(result.network, arrays)
        classes = tuple(facts["classes"])
        result.mixture = LatentMixture.from_state(classes, tensors_of(arrays, "mixture"))
        result.null = NullNB(**tensors_of(arrays, "null"))
        depth = tensors_of(arrays, "depth")
        result.depths = Depths.from_state(classes, depth, facts["target_sum"])
        result.batch_share = depth["batch"]
        return result


def _batches(train: AnnData) -> tuple[str, ...]:
    """Names of the batches, in order; none when the cells have no batch column."""
    key = batch_key(train)
    return () if key is None else tuple(np.unique(train.obs[key].astype(str)))


def _principal_axes(
    x: sparse.csr_matrix, k: int, seed: int
) -> tuple[Float[np.ndarray, "n_vars k"], Float[np.ndarray, "n_obs k"]]:
    """Axes over their standard deviation, and the scores of unit variance that they give."""
    from sklearn.decomposition import PCA

    pca = PCA(k, svd_solver="arpack", random_state=seed).fit(x)
    axes = pca.components_.T / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))
    scores = np.asarray(x @ axes)
    return axes, scores - scores.mean(axis=0)


def _in_parts(rows: tuple[CSRRows, Tensor, Tensor]) -> Iterator[tuple[CSRRows, Tensor, Tensor]]:
    for index in torch.arange(len(rows[0])).split(ROWS_AT_A_TIME):
        yield rows[0][index], rows[1][index], rows[2][index]


def _kl(qz: Normal) -> Float[Tensor, "n_obs n_latent"]:
    """KL(q || Normal(0, 1)) of each latent: eq. 5, in half the operations of ``kl_divergence``."""
    return 0.5 * (qz.loc.square() + qz.scale.square() - 1.0) - qz.scale.log()


def _index(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)
