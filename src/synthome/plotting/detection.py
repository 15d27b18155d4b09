"""From which dose on a change is seen: power by dose, and the smallest dose that is seen often.

What is never seen often at any dose has a place of its own at the right, "not reached": it is a
result, and not a missing value.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from synthome.errors import InputError
from synthome.plotting.representations import Look, in_order, look
from synthome.plotting.style import (
    FAINT,
    INK,
    MUTED,
    add_grid,
    as_plain_text,
    new_figure,
    shared_legend,
    short,
    styled,
)

TARGET, FALSE_ALARMS = 0.8, 0.05
SEVERAL = 8  # cell types up to which each has a panel of curves
COLUMNS = 4
SETS = {"down": "genes turned down", "up": "genes turned up"}
DODGE = 0.62  # of a row, over which representations are spread


@styled
def power_figure(power: pd.DataFrame) -> Figure:
    """Power against dose: a panel for each cell type and gene set, or a table of shades of many.

    Parameters
    ----------
    power
        ``evaluation.detection.detection_power``. At dose 1 nothing is perturbed, and its value is
        the share of false alarms, 5 % where all is well.
    """
    rows = power[np.isfinite(power["power"])]
    if rows.empty:
        raise InputError("The table of power has no row with a value to draw.")
    types, sets = _types(rows), _sets(rows)
    if len(types) > SEVERAL:
        return _shades(rows, types, sets)
    n_rows = -(-len(types) // COLUMNS)
    n_columns = -(-len(types) // n_rows)
    figure = new_figure(height=1.95 * n_rows * len(sets) + 1.1, width=2.7 * max(n_columns, 3))
    grid = figure.subplots(n_rows * len(sets), n_columns, squeeze=False, sharex=True, sharey=True)
    doses = sorted(rows["dose"].unique())
    for s, name in enumerate(sets):
        block = grid[s * n_rows : (s + 1) * n_rows].ravel()
        for i, ax in enumerate(block):
            if i >= len(types):
                ax.set_axis_off()
                continue
            of = rows[(rows["cell_type"] == types[i]) & (rows["gene_set"] == name)]
            _curves(ax, of, doses)
            title = ax.set_title(f"{short(types[i])}\n{_set(name)}", fontsize=8.5)
            as_plain_text([title])
    for column in grid.T:
        last = [ax for ax in column if ax.axison][-1]
        last.set_xlabel("Dose (1: nothing is changed)", fontsize=8)
        last.tick_params(labelbottom=True)
    figure.supylabel("Power: share of repeats in which the change is seen", fontsize=9, color=INK)
    shared_legend(figure, ncols=5)
    return figure


def _curves(ax: Axes, rows: pd.DataFrame, doses: list[float]) -> None:
    ax.axhline(TARGET, color=MUTED, linewidth=1.0, linestyle="--", zorder=1)
    ax.axhline(FALSE_ALARMS, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    for name in in_order(rows["representation"].tolist()):
        of = rows[rows["representation"] == name].sort_values("dose")
        x = [doses.index(dose) for dose in of["dose"]]
        style = look(name)
        ax.fill_between(x, of["low"], of["high"], color=style.colour, alpha=0.13, linewidth=0)
        ax.plot(x, of["power"], ms=4.5, mec="white", mew=0.5, linewidth=1.3, zorder=4,
                label=style.name, **style.line_style())  # fmt: skip
    ax.set_ylim(-0.03, 1.05)
    ax.set_yticks([FALSE_ALARMS, 0.5, TARGET, 1.0], ["5 %", "50 %", "80 %", "100 %"])
    ax.set_xticks(range(len(doses)), [f"{dose:g}" for dose in doses])
    ax.set_xlim(-0.3, len(doses) - 0.7)
    ax.tick_params(labelsize=7.5)
    add_grid(ax, "y")


def _shades(rows: pd.DataFrame, types: list[str], sets: list[str]) -> Figure:
    """One table per representation and gene set: cell types by doses, power as shade."""
    views = in_order(rows["representation"].tolist())
    doses = sorted(rows["dose"].unique())
    height = 0.9 + len(sets) * (0.21 * len(types) + 0.75)
    figure = new_figure(height=height, width=1.9 + 2.3 * max(len(views), 2))
    grid = figure.subplots(len(sets), len(views), squeeze=False, sharex=True, sharey=True)
    image = None
    for axes, name in zip(grid, sets, strict=True):
        for ax, view in zip(axes, views, strict=True):
            of = rows[(rows["representation"] == view) & (rows["gene_set"] == name)]
            table = of.pivot_table(index="cell_type", columns="dose", values="power")
            table = table.reindex(index=types, columns=doses)
            image = ax.imshow(table, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
            y, x = np.nonzero(table.to_numpy() >= TARGET)
            ax.plot(x, y, "o", color="white", ms=3.5, label="_reached")
            title = ax.set_title(f"{look(view).name}\n{_set(name)}", fontsize=8.5)
            as_plain_text([title])
            ax.tick_params(length=0, labelsize=7.5)
            ax.spines[:].set_visible(False)
    grid[0][0].set_yticks(range(len(types)), [short(name) for name in types])
    grid[0][0].set_xticks(range(len(doses)), [f"{dose:g}" for dose in doses])
    for axes in grid:
        as_plain_text(axes[0].get_yticklabels())
    figure.supxlabel("Dose (1: nothing is changed). White dot: seen in 80 % of repeats or more",
                     fontsize=9, color=INK)  # fmt: skip
    if image is not None:
        bar = figure.colorbar(image, ax=grid.ravel().tolist(), shrink=0.6, aspect=30, pad=0.01)
        bar.set_label("Power")
    return figure


@styled
def smallest_dose_figure(smallest: pd.DataFrame) -> Figure:
    """Smallest dose that is seen in 80 % of repeats, by cell type and representation.

    Parameters
    ----------
    smallest
        ``evaluation.detection.smallest_detectable_dose``; NaN is a dose that was not reached.
    """
    if smallest.empty:
        raise InputError("The table of smallest detectable doses is empty.")
    types, sets = _types(smallest), _sets(smallest)
    views = in_order(smallest["representation"].tolist())
    known = smallest[["dose", "low", "high"]].to_numpy(dtype=float)
    known = known[np.isfinite(known)]
    beyond = 1.45 * float(known.max()) if len(known) else 2.0  # where "not reached" stands
    row = max(0.26 * len(views) / 3, 0.3)
    figure = new_figure(height=1.5 + row * len(types), width=max(7.4, 2.2 + 4.3 * len(sets)))
    panels = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for ax, name in zip(panels, sets, strict=True):
        _dots(ax, smallest[smallest["gene_set"] == name], types, views, beyond)
        title = ax.set_title(_set(name)[:1].upper() + _set(name)[1:])
        as_plain_text([title])
    panels[0].set_yticks(range(len(types)), [short(name) for name in types])
    as_plain_text(panels[0].get_yticklabels())
    panels[0].set_ylim(len(types) - 0.5, -0.5)
    handles = [_handle(look(view)) for view in views]
    handles.append(Line2D([], [], linestyle="none", marker="o", mfc="white", mec=INK, ms=6,
                          label="Hollow: not reached at any dose"))  # fmt: skip
    legend = figure.legend(handles=handles, loc="outside lower left", ncols=3, labelcolor=INK)
    as_plain_text(legend.get_texts())
    return figure


def _dots(ax: Axes, rows: pd.DataFrame, types: list[str], views: list[str], beyond: float) -> None:
    """Doses on a logarithmic line; an interval without an upper end runs to "not reached"."""
    for i in range(0, len(types), 2):
        ax.axhspan(i - 0.5, i + 0.5, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
    for _, found in rows.iterrows():
        style, place = look(found["representation"]), views.index(found["representation"])
        y = types.index(str(found["cell_type"])) + DODGE * ((place + 0.5) / len(views) - 0.5)
        if np.isfinite(found["low"]):
            high = found["high"] if np.isfinite(found["high"]) else beyond
            ax.plot([found["low"], high], [y, y], color=style.colour, alpha=0.45, linewidth=2.2,
                    zorder=2, label="_interval")  # fmt: skip
        mark: dict[str, Any] = {"marker": style.marker, "color": style.colour, "ms": 6, "zorder": 4}
        if np.isfinite(found["dose"]):
            ax.plot(found["dose"], y, mec="white", mew=0.6, label="_reached", **mark)
        else:
            ax.plot(beyond, y, mfc="white", mec=style.colour, mew=1.3, label="_beyond", **mark)
    ax.set_xscale("log")
    ticks = [t for t in (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0) if t < beyond / 1.2]
    ax.set_xticks([*ticks, beyond], [*(f"{t:g}" for t in ticks), "not\nreached"])
    ax.minorticks_off()
    ax.set_xlim(0.97, beyond * 1.12)
    ax.axvline(beyond / 1.16, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
    ax.set_xlabel("Smallest dose that is seen in 80 % of repeats")
    ax.tick_params(length=0)
    ax.grid(True, axis="x")


def _handle(style: Look) -> Line2D:
    return Line2D([], [], linestyle="none", marker=style.marker, color=style.colour, mec="white",
                  ms=6.5, label=style.name)  # fmt: skip


def _types(rows: pd.DataFrame) -> list[str]:
    return sorted(map(str, rows["cell_type"].unique()))


def _sets(rows: pd.DataFrame) -> list[str]:
    known = list(SETS)
    found = map(str, rows["gene_set"].unique())
    return sorted(found, key=lambda name: (known.index(name) if name in known else 9, name))


def _set(name: str) -> str:
    return SETS.get(name, name)
