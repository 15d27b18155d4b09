"""Entries of ``metrics.json`` from the experiments on a latent model of cells.

Nothing copies here, so that no entry has a cheat; what floor and ceiling are stands with each
metric in ``evaluation.metrics``.
"""

import math

import pandas as pd

from synthome.evaluation.metrics import METRICS
from synthome.evaluation.summary import Entry, entry
from synthome.plotting.planted import BAR, CHANCE
from synthome.plotting.representations import LATENTS, SIGNATURE
from synthome.plotting.three_class import GUESS
from synthome.reporting import conditional
from synthome.reporting.detection import median_dose
from synthome.reporting.likelihood import Scores, interval
from synthome.reporting.planted import OURS
from synthome.reporting.three_class import CEILING, row_of, usual_dose

UNKNOWN = (math.nan, math.nan)


def likelihood_scores(scores: Scores) -> dict[str, Entry]:
    """NLL and ELBO of held-out cells; the floor knows no latents."""
    null = scores["null_nll"]["value"]
    protocol = (
        "mean over held-out cells, model fitted to training cells; interval: normal, of cells"
    )
    found = {}
    for name, floor in (("elbo", -null), ("nll", null)):
        found[f"ldvae/{name}"] = entry(
            METRICS[f"ldvae/{name}"],
            {"model": scores[name]["value"], "floor": floor},
            interval(scores[name]),
            int(scores[name]["n"]),
            1,
            protocol,
        )
    return found


def three_class_scores(accuracy: pd.DataFrame) -> dict[str, Entry]:
    """Accuracy from the latents alone at the usual dose, strict protocol."""
    strict = accuracy[accuracy["protocol"] == "strict"]
    if strict.empty:
        return {}
    dose = usual_dose(strict)
    ours, everything = row_of(strict, LATENTS, dose), row_of(strict, CEILING, dose, "ridge")
    if ours is None:
        return {}
    ceiling = math.nan if everything is None else float(everything["accuracy"])
    return {
        "ldvae/three_class_accuracy": entry(
            METRICS["ldvae/three_class_accuracy"],
            {"model": float(ours["accuracy"]), "floor": GUESS, "ceiling": ceiling},
            (float(ours["low"]), float(ours["high"])),
            int(ours["n_test"]),
            1,
            f"strict, dose {dose:g}, logistic regression on the latents; floor: guessing; ceiling: "
            "ridge regression on all genes; interval: bootstrap over cells or donors",
        )
    }


def dose_scores(smallest: pd.DataFrame) -> dict[str, Entry]:
    """Median of the smallest doses that are seen from the latents; None when half are not seen."""
    medians = {
        arm: median_dose(smallest, view)
        for arm, view in (("model", LATENTS), ("floor", "pca"), ("ceiling", SIGNATURE))
    }
    limits = tuple(median_dose(smallest, LATENTS, end) for end in ("low", "high"))
    n = int((smallest["representation"] == LATENTS).sum())
    return {
        "ldvae/smallest_detectable_dose": entry(
            METRICS["ldvae/smallest_detectable_dose"],
            medians,
            (limits[0], limits[1]),
            n,
            1,
            "median over cell types and directions of the dose with power 0.8 at 5 % false alarms, "
            "not reached being the largest; floor: principal components; ceiling: signature score; "
            "interval: medians of the limits",
        )
    }


def planted_scores(planted: pd.DataFrame, dose: float) -> dict[str, Entry]:
    """AUPRC of the model's shift, each direction apart and their mean."""
    wide = planted.pivot(index="direction", columns="method", values="auprc")
    if OURS not in wide:
        return {}
    arms = {"model": OURS, "floor": CHANCE, "ceiling": BAR}
    n_planted = planted.groupby("direction")["n_planted"].first()
    protocol = (
        f"dose {dose:g}, base and perturbed cells are different cells, mean over draws; floor: "
        "chance; ceiling: t-test; no interval, since draws share cells"
    )
    found = {}
    for end, rows in (
        ("", wide),
        *((f"_{d}", wide.loc[[d]]) for d in ("down", "up") if d in wide.index),
    ):
        key = f"ldvae/planted_auprc{end}"
        values = {arm: float(rows[name].mean()) for arm, name in arms.items() if name in rows}
        n = int(n_planted[rows.index].sum())
        found[key] = entry(METRICS[key], values, UNKNOWN, n, 1, protocol)
    return found


def conditional_scores(table: pd.DataFrame, dose: float) -> dict[str, Entry]:
    """The change predicted in held-out cell types: floor additive, ceiling real cells."""
    arms = {"model": conditional.OURS, "floor": conditional.BASELINE,
            "ceiling": conditional.CEILING}  # fmt: skip
    protocol = (
        f"dose {dose:g}, mean over held-out cell types and directions, latents with residuals; "
        "floor: additive change of the other types; ceiling: other true cells; interval: t over "
        "cell types"
    )
    found = {}
    for score in conditional.SCORES:
        means = {arm: conditional.mean_over_types(table, m, score) for arm, m in arms.items()}
        key = f"counterfactual/{score}"
        values = {arm: mean for arm, (mean, _) in means.items()}
        n = table["cell_type"].nunique()
        found[key] = entry(METRICS[key], values, means["model"][1], n, 1, protocol)
    return found
