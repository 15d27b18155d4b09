"""Entries of ``metrics.json`` from the experiments on contexts.

Nothing copies here, so that no entry has a cheat; what floor and ceiling are stands with each
metric in ``evaluation.metrics``. What was not measured has no entry.
"""

import math

import pandas as pd

from synthome.evaluation.metrics import METRICS
from synthome.evaluation.summary import Entry, entry
from synthome.reporting.conditional import mean_over_types

OURS, PUBLISHED, BASELINE, CEILING, NOTHING = (
    "cycle_ae", "published", "additive", "ceiling", "no_change",
)  # fmt: skip
UNKNOWN = (math.nan, math.nan)


def model_of(table: pd.DataFrame) -> str:
    """The method that the scores are of: the published model where it was chosen."""
    return OURS if (table["method"] == OURS).any() else PUBLISHED


def telling(table: pd.DataFrame) -> pd.DataFrame:
    """The combinations that can tell anything; all of them, where none can."""
    informative = table["informative"].astype(bool)
    return table[informative] if informative.any() else table


def combination_scores(table: pd.DataFrame) -> dict[str, Entry]:
    """Held-out combinations, those that can tell anything where there are such."""
    if table.empty:
        return {}
    some = telling(table)
    renamed = some.assign(cell_type=some["target"])
    which = "informative" if some["informative"].any() else "all, none of them informative"
    n, found = some["target"].nunique(), {}
    scores = ("weighted_delta_r2", "pearson_delta_top50", "e_distance")
    for key, score, floor, said in (
        *((f"counterfactual/{s}", s, BASELINE, "additive change of other labels") for s in scores),
        ("cycle/down_regulation_accuracy", "down_accuracy", NOTHING, "no change"),
    ):  # fmt: skip
        arms = {"model": model_of(table), "floor": floor, "ceiling": CEILING}
        means = {arm: mean_over_types(renamed, method, score) for arm, method in arms.items()}
        found[key] = entry(
            METRICS[key], {arm: mean for arm, (mean, _) in means.items()}, means["model"][1], n, 1,
            f"mean over held-out combinations ({which}), left out of everything that is fitted; "
            f"floor: {said}; ceiling: other true cells; interval: t over combinations",
        )  # fmt: skip
    return _measured(found)


def planted_scores(table: pd.DataFrame) -> dict[str, Entry]:
    """Sign and size of planted effects; nothing for cells that are not simulated."""
    if table.empty:
        return {}
    model = model_of(table)
    arms = {"model": model} | ({"floor": PUBLISHED} if model == OURS else {})
    n, found = int(table.loc[table["method"] == model, "n_genes"].sum()), {}
    for key, score in (
        ("cycle/planted_sign_accuracy", "sign_accuracy"),
        ("cycle/planted_correlation", "correlation"),
    ):
        values = {
            arm: float(table.loc[table["method"] == method, score].mean())
            for arm, method in arms.items()
        }
        found[key] = entry(
            METRICS[key], values, UNKNOWN, n, 1,
            "mean over categories of all fields against the first, held-out cells; floor: the "
            "published model; no interval, since categories share a reference",
        )  # fmt: skip
    return _measured(found)


def context_scores(table: pd.DataFrame, n: int) -> dict[str, Entry]:
    """Generated cells, the state and the cycle; means over fields."""
    if table.empty:
        return {}
    scale = 1.0 - table["chance"]
    beyond = {
        arm: float(((table[column] - table["chance"]) / scale).mean())
        for arm, column in (("model", "integration_state"), ("floor", "integration_pca"))
    }
    told = {
        "model": float(table["generated_independent"].mean()),
        "floor": float(table["chance"].mean()),
        "ceiling": float(table["independent_accuracy"].mean()),
    }
    protocol = "held-out cells, mean over fields; no interval, since fields share cells"
    return _measured(
        {
            key: entry(METRICS[key], values, UNKNOWN, n, 1, protocol)
            for key, values in (
                ("cycle/generated_accuracy", told),
                ("cycle/integration", beyond),
                ("cycle/cycle_error", {"model": float(table["cycle_error"].mean())}),
            )
        }
    )


def _measured(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {key: found for key, found in entries.items() if found["value"] is not None}
