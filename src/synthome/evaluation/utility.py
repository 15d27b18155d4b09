"""What a classifier learns from synthetic rows, beside what it learns from real ones.

TSTR trains on synthetic rows and tests on held-out real ones; TRTR trains on the real training
rows and is the ceiling. The gain of augmentation is the score of training on both minus TRTR.

Classes and folds do not always match, and each case has one answer:

- a class without a row in the test part is left out of its averages (its recall, AUC and AUPR are
  undefined there), so that means are over the classes that are present;
- a class that the training arm lacks has probability 0 for every row: recall 0, AUC 0.5;
- a test part of one class has no AUC (NaN); a training arm of one class predicts it always.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from synthome.evaluation import classifiers
from synthome.evaluation.classifiers import (
    Classifier,
    Forest,
    Kind,
    standardised_logistic,
    train_classifier,
)
from synthome.evaluation.rates import auc

KINDS: dict[Kind, str] = {"logistic": "", "forest": "_forest"}  # kind -> end of its keys
SCORES = ("auc", "balanced_accuracy", "aupr")
Rows = Float[np.ndarray, "n_obs n_vars"]
Labelled = tuple[np.ndarray, np.ndarray]  # rows x genes, and their labels


def balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes present in ``true``."""
    return float(np.mean([np.mean(predicted[true == c] == c) for c in np.unique(true)]))


def macro_auc(true: np.ndarray, probability: Float[np.ndarray, "n k"], known: np.ndarray) -> float:
    """One-vs-rest AUC, averaged over the classes present in ``true``; NaN for one class."""
    classes = np.unique(true)
    if len(classes) < 2:
        return float("nan")
    columns = [_column(c, probability, known) for c in classes]
    return float(
        np.mean([auc(p[true == c], p[true != c]) for c, p in zip(classes, columns, strict=True)])
    )


def macro_aupr(true: np.ndarray, probability: Float[np.ndarray, "n k"], known: np.ndarray) -> float:
    """One-vs-rest average precision, averaged over the classes present; NaN for one class.

    Chance is the mean share of a class: ``1 / k``, and not 0.5.
    """
    classes = np.unique(true)
    if len(classes) < 2:
        return float("nan")
    return float(
        np.mean([average_precision(true == c, _column(c, probability, known)) for c in classes])
    )


def average_precision(positive: Bool[np.ndarray, " n"], score: Float[np.ndarray, " n"]) -> float:
    """Area under the precision-recall steps, tied scores taken together; NaN without positives."""
    n_positive = int(positive.sum())
    if n_positive == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = positive[order].cumsum()
    last = np.append(np.diff(score[order]) != 0, True)  # the last row of each tied score
    precision = hits[last] / (np.flatnonzero(last) + 1.0)
    return float((precision * np.diff(hits[last], prepend=0)).sum() / n_positive)


def classification_scores(model: Classifier, x: Rows, y: np.ndarray) -> dict[str, float]:
    """AUC, balanced accuracy and AUPR of a classifier on real rows."""
    probability = model.probabilities(x)
    predicted = model.classes[probability.argmax(axis=1)]
    return {
        "auc": macro_auc(y, probability, model.classes),
        "balanced_accuracy": balanced_accuracy(y, predicted),
        "aupr": macro_aupr(y, probability, model.classes),
    }


def train_and_test(
    train: Labelled, test: Labelled, n_train: int, seed: int, prefix: str
) -> dict[str, float]:
    """Scores of both classifiers, as ``prefix_auc``, ``prefix_auc_forest``, ..."""
    scores: dict[str, float] = {}
    for kind, end in KINDS.items():
        model = train_classifier(kind, *train, n_train=n_train, seed=seed)
        found = classification_scores(model, *test)
        scores |= {f"{prefix}_{name}{end}": found[name] for name in SCORES}
    return scores


def gains(after: dict[str, float], before: dict[str, float], prefix: str) -> dict[str, float]:
    """What a larger training arm adds, in balanced accuracy and in AUC; forest by default."""
    names = {
        "augmentation_gain": "balanced_accuracy_forest",
        "augmentation_gain_logistic": "balanced_accuracy",
        "augmentation_gain_auc": "auc_forest",
        "augmentation_gain_auc_logistic": "auc",
    }
    return {k: after[f"{prefix}_{name}"] - before[f"{prefix}_{name}"] for k, name in names.items()}


def pooled(*parts: Labelled) -> Labelled:
    """Rows of several arms, one below the other."""
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def first_per_class(y: np.ndarray, share: float, least: int = 1) -> np.ndarray:
    """Positions of the first ``share`` of the rows of each class, ``least`` or more, in order."""
    taken = [
        np.flatnonzero(y == c)[: max(least, round(share * int((y == c).sum())))]
        for c in np.unique(y)
    ]
    return np.sort(np.concatenate(taken))


