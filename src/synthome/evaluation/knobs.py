"""One fitted generator under many settings: temperatures, added noise, shrinkage.

Each setting is a point: what is learned from its rows, how they resemble held-out patients, and
what the strongest attack achieves. Scores are averaged over folds and attacks pooled over them, by
the rules of ``summary``, so that a point is comparable with ``metrics.json``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float

from synthome.evaluation import fidelity, utility
from synthome.evaluation.arms import Arm, RealFold, attack, synthetic_arm
from synthome.evaluation.classifiers import train_classifier
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.fold import PreparedFold
from synthome.evaluation.parallel import Make, fitted, named, on_each_fold
from synthome.evaluation.study import StudyConfig
from synthome.evaluation.summary import summarise
from synthome.evaluation.two_sample import c2st_auc
from synthome.preprocessing.transform import TransformConfig

POINT_SCORES = (
    "fidelity/variance_ratio",
    "fidelity/coverage",
    "fidelity/c2st_auc",
    "utility/tstr_auc",
    "privacy/worst_auc",
)
UTILITY, ATTACK = "utility/tstr_auc", "privacy/worst_auc"
Setting = dict[str, Any]  # columns that name a point, such as generator and temperature


@dataclass
class Points:
    """Scores of all settings on one fold."""

    scores: list[pd.DataFrame] = field(default_factory=list)
    attacks: list[pd.DataFrame] = field(default_factory=list)
    chosen: dict[str, float] = field(default_factory=dict)  # calibrated temperature by class


def temperature_curve(
    adata: AnnData,
    makers: Mapping[str, Make],
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
    calibrated: str = "rare_vae",
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Scores of each generator at each temperature, on the folds of the first repeat.

    The same fitted generator is drawn at every temperature, with the same random numbers.

    Returns
    -------
    Columns ``generator``, ``temperature``, ``metric``, ``value``, ``low``, ``high``; and the
    temperature that ``calibrated`` chose for each class, averaged over folds (1 where it chose
    none).
    """
    run = partial(_temperatures, dict(makers), study, config, calibrated)
    found = on_each_fold(run, adata, transform, config, "temperatures", 1)
    chosen = pd.DataFrame([points.chosen for points in found]).mean()
    return summarise_points(found, ["generator", "temperature"]), {
        str(name): float(T) for name, T in chosen.items()
    }


def privacy_curve(
    adata: AnnData,
    make: Make,
    shrunken: Callable[[float], Make] | None,
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
    private: Callable[[float], Make] | None = None,
) -> pd.DataFrame:
    """Utility and strongest attack along each knob, on the folds of the first repeat.

    Parameters
    ----------
    shrunken
        Makes a maker from the setting of the generator's own privacy option; None where it has
        none.
    private
        Makes the maker of a differentially private generator from epsilon; None where there is
        none. It is fitted to the genes that scores use, because its noise grows with their number.

    Returns
    -------
    Columns ``knob``, ``setting``, ``utility``, ``attack``, each with ``_low`` and ``_high``.
    """
    run = partial(_knobs, make, shrunken, private, study, config)
    found = on_each_fold(run, adata, transform, config, "privacy knobs", 1)
    points = summarise_points(found, ["knob", "setting"])
    parts = []
    for name, key in (("utility", UTILITY), ("attack", ATTACK)):
        part = points[points["metric"] == key].set_index(["knob", "setting"])
        words = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
        parts.append(part[list(words)].rename(columns=words))
    return pd.concat(parts, axis=1).reset_index()


def variance_ratio(real: Arm, synthetic: Arm) -> float:
    """Sum of the gene variances within classes, synthetic over real.

    Classes weigh as in the real rows; one with fewer than two rows on a side is left out. NaN when
    none is left.
    """
    total = {"real": 0.0, "synthetic": 0.0}
    for c in np.unique(real.y):
        ours, theirs = real.x[real.y == c], synthetic.x[synthetic.y == c]
        if len(ours) > 1 and len(theirs) > 1:
            weight = len(ours) - 1
            total["real"] += weight * float(ours.var(axis=0, ddof=1).sum())
            total["synthetic"] += weight * float(theirs.var(axis=0, ddof=1).sum())
    return total["synthetic"] / total["real"] if total["real"] > 0 else float("nan")


def with_noise(
    synthetic: AnnData, std: Float[np.ndarray, " n_vars"], share: float, rng: np.random.Generator
) -> AnnData:
    """``synthetic`` plus normal noise of ``share`` standard deviations on each gene."""
    result = synthetic.copy()
    noise = rng.standard_normal(synthetic.shape)
    result.X = (synthetic.X + share * std * noise).astype(np.float32)
    return result


