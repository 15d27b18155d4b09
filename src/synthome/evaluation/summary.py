"""From folds to ``metrics.json``: one value, one interval, and the arms beside it.

Scores of folds are averaged; their interval is the corrected resampled t (``rates``). Attack
scores are centred per class and fold and pooled, because a fold has too few non-members for an AUC
of its own; intervals count patients, not rows. The strongest attack is reported with the largest
of the lower and of the upper limits of all, so that picking it is not a free choice.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from synthome.evaluation.metrics import METRICS, Metric
from synthome.evaluation.privacy import ATTACKS
from synthome.evaluation.rates import (
    auc,
    auc_interval,
    binomial_interval,
    resampled_interval,
    tpr_at_fpr,
)

FPR_PERCENT = (10, 1)
Entry = dict[str, Any]
Interval = tuple[float, float]

REFERENCES = {
    "train": "against the training rows; ceiling: held-out rows in the place of synthetic ones",
    "test": "against held-out rows; ceiling: training rows in the place of synthetic ones",
    "truth": "against the planted truth; ceiling: the training rows",
}


def summarise(fold_scores: pd.DataFrame, attack_scores: pd.DataFrame) -> dict[str, Entry]:
    """The content of ``metrics.json``.

    Parameters
    ----------
    fold_scores
        Columns repeat, fold, arm, metric, value, n_train, n_test.
    attack_scores
        Columns repeat, fold, arm, attack, sample, label, member, score (centred).

    Returns
    -------
    For each key: value, interval (or None), floor, ceiling, cheat, n, n_folds, cheat_wins, best,
    protocol. What could not be measured is None, never NaN.
    """
    found = set(fold_scores["metric"])
    rates = attack_entries(attack_scores)
    summary = {}
    for key, metric in METRICS.items():
        if key in found and metric.reference in REFERENCES:
            summary[key] = _cross_validated(metric, fold_scores[fold_scores["metric"] == key])
        elif key in rates:
            summary[key] = rates[key]
    return summary


def entry(
    metric: Metric,
    values: dict[str, float],
    interval: Interval,
    n: int,
    n_folds: int,
    protocol: str,
) -> Entry:
    """One score as JSON; ``values`` by arm (model, floor, ceiling, cheat)."""
    model, cheat = (values.get(arm, math.nan) for arm in ("model", "cheat"))
    cheat_wins = bool(metric.distance(cheat) <= metric.distance(model) + 1e-12)  # False for NaN
    limits = [metric.clipped(limit) for limit in interval]
    return {
        "value": _json(model),
        "interval": None if not np.isfinite(limits).all() else limits,
        "floor": _json(values.get("floor", math.nan)),
        "ceiling": _json(values.get("ceiling", math.nan)),
        "cheat": _json(cheat),
        "n": n,
        "n_folds": n_folds,
        "cheat_wins": cheat_wins,
        "best": metric.best,
        "protocol": protocol,
    }


def _cross_validated(metric: Metric, rows: pd.DataFrame) -> Entry:
    """Mean over folds of each arm, and the interval of the model."""
    rows = rows[np.isfinite(rows["value"])]
    values = {str(arm): float(of["value"].mean()) for arm, of in rows.groupby("arm")}
    model = rows[rows["arm"] == "model"]
    repeats = max(model["repeat"].nunique(), 1)
    interval = resampled_interval(
        model["value"].to_numpy(dtype=float),
        float(model["n_train"].mean()) if len(model) else 0.0,
        float(model["n_test"].mean()) if len(model) else 0.0,
    )
    protocol = (
        f"mean of {len(model)} folds ({repeats} repeat{'s' if repeats > 1 else ''}), everything "
        f"fitted on training rows; {REFERENCES[metric.reference]}; interval: corrected resampled t"
    )
    n = round(float(model["n_test"].sum()) / repeats)
    return entry(metric, values, interval, n, len(model), protocol)


def attack_entries(
    scores: pd.DataFrame, attacks: Sequence[str] = ATTACKS, note: str = ""
) -> dict[str, Entry]:
    """AUC and detection rates of each attack and of the strongest, by key.

    Parameters
    ----------
    scores
        What ``summarise`` takes; rows of other attacks than ``attacks`` are left out.
    note
        What the protocol must say of these attacks.
    """
    scores = scores[scores["attack"].isin(attacks)]
    if scores.empty:
        return {}
    by_arm = {str(arm): _pooled(rows) for arm, rows in scores.groupby("arm")}
    model = scores[scores["arm"] == "model"]
    n_members = int(model.loc[model["member"], "sample"].nunique())
    n_others = int(model.loc[~model["member"], "sample"].nunique())
    n_folds = len(model[["repeat", "fold"]].drop_duplicates())
    protocol = (
        f"scores centred per class, pooled over {n_folds} folds; members: {n_members} training "
        f"rows, non-members: {n_others} held-out rows; ceiling: half of the held-out rows released"
        "; interval: {how}, patients counted once" + note
    )
    entries: dict[str, Entry] = {}
    for ending in ("auc", *(f"tpr_at_fpr{percent}" for percent in FPR_PERCENT)):
        limits = []
        for name in [a for a in attacks if f"{a}_{ending}" in by_arm.get("model", {})]:
            values = {arm: found.get(f"{name}_{ending}", math.nan) for arm, found in by_arm.items()}
            if ending == "auc":
                interval, how = auc_interval(values["model"], n_members, n_others), "Newcombe"
            else:
                interval, how = binomial_interval(values["model"], n_members), "Clopper-Pearson"
            limits.append(interval)
            key = f"privacy/{name}_{ending}"
            entries[key] = entry(
                METRICS[key], values, interval, n_members + n_others, n_folds,
                protocol.format(how=how),
            )  # fmt: skip
        if limits and set(attacks) <= set(ATTACKS):  # the strongest is one of these
            key = f"privacy/worst_{ending}"
            entries[key] = entry(
                METRICS[key],
                {arm: _strongest(found, ending) for arm, found in by_arm.items()},
                (max(low for low, _ in limits), max(high for _, high in limits)),
                n_members + n_others,
                n_folds,
                "highest of all attacks; " + protocol.format(how="highest limits of all attacks"),
            )
    return entries


def _pooled(rows: pd.DataFrame) -> dict[str, float]:
    """AUC and detection rate of each attack on one arm, over all folds together."""
    found = {}
    for name, of in rows.groupby("attack"):
        score, member = of["score"].to_numpy(dtype=float), of["member"].to_numpy(dtype=bool)
        found[f"{name}_auc"] = auc(score[member], score[~member])
        for percent in FPR_PERCENT:
            rate = tpr_at_fpr(score[member], score[~member], percent / 100)
            found[f"{name}_tpr_at_fpr{percent}"] = rate
    return found


def _strongest(found: dict[str, float], ending: str) -> float:
    """Largest rate over the attacks of one arm."""
    rates = [value for key, value in found.items() if key.endswith(f"_{ending}")]
    finite = [value for value in rates if math.isfinite(value)]
    return max(finite, default=math.nan)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
