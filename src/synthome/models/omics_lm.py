"""omics_lm: a causal language model that reads a transcriptome as text, and writes one.

The k genes of a phenotype signature become symbols of a lookup table (``encoding``); with T their
text, c the token of the class, and p(t | s) the network's probability of token t after tokens s:

    text <LABEL> c <EOS>                              reading                              (1)
    c text <EOS>                                      writing                              (2)
    loss = -(1 - b) log p(c | T' <LABEL>) - b / k sum_j log p(c_j | T' <LABEL>)
           - a / n sum log p(t | tokens before)                                            (3)
    P(class j | T) = p(c_j | T <LABEL>) / sum_i p(c_i | T <LABEL>)                         (4)

where the last sum of eq. 3 runs over the n other tokens of both forms, a is ``text_weight`` and b
``smoothing`` over the k classes. T' is the text in which each symbol, with probability
``corruption``, is that of the same gene in another row of the minibatch: synthetic patients are
told apart by any few genes, real ones are not, and the model must not rely on few. A
cohort of fewer than a hundred patients teaches no language: training rows are synthetic patients,
drawn by a sampler that was fitted to the training patients, ``class_size`` new rows of each class.
Classifiers that are compared with the model learn from the same rows (``corpus``).

A synthetic sample is written token by token after its class (eq. 2), each drawn from p among the
symbols that training rows have, with a separator where one belongs: any text decodes. The genes
outside the signature follow given those inside (``remainder``).

Departures from the published system, which options bring back:

* The class is read by eq. 4, which has a probability and no chance. Published: three beams, sampled
  among all tokens (``decoding: sample``).
* Validation patients are set aside before rows are drawn. Published: rows of the same patients are
  on both sides (``validation: rows``).
* A small Llama (``network``) from scratch, whose symbols start where their values are (``start:
  values``) and which is told the gene of each place (``slots``), in the place of a pretrained one
  of 1.7 billion parameters (``pretrained``); on the cohorts of docs/log.md each of them matters.

Janakarajan et al. (2025), IEEE ICDH. Janakarajan, Graziani, Rodríguez Martínez (2025),
Bioinformatics Advances 5, vbaf124. doi:10.1093/bioadv/vbaf124 (the samplers).
Szegedy et al. (2016), arXiv:1512.00567 (b). Vincent et al. (2008), ICML (T').
doi:10.1145/1390156.1390294
Bishop (1995), Neural Networks for Pattern Recognition, section 5.2 (radial functions of a value).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synthome.anndata_schema import COUNTS, expression
from synthome.anndata_schema import labels as labels_of
from synthome.augmentation import new_rows
from synthome.config import Config
from synthome.encoding.lookup_table import LookupTable, LookupTableConfig
from synthome.encoding.vocabulary import Vocabulary
from synthome.errors import InputError
from synthome.generator import Generator, as_synthetic, class_labels
from synthome.models.llama import Cache, Llama, LlamaConfig
from synthome.models.persistence import (
    arrays_of,
    like_training,
    load_weights,
    tensors_of,
    training_facts,
    with_training_facts,
)
from synthome.models.pretrained import PretrainedConfig, load_pretrained, merge_lora
from synthome.models.registry import Architecture
from synthome.models.remainder import Remainder
from synthome.preprocessing.splits import set_aside
from synthome.rng import generator, seeded
from synthome.samplers.signatures import signature_blocks
from synthome.training.config import TrainingConfig, onto
from synthome.training.device import autocast, cpu_threads, pick_device
from synthome.training.loop import Epoch, fit
from synthome.training.throughput import matrix_peak, operations_per_token

logger = logging.getLogger(__name__)

MOST_MISSING = 0.5  # of the signature, beyond which nothing is read
ROWS_AT_A_TIME = 256
BEAMS = 3  # of the published decoding
CENTRES = torch.linspace(-3.0, 3.0, 13)  # of radial functions of z
WIDTH = 0.6

TRAINING = TrainingConfig(
    learning_rate=5e-4,
    max_epochs=6,
    batch_size=32,
    optimizer="adamw",
    betas=(0.9, 0.95),
    weight_decay=0.1,
    max_grad_norm=1.0,
    schedule="cosine_steps",
    warmup_steps=50,
)


class OmicsLMConfig(Config):
    """Choices of the model.

    The signature is ``uns["signatures"]`` of the cohort, or else ``n_genes`` genes that tell the
    classes of the training rows apart. ``sampler: null`` draws around five random patients at a
    time: counts by ``law``, log expression by a normal one. ``class_size`` rows of each
    class are drawn; it reads what ``class_sizes`` of the sampling does.
    """

    n_genes: PositiveInt = 40
    sampler: Architecture | None = None
    law: Literal["negative_binomial", "gamma_poisson", "poisson"] = "negative_binomial"
    class_size: PositiveInt | str = 1000
    table: LookupTableConfig = LookupTableConfig()
    network: LlamaConfig = LlamaConfig()
    pretrained: PretrainedConfig | None = None  # in the place of ``network``
    slots: bool = True
    start: Literal["values", "random"] = "values"
    text_weight: NonNegativeFloat = 1.0
    writing: float = Field(default=0.25, ge=0.0, lt=1.0)  # share of a minibatch in form 2
    corruption: float = Field(default=0.3, ge=0.0, lt=1.0)
    smoothing: float = Field(default=0.05, ge=0.0, lt=1.0)
    decoding: Literal["compare", "sample"] = "compare"
    validation: Literal["patients", "rows"] = "patients"
    max_length: PositiveInt = 2048  # tokens
    temperature: PositiveFloat | None = None
    training: Annotated[TrainingConfig, onto(TRAINING)] = TRAINING


@dataclass(frozen=True, eq=False)
class Corpus:
    """What the model and its rivals learn from: synthetic rows, and real ones to stop by.

    Attributes
    ----------
    genes
        The signature, in the order of the columns of all parts.
    x, labels
        Log expression of synthetic rows.
    real, real_labels
        Of the training patients that rows were drawn from; these decide the lookup table.
    aside, aside_labels
        Of rows that end training: patients set aside, or synthetic rows. None by default.
    """

    genes: tuple[str, ...]
    x: Float[np.ndarray, "n_rows k"]
    labels: np.ndarray
    real: Float[np.ndarray, "n_real k"]
    real_labels: np.ndarray
    aside: Float[np.ndarray, "n_aside k"]
    aside_labels: np.ndarray


class OmicsLM(nn.Module):
    """Eqs. 1-3."""

    def __init__(self, vocabulary: Vocabulary, network: Llama, config: OmicsLMConfig) -> None:
        super().__init__()
        self.vocabulary, self.network = vocabulary, network
        self.text_weight, self.writing = config.text_weight, config.writing
        self.corruption, self.smoothing = config.corruption, config.smoothing

    def loss(
        self,
        text: Int[Tensor, "n_obs length"],
        label: Int[Tensor, " n_obs"],
        kl_weight: float = 1.0,  # noqa: ARG002 (there is no KL)
    ) -> dict[str, Float[Tensor, ""]]:
        """Eq. 3 in nats; the first rows are written, the others read."""
        n_written = round(self.writing * len(text)) if self.training else 0
        seen = self.corrupted(text) if self.training and self.corruption else text
        terms = self.read(seen[n_written:], label[n_written:])
        if n_written:
            written = self.write(text[:n_written], label[:n_written])
            share = n_written / len(text)
            terms["text"] = (1 - share) * terms["text"] + share * written
        return {"loss": terms["label"] + self.text_weight * terms["text"]} | terms

    def corrupted(self, text: Int[Tensor, "n_obs length"]) -> Int[Tensor, "n_obs length"]:
        """Each symbol, with probability ``corruption``, that of the same gene in another row."""
        swapped = torch.rand(text.shape, device=text.device) < self.corruption
        other = torch.randint(len(text), text.shape, device=text.device)
        return torch.where(swapped, text.gather(0, other), text)

    def read(
        self, text: Int[Tensor, "n_obs length"], label: Int[Tensor, " n_obs"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Both terms of eq. 3 in form 1."""
        tokens = self.form_1(text, label)  # (n_obs, length + 3)
        logits = self.logits(tokens[:, :-1])
        n = text.shape[1]
        answer = logits[:, n].log_softmax(dim=-1)
        right = answer.gather(1, tokens[:, n + 1 : n + 2]).mean()
        anywhere = answer[:, self.vocabulary.classes].mean()
        of_label = -(1.0 - self.smoothing) * right - self.smoothing * anywhere
        others = torch.cat([logits[:, :n], logits[:, n + 1 :]], dim=1)
        wanted = torch.cat([tokens[:, 1 : n + 1], tokens[:, n + 2 :]], dim=1)
        return {"label": of_label, "text": _mean_entropy(others, wanted)}

    def write(
        self, text: Int[Tensor, "n_obs length"], label: Int[Tensor, " n_obs"]
    ) -> Float[Tensor, ""]:
        """The second term of eq. 3 in form 2."""
        words = self.vocabulary
        end = text.new_full((len(text), 1), words.eos)
        tokens = torch.cat([label[:, None] + words.first_class, text, end], dim=1)
        return _mean_entropy(self.logits(tokens[:, :-1], start=0), tokens[:, 1:])

    def form_1(
        self, text: Int[Tensor, "n_obs length"], label: Int[Tensor, " n_obs"]
    ) -> Int[Tensor, "n_obs length_3"]:
        """Tokens of eq. 1."""
        words = self.vocabulary
        ask, end = (text.new_full((len(text), 1), token) for token in (words.label, words.eos))
        return torch.cat([text, ask, label[:, None] + words.first_class, end], dim=1)

    def logits(
        self, tokens: Int[Tensor, "n_obs length"], start: int = 1
    ) -> Float[Tensor, "n_obs length n_tokens"]:
        """Log p of the next token, up to a constant; the first token is in slot ``start``.

        In form 2 the class has slot 0, so that each gene has the same slot in both forms.
        """
        h, _ = self.network(tokens, self.slots(start, tokens))
        return self.network.logits(h)

    def slots(self, start: int, tokens: Tensor) -> Tensor:
        """Slots of ``tokens``."""
        return torch.arange(start, start + tokens.shape[1], device=tokens.device).expand_as(tokens)

    def class_logits(self, text: Int[Tensor, "n_obs length"]) -> Float[Tensor, "n_obs n_tokens"]:
        """Log p of what follows ``text <LABEL>``, up to a constant."""
        ask = text.new_full((len(text), 1), self.vocabulary.label)
        tokens = torch.cat([text, ask], dim=1)
        h, _ = self.network(tokens, self.slots(1, tokens))
        return self.network.logits(h[:, -1])

    def draw(
        self,
        label: Int[Tensor, " n_obs"],
        allowed: Float[Tensor, " n_symbols"],
        temperature: float,
        rng: torch.Generator,
    ) -> Int[Tensor, "n_obs length"]:
        """Texts of the classes ``label``.

        ``allowed`` is 0 for symbols that may occur, and minus infinity for others.
        """
        words = self.vocabulary
        is_letter = np.isin(np.arange(words.text_length), words.letters)
        token = (label + words.first_class)[:, None]
        cache: Cache | None = None
        written = []
        for place, letter in enumerate(is_letter):
            h, cache = self.network(token, torch.full_like(token, place), cache)
            if letter:
                symbols = slice(0, words.n_symbols)
                logits = self.network.logits(h[:, -1], symbols)
                p = (logits.float() / temperature + allowed).softmax(dim=-1)
                token = torch.multinomial(p, 1, generator=rng)
            else:
                token = torch.full_like(token, words.separator)
            written.append(token)
        return torch.cat(written, dim=1)


