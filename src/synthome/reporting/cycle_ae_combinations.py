"""Combinations of contexts that were never shown: what was predicted of them, beside an average."""

import math

import numpy as np
import pandas as pd

from synthome.plotting.conditional import METHODS
from synthome.plotting.scores import format_number
from synthome.reporting.conditional import SCORES
from synthome.reporting.cycle_ae_scores import (
    BASELINE,
    CEILING,
    NOTHING,
    OURS,
    PUBLISHED,
    model_of,
    telling,
)
from synthome.reporting.phrases import joined, listed, percent

R2, FALL = "weighted_delta_r2", "down_accuracy"
PLAIN = (BASELINE, "similarity")  # the better of them, in each comparison, is to be beaten
HARDLY = 0.01  # of R2: methods that differ by less are called equal
ALIKE = 0.02  # of the larger value: other scores that differ by less are called equal
OTHERS = {  # score -> words, and whether more is better
    "pearson_delta_top50": ("correlation of the genes that change most", True),
    "e_distance": ("E-distance", False),
    FALL: ("lowered genes that are predicted to fall", True),
}
NO_TARGET = (
    "No combination could be held out: that takes two labels with enough cells under two "
    "categories of a field. What counterfactual cells are worth is not known here."
)


def counterfactual_answer(table: pd.DataFrame) -> str:
    """Whether the model beats the plain baselines, with the numbers.

    Parameters
    ----------
    table
        ``evaluation.held_out_combinations.held_out_combinations``.
    """
    if table.empty:
        return NO_TARGET
    n, some = table["target"].nunique(), telling(table)
    were = (
        "1 combination of contexts was left out of everything and predicted."
        if n == 1
        else f"{n} combinations of contexts were left out of everything and predicted, each in "
        "turn."
    )
    return joined((were, _numbers(some), counterfactual_verdict(table), _falling(some)))


def counterfactual_verdict(table: pd.DataFrame) -> str:
    """The answer alone: who is ahead, by which scores, and whether that can be told at all."""
    if table.empty:
        return NO_TARGET
    some = telling(table)
    told, n = bool(some["informative"].astype(bool).any()), table["target"].nunique()
    return joined((_verdict(some), _how_many_tell(some["target"].nunique() if told else 0, n)))


def combinations_table(table: pd.DataFrame) -> pd.DataFrame | None:
    """Each held-out combination and method."""
    if table.empty:
        return None
    rows = []
    for target, of in table.groupby("target", sort=False):
        for method, look in METHODS.items():
            for found in of[of["method"] == method].to_dict("records"):
                row = {"Held out": target, "Prediction": look.name}
                row |= {words: format_number(float(found[s])) for s, words in SCORES.items()}
                row["Lowered genes fall"] = known_percent(found[FALL])
                row["Cells"] = f"{found['n_cells']:,}"
                row["Changed genes"] = format_number(float(found["n_changed"]), decimals=0)
                row["Can tell much"] = "yes" if found["informative"] else "no"
                rows.append(row)
    return pd.DataFrame(rows) if rows else None


def known_percent(share: float) -> str:
    """A share in percent, or that it is not known."""
    return percent(share) if math.isfinite(share) else "not known"


def _numbers(rows: pd.DataFrame) -> str:
    means = rows.groupby("method")[R2].mean().dropna()
    said = "; ".join(f"{METHODS[m].name.lower()} {format_number(float(means[m]))}"
                     for m in METHODS if m in means)  # fmt: skip
    return f"Weighted R² of the change, on average: {said}." if said else ""


def _verdict(rows: pd.DataFrame) -> str:
    model = model_of(rows)
    wide = rows.pivot(index="target", columns="method", values=R2).dropna(axis=1, how="all")
    plain = [m for m in PLAIN if m in wide]
    if model not in wide:
        return "The prediction of the model could not be scored."
    if not plain:
        return "No other type showed the change, so that there is no plain average to compare with."
    name, verb = ("Counterfactual cells", "beat") if model == OURS else (
        "The published model", "beats")  # fmt: skip
    gain = (wide[model] - wide[plain].max(axis=1)).dropna()
    won, lost = int((gain > HARDLY).sum()), int((gain < -HARDLY).sum())
    of = f"of {len(gain)} held-out combination{'' if len(gain) == 1 else 's'}"
    if won > lost:
        said = f"{name} {verb} the best additive baseline in {won} {of}."
        behind = _by_other_scores(rows, plain, model)
        return f"{said} By {behind}, the baseline does better." if behind else said
    said = (
        f"A plain average of the other types does better in {lost} {of}: for such "
        "predictions, no model is needed."
        if lost > won
        else "Neither is ahead of the other: a plain average of the other types does as well."
    )
    ahead = _by_other_scores(rows, plain, model, wins=True)
    return f"{said} By {ahead}, the model does better." if ahead else said


def _by_other_scores(rows: pd.DataFrame, plain: list[str], model: str, wins: bool = False) -> str:
    """The scores by which the best baseline is ahead of the model, or the model of it."""
    found = []
    for score, (words, more) in OTHERS.items():
        means, sign = rows.groupby("method")[score].mean(), 1.0 if more else -1.0
        own = float(means.get(model, math.nan))
        values = [float(means[m]) for m in plain if math.isfinite(means[m])]
        if not values or not math.isfinite(own):
            continue
        best = sign * max(sign * value for value in values)
        noise = 0.0 if more else float(np.nan_to_num(abs(means.get(CEILING, 0.0))))
        gain = sign * (own - best) * (1.0 if wins else -1.0)
        if gain > max(ALIKE * max(abs(own), abs(best)), noise):
            write = percent if score == FALL else format_number
            found.append(f"{words} ({write(own)} against {write(best)})")
    return listed(found) if found else ""


def _falling(rows: pd.DataFrame) -> str:
    means, model = rows.groupby("method")[FALL].mean().dropna(), model_of(rows)
    if model not in means:
        return ""
    beside = [
        f"{words} {percent(means[method])}"
        for method, words in (
            (PUBLISHED, "by the published model"),
            (BASELINE, "by the additive baseline"),
            (NOTHING, "by no change"),
        )
        if method in means and method != model
    ]
    said = f"Of the genes that surely fall, {percent(means[model])} are predicted to fall"
    return f"{said} ({', '.join(beside)})." if beside else f"{said}."


def _how_many_tell(n: int, of: int) -> str:
    why = "few genes change surely, or true cells themselves predict true cells badly"
    if n == of:
        return ""
    if n == 0:
        return f"None of this can tell much: {why}."
    return f"These are the {n} of {of} that can tell much: elsewhere {why}."
