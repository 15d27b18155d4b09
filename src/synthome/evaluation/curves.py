"""Augment or not: a generator asked on every fold what its rows add to the real ones.

Per fold, one generator is fitted to the training rows and draws class-balanced rows for the largest
dose. They give the dose curve, and the genes that a forest relies on after learning from them. The
few-shot curve fits a fresh generator, on the genes that scores use, to each small set of real rows
and to nothing else; only the transform of the fold, which knows no label, has seen the others.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int

from synthome.evaluation import biomarkers, utility
from synthome.evaluation.arms import Arm, synthetic_arm
from synthome.evaluation.cluster import LOCAL, ClusterConfig
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.fold import PreparedFold, labelled_rows
from synthome.evaluation.parallel import Make, balanced_rows, fitted, in_order, named, on_each_fold
from synthome.evaluation.published import PublishedConfig, published_check
from synthome.evaluation.study import StudyConfig
from synthome.preprocessing.transform import TransformConfig

Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def augmentation_study(
    adata: AnnData,
    make: Make,
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
) -> Tables:
    """Dose curve, few-shot curve and biomarkers of every fold.

    Returns
    -------
    What ``utility.dose_curve``, ``utility.few_shot_curve`` and ``biomarkers`` give, each with
    ``repeat``, ``fold``, ``n_train``, ``n_test``; biomarkers also with ``arm`` (real, synthetic),
    ``rank`` and ``n_genes``.
    """
    run = partial(_one_fold, make, study)
    found = on_each_fold(run, adata, transform, config, "augment or not")
    dose, few_shot, genes = (pd.concat(of, ignore_index=True) for of in zip(*found, strict=True))
    return dose, few_shot, genes


def _one_fold(make: Make, study: StudyConfig, fold: PreparedFold) -> Tables:
    train, test, genes = fold.real.train, fold.real.test, fold.variable.var_names
    most, seed = max(study.doses), fold.real.seed
    n_rows = math.ceil(most * len(train.y))
    generator = fitted(fold, make, study.all_genes)
    drawn = balanced_rows(generator, n_rows, train.y, fold.stream("sample", "dose"))
    synthetic = synthetic_arm(drawn, genes)

    def augment(rows: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        fresh = make(fold.generator_seed).fit(fold.variable[rows].copy())
        rng = fold.stream("sample", "few shot", str(len(rows)))
        few = balanced_rows(fresh, math.ceil(most * len(rows)), train.y[rows], rng)
        return synthetic_arm(few, genes).rows()

    dose = utility.dose_curve(train.rows(), test.rows(), synthetic.rows(), study.doses, seed)
    few_shot = utility.few_shot_curve(
        train.rows(), test.rows(), augment, study.sizes, seed, fold.stream("few shot")
    )
    markers = [
        _biomarkers(fold, arm, study).assign(arm=name)
        for name, arm in (("real", train), ("synthetic", synthetic))
    ]
    tables = dose, few_shot, pd.concat(markers, ignore_index=True)
    return named(fold, tables[0]), named(fold, tables[1]), named(fold, tables[2])


def _biomarkers(fold: PreparedFold, arm: Arm, study: StudyConfig) -> pd.DataFrame:
    """Genes of a forest that learned from ``arm``, ranked on real held-out rows."""
    genes = fold.variable.var_names.to_numpy()
    table = biomarkers.permutation_biomarkers(
        arm.rows(),
        fold.real.test.rows(),
        genes,
        fold.stream("biomarkers"),
        study.n_shortlist,
        study.n_permutations,
    )
    return table.assign(rank=np.arange(1, len(table) + 1), n_genes=len(genes))


def published_seeds(
    adata: AnnData,
    makers: Mapping[str, Make],
    config: PublishedConfig,
    n_jobs: int,
    cluster: ClusterConfig = LOCAL,
) -> pd.DataFrame:
    """``published_check`` of all labelled rows, seeds in processes of their own, in their order."""
    labelled, _ = labelled_rows(adata)

    def one(seed: int) -> pd.DataFrame:
        return published_check(labelled, makers, config.model_copy(update={"seeds": (seed,)}))

    tables = in_order(one, [(seed,) for seed in config.seeds], n_jobs, "published check", cluster)
    return pd.concat(tables, ignore_index=True)


def biomarker_summary(table: pd.DataFrame, k: int) -> dict[str, Any]:
    """How stable the first ``k`` genes of each arm are over folds, and how far the arms agree.

    Parameters
    ----------
    table
        The biomarkers of ``augmentation_study``.

    Returns
    -------
    ``k``; ``agreement``, the share of the genes of real rows that synthetic rows name as well in
    the same fold; and for each arm ``stability`` with ``interval`` (``selection_stability``) and
    ``genes``, with the share of the folds that name each.
    """
    top = table[table["rank"] <= k]
    named = {
        str(arm): {key: set(of["gene"]) for key, of in rows.groupby(["repeat", "fold"])}
        for arm, rows in top.groupby("arm")
    }
    shared = [len(genes & named["synthetic"][key]) / k for key, genes in named["real"].items()]
    result: dict[str, Any] = {"k": k, "agreement": float(np.mean(shared))}
    for arm, rows in named.items():
        genes = sorted(set().union(*rows.values()))
        # Genes that no fold named are the rest of what could have been named.
        chosen = np.zeros((len(rows), max(int(table["n_genes"].max()), len(genes))), dtype=bool)
        for i, found in enumerate(rows.values()):
            chosen[i, : len(genes)] = np.isin(genes, list(found))
        stability, interval = biomarkers.selection_stability(chosen)
        share = dict(zip(genes, chosen.mean(axis=0)[: len(genes)].tolist(), strict=True))
        result[arm] = {
            "stability": stability,
            "interval": list(interval),
            "genes": dict(sorted(share.items(), key=lambda item: (-item[1], item[0]))[:k]),
        }
    return result
