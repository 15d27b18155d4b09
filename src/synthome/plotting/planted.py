"""How well each method finds the planted genes again: down and up apart, beside a t-test."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.scores import format_number
from synthome.plotting.style import (
    FLOOR,
    INK,
    SYNTHETIC,
    add_grid,
    new_figure,
    styled,
)

BAR, CHANCE = "t_test", "chance"
METHODS = {  # of evaluation.planted
    BAR: "t-test, no model",
    "mean_shift": "Model and its residuals",
    "latent_shift": "Loadings × latent shift",
    "single_factor": "Best single factor\n(chosen by the truth)",
}
BOX = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"}  # no line through a number
DIRECTIONS = {"down": "Genes turned down", "up": "Genes turned up"}


@styled
def planted_figure(table: pd.DataFrame) -> Figure:
    """Average precision of each method as a bar, the t-test as the line to reach, and chance.

    Parameters
    ----------
    table
        ``evaluation.planted.planted_auprc``, of one dose.
    """
    rows = table[np.isfinite(table["auprc"])]
    directions = [d for d in DIRECTIONS if (rows["direction"] == d).any()]
    if not directions:
        raise InputError("The table of planted genes has no row with a value to draw.")
    methods = list(dict.fromkeys(rows.loc[rows["method"] != CHANCE, "method"]))
    methods.sort(key=lambda m: list(METHODS).index(m) if m in METHODS else len(METHODS))
    figure = new_figure(height=1.5 + 0.52 * len(methods), width=4.7 * max(len(directions), 1.4))
    panels = figure.subplots(1, len(directions), squeeze=False, sharey=True)[0]
    for ax, direction in zip(panels, directions, strict=True):
        _bars(ax, rows[rows["direction"] == direction], methods)
        ax.set_title(_title(direction, rows[rows["direction"] == direction]))
    panels[0].set_yticks(range(len(methods)), [_method(name) for name in methods])
    panels[0].invert_yaxis()
    return figure


def _bars(ax: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    found = rows.set_index("method")
    values = found["auprc"].reindex(methods)
    colours = [FLOOR if name == BAR else SYNTHETIC for name in methods]
    ax.barh(range(len(methods)), values, height=0.62, color=colours, zorder=2)
    spread = found["sd"].reindex(methods).fillna(0.0)
    ax.hlines(range(len(methods)), values - spread, (values + spread).clip(upper=1.0), color=INK,
              linewidth=1.2, zorder=4)  # fmt: skip
    for i, (value, sd) in enumerate(zip(values, spread, strict=True)):
        if np.isfinite(value):
            end = min(value + sd, 1.0)
            ax.annotate(format_number(value), (end, i), (4, 0), textcoords="offset points",
                        va="center", fontsize=8.5, bbox=BOX, zorder=5)  # fmt: skip
    if BAR in found.index:
        ax.axvline(found.at[BAR, "auprc"], color=INK, linewidth=1.1, linestyle="--", zorder=3)
    if CHANCE in found.index:
        ax.axvline(found.at[CHANCE, "auprc"], color=INK, linewidth=1.3, linestyle=(0, (1, 1.5)),
                   zorder=3)  # fmt: skip
    ax.set_xlim(0.0, 1.12)
    ax.set_xticks(np.linspace(0.0, 1.0, 6))
    ax.set_xlabel("Average precision (AUPRC)")
    ax.tick_params(axis="y", length=0)
    add_grid(ax, "x")


def _title(direction: str, rows: pd.DataFrame) -> str:
    chance = rows.loc[rows["method"] == CHANCE, "auprc"]
    by_chance = f"; by chance {format_number(chance.iloc[0])}" if len(chance) else ""
    return f"{DIRECTIONS[direction]} ({int(rows['n_planted'].iloc[0])}{by_chance})"


def _method(name: str) -> str:
    return METHODS.get(name, name.replace("_", " "))
