"""Does temperature help here? Two to four plain sentences, each computed from the curve.

The curve gives scores at one temperature for all classes; calibration chooses one per class. The
calibrated generator is read off the curve at the mean of the chosen temperatures, between grid
points on a straight line (of the logarithm, for the spread).
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from synthome.errors import InputError
from synthome.plotting.scores import format_number
from synthome.plotting.temperature import PUBLISHED_RANGE, SPREAD

UTILITY = "utility/tstr_auc"
ATTACK = "privacy/worst_auc"
OURS, PUBLISHED = "rare_vae", "published_vae"
SPREAD_TOLERANCE = 0.10  # a variance within a tenth of the real one is called right
SAME = 0.01  # AUCs nearer than this are called the same
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # temperatures, values, lower limits


def temperature_answer(
    curve: pd.DataFrame, chosen: Mapping[str, float], generator: str = OURS
) -> str:
    """Answer the question in words.

    Parameters
    ----------
    curve
        Columns ``temperature``, ``metric``, ``generator``, ``value``, ``low``, ``high``.
    chosen
        Calibrated temperature by class.
    generator
        The calibrated one; ``published_vae`` is mentioned beside it where the curve has it.
    """
    if not chosen:
        raise InputError("No calibrated temperature was given: pass the chosen T of each class.")
    T = float(np.mean(list(chosen.values())))
    found = {key: _read(curve, key, generator) for key in (SPREAD, UTILITY, ATTACK)}
    sentences = [
        _verdict(found, T),
        _where_spread_is_right(found[SPREAD], _read(curve, SPREAD, PUBLISHED), chosen),
        _published_range(found, T),
    ]
    return " ".join(filter(None, sentences))


def crossing(temperatures: np.ndarray, ratio: np.ndarray, target: float = 1.0) -> float | None:
    """Temperature at which the ratio first passes ``target``; None if it does not on the grid.

    Straight lines in (log T, log ratio), on which a spread that grows as a power of T is exact.
    """
    x, y = np.log(temperatures), np.log(ratio / target)
    exact = np.flatnonzero(y == 0.0)
    turns = np.flatnonzero(y[:-1] * y[1:] < 0.0)
    if len(exact) and (len(turns) == 0 or exact[0] <= turns[0]):
        return float(temperatures[exact[0]])
    if len(turns) == 0:
        return None
    i = turns[0]
    return float(np.exp(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i])))


def beats_calibrated(curve: Curve, T: float) -> tuple[float, float, float] | None:
    """Best temperature on the grid whose lower limit is above the calibrated value, if any.

    Returns
    -------
    That temperature, its value, and the value at ``T``.
    """
    temperatures, values, lows = curve
    base = _at(curve, T)
    better = np.flatnonzero(lows > base)  # False for NaN
    if len(better) == 0:
        return None
    i = better[np.argmax(values[better])]
    return float(temperatures[i]), float(values[i]), base


def _read(curve: pd.DataFrame, key: str, generator: str) -> Curve:
    rows = curve[(curve["metric"] == key) & (curve["generator"] == generator)]
    rows = rows[np.isfinite(rows["value"])].sort_values("temperature", kind="stable")
    t, value, low = (rows[c].to_numpy(dtype=float) for c in ("temperature", "value", "low"))
    if key == SPREAD:
        t, value, low = (numbers[value > 0.0] for numbers in (t, value, low))
    return t, value, low


def _at(curve: Curve, T: float, log: bool = False) -> float:
    """Value of the curve at ``T``; NaN outside its grid or without a curve."""
    temperatures, values, _ = curve
    if len(temperatures) == 0 or not temperatures[0] <= T <= temperatures[-1]:
        return math.nan
    if log:
        return float(np.exp(np.interp(math.log(T), np.log(temperatures), np.log(values))))
    return float(np.interp(T, temperatures, values))


def _verdict(found: Mapping[str, Curve], T: float) -> str:
    """First sentence: yes, no, only as a calibration, or not known."""
    utility = found[UTILITY]
    if len(utility[0]) == 0 or not math.isfinite(_at(utility, T)):
        return (
            "Whether temperature helps here cannot be told: learning from synthetic patients was "
            f"not scored around the calibrated T of {T:.2f}."
        )
    if not np.isfinite(utility[2]).any():
        return (
            "Whether temperature helps here cannot be told: learning from synthetic patients was "
            "scored without intervals."
        )
    better = beats_calibrated(utility, T)
    if better is not None:
        at, value, base = better
        leak = _at(found[ATTACK], at) - _at(found[ATTACK], T)
        price = f", at the price of a stronger attack ({_change(found[ATTACK], T, at)})"
        return (
            f"Yes, another temperature helps here: at T = {at:g} a classifier that learned from "
            f"synthetic patients reaches AUC {format_number(value)}, more than the "
            f"{format_number(base)} at the calibrated T of {T:.2f} by more than its interval"
            f"{price if leak > SAME else ''}."
        )
    spread = _at(found[SPREAD], 1.0, log=True)
    none = (
        f"no T on the grid beats the calibrated {T:.2f} in learning from synthetic patients "
        f"(AUC {format_number(_at(utility, T))}) by more than its interval"
    )
    if math.isfinite(spread) and abs(spread - 1.0) <= SPREAD_TOLERANCE:
        return (
            f"No, temperature does not help here: the spread is already right at T = 1, and {none}."
        )
    if not math.isfinite(spread):
        return f"No temperature is shown to help here: {none}."
    return (
        f"Temperature helps here only to set the spread, which is {_ratio(spread)} the real one at "
        f"T = 1: {none}."
    )


def _where_spread_is_right(ours: Curve, published: Curve, chosen: Mapping[str, float]) -> str:
    if len(ours[0]) == 0:
        return "The spread was not measured along the grid."
    calibrated = ", ".join(f"{T:.2f} for {name}" for name, T in chosen.items())
    at = crossing(ours[0], ours[1])
    if at is None:
        side = "too small" if ours[1].max() < 1.0 else "too large"
        nearest = ours[1][np.argmin(np.abs(np.log(ours[1])))]
        start = (
            f"The spread is {side} at every T from {ours[0][0]:g} to {ours[0][-1]:g} (at the "
            f"nearest, {_ratio(nearest)} the real one); calibration chose {calibrated}"
        )
    else:
        start = (
            f"The spread of synthetic patients is that of real ones at T = {at:.2f} (calibrated: "
            f"{calibrated})"
        )
    if len(published[0]) == 0:
        return f"{start}."
    theirs = crossing(published[0], published[1])
    if theirs is not None:
        return f"{start}; the published model needs T = {theirs:.2f}."
    largest = float(published[1].max())
    if largest < 1.0:
        end = f"the published model never gets there: {_ratio(largest)} the real spread at most"
    else:
        least = float(published[1].min())
        end = f"the published model never gets down to it: {_ratio(least)} at least"
    return f"{start}; {end}."


def _published_range(found: Mapping[str, Curve], T: float) -> str:
    """What the published 2 to 3 does, relative to the chosen temperature."""
    first, last = PUBLISHED_RANGE
    parts = []
    low, high = (_at(found[SPREAD], at, log=True) for at in PUBLISHED_RANGE)
    if math.isfinite(low) and math.isfinite(high):
        low, high = sorted((low, high))
        parts.append(f"the spread is {_ratio(low)} to {_ratio(high)} the real one")
    for key, words in ((UTILITY, "learning from synthetic patients"), (ATTACK, "the attack")):
        base = _at(found[key], T)
        changes = [_at(found[key], at) - base for at in PUBLISHED_RANGE]
        if not np.isfinite(changes).all():
            continue
        at = PUBLISHED_RANGE[int(np.argmax(np.abs(changes)))]
        change = max(changes, key=abs)
        said = {
            UTILITY: ("becomes better", "becomes worse"),
            ATTACK: ("becomes stronger", "becomes weaker"),
        }[key][change < 0]
        if abs(change) <= SAME:
            parts.append(f"{words} stays the same")
        else:
            parts.append(f"{words} {said} ({_change(found[key], T, at)})")
    if not parts:
        return f"The published T of {first:g} to {last:g} was not on the grid."
    ours = f"the calibrated {T:.2f}"
    where = "lies within it" if first <= T <= last else f"is {'below' if T < first else 'above'} it"
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
    return f"At the published T of {first:g} to {last:g} ({ours} {where}), {text}."


def _change(curve: Curve, start: float, end: float) -> str:
    return f"AUC from {format_number(_at(curve, start))} to {format_number(_at(curve, end))}"


def _ratio(value: float) -> str:
    return f"{format_number(value, decimals=2 if value < 10 else 1)} ×"
