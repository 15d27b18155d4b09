"""One fold, prepared once for every generator; one generator, fitted, drawn from and scored on it.

The random numbers of a fold depend on the seed, the fold and what they are drawn for, and not on
the generator, so that generators differ by their rows and by nothing else.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int
from scipy import sparse

from synthome.anndata_schema import FOLD_PREFIX, fold_columns, folds_to_test, label_key
from synthome.errors import InputError
from synthome.evaluation.arms import (
    Arm,
    RealFold,
    attack,
    attack_ceiling,
    score_ceiling,
    score_synthetic,
    scored_genes,
    synthetic_arm,
)
from synthome.evaluation.biology import planted_auprc
from synthome.evaluation.config import EvaluationConfig
from synthome.generator import Generator
from synthome.preprocessing.splits import fold_parts
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.rng import generator as random_generator

logger = logging.getLogger(__name__)
MODEL = "model"  # the stream of every generator that is judged
Sample = Callable[[int, Sequence[str] | None, np.random.Generator], AnnData]
Scored = tuple[dict[str, float], pd.DataFrame]  # scores by key, and centred attack scores


def labelled_rows(adata: AnnData) -> tuple[AnnData, Int[np.ndarray, " n"]]:
    """The rows that have a label, and which rows of ``adata`` they are."""
    labelled = adata.obs[label_key(adata)].notna().to_numpy()
    if not labelled.all():
        logger.info("Left out %d samples without a label.", int((~labelled).sum()))
        adata = adata[labelled].copy()
    return adata, np.flatnonzero(labelled)


def folds_of(adata: AnnData) -> list[tuple[int, int]]:
    """Every repeat and test fold, in order.

    Raises
    ------
    InputError
        If folds were never assigned.
    """
    repeats = len(fold_columns(adata))
    if repeats == 0:
        raise InputError(
            f"The cohort has no test folds: obs has no column {FOLD_PREFIX}0. Run the preprocessing"
            " pipeline (assign_folds) before the evaluation."
        )
    return [(repeat, fold) for repeat in range(repeats) for fold in folds_to_test(adata, repeat)]


def transformed_parts(
    adata: AnnData, config: TransformConfig, repeat: int, fold: int
) -> tuple[AnnData, AnnData]:
    """Log expression of the training and the held-out rows, by what the training rows decide."""
    train, test = fold_parts(adata, fold, repeat)
    transform = ExpressionTransform.fit(train, config)
    return transform.apply(train), transform.apply(test)


@dataclass(frozen=True, eq=False)
class PreparedFold:
    """What the training rows of a fold decide, before any generator is looked at.

    Attributes
    ----------
    train, variable
        Log expression of the training rows: all kept genes, and the variable ones alone, which
        are dense also where the others are not.
    """

    repeat: int
    fold: int
    seed: int
    train: AnnData
    variable: AnnData
    real: RealFold
    planted: np.ndarray | None  # which of the variable genes are planted, where that is known

    @classmethod
    def of(
        cls,
        adata: AnnData,
        transform_config: TransformConfig,
        config: EvaluationConfig,
        repeat: int,
        fold: int,
    ) -> Self:
        """Fit the transform to the training rows, and measure them."""
        train, test = transformed_parts(adata, transform_config, repeat, fold)
        genes = scored_genes(train)
        rng = random_generator(config.seed, "real", repeat, fold)
        return cls(
            repeat=repeat,
            fold=fold,
            seed=config.seed,
            train=train,
            variable=_dense(train[:, genes]),
            real=RealFold.of(Arm.of(train, genes), Arm.of(test, genes), rng, config),
            planted=_planted(adata, genes),
        )

    def stream(self, *keys: str) -> np.random.Generator:
        """Random numbers of this fold for one purpose."""
        return random_generator(self.seed, *keys, self.repeat, self.fold)

    def without_other_genes(self) -> "PreparedFold":
        """The same with the variable genes alone."""
        return replace(self, train=self.variable)

    @property
    def generator_seed(self) -> int:
        """Of a generator that is fitted to this fold; the first fold has the seed itself."""
        return self.seed + 1000 * self.repeat + self.fold

    @property
    def sizes(self) -> tuple[int, int]:
        """Training and held-out rows."""
        return len(self.real.train.y), len(self.real.test.y)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Rows in training proportions, rows to augment with, and what they cost in seconds."""

    rows: AnnData
    augmentation: AnnData
    seconds: dict[str, float] = field(default_factory=dict)