def dose_curve(
    train: Labelled,
    test: Labelled,
    synthetic: Labelled,
    doses: Sequence[float] = (0, 1, 2, 5, 10),
    seed: int = 0,
) -> pd.DataFrame:
    """Scores when ``dose`` times as many synthetic rows as real ones join the training rows.

    Rows of a smaller dose are among those of a larger one, and each class gets its share of the
    synthetic rows in their order. Dose 0 is real rows alone, for which the table holds two more
    classifiers, so that synthetic rows compete with what needs none: a logistic regression with a
    tuned penalty (kind ``tuned_logistic``), and a forest in which classes count the same
    (``balanced_forest``), since class-balanced synthetic rows also change the balance.

    Returns
    -------
    Columns ``dose``, ``kind``, ``metric``, ``value``, ``gain`` (over dose 0 of the same kind).
    """
    n_train, n_synthetic = len(train[1]), len(synthetic[1])
    if max(doses) * n_train > n_synthetic:
        raise ValueError(
            f"A dose of {max(doses):g} needs {max(doses) * n_train:g} synthetic rows, but there "
            f"are {n_synthetic}. Draw more, or leave out the largest doses."
        )
    rows: list[tuple[float, str, str, float]] = []
    for dose in doses:
        arm = train
        if dose > 0:
            kept = first_per_class(synthetic[1], dose * n_train / n_synthetic)
            arm = pooled(train, (synthetic[0][kept], synthetic[1][kept]))
        for kind in KINDS:
            model = train_classifier(kind, *arm, n_train=n_train, seed=seed)
            found = classification_scores(model, *test)
            rows += [(float(dose), kind, name, value) for name, value in found.items()]
    for baseline, fit in BASELINES.items():
        found = classification_scores(fit(*train, seed=seed), *test)
        rows += [(0.0, baseline, name, value) for name, value in found.items()]
    table = pd.DataFrame(rows, columns=["dose", "kind", "metric", "value"])
    base = table[table["dose"] == 0].set_index(["kind", "metric"])["value"]
    keys = pd.MultiIndex.from_frame(table[["kind", "metric"]])
    return table.assign(gain=table["value"].to_numpy() - base.reindex(keys).to_numpy())


def few_shot_curve(
    train: Labelled,
    test: Labelled,
    augment: Callable[[Int[np.ndarray, " n"]], Labelled],
    sizes: Sequence[int] = (10, 20, 30, 50),
    seed: int = 0,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Scores with ``n`` real training rows, alone and joined by what a generator makes of them.

    Parameters
    ----------
    augment
        Takes positions of training rows, fits a fresh generator to these rows alone, and returns
        labelled rows of it.
    sizes
        Sizes above the training part are left out. Smaller ones are nested in larger ones, and
        hold at least two rows of each class (or its only one), so that it has a spread.

    Returns
    -------
    Columns ``n_real``, ``arm`` (real, augmented), ``kind``, ``metric``, ``value``.
    """
    order = (rng or np.random.default_rng(seed)).permutation(len(train[1]))
    x, y = train[0][order], train[1][order]
    rows = []
    for n in [size for size in sizes if size <= len(y)]:
        kept = first_per_class(y, n / len(y), least=2)
        real = (x[kept], y[kept])
        for arm, part in (("real", real), ("augmented", pooled(real, augment(order[kept])))):
            for kind in KINDS:
                model = train_classifier(kind, *part, n_train=len(kept), seed=seed)
                found = classification_scores(model, *test)
                rows += [(len(kept), arm, kind, name, value) for name, value in found.items()]
    return pd.DataFrame(rows, columns=["n_real", "arm", "kind", "metric", "value"])


def tuned_logistic(
    x: Rows, y: np.ndarray, seed: int = 0, grid: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
) -> Classifier:
    """Logistic regression whose penalty is chosen by cross-validation within the training rows.

    The largest mean AUC wins; of equal ones, the stronger penalty.
    """
    classes, code = np.unique(y, return_inverse=True)
    n_splits = min(5, int(np.bincount(code).min()))
    if len(classes) == 1 or n_splits < 2:
        return train_classifier("logistic", x, y, n_train=len(y), seed=seed)
    from sklearn.model_selection import StratifiedKFold

    splits = list(StratifiedKFold(n_splits, shuffle=True, random_state=seed).split(x, y))
    means = []
    for C in grid:
        found = []
        for fit, held in splits:
            model = standardised_logistic(x[fit], y[fit], C)
            found.append(macro_auc(y[held], model.probabilities(x[held]), model.classes))
        means.append(float(np.nanmean(found)))
    return standardised_logistic(x, y, grid[int(np.argmax(np.round(means, 9)))])


def balanced_forest(x: Rows, y: np.ndarray, seed: int = 0) -> Classifier:
    """A forest in which each class has the same weight, whatever its number of rows."""
    if len(np.unique(y)) == 1:
        return train_classifier("forest", x, y, n_train=len(y), seed=seed)
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=classifiers.N_TREES, class_weight="balanced", random_state=seed, n_jobs=1
    ).fit(x, y)
    return Forest(forest.classes_, forest)


BASELINES: dict[str, Callable[..., Classifier]] = {  # on real rows alone
    "tuned_logistic": tuned_logistic,
    "balanced_forest": balanced_forest,
}


def _column(c: object, probability: Float[np.ndarray, "n k"], known: np.ndarray) -> np.ndarray:
    """Probability of class ``c``; zeros when the training arm had no such row."""
    at = np.flatnonzero(known == c)
    return probability[:, at[0]] if len(at) else np.zeros(len(probability))
