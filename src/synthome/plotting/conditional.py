"""A change learnt in other cell types and predicted in one: each method between floor and ceiling.

A value far below 0 stands at the left end as an arrow.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.detection import SETS
from synthome.plotting.representations import ORANGE, Look
from synthome.plotting.style import (
    CEILING,
    CHEAT,
    FAINT,
    FLOOR,
    INK,
    REAL,
    SYNTHETIC,
    as_plain_text,
    new_figure,
    shared_legend,
    short,
    styled,
)

SCORE = "weighted_delta_r2"
METHODS = {  # of evaluation.conditional_shift and held_out_combinations, the model's own first
    "cycle_ae": Look("Counterfactual cells", SYNTHETIC, "o", "-"),
    "published": Look("Published model", CHEAT, "X", "-"),
    "latents": Look("Shift of the latents", SYNTHETIC, "o", "-"),
    "latents+residuals": Look("Latents and residuals", ORANGE, "P", "-"),
    "additive": Look("Additive, no model", REAL, "s", "-"),
    "similarity": Look("Additive, similar types more", ORANGE, "P", "-"),
    "components": Look("Additive, in components", INK, "^", "-"),
    "mean_of_perturbed": Look("Mean of other types", CHEAT, "X", "-"),
    "no_change": Look("No change", FLOOR, "v", "-"),
    "ceiling": Look("Ceiling: real against real", CEILING, "D", "-"),
}
LEAST = -0.5  # below it, a value is drawn as an arrow at the edge
DODGE = 0.7  # of a row, over which methods are spread


@styled
def conditional_figure(table: pd.DataFrame) -> Figure:
    """Weighted R² of the predicted change by held-out cell type, a mark for each method.

    Parameters
    ----------
    table
        ``evaluation.conditional_shift.conditional_shift``.
    """
    rows = table[np.isfinite(table[SCORE])]
    if rows.empty:
        raise InputError("The table of predicted changes has no row with a value to draw.")
    types = sorted(map(str, rows["cell_type"].unique()))
    conditions = sorted(map(str, rows["condition"].unique()))
    methods = [m for m in METHODS if (rows["method"] == m).any()]
    figure = new_figure(height=1.5 + 0.42 * len(types), width=max(7.4, 2.2 + 4.3 * len(conditions)))
    panels = figure.subplots(1, len(conditions), squeeze=False, sharex=True, sharey=True)[0]
    for ax, condition in zip(panels, conditions, strict=True):
        _marks(ax, rows[rows["condition"] == condition], types, methods)
        words = SETS.get(condition, condition)
        as_plain_text([ax.set_title(words[:1].upper() + words[1:])])
        ax.set_xlabel("Weighted R² of the change (1: perfect)")
    least = max(float(rows[SCORE].min()), LEAST)
    panels[0].set_xlim(min(least, 0.0) - 0.08, 1.05)
    panels[0].set_yticks(range(len(types)), [short(name) for name in types])
    as_plain_text(panels[0].get_yticklabels())
    panels[0].set_ylim(len(types) - 0.5, -0.5)
    shared_legend(figure, ncols=3, labelcolor=INK)
    return figure


def _marks(ax: Axes, rows: pd.DataFrame, types: list[str], methods: list[str]) -> None:
    for i in range(0, len(types), 2):
        ax.axhspan(i - 0.5, i + 0.5, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
    ax.axvline(0.0, color=INK, linewidth=1.0, linestyle="--", zorder=1)
    for m, method in enumerate(methods):
        look = METHODS[method]
        of = rows[rows["method"] == method]
        value = of[SCORE].to_numpy(dtype=float)
        y = np.array([types.index(str(name)) for name in of["cell_type"]], dtype=float)
        y += DODGE * ((m + 0.5) / len(methods) - 0.5)
        sd = of[f"{SCORE}_sd"].fillna(0.0).to_numpy(dtype=float)
        seen = value >= LEAST
        ax.hlines(y[seen], np.maximum(value - sd, LEAST)[seen], np.minimum(value + sd, 1.0)[seen],
                  color=look.colour, alpha=0.45, linewidth=2.0, zorder=2)  # fmt: skip
        style: dict[str, Any] = {"color": look.colour, "linestyle": "none", "mec": "white",
                                 "mew": 0.6, "zorder": 4}  # fmt: skip
        ax.plot(value[seen], y[seen], marker=look.marker, ms=6.2, label=look.name, **style)
        ax.plot(np.full((~seen).sum(), LEAST), y[~seen], marker="<", ms=6.5, label="_below",
                **style)  # fmt: skip
    ax.tick_params(axis="y", length=0)
    ax.grid(True, axis="x")