class OmicsLMGenerator:
    """omics_lm fitted to a labelled cohort: it reads patients, and writes synthetic ones."""

    name = "omics_lm"

    def __init__(self, config: OmicsLMConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.train_labels, self.history = np.array([], dtype=str), pd.DataFrame()

    def fit(
        self,
        train: AnnData,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Draw synthetic patients, learn from them, and learn how the other genes follow.

        ``X`` of ``train`` is log expression, (n_obs, n_vars), with labels in ``obs``; with
        ``layers["counts"]`` the sampler draws counts.

        Raises
        ------
        InputError
            If there is one class only, the signature is not in the data, or a text would be too
            long.
        """
        self.learn(self.corpus(train), on_epoch=on_epoch, checkpoint=checkpoint)
        self.like, self.train_labels = like_training(train), labels_of(train)
        columns = train.var_names.get_indexer(pd.Index(self.genes))
        self.remainder = Remainder.fit(expression(train), self.train_labels, columns)
        return self

    def corpus(self, train: AnnData) -> Corpus:
        """The rows that are learned from, of training rows alone."""
        labels = labels_of(train)
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"A model that names classes needs two or more, but all {train.n_obs} training "
                f"rows are {labels[0] if len(labels) else 'absent'}. Use another label column."
            )
        aside = np.zeros(train.n_obs, dtype=bool)
        fraction = self.config.training.validation_fraction
        if self.config.validation == "patients":
            aside = set_aside(train, fraction, self.seed)
            if len(np.unique(labels[~aside])) < len(np.unique(labels)):
                raise InputError(
                    f"Setting {fraction:.0%} of the {train.n_obs} training patients aside leaves a "
                    "class without a row. Set training.validation_fraction to 0."
                )
        kept = train[~aside]
        genes = self._signature(kept)
        x = expression(train[:, list(genes)])
        drawn = self._drawn(kept[:, list(genes)].copy())
        rows, of_rows = expression(drawn), labels_of(drawn)
        held, of_held = x[aside], labels[aside]
        if self.config.validation == "rows" and fraction > 0:
            order = generator(self.seed, "rows aside").permutation(len(rows))
            n_held = round(fraction * len(rows))
            held, of_held = rows[order[:n_held]], of_rows[order[:n_held]]
            rows, of_rows = rows[order[n_held:]], of_rows[order[n_held:]]
        return Corpus(genes, rows, of_rows, x[~aside], labels[~aside], held, of_held)

    def learn(
        self,
        corpus: Corpus,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit the network to the rows of ``corpus``; it can read then, and not yet write."""
        self.genes = corpus.genes
        self.classes = tuple(str(c) for c in np.unique(corpus.real_labels))
        self.table = LookupTable.fit(corpus.real, self.config.table)
        self.words = Vocabulary.of(self.table, len(self.classes))
        self._check_length()
        codes = self.table.codes(corpus.x)
        self.seen = np.bincount(codes.ravel(), minlength=self.words.n_symbols) > 0
        self.clipped = self.table.clipped_fraction(corpus.x)
        with cpu_threads(self.config.training.threads):
            self.network = self._begin()
            start = time.perf_counter()
            self.history = fit(
                self.network,
                self._rows(corpus.x, corpus.labels),
                self.config.training,
                seed=self.seed,
                validation=self._rows(corpus.aside, corpus.aside_labels)
                if len(corpus.aside)
                else None,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
                description=self.name,
            )
            self._tell_speed(len(corpus.x), time.perf_counter() - start)
            merge_lora(self.network)
        return self

    def _tell_speed(self, n_rows: int, seconds: float) -> None:
        """Tokens per second, and as a share of the matrix peak of this device."""
        training, network = self.config.training, self.network.network.config
        device = pick_device(training.device)
        length = self.words.n_positions - 1
        rate = len(self.history) * n_rows * length / max(seconds, 1e-9)
        needed = operations_per_token(
            self.network.network, network.n_layers, network.n_hidden, length
        )
        peak = matrix_peak(device, training.precision, training.threads)
        logger.info(
            "%s: %s tokens per second in training, %.0f %% of the matrix peak of this %s.",
            self.name, f"{rate:,.0f}", 100 * rate * needed / peak, device.type,
        )  # fmt: skip

    def _signature(self, train: AnnData) -> tuple[str, ...]:
        """Genes of the signatures that the cohort brings, or else those of its classes."""
        per_class = max(1, self.config.n_genes // len(np.unique(labels_of(train))))
        blocks = signature_blocks(train, per_class)
        return tuple(train.var_names[np.concatenate(list(blocks.values()))].astype(str))

    def _drawn(self, real: AnnData) -> AnnData:
        """Synthetic patients of each class, on the genes of the signature."""
        sampler = self.config.sampler
        if sampler is None:
            law = self.config.law if COUNTS in real.layers else "normal"
            sampler = Architecture(generator="moments", options={"law": law})
        fitted: Generator = sampler.build(self.seed).fit(real)
        sizes = new_rows(self.config.class_size, labels_of(real))
        wanted = np.repeat(list(sizes), list(sizes.values())).tolist()
        return fitted.sample(len(wanted), wanted, generator(self.seed, "corpus"))

    def _check_length(self) -> None:
        n, most = self.words.n_positions, self.config.max_length
        if n > most:
            raise InputError(
                f"A text of {self.words.n_vars:,} genes in patches of {self.words.patch_size} has "
                f"{n:,} tokens, label included, and the model reads {most:,} at most. Use fewer "
                "genes (n_genes, or a shorter signature), larger patches (patch_size), or a model "
                "with a longer context (max_length)."
            )

    def _begin(self) -> OmicsLM:
        """The network before training."""
        n_slots = self.words.n_positions if self.config.slots else 0
        with seeded(self.seed):
            if self.config.pretrained is not None:
                strings = self.words.strings(self.table)
                network = load_pretrained(
                    self.config.pretrained, strings, n_slots, self.words.n_positions
                )
                return OmicsLM(self.words, network, self.config)
            network = Llama(len(self.words), self.config.network, n_slots)
            if self.config.start == "values":
                levels = torch.from_numpy(self.table.code_levels).float()
                start_at_values(network.embed_tokens.weight, levels)
        return OmicsLM(self.words, network, self.config)

    def _rows(self, x: Float[np.ndarray, "n k"], labels: np.ndarray) -> list[Tensor]:
        return [self._text(x), torch.from_numpy(np.searchsorted(self.classes, labels))]

    def _text(self, x: Float[np.ndarray, "n k"]) -> Int[Tensor, "n length"]:
        return torch.from_numpy(self.words.tokens(self.table.codes(x)))

    def values(self, adata: AnnData) -> Float[np.ndarray, "n_obs k"]:
        """Log expression of the signature genes; a gene that is missing has its training mean.

        Raises
        ------
        InputError
            If more than half of them are missing.
        """
        at = adata.var_names.get_indexer(pd.Index(self.genes))
        missing = [gene for gene, column in zip(self.genes, at, strict=True) if column < 0]
        if len(missing) > MOST_MISSING * len(self.genes):
            raise InputError(
                f"{len(missing)} of the {len(self.genes)} genes of the signature are not in these "
                f"data: {', '.join(missing)}. At least half are needed; are the names of the same "
                "kind as in training?"
            )
        if missing:
            logger.warning(
                "%d of %d genes of the signature are not in these data and are set to their "
                "training mean: %s.", len(missing), len(self.genes), ", ".join(missing),
            )  # fmt: skip
        x = np.tile(self.table.shift, (adata.n_obs, 1))
        x[:, at >= 0] = expression(adata[:, at[at >= 0]])
        return x

    def read(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_classes"]:
        """Probability of each of ``classes``: eq. 4."""
        return self.probabilities(self.values(adata))

    def probabilities(
        self, x: Float[np.ndarray, "n_obs k"]
    ) -> Float[np.ndarray, "n_obs n_classes"]:
        """The same of signature genes in the order of ``genes``."""
        found = [
            logits[:, self.words.classes].softmax(dim=-1).numpy() for logits in self._after_label(x)
        ]
        return np.concatenate([np.zeros((0, len(self.classes))), *found])

    def named(self, x: Float[np.ndarray, "n_obs k"], rng: np.random.Generator) -> np.ndarray:
        """Class of each row by the decoding of the configuration; "" where none was named.

        The published decoding samples: ``BEAMS`` distinct tokens are drawn in proportion to their
        probability among all tokens, and the likeliest of them is the answer.
        """
        names = np.array([*self.classes, ""])
        if self.config.decoding == "compare":
            return names[self.probabilities(x).argmax(axis=1)]
        answers = []
        for logits in self._after_label(x):
            noise = torch.from_numpy(rng.gumbel(size=tuple(logits.shape)))
            drawn = (logits + noise).topk(BEAMS, dim=-1).indices  # without replacement
            best = drawn.gather(1, logits.gather(1, drawn).argmax(dim=-1, keepdim=True))[:, 0]
            answers.append(best.numpy() - self.words.first_class)
        code = np.concatenate([np.zeros(0, dtype=np.int64), *answers])
        code[(code < 0) | (code >= len(self.classes))] = len(self.classes)
        return names[code]

    def _after_label(
        self, x: Float[np.ndarray, "n_obs k"]
    ) -> Iterator[Float[Tensor, "m n_tokens"]]:
        """Logits of what follows the label token, some rows at a time, in double precision."""
        with self._at_work() as device:
            for rows in self._text(x).split(ROWS_AT_A_TIME):
                yield self.network.class_logits(rows.to(device)).double().cpu()

    def encode(self, adata: AnnData) -> list[str]:
        """Texts of samples, as they are read."""
        return self.table.encode(self.values(adata))

    def write(
        self,
        labels: np.ndarray,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> Float[np.ndarray, "n_obs k"]:
        """Log expression of the signature genes of new samples of the classes ``labels``."""
        hot = temperature or self.config.temperature or 1.0
        allowed = np.where(self.seen, 0.0, -np.inf)
        texts: list[np.ndarray] = []
        with self._at_work() as device:
            noise = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
            code = torch.from_numpy(np.searchsorted(self.classes, labels))
            bias = torch.from_numpy(allowed).float().to(device)
            texts.extend(
                self.network.draw(some.to(device), bias, hot, noise).cpu().numpy()
                for some in code.split(ROWS_AT_A_TIME)
            )
        tokens = np.concatenate([np.zeros((0, self.words.text_length), dtype=np.int64), *texts])
        return self.table.from_codes(self.words.codes(tokens))

    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Written signature genes (eq. 2), and the others given them; ``temperature`` 1 by default.

        Below 1, likely symbols become likelier, and other genes keep closer to what these say.
        """
        wanted = class_labels(n_obs, labels, self.train_labels, rng)
        hot = temperature or self.config.temperature or 1.0
        x = self.remainder.draw(self.write(wanted, rng, hot), wanted, rng, hot)
        return as_synthetic(x, wanted, self.like)

    @contextmanager
    def _at_work(self) -> Iterator[torch.device]:
        """The network where it is fastest, without gradients."""
        device = pick_device(self.config.training.device)
        with (
            torch.no_grad(),
            cpu_threads(self.config.training.threads),
            autocast(device, self.config.training.precision),
        ):
            self.network.to(device)
            try:
                yield device
            finally:
                self.network.cpu()

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights and remainder as arrays; table, signature and everything else as plain JSON."""
        arrays = arrays_of(
            network=self.network, remainder=self.remainder.state(), symbols={"seen": self.seen}
        )
        return arrays, training_facts(self) | {
            "classes": list(self.classes),
            "genes": list(self.genes),
            "table": self.table.to_json(),
            "clipped": self.clipped,
            "network": self.network.network.config.model_dump(),
        }

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The model that ``state`` described.

        Raises
        ------
        InputError
            If its lookup table is damaged, or was made with other parameters.
        """
        config = OmicsLMConfig.model_validate(facts["config"])
        result = with_training_facts(cls(config, facts["seed"]), facts)
        result.classes, result.genes = tuple(facts["classes"]), tuple(facts["genes"])
        result.table = LookupTable.from_json(facts["table"])
        result.table.check_same(config.table)
        result.words = Vocabulary.of(result.table, len(result.classes))
        result.clipped = facts["clipped"]
        result.seen = tensors_of(arrays, "symbols")["seen"].astype(bool)
        shape = LlamaConfig.model_validate(facts["network"])
        n_slots = result.words.n_positions if config.slots else 0
        network = Llama(len(result.words), shape, n_slots)
        result.network = OmicsLM(result.words, network, config)
        load_weights(result.network, arrays)
        result.remainder = Remainder.from_state(result.classes, tensors_of(arrays, "remainder"))
        return result


@torch.no_grad()
def start_at_values(embedding: Tensor, levels: Float[Tensor, " n_symbols"]) -> None:
    """Fill the rows of symbols with a random map of their values: near values, near vectors.

    The features of a value z are z itself and 13 radial functions of it; a random start would leave
    each of 513 symbols to be learned from its own few occurrences.
    """
    z = levels.clamp(-4.0, 4.0)[:, None]
    features = torch.cat([z, torch.exp(-0.5 * ((z - CENTRES) / WIDTH).square())], dim=1)
    random_map = torch.randn(features.shape[1], embedding.shape[1])
    embedding[: len(levels)] = features @ random_map * embedding.std()


def _mean_entropy(
    logits: Float[Tensor, "n_obs length n_tokens"], wanted: Int[Tensor, "n_obs length"]
) -> Float[Tensor, ""]:
    """Cross entropy of a token, in nats."""
    return cross_entropy(logits.flatten(0, 1), wanted.flatten())
