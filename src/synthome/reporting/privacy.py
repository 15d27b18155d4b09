"""What privacy costs, in two to four plain sentences: each knob, and an attacker with a reference.

A knob is worth turning while the strongest attack beats the AUC up to which, with few patients, it
cannot be told from guessing (``VerdictConfig.attack_auc``). Its price is the loss in learning from
synthetic rows at the cheapest setting that gets there.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from synthome.errors import InputError
from synthome.plotting.scores import format_number
from synthome.reporting.phrases import capital, listed
from synthome.reporting.rules import VerdictConfig

KNOB_WORDS = {
    "noise": "added noise of {0:g} × the standard deviation",
    "shrinkage": "shrinkage {0:g}",
    "epsilon": "differentially private training at ε = {0:g}",
}
UNTURNED = {"noise": 0.0, "shrinkage": 0.0, "epsilon": math.inf}
FOUND = 0.7  # an attack that finds copies with less than this has no power
SAME = 0.01  # AUCs nearer than this are called the same
REFERENCE = "privacy/likelihood_ratio_auc"


def privacy_answer(
    curve: pd.DataFrame,
    reference: Mapping[str, Mapping[str, Any]],
    config: VerdictConfig | None = None,
) -> str:
    """Say what the strongest attack achieves, what each knob does to it, and at what price.

    Parameters
    ----------
    curve
        What ``evaluation.knobs.privacy_curve`` returned.
    reference
        What ``evaluation.reference.reference_attack`` returned; empty without a public cohort.
    """
    curve = curve[curve["utility"].notna() & curve["attack"].notna()]
    if curve.empty:
        raise InputError("The privacy curve has no setting with both utility and attack.")
    limit = (config or VerdictConfig()).attack_auc
    as_is = curve[[setting == UNTURNED.get(knob) for knob, setting
                   in zip(curve["knob"], curve["setting"], strict=True)]]  # fmt: skip
    start = (as_is if len(as_is) else curve).iloc[0]
    attack, utility = float(start["attack"]), float(start["utility"])
    opening = (
        f"As it is, the strongest attack reaches AUC {_with_interval(start, 'attack')} and a "
        "classifier that learns from synthetic patients "
        f"AUC {_with_interval(start, 'utility')}"
    )
    if round(attack, 2) <= limit:  # as it is printed
        sentences = [
            f"{opening}: up to {format_number(limit)} an attack cannot be told from guessing, so "
            "no knob has to be turned."
        ]
    else:
        sentences = [f"{opening}: beyond {format_number(limit)}, which is more than guessing."]
    for knob, rows in curve.groupby("knob", sort=False):
        turned = rows[rows["setting"] != UNTURNED.get(str(knob))]
        if len(turned):
            sentences.append(_price(str(knob), turned, attack, utility, limit))
    return " ".join([*sentences, *filter(None, [_with_reference(reference)])])


def _price(knob: str, turned: pd.DataFrame, attack: float, utility: float, limit: float) -> str:
    """What the cheapest setting that is needed, or the last, does to attack and utility."""
    words = KNOB_WORDS.get(knob, f"{knob.replace('_', ' ')} {{0:g}}")
    enough = turned[turned["attack"].round(2) <= limit]
    needed = round(attack, 2) > limit
    if needed and len(enough):
        row, lead = enough.loc[enough["utility"].idxmax()], "is enough"
    else:
        row = turned.loc[turned["attack"].idxmin()]
        lead = "would protect most" if not needed else "protects most, but not enough"
    if len(turned) > 1:
        lead += f", of {len(turned)} settings"
    said = words.format(float(row["setting"]))
    return (
        f"{capital(said)} {lead}: {_moves('attack', attack, float(row['attack']))}, "
        f"{_moves('utility', utility, float(row['utility']))}."
    )


def _moves(what: str, before: float, after: float) -> str:
    if abs(after - before) <= SAME:
        return f"{what} stays at {format_number(after)}"
    return f"{what} from {format_number(before)} to {format_number(after)}"


def _with_reference(entries: Mapping[str, Mapping[str, Any]]) -> str:
    entry = entries.get(REFERENCE, {})
    if entry.get("value") is None:
        return ""
    low_high = entry.get("interval")
    around = f" [{format_number(low_high[0])}, {format_number(low_high[1])}]" if low_high else ""
    yardsticks = [
        f"{format_number(entry[arm])} for {words}"
        for arm, words in (("floor", "noise"), ("cheat", "copied patients"),
                           ("ceiling", "real patients who took no part"))
        if entry.get(arm) is not None
    ]  # fmt: skip
    against = f", against {listed(yardsticks)}" if yardsticks else ""
    cheat = entry.get("cheat")
    blind = cheat is not None and cheat < FOUND
    return (
        "Somebody who also holds a public cohort of the same disease reaches AUC "
        f"{format_number(entry['value'])}{around}{against}; this attack is not counted as the "
        "strongest, because it needs that cohort"
        f"{', and since it misses copied patients too, it proves nothing here' if blind else ''}."
    )


def _with_interval(row: "pd.Series[float]", name: str) -> str:
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    known = math.isfinite(low) and math.isfinite(high)
    around = f" [{format_number(low)}, {format_number(high)}]" if known else ""
    return f"{format_number(float(row[name]))}{around}"