def score_generator(
    fold: PreparedFold,
    train: AnnData,
    make: Callable[[int], Generator],
    config: EvaluationConfig,
    stream: str = MODEL,
) -> tuple[Scored, dict[str, float]]:
    """Fit a generator to ``train``, draw from it and score the draws; with the seconds it took."""
    drawn = fit_and_draw(fold, train, make, config, stream)
    return score_drawn(fold, drawn, config), drawn.seconds


def fit_and_draw(
    fold: PreparedFold,
    train: AnnData,
    make: Callable[[int], Generator],
    config: EvaluationConfig,
    stream: str = MODEL,
) -> Drawn:
    """Fit a generator to ``train`` (all genes of the fold, or the variable ones) and draw."""
    seconds: dict[str, float] = {}
    with _timed("fit", seconds):
        fitted = make(fold.generator_seed).fit(train)
    with _timed("sample", seconds):
        n_rows = config.rows(train.n_obs)
        rows = fitted.sample(n_rows, None, fold.stream("sample", stream))
        augmentation = augmentation_rows(fold, rows, fitted.sample, config, stream)
    return Drawn(rows, augmentation, seconds)


def augmentation_rows(
    fold: PreparedFold,
    rows: AnnData,
    sample: Sample | None,
    config: EvaluationConfig,
    stream: str = MODEL,
) -> AnnData:
    """As many rows as ``rows``, every class alike: what is added to the real training rows.

    They are ``rows`` themselves when proportions are asked for, when nothing can be drawn, and
    for a generator that cannot serve the labels.
    """
    if config.augment == "proportional" or sample is None:
        return rows
    labels = np.resize(np.unique(fold.real.train.y), rows.n_obs).tolist()
    try:
        return sample(rows.n_obs, labels, fold.stream("augment", stream))
    except InputError:
        return rows


def score_drawn(fold: PreparedFold, drawn: Drawn, config: EvaluationConfig) -> Scored:
    """All scores of what a generator drew, and the attacks on it."""
    arm = synthetic_arm(drawn.rows, fold.variable.var_names)
    augmentation = arm
    if drawn.augmentation is not drawn.rows:
        augmentation = synthetic_arm(drawn.augmentation, fold.variable.var_names)
    scores = score_synthetic(fold.real, arm, fold.stream("score"), config, augmentation)
    return scores | _truth(fold, arm), attack(fold.real, arm)


def score_real(fold: PreparedFold, config: EvaluationConfig) -> Scored:
    """The same of real rows in the place of synthetic ones: the ceiling."""
    scores = score_ceiling(fold.real, fold.stream("score"), config)
    return scores | _truth(fold, fold.real.train), attack_ceiling(fold.real, fold.stream("halves"))


def _dense(adata: AnnData) -> AnnData:
    """A copy with dense log expression, as most generators read it."""
    result = adata.copy()
    if sparse.issparse(result.X):
        result.X = result.X.toarray()
    return result


def _truth(fold: PreparedFold, arm: Arm) -> dict[str, float]:
    if fold.planted is None:
        return {}
    return {"biology/planted_auprc": planted_auprc(arm.x, arm.y, fold.planted)}


def _planted(adata: AnnData, genes: pd.Index) -> np.ndarray | None:
    """Whether each gene is a planted disease gene, where the cohort was simulated."""
    names = adata.uns.get("truth", {}).get("disease_genes")
    return None if names is None else genes.isin(np.asarray(names, dtype=str))


@contextmanager
def _timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Note the seconds of the process and of the clock on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    seconds[f"{name}_cpu"] = time.process_time() - cpu
    seconds[f"{name}_wall"] = time.perf_counter() - wall
