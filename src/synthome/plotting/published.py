"""The published five-seed check in one picture: every seed of every generator, score by score.

Each generator has a row in each panel, and each seed a lane of its own within it, so that equal
values do not hide one another. The run that the publication would call representative is ringed.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from synthome.evaluation.published import published_summary
from synthome.plotting.style import (
    CHEAT,
    FAINT,
    FLOOR,
    INK,
    MUTED,
    SYNTHETIC,
    as_plain_text,
    new_figure,
    styled,
)

PANELS = {  # metric -> title, best value
    "tstr_accuracy": ("Accuracy on clusters", 1.0),
    "tstr_f1": ("F1 on clusters", 1.0),
    "tstr_auc": ("AUC on clusters", 1.0),
    "mean_r2": ("R² of gene means", 1.0),
    "std_r2": ("R² of gene spreads", 1.0),
    "std_slope": ("Slope of gene spreads *", 1.0),
    "ks": ("KS distance *", 0.0),
    "diversity": ("Diversity ratio", 1.0),
    "coexpression_r": ("Co-expression r †", 1.0),
}
CONTROL_NAMES = {"copies": "copied patients", "independent_noise": "noise"}
CONTROL_STYLES = {"copies": (CHEAT, "X"), "independent_noise": (FLOOR, "v")}
COLUMNS = 3
LANES = 0.56  # height of the lanes of all seeds, in rows
NARROWEST = 0.1  # of an axis, so that a difference in the third decimal does not look large


@styled
def published_figure(table: pd.DataFrame) -> Figure:
    """One small panel per score: a mark per seed and generator, mean line, representative run.

    Parameters
    ----------
    table
        What ``published_check`` returned. Scores that it lacks get no panel.

    Raises
    ------
    InputError
        If the table has no rows or lacks a column.
    """
    summary = published_summary(table)
    generators = summary["generator"].unique().tolist()
    metrics = [metric for metric in PANELS if (table["metric"] == metric).any()]
    n_rows = math.ceil(len(metrics) / COLUMNS)
    figure = new_figure(height=n_rows * (0.62 + 0.3 * len(generators)) + 0.9)
    grid = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for i, ax in enumerate(grid.flat):
        if i >= len(metrics):
            ax.set_axis_off()
            continue
        _panel(ax, metrics[i], table, summary, generators)
        names = [CONTROL_NAMES.get(name, name) for name in generators]
        ax.set_yticks(range(len(generators)), names if i % COLUMNS == 0 else [""] * len(names))
        as_plain_text(ax.get_yticklabels())
    _legend(figure, table["seed"].nunique())
    return figure


def _panel(
    ax: Axes,
    metric: str,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    generators: Sequence[str],
) -> None:
    title, best = PANELS[metric]
    part = table[table["metric"] == metric]
    means = summary[summary["metric"] == metric].set_index("generator")
    ax.axvline(best, color=INK, linewidth=0.9, linestyle=":", zorder=1)
    for row, name in enumerate(generators):
        own = part[part["generator"] == name]
        if own.empty:
            continue
        lanes = row + np.linspace(-LANES / 2, LANES / 2, len(own)) if len(own) > 1 else [row]
        colour, marker = CONTROL_STYLES.get(name, (SYNTHETIC, "o"))
        ax.axhspan(row - 0.42, row + 0.42, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
        mean = float(means.loc[name, "mean"])
        ax.plot([mean, mean], [row - 0.4, row + 0.4], color=colour, linewidth=1.6, alpha=0.55)
        ax.scatter(own["value"], lanes, s=13, color=colour, marker=marker, linewidths=0, zorder=3)
        shown = own["seed"].to_numpy() == means.loc[name, "representative_seed"]
        ax.scatter(
            own["value"][shown],
            np.asarray(lanes)[shown],
            s=52,
            facecolors="none",
            edgecolors=INK,
            linewidths=1.0,
            zorder=4,
        )
    ax.set_xlim(*_limits(part["value"].to_numpy(dtype=float), best))
    ax.set_ylim(len(generators) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))
    ax.tick_params(length=0)
    ax.spines["left"].set_visible(False)
    ax.set_title(title, fontsize=9.0)


def _limits(values: np.ndarray, best: float) -> tuple[float, float]:
    """Room for all values and the best one, never narrower than ``NARROWEST``."""
    shown = np.append(values[np.isfinite(values)], best)
    low, high = float(shown.min()), float(shown.max())
    missing = max(NARROWEST - (high - low), 0.0)
    # What is missing is added on the side where values can lie.
    low, high = (low, high + missing) if best == 0.0 else (low - missing, high)
    room = 0.08 * (high - low)
    return low - room, high + room


def _legend(figure: Figure, n_seeds: int) -> None:
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=SYNTHETIC, markersize=4,
               label="One seed" if n_seeds == 1 else f"One of {n_seeds} seeds"),
        Line2D([], [], linestyle="none", marker="o", markerfacecolor="none", color=INK,
               markersize=7, label="Representative run, as published"),
        Line2D([], [], linestyle="none", marker="|", color=SYNTHETIC, markersize=11, mew=1.6,
               label="Mean over seeds"),
        Line2D([], [], linestyle=":", color=INK, linewidth=0.9, label="Best possible"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=4, labelcolor=MUTED)
    figure.supxlabel(
        "Clusters: pseudo-labels formed on all samples; no diagnosis enters.   "
        "* not reported by the publication   † outside its five seeds",
        fontsize=8.0,
        color=MUTED,
        x=0.01,
        ha="left",
    )
