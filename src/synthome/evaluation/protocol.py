"""The strict protocol: fit on the training rows of a fold, score on what is held out.

For each repeat and fold, the expression transform, the generator and the controls see the training
rows alone. Four arms are scored on the variable genes of that training part: the *model*, the
*floor* (independent noise), the *ceiling* (real rows) and the *cheat* (copies). Random numbers of a
fold are the same for all arms, so that arms differ by their rows and by nothing else.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.evaluation.arms import (
    ATTACK_COLUMNS,
    Arm,
    RealFold,
    attack,
    score_synthetic,
    scored_genes,
    synthetic_arm,
)
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.external import score_external
from synthome.evaluation.fold import (
    Drawn,
    PreparedFold,
    Sample,
    Scored,
    augmentation_rows,
    folds_of,
    labelled_rows,
    score_drawn,
    score_generator,
    score_real,
)
from synthome.evaluation.parallel import in_order
from synthome.evaluation.summary import summarise
from synthome.generator import Generator
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.controls import Copies, IndependentNoise

__all__ = ["EvaluationConfig", "cross_validate", "score_external", "score_fold", "summarise"]

FOLD_COLUMNS = ["repeat", "fold", "arm", "metric", "value", "n_train", "n_test"]
MakeGenerator = Callable[[int], Generator]
Released = tuple[AnnData | None, Sample | None]  # the rows, and how more of them are drawn


def score_fold(
    train: AnnData,
    test: AnnData,
    synthetic: AnnData,
    rng: np.random.Generator,
    config: EvaluationConfig,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Scores of synthetic rows on one fold, and the centred attack score of each candidate.

    Parameters
    ----------
    train, test
        Log expression of the training and held-out rows, as ``ExpressionTransform.apply`` returns
        it; scores use the genes that are ``highly_variable`` in ``train``.
    synthetic
        What a generator drew that was fitted to ``train``.

    Raises
    ------
    InputError
        If synthetic genes are missing or values are not finite.
    """
    genes = scored_genes(train)
    fold = RealFold.of(Arm.of(train, genes), Arm.of(test, genes), rng, config)
    arm = synthetic_arm(synthetic, genes)
    return score_synthetic(fold, arm, rng, config), attack(fold, arm)


def cross_validate(
    adata: AnnData,
    make_generator: MakeGenerator,
    transform_config: TransformConfig,
    config: EvaluationConfig,
    released: AnnData | None = None,
    draw_released: Sample | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit and score all arms on every fold that ``obs["fold_r"]`` defines.

    Parameters
    ----------
    adata
        The cohort on its own scale, with folds; rows without a label are left out.
    make_generator
        Makes an unfitted generator from a seed. The first fold of the first repeat, whose test
        rows are those of ``obs["split"]``, gets ``config.seed`` itself.
    released
        The synthetic cohort made of the training part of ``obs["split"]``; in the first fold of
        the first repeat it is scored as it is, and no generator is fitted again.
    draw_released
        ``sample`` of the generator that made it, for the class-balanced rows that join the real
        ones in the gains of augmentation; without it, the released rows themselves join.

    Returns
    -------
    Fold scores (repeat, fold, arm, metric, value, n_train, n_test), and attack scores (repeat,
    fold, arm, attack, sample, label, member, score); ``sample`` is a row of ``adata``.
    """
    adata, labelled = labelled_rows(adata)
    tasks = folds_of(adata)
    run = partial(
        _one_fold, adata, make_generator, transform_config, config, (released, draw_released)
    )
    found = in_order(run, tasks, config.n_jobs, "cross-validation", config.cluster)
    scores, attacks = zip(*found, strict=True)
    attacked = pd.concat(attacks, ignore_index=True)
    row = labelled[adata.obs_names.get_indexer(attacked["sample"])]
    attacked["sample"] = row  # no name leaves here
    return pd.concat(scores, ignore_index=True), attacked


FoldResult = tuple[pd.DataFrame, pd.DataFrame]


def _one_fold(
    adata: AnnData,
    make_generator: MakeGenerator,
    transform_config: TransformConfig,
    config: EvaluationConfig,
    released: Released,
    repeat: int,
    fold: int,
) -> FoldResult:
    """All arms of one fold."""
    prepared = PreparedFold.of(adata, transform_config, config, repeat, fold)
    rows, sample = released
    found: dict[str, Scored] = {}
    if rows is not None and (repeat, fold) == (0, 0):
        drawn = Drawn(rows, augmentation_rows(prepared, rows, sample, config))
        found["model"] = score_drawn(prepared, drawn, config)
    else:
        found["model"], _ = score_generator(prepared, prepared.train, make_generator, config)
    for name, control in (("floor", IndependentNoise), ("cheat", Copies)):
        # Controls treat genes alike, so the variable ones are all they need.
        made = partial(_seedless, control)
        found[name], _ = score_generator(prepared, prepared.variable, made, config, stream=name)
    found["ceiling"] = score_real(prepared, config)
    return (
        _score_table({arm: of for arm, (of, _) in found.items()}, repeat, fold, *prepared.sizes),
        _attack_table({arm: of for arm, (_, of) in found.items()}, repeat, fold),
    )


def _seedless(control: Callable[[], Generator], seed: int) -> Generator:  # noqa: ARG001
    """A control has no choices of its own."""
    return control()


def _score_table(
    scores: dict[str, dict[str, float]], repeat: int, fold: int, n_train: int, n_test: int
) -> pd.DataFrame:
    rows = [
        (repeat, fold, arm, metric, value, n_train, n_test)
        for arm, found in scores.items()
        for metric, value in found.items()
    ]
    return pd.DataFrame(rows, columns=FOLD_COLUMNS)


def _attack_table(attacks: dict[str, pd.DataFrame], repeat: int, fold: int) -> pd.DataFrame:
    tables = [
        found.assign(repeat=repeat, fold=fold, arm=arm)
        for arm, found in attacks.items()
        if len(found)
    ]
    return pd.concat(tables, ignore_index=True)[["repeat", "fold", "arm", *ATTACK_COLUMNS]]
