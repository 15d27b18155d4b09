"""A language model that reads patients, beside plain classifiers that learned from the same rows.

On each fold the same rows train five models: the language model, logistic regression, a random
forest, five nearest neighbours and a small network. They are asked about real patients whom neither
they nor the sampler has seen. Four kinds of rows:

``drawn``   synthetic patients, by a sampler fitted to the training patients
``real``    the training patients themselves: what all of it has to reach (the ceiling)
``noise``   independent normal noise per class and gene, as many rows as are drawn (the floor)
``copies``  copies of training patients, as many rows as are drawn (the cheat)

and two protocols. ``strict`` is the above. ``published`` draws the rows from all patients and asks
about these same patients, with the table, the sampler and the decoding of the published system: its
scores say how well rows are remembered.

What is handed on is attacked: who of the candidates was a training patient, told from the rows
(``privacy``), and from their texts alone,

    score = - min over released texts t of Levenshtein(text of the candidate, t)            (1)

Janakarajan et al. (2025), IEEE ICDH (the published protocol, read from the code).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt

from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.evaluation import privacy
from synthome.evaluation.calibration import brier, expected_calibration_error
from synthome.evaluation.classifiers import (
    Classifier,
    fit_forest,
    fit_neighbours,
    fit_network,
    standardised_logistic,
)
from synthome.evaluation.distances import nearest_text
from synthome.evaluation.fold import folds_of, labelled_rows, transformed_parts
from synthome.evaluation.parallel import in_order
from synthome.evaluation.rates import auc, auc_interval
from synthome.evaluation.utility import balanced_accuracy, macro_auc
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.rng import generator
from synthome.samplers.controls import Copies, IndependentNoise

LM = "language_model"
CLASSICAL = ("logistic", "forest", "neighbours", "network")
ARMS = ("drawn", "real", "noise", "copies")
TEXT_ATTACK = "text"
SCORES = ("balanced_accuracy", "macro_f1", "auc", "brier", "ece")
SCORE_COLUMNS = [
    "protocol",
    "arm",
    "model",
    "repeat",
    "fold",
    "n_train",
    "n_test",
    "metric",
    "value",
]
RAW_COLUMNS = ["arm", "attack", "repeat", "fold", "member", "score"]
ANSWER_COLUMNS = ["protocol", "repeat", "fold", "true", "called", "confidence"]


class MatchedConfig(Config):
    """Choices of the comparison.

    Attributes
    ----------
    lm_repeats
        Repeats of the folds in which the language model is trained; the others have the classical
        models alone, which cost little.
    lm_on_controls
        Train it on real rows, noise and copies too.
    n_written
        Rows of each class that it writes, to be attacked.
    """

    lm_repeats: NonNegativeInt = 1
    lm_on_controls: bool = False
    published: bool = True
    n_written: PositiveInt = 100
    n_jobs: int = 1
    seed: NonNegativeInt = 0


@runtime_checkable
class PatientReader(Protocol):
    """What the comparison asks of a language model; see ``models.omics_lm``."""

    genes: tuple[str, ...]
    classes: tuple[str, ...]
    table: Any

    def corpus(self, train: AnnData) -> Any:
        """The rows to learn from, and the real ones that they were drawn from."""
        ...

    def learn(self, corpus: Any) -> Any:
        """Fit to these rows."""
        ...

    def values(self, adata: AnnData) -> Float[np.ndarray, "n_obs k"]:
        """Signature genes."""
        ...

    def probabilities(self, x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n n_classes"]:
        """Of each class."""
        ...

    def named(self, x: Float[np.ndarray, "n k"], rng: np.random.Generator) -> np.ndarray:
        """Class of each row."""
        ...

    def write(self, labels: np.ndarray, rng: np.random.Generator) -> Float[np.ndarray, "n k"]:
        """Signature genes of new rows."""
        ...


Make = Callable[[int], PatientReader]
Labelled = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Matched:
    """Results.

    Attributes
    ----------
    scores
        Columns protocol, arm, model, repeat, fold, n_train (rows), n_test, metric, value.
    answers
        Of the language model, a row for each held-out patient: protocol, repeat, fold, true,
        called ("" for none), confidence.
    attacks
        Of each attack on each released set: arm (drawn, written, noise, copies), attack, auc, low,
        high, n_members, n_others.
    """

    scores: pd.DataFrame
    answers: pd.DataFrame
    attacks: pd.DataFrame


def compare(
    adata: AnnData,
    make: Make,
    make_published: Make,
    transform: TransformConfig,
    config: MatchedConfig,
) -> Matched:
    """Train and ask all models on every fold that ``obs["fold_r"]`` defines.

    Parameters
    ----------
    adata
        The cohort on its own scale, with folds; rows without a label are left out.
    make, make_published
        An unfitted model from a seed.
    """
    adata, _ = labelled_rows(adata)

    def one(repeat: int, fold: int) -> Matched:
        if repeat < 0:
            return _published(adata, make_published, transform, config)
        train, test = transformed_parts(adata, transform, repeat, fold)
        return _one_fold(train, test, make, config, repeat, fold)

    tasks = folds_of(adata) + ([(-1, -1)] if config.published else [])
    found = in_order(one, tasks, config.n_jobs, "models on the same rows")
    return Matched(
        _stacked([each.scores for each in found], SCORE_COLUMNS),
        _stacked([each.answers for each in found], ANSWER_COLUMNS),
        attack_rates(_stacked([each.attacks for each in found], RAW_COLUMNS)),
    )


def _stacked(tables: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """One below the other; those without rows have no types to agree on."""
    filled = [table[columns] for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=columns)


def _one_fold(
    train: AnnData, test: AnnData, make: Make, config: MatchedConfig, repeat: int, fold: int
) -> Matched:
    seed = config.seed + 1000 * repeat + fold  # as in the strict protocol of all generators
    model = make(seed)
    corpus = model.corpus(train)
    x, y = columns_of(test, corpus.genes), labels_of(test)
    rows = dict(zip(ARMS, _arms(corpus, seed), strict=True))
    scores, answers, released = [], [], {}
    for arm, (of_x, of_y) in rows.items():
        for name, classifier in _classical(of_x, of_y, len(corpus.real), seed):
            p = classifier.probabilities(x)
            called = classifier.classes[p.argmax(axis=1)]
            found = answer_scores(y, called, p, classifier.classes)
            scores.append(_named(found, "strict", arm, name, repeat, fold, len(of_y), len(y)))
        if repeat >= config.lm_repeats or (arm != "drawn" and not config.lm_on_controls):
            continue
        reader = model if arm == "drawn" else make(seed)
        reader.learn(replace(corpus, x=of_x, labels=of_y))
        p, called = _asked(reader, x, seed)
        found = answer_scores(y, called, p, np.array(reader.classes))
        scores.append(_named(found, "strict", arm, LM, repeat, fold, len(of_y), len(y)))
        if arm == "drawn":
            answers.append(_answers("strict", repeat, fold, y, called, p))
            wanted = np.repeat(reader.classes, config.n_written)
            released["written"] = (reader.write(wanted, generator(seed, "written")), wanted)
            released |= {name: rows[name] for name in ("drawn", "noise", "copies")}
    candidates = (np.concatenate([corpus.real, x]), np.concatenate([corpus.real_labels, y]))
    member = np.arange(len(candidates[1])) < len(corpus.real_labels)
    attacks = [
        _attacked(candidates, member, of, model.table).assign(arm=arm, repeat=repeat, fold=fold)
        for arm, of in released.items()
    ]
    return Matched(
        _stacked(scores, SCORE_COLUMNS),
        _stacked(answers, ANSWER_COLUMNS),
        _stacked(attacks, RAW_COLUMNS),
    )


def _published(
    adata: AnnData, make: Make, transform: TransformConfig, config: MatchedConfig
) -> Matched:
    """Rows drawn from all patients, who are then asked about themselves."""
    everybody = ExpressionTransform.fit(adata, transform).apply(adata)
    model = make(config.seed)
    corpus = model.corpus(everybody)
    model.learn(corpus)
    x, y = columns_of(everybody, corpus.genes), labels_of(everybody)
    p, called = _asked(model, x, config.seed)
    found = answer_scores(y, called, p, np.array(model.classes))
    n = len(corpus.labels)
    scores = [_named(found, "published", "drawn", LM, 0, 0, n, len(y))]
    for name, classifier in _classical(corpus.x, corpus.labels, len(corpus.real), config.seed):
        of = classifier.probabilities(x)
        found = answer_scores(y, classifier.classes[of.argmax(axis=1)], of, classifier.classes)
        scores.append(_named(found, "published", "drawn", name, 0, 0, n, len(y)))
    return Matched(
        _stacked(scores, SCORE_COLUMNS),
        _answers("published", 0, 0, y, called, p),
        pd.DataFrame(columns=RAW_COLUMNS),
    )


def columns_of(adata: AnnData, genes: Sequence[str]) -> Float[np.ndarray, "n_obs k"]:
    """The genes of a signature, as the corpus has them."""
    x = adata[:, list(genes)].X
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)


def _arms(corpus: Any, seed: int) -> Iterator[Labelled]:
    """The four kinds of rows, in the order of ``ARMS``."""
    yield corpus.x, corpus.labels
    yield corpus.real, corpus.real_labels
    real = AnnData(
        corpus.real,
        obs=pd.DataFrame({"label": corpus.real_labels}, index=_numbers(corpus.real_labels)),
        uns={"synthome": {"label_key": "label"}},
    )
    for control in (IndependentNoise(), Copies()):
        rng = generator(seed, "control", type(control).__name__)
        drawn = control.fit(real).sample(len(corpus.labels), corpus.labels.tolist(), rng)
        yield np.asarray(drawn.X, dtype=np.float64), labels_of(drawn)


def _numbers(rows: np.ndarray) -> pd.Index:
    return pd.Index([f"row_{i}" for i in range(len(rows))])


def _classical(
    x: np.ndarray, y: np.ndarray, n_real: int, seed: int
) -> Iterator[tuple[str, Classifier]]:
    """The rivals, in the order of ``CLASSICAL``."""
    yield "logistic", standardised_logistic(x, y)
    yield "forest", fit_forest(x, y, n_real, seed)
    yield "neighbours", fit_neighbours(x, y)
    yield "network", fit_network(x, y, seed)


def _asked(reader: PatientReader, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return reader.probabilities(x), reader.named(x, generator(seed, "asked"))


def answer_scores(
    true: np.ndarray, called: np.ndarray, probability: Float[np.ndarray, "n k"], known: np.ndarray
) -> dict[str, float]:
    """Scores of named classes and their probabilities, over the classes that are there."""
    return {
        "balanced_accuracy": balanced_accuracy(true, called),
        "macro_f1": macro_f1(true, called),
        "auc": macro_auc(true, probability, known),
        "brier": brier(true, probability, known),
        "ece": expected_calibration_error(true, probability, known),
    }


def macro_f1(true: np.ndarray, called: np.ndarray) -> float:
    """F1 of each class present in ``true``, averaged: 2 hits / (rows of it + rows called so)."""
    each = []
    for c in np.unique(true):
        hits = ((true == c) & (called == c)).sum()
        each.append(2.0 * hits / ((true == c).sum() + (called == c).sum()))
    return float(np.mean(each))


def _named(
    scores: dict[str, float],
    protocol: str,
    arm: str,
    model: str,
    repeat: int,
    fold: int,
    n_train: int,
    n_test: int,
) -> pd.DataFrame:
    facts = (protocol, arm, model, repeat, fold, n_train, n_test)
    return pd.DataFrame([(*facts, *item) for item in scores.items()], columns=SCORE_COLUMNS)


def _answers(
    protocol: str, repeat: int, fold: int, true: np.ndarray, called: np.ndarray, p: np.ndarray
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "protocol": protocol,
            "repeat": repeat,
            "fold": fold,
            "true": true,
            "called": called,
            "confidence": p.max(axis=1),
        }
    )


def _attacked(
    candidates: Labelled, member: np.ndarray, released: Labelled, table: Any
) -> pd.DataFrame:
    """Centred score of each candidate under each attack, that on texts included."""
    x, y = candidates
    classes, sizes = np.unique(y[member], return_counts=True)
    published = {str(c): int(n) for c, n in zip(classes, sizes, strict=True)}
    known = np.isin(y, classes)
    x, y, member = x[known], y[known], member[known]
    scores = privacy.attack_scores(x, y, *released, published)
    scores[TEXT_ATTACK] = -nearest_text(table.encode(x), table.encode(released[0]))
    return pd.concat(
        pd.DataFrame({"attack": name, "member": member, "score": privacy.centred(score, y)})
        for name, score in scores.items()
    )


def attack_rates(scores: pd.DataFrame) -> pd.DataFrame:
    """AUC of each attack on each released set, folds pooled, with Newcombe's interval.

    Patients are counted once: each is held out once in a repeat, and a member in the other folds.
    """
    rows = []
    for (arm, attack), of in scores.groupby(["arm", "attack"], sort=False) if len(scores) else ():
        member = of["member"].to_numpy(dtype=bool)
        score = of["score"].to_numpy(dtype=float)
        n_others = round(int((~member).sum()) / of["repeat"].nunique())
        value = auc(score[member], score[~member])
        low, high = auc_interval(value, n_others, n_others)  # everybody is both in turn
        rows.append((arm, attack, value, low, high, n_others))
    return pd.DataFrame(rows, columns=["arm", "attack", "auc", "low", "high", "n_patients"])


def summarised(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and corrected interval over folds, a row for each protocol, arm, model and metric."""
    from synthome.evaluation.rates import resampled_interval

    rows = []
    keys = ["protocol", "arm", "model", "metric"]
    for key, of in scores.groupby(keys, sort=False):
        values = of["value"].to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        mean = float(values.mean()) if len(values) else float("nan")
        # n_train counts rows that were drawn; patients decide how folds overlap.
        folds = of["fold"].nunique()
        low, high = resampled_interval(values, folds - 1.0, 1.0)
        n = round(of["n_test"].sum() / of["repeat"].nunique())
        rows.append((*key, mean, low, high, len(values), n))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "n_folds", "n_patients"])
