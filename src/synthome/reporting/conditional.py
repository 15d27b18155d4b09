"""A change learnt in some cell types and predicted in another, beside what needs no model."""

import math

import numpy as np
import pandas as pd

from synthome.plotting.conditional import METHODS, SCORE
from synthome.plotting.detection import SETS
from synthome.plotting.scores import format_number
from synthome.reporting.phrases import joined

OURS, LATENTS, BASELINE, CEILING = "latents+residuals", "latents", "additive", "ceiling"
NOTHING = "no_change"
HARDLY = 0.05  # beyond no change: a method that gains less carries next to nothing over
ROOM = 0.1  # between no change and the ceiling: with less, nothing can be shown
MOSTLY = 0.75  # of the comparisons
LITTLE = 0.5  # a ceiling below this leaves little to predict
NO_ROOM = (
    "Which is better cannot be told: even other true cells of the type do hardly better than no "
    "change at all, so that at this dose, with so few cells, there is next to nothing to predict."
)
SCORES = {
    SCORE: "Weighted R²",
    "pearson_delta_top50": "r, top 50 genes",
    "e_distance": "E-distance",
}


def conditional_answer(table: pd.DataFrame) -> str:
    """Say whether the shift of the latents beats the additive baseline.

    Parameters
    ----------
    table
        ``evaluation.conditional_shift.conditional_shift``.
    """
    if table.empty:
        return (
            "Cannot tell: a change can be carried from type to type only where two types have "
            "enough held-out cells. Give more cells."
        )
    wide = _wide(table)
    if BASELINE not in wide:
        return ""
    n_types = table["cell_type"].nunique()
    means = wide.mean()
    start = (
        f"A change that was learned in all other cell types was predicted for each of {n_types} "
        "in turn. On average, "
    )
    said = []
    for method, words in (
        (LATENTS, "the shift of the latents explains"),
        (OURS, "latents with residuals"),
        (BASELINE, "the additive baseline, which needs no model,"),
        (NOTHING, "no change at all"),
        (CEILING, "and other true cells of the type (the ceiling)"),
    ):
        if method in means and math.isfinite(means[method]):
            said.append(f"{words} {format_number(float(means[method]))}")
    numbers = f"{start}{'; '.join(said)} of it (weighted R²)."
    if means.get(CEILING, math.inf) - means.get(NOTHING, -math.inf) < ROOM:
        return joined([numbers, NO_ROOM])
    return joined([numbers, _verdict(wide), _little(means)])


def conditional_table(table: pd.DataFrame) -> pd.DataFrame:
    """Means over cell types of each score, a row for each direction and method."""
    rows = []
    for condition, of in table.groupby("condition", sort=True):
        for method, look in METHODS.items():
            found = of[of["method"] == method]
            if found.empty:
                continue
            row = {"Genes": SETS.get(str(condition), str(condition)), "Prediction": look.name}
            for name, words in SCORES.items():
                row[words] = format_number(float(found[name].mean()))
            rows.append(row)
    return pd.DataFrame(rows)


def mean_over_types(
    table: pd.DataFrame, method: str, score: str
) -> tuple[float, tuple[float, float]]:
    """Mean of a score and its 95 % interval by Student's t over cell types."""
    from scipy.stats import t

    of = table[table["method"] == method]
    by_type = of.groupby("cell_type")[score].mean().dropna().to_numpy(dtype=float)
    if len(by_type) == 0:
        return math.nan, (math.nan, math.nan)
    mean = float(by_type.mean())
    if len(by_type) < 2:
        return mean, (math.nan, math.nan)
    reach = float(t.ppf(0.975, len(by_type) - 1) * by_type.std(ddof=1) / np.sqrt(len(by_type)))
    return mean, (mean - reach, mean + reach)


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot(index=["cell_type", "condition"], columns="method", values=SCORE)


def _verdict(wide: pd.DataFrame) -> str:
    method = OURS if OURS in wide else LATENTS
    if method not in wide:
        return ""
    gain = (wide[method] - wide[BASELINE]).dropna()
    n, won, lost = len(gain), int((gain > 0).sum()), int((gain < 0).sum())
    name = "Latents with residuals" if method == OURS else "The shift of the latents"
    beat = "beat" if method == OURS else "beats"
    where = f"of {n} comparisons (cell types and directions)"
    alone = _latents_alone(wide) if method == OURS else ""
    if won >= MOSTLY * n and gain.mean() > 0:
        return joined([f"{name} {beat} the additive baseline in {won} {where}.", alone])
    if lost >= MOSTLY * n and gain.mean() < 0:
        told = "to carry a change over to another cell type, no latent model is needed"
        lose = f"{name} {'lose' if method == OURS else 'loses'} to the additive baseline"
        return joined([f"{lose} in {lost} {where}: {told}.", alone])
    tied = f"{name} {beat} the additive baseline in {won} {where}, and not in {n - won}"
    return joined([f"{tied}: neither is ahead.", alone])


def _latents_alone(wide: pd.DataFrame) -> str:
    if LATENTS not in wide:
        return ""
    gain = (wide[LATENTS] - wide[BASELINE]).dropna()
    said = f"The shift of the latents alone beats it in {int((gain > 0).sum())}"
    if NOTHING in wide and (wide[LATENTS] - wide[NOTHING]).mean() < HARDLY:
        return f"{said}, and is hardly better than no change at all."
    return f"{said}."


def _little(means: "pd.Series[float]") -> str:
    ceiling = float(means.get(CEILING, math.nan))
    if not ceiling < LITTLE:
        return ""
    return (
        f"The ceiling itself is only {format_number(ceiling)}: at this dose and with so few cells "
        "there is little that could be predicted."
    )