def score_point(
    fold: RealFold, synthetic: Arm, rng: np.random.Generator, config: EvaluationConfig
) -> dict[str, float]:
    """The scores of ``POINT_SCORES`` that one fold gives by itself."""
    n_train = len(fold.train.y)
    near = []
    for _ in range(config.n_draws):
        rows = rng.permutation(len(synthetic.y))[:n_train]
        near.append(fidelity.density_and_coverage(fold.test.x, synthetic.x[rows],
                                                  config.n_neighbours)[1])  # fmt: skip
    model = train_classifier("logistic", *synthetic.rows(), n_train=n_train, seed=fold.seed)
    return {
        "fidelity/variance_ratio": variance_ratio(fold.test, synthetic),
        "fidelity/coverage": float(np.mean(near)),
        "fidelity/c2st_auc": c2st_auc(fold.test.x, synthetic.x, rng, n_draws=config.n_draws),
        UTILITY: utility.classification_scores(model, *fold.test.rows())["auc"],
    }


def summarise_points(found: list[Points], by: list[str]) -> pd.DataFrame:
    """Mean over folds, pooled attacks and intervals of every setting, in long form."""
    scores = pd.concat([table for points in found for table in points.scores])
    attacks = pd.concat([table for points in found for table in points.attacks])
    rows = []
    for key, of in scores.groupby(by, sort=False):
        own = attacks[(attacks[by] == list(key)).all(axis=1)]
        entries = summarise(of, own)
        for metric in POINT_SCORES:
            entry = entries.get(metric)
            if entry is not None and entry["value"] is not None:
                low, high = entry["interval"] or (np.nan, np.nan)
                rows.append((*key, metric, entry["value"], low, high))
    return pd.DataFrame(rows, columns=[*by, "metric", "value", "low", "high"])


def _temperatures(
    makers: dict[str, Make],
    study: StudyConfig,
    config: EvaluationConfig,
    calibrated: str,
    fold: PreparedFold,
) -> Points:
    points, n_rows = Points(), config.rows(fold.sizes[0])
    for name, make in makers.items():
        generator = fitted(fold, make, study.all_genes)
        if name == calibrated:
            solved = getattr(generator, "temperatures", None) or {}
            points.chosen = {
                str(c): float(solved.get(c, 1.0)) for c in np.unique(fold.real.train.y)
            }
        for T in study.temperatures:
            rng = fold.stream("sample", "temperature", name)
            drawn = generator.sample(n_rows, None, rng, temperature=T)
            _add(points, fold, drawn, {"generator": name, "temperature": T}, config)
    return points


def _knobs(
    make: Make,
    shrunken: Callable[[float], Make] | None,
    private: Callable[[float], Make] | None,
    study: StudyConfig,
    config: EvaluationConfig,
    fold: PreparedFold,
) -> Points:
    points = Points()
    for setting, drawn in _along_the_knobs(make, shrunken, private, study, config, fold):
        _add(points, fold, drawn, setting, config)
    return points


def _along_the_knobs(
    make: Make,
    shrunken: Callable[[float], Make] | None,
    private: Callable[[float], Make] | None,
    study: StudyConfig,
    config: EvaluationConfig,
    fold: PreparedFold,
) -> Iterator[tuple[Setting, AnnData]]:
    def draw(maker: Make, all_genes: bool = study.all_genes) -> AnnData:
        generator, rng = fitted(fold, maker, all_genes), fold.stream("sample", "privacy")
        drawn: AnnData = generator.sample(config.rows(fold.sizes[0]), None, rng)
        return drawn[:, fold.variable.var_names].copy()

    plain, std = draw(make), np.asarray(fold.variable.X).std(axis=0, ddof=1)
    for share in study.noise:
        noisy = with_noise(plain, std, share, fold.stream("noise"))
        yield {"knob": "noise", "setting": float(share)}, noisy
    for setting in study.shrinkage if shrunken is not None else ():
        yield {"knob": "shrinkage", "setting": float(setting)}, draw(shrunken(setting))
    for epsilon in study.epsilons if private is not None else ():
        yield {"knob": "epsilon", "setting": float(epsilon)}, draw(private(epsilon), False)


def _add(
    points: Points, fold: PreparedFold, drawn: AnnData, setting: Setting, config: EvaluationConfig
) -> None:
    """Score one set of rows; all settings of a fold use the same random numbers."""
    synthetic = synthetic_arm(drawn, fold.variable.var_names)
    found = score_point(fold.real, synthetic, fold.stream("score"), config)
    table = pd.DataFrame({"metric": list(found), "value": list(found.values())})
    points.scores.append(named(fold, table).assign(arm="model", **setting))
    attacked = attack(fold.real, synthetic).assign(repeat=fold.repeat, fold=fold.fold)
    points.attacks.append(attacked.assign(arm="model", **setting))
