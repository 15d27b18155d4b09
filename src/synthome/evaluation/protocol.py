"""The strict protocol: fit on the training rows of a fold, score on what is held out.

For each repeat and fold, the expression transform, the generator and the controls see the training
rows alone. Four arms are scored on the variable genes of that training part: the *model*, the
*floor* (independent noise), the *ceiling* (real rows) and the *cheat* (copies). Random numbers of a
fold are the same for all arms, so that arms differ by their rows and by nothing else.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import FOLD_PREFIX, fold_columns, label_key
from synthome.errors import InputError
from synthome.evaluation.arms import (
    ATTACK_COLUMNS,
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
from synthome.evaluation.external import score_external
from synthome.evaluation.summary import summarise
from synthome.generator import Generator
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.progress import progress
from synthome.rng import generator
from synthome.samplers.controls import Copies, IndependentNoise

__all__ = ["EvaluationConfig", "cross_validate", "score_external", "score_fold", "summarise"]

FOLD_COLUMNS = ["repeat", "fold", "arm", "metric", "value", "n_train", "n_test"]
MakeGenerator = Callable[[int], Generator]
logger = logging.getLogger(__name__)


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

    Returns
    -------
    Fold scores (repeat, fold, arm, metric, value, n_train, n_test), and attack scores (repeat,
    fold, arm, attack, sample, label, member, score); ``sample`` is a row of ``adata``.
    """
    repeats = len(fold_columns(adata))
    if repeats == 0:
        raise InputError(
            f"The cohort has no test folds: obs has no column {FOLD_PREFIX}0. Run the preprocessing"
            " pipeline (assign_folds) before the evaluation."
        )
    labelled = adata.obs[label_key(adata)].notna().to_numpy()
    if not labelled.all():
        logger.info("Left out %d samples without a label.", int((~labelled).sum()))
        adata = adata[labelled].copy()
    tasks = [
        (repeat, int(fold))
        for repeat in range(repeats)
        for fold in np.unique(adata.obs[f"{FOLD_PREFIX}{repeat}"])
    ]
    run = partial(_one_fold, adata, make_generator, transform_config, config, released)
    scores, attacks = [], []
    with progress(range(len(tasks)), "cross-validation") as counted:
        for _, (fold_scores, attack_scores) in zip(
            counted, _results(run, tasks, config.n_jobs), strict=True
        ):
            scores.append(fold_scores)
            attacks.append(attack_scores)
    attacked = pd.concat(attacks, ignore_index=True)
    row = np.flatnonzero(labelled)[adata.obs_names.get_indexer(attacked["sample"])]
    attacked["sample"] = row  # no name leaves here
    return pd.concat(scores, ignore_index=True), attacked


FoldResult = tuple[pd.DataFrame, pd.DataFrame]


def _results(
    run: Callable[[int, int], FoldResult], tasks: list[tuple[int, int]], n_jobs: int
) -> Iterable[FoldResult]:
    """Folds one after the other, or in processes of their own; in order either way."""
    if n_jobs == 1:
        return (run(*task) for task in tasks)
    from joblib import Parallel, delayed

    return Parallel(n_jobs=n_jobs, return_as="generator")(delayed(run)(*task) for task in tasks)


def _one_fold(
    adata: AnnData,
    make_generator: MakeGenerator,
    transform_config: TransformConfig,
    config: EvaluationConfig,
    released: AnnData | None,
    repeat: int,
    fold: int,
) -> FoldResult:
    """All arms of one fold."""
    is_test = (adata.obs[f"{FOLD_PREFIX}{repeat}"] == fold).to_numpy()
    transform = ExpressionTransform.fit(adata[~is_test].copy(), transform_config)
    train = transform.apply(adata[~is_test].copy())
    test = transform.apply(adata[is_test].copy())
    genes = scored_genes(train)
    n_rows = config.rows(train.n_obs)

    def stream(*keys: str) -> np.random.Generator:
        return generator(config.seed, *keys, repeat, fold)

    if released is not None and (repeat, fold) == (0, 0):
        drawn = {"model": released}
    else:
        model = make_generator(config.seed + 1000 * repeat + fold).fit(train)
        drawn = {"model": model.sample(n_rows, None, stream("sample", "model"))}
    scored = train[:, genes].copy()  # controls treat genes alike, so these are all they need
    for name, control in (("floor", IndependentNoise()), ("cheat", Copies())):
        drawn[name] = control.fit(scored).sample(n_rows, None, stream("sample", name))

    real = RealFold.of(Arm.of(train, genes), Arm.of(test, genes), stream("real"), config)
    planted = _planted(adata, genes)
    scores: dict[str, dict[str, float]] = {}
    attacks: dict[str, pd.DataFrame] = {}
    for name, rows in drawn.items():
        arm = synthetic_arm(rows, genes)
        scores[name] = score_synthetic(real, arm, stream("score"), config)
        attacks[name] = attack(real, arm)
        if planted is not None:
            scores[name]["biology/planted_auprc"] = planted_auprc(arm.x, arm.y, planted)
    scores["ceiling"] = score_ceiling(real, stream("score"), config)
    attacks["ceiling"] = attack_ceiling(real, stream("halves"))
    if planted is not None:
        scores["ceiling"]["biology/planted_auprc"] = planted_auprc(
            real.train.x, real.train.y, planted
        )
    return (
        _score_table(scores, repeat, fold, train.n_obs, test.n_obs),
        _attack_table(attacks, repeat, fold),
    )


def _planted(adata: AnnData, genes: pd.Index) -> np.ndarray | None:
    """Whether each gene is a planted disease gene, where the cohort was simulated."""
    names = adata.uns.get("truth", {}).get("disease_genes")
    return None if names is None else genes.isin(np.asarray(names, dtype=str))


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
