"""What the sampling temperature does: one panel per score, the same temperatures below each.

The spread of a latent draw is multiplied by T. The published range, 2 to 3, is shaded; the
temperatures that calibration chose, one per class, are ticks; the best value of a score is a line.
"""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from synthome.errors import InputError
from synthome.plotting.scores import Registry, Score, format_number, read_score
from synthome.plotting.style import (
    CEILING,
    INK,
    MARKERS,
    MUTED,
    SYNTHETIC,
    add_grid,
    as_plain_text,
    new_figure,
    styled,
)

PUBLISHED_RANGE = (2.0, 3.0)  # the temperatures that the published system recommends
SPREAD = "fidelity/variance_ratio"
TITLES = {  # short, for small panels; other scores keep their name
    SPREAD: "Total variance, synthetic / real",
    "fidelity/coverage": "Real patients covered (share)",
    "fidelity/c2st_auc": "Told apart from real patients (AUC)",
    "utility/tstr_auc": "Learning from synthetic rows (AUC)",
    "privacy/worst_auc": "Strongest attack (AUC)",
}
BEST = {SPREAD: 1.0}  # of scores that the registry does not know
GENERATORS: dict[str, dict[str, Any]] = {
    "rare_vae": {"color": SYNTHETIC, "marker": "o", "linestyle": "-"},
    "published_vae": {"color": MUTED, "marker": "s", "linestyle": "--"},
}
SHADE = "#E6EEF6"
COLUMNS = 3


@styled
def temperature_figure(
    curve: pd.DataFrame, chosen: Mapping[str, float], registry: Registry | None = None
) -> Figure:
    """One panel per score against the temperature, with what was published and what was chosen.

    Parameters
    ----------
    curve
        Columns ``temperature``, ``metric``, ``generator``, ``value``, ``low``, ``high``.
    chosen
        Calibrated temperature by class.
    registry
        Words and best values by key, such as ``synthome.evaluation.metrics.METRICS``.
    """
    curve = curve[np.isfinite(curve["value"])]
    if curve.empty:
        raise InputError("The temperature curve has no row with a value, so nothing can be drawn.")
    metrics = list(dict.fromkeys(curve["metric"]))
    metrics.sort(key=lambda key: list(TITLES).index(key) if key in TITLES else len(TITLES))
    n_rows = -(-(len(metrics) + 1) // COLUMNS)  # the last cell is for the legend
    figure = new_figure(height=2.35 * n_rows + 0.4, width=9.6)
    axes = figure.subplots(n_rows, COLUMNS, sharex=True, squeeze=False).ravel()
    ends = float(curve["temperature"].min()), float(curve["temperature"].max())
    room = 0.03 * (ends[1] - ends[0]) or 0.1
    for ax, key in zip(axes, metrics, strict=False):
        _panel(ax, read_score(key, {"best": BEST.get(key)}, registry), curve, chosen)
        ax.set_xlim(min(ends[0], *chosen.values(), 9e9) - room, max(*ends, *chosen.values()) + room)
    for i, ax in enumerate(axes):
        ax.tick_params(labelbottom=len(metrics) - COLUMNS <= i < len(metrics))
        if i >= len(metrics):
            ax.set_axis_off()
    figure.supxlabel("Temperature T: spread of the latent draws", fontsize=9.0, color=INK)
    _legend(axes[-1], list(dict.fromkeys(curve["generator"])), chosen)
    return figure


def _panel(ax: Axes, score: Score, curve: pd.DataFrame, chosen: Mapping[str, float]) -> None:
    ax.axvspan(*PUBLISHED_RANGE, color=SHADE, zorder=0, linewidth=0)
    ax.text(sum(PUBLISHED_RANGE) / 2, 0.985, "published\nT 2–3", color=MUTED, fontsize=7.5,
            transform=ax.get_xaxis_transform(), ha="center", va="top", zorder=1)  # fmt: skip
    if np.isfinite(score.best):
        ax.axhline(score.best, color=CEILING, linewidth=1.3, zorder=2, label="_best")
        ax.annotate(f"best {format_number(score.best)}", (1.0, score.best), (0, 2.5),
                    xycoords=ax.get_yaxis_transform(), textcoords="offset points", fontsize=7.5,
                    color="#00694C", ha="right", va="bottom", zorder=7,
                    bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none",
                          "alpha": 0.7})  # fmt: skip
    rows = curve[curve["metric"] == score.key]
    values = rows["value"]
    multiples = score.key == SPREAD and values.min() > 0 and values.max() > 4 * score.best
    if multiples:
        _in_multiples(ax)
    for name, of in rows.sort_values("temperature").groupby("generator", sort=False):
        look = _look(str(name))
        low = of["low"].clip(lower=values.min() / 2) if multiples else of["low"]
        ax.fill_between(
            of["temperature"], low, of["high"], color=look["color"], alpha=0.16, linewidth=0
        )
        ax.plot(of["temperature"], of["value"], ms=4.5, mec="white", mew=0.7, **look, zorder=4)
    for i, T in enumerate(chosen.values()):
        ax.axvline(T, color=SYNTHETIC, linewidth=0.9, linestyle=":", zorder=3, label="_chosen")
        ax.plot(T, 0.0, MARKERS[i % len(MARKERS)], color=INK, ms=6, mec="white", zorder=6,
                transform=ax.get_xaxis_transform(), clip_on=False, label="_chosen")  # fmt: skip
    title = ax.set_title(fill(TITLES.get(score.key, score.name), 38), fontsize=8.8)
    as_plain_text([title])
    low, high = ax.transData.inverted().transform(ax.transAxes.transform([(0, 0), (0, 1.14)]))[:, 1]
    ax.set_ylim(low, high)  # room for the words at the top
    add_grid(ax, "y")


def _in_multiples(ax: Axes) -> None:
    """A ratio that spans decades: half of 1 is as far from it as twice 1."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _look(name: str) -> dict[str, Any]:
    return GENERATORS.get(name, {"color": INK, "marker": "^", "linestyle": "-."})


def _legend(ax: Axes, generators: list[str], chosen: Mapping[str, float]) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], **_look(name), mec="white", label=str(name)) for name in generators
    ]
    handles += [
        Line2D([], [], color=INK, marker=MARKERS[i % len(MARKERS)], mec="white", markersize=7,
               linestyle=":", label=f"chosen for {name}: T = {T:.2f}")
        for i, (name, T) in enumerate(chosen.items())
    ]  # fmt: skip
    handles += [
        Patch(color=SHADE, label="published range, T 2 to 3"),
        Line2D([], [], color=CEILING, label="best value of the score"),
    ]
    legend = ax.legend(handles=handles, loc="center left", title="Bands: 95 % intervals",
                       alignment="left", fontsize=8.0)  # fmt: skip
    as_plain_text(legend.get_texts())
