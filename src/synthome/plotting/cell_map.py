"""The map of the latents as published: the same points by cell type, condition and cluster.

Groups are told apart by numbers that stand on the map, since no eye keeps twelve colours apart.
Colours beyond the house's own are the muted scheme of Tol.

Tol P (2021), Colour Schemes, SRON/EPS/TN/09-002, https://personal.sron.nl/~pault/
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from synthome.errors import InputError
from synthome.plotting.style import (
    FLOOR,
    INK,
    LONGEST,
    REAL,
    SYNTHETIC,
    as_plain_text,
    new_figure,
    short,
    styled,
)
from synthome.rng import generator

GROUP_COLOURS = (
    *("#88CCEE", "#CC6677", "#DDCC77", "#117733", "#332288", "#AA4499", "#44AA99", "#999933"),
    *("#882255", "#E69F00", "#5A5A5A", "#D4A6C8"),
)
CONDITIONS = {"base": ("as they are", FLOOR), "down": ("turned down", REAL),
              "up": ("turned up", SYNTHETIC)}  # fmt: skip
PANELS = {"cell_type": "Cell type", "condition": "Condition", "leiden": "Leiden cluster"}
NUMBER = 0.055  # room for a number, as a share of the map


@styled
def cell_map_figure(points: pd.DataFrame) -> Figure:
    """Three maps of the same cells.

    Parameters
    ----------
    points
        Columns ``umap_1``, ``umap_2``, and of ``cell_type``, ``condition``, ``leiden`` those that
        are known. Which of two cells lies on top is drawn at random, so that no group hides
        another by coming last.
    """
    panels = [name for name in PANELS if name in points]
    if points.empty or not panels:
        raise InputError(
            "The map needs points with umap_1, umap_2 and at least one of "
            f"{', '.join(PANELS)}; given are {len(points)} points with "
            f"{', '.join(map(str, points.columns)) or 'no columns'}."
        )
    order = generator(0, "cell map").permutation(len(points))
    points = points.iloc[order]
    types = sorted(points["cell_type"].astype(str).unique()) if "cell_type" in points else []
    ncols = _columns(types, len(panels))
    figure = new_figure(height=4.5 + 0.2 * (-(-len(types) // ncols)), width=3.6 * len(panels))
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for ax, name in zip(axes, panels, strict=True):
        groups = _in_order(points[name].astype(str))
        _scatter(ax, points, name, groups)
        if name == "condition":
            _name_conditions(ax, groups)
        else:
            marks = groups if name == "leiden" else [str(i + 1) for i in range(len(groups))]
            _numbers(ax, points, name, dict(zip(groups, marks, strict=True)))
        ax.set_title(PANELS[name] if name == "condition" else f"{PANELS[name]} ({len(groups)})")
        ax.set_box_aspect(1.0)
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0].set_xlabel("UMAP 1")
    axes[0].set_ylabel("UMAP 2")
    if types:
        _name_types(figure, types, ncols)
    return figure


def _in_order(groups: "pd.Series[str]") -> list[str]:
    """Conditions in their own order, clusters by number, other names by letter."""
    found = list(groups.unique())
    if set(found) <= set(CONDITIONS):
        return [name for name in CONDITIONS if name in found]
    return sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0,
                                           name))  # fmt: skip


def _colour(panel: str, group: str, place: int) -> str:
    if panel == "condition" and group in CONDITIONS:
        return CONDITIONS[group][1]
    return GROUP_COLOURS[place % len(GROUP_COLOURS)]


def _scatter(ax: Axes, points: pd.DataFrame, panel: str, groups: list[str]) -> None:
    colours = {group: _colour(panel, group, i) for i, group in enumerate(groups)}
    ax.scatter(
        points["umap_1"],
        points["umap_2"],
        s=float(np.clip(12000 / len(points), 1.5, 12.0)),
        c=points[panel].astype(str).map(colours),
        alpha=0.7,
        linewidths=0,
    )


def _numbers(ax: Axes, points: pd.DataFrame, panel: str, marks: dict[str, str]) -> None:
    """Write each group's number on a cell in its midst that no other number covers."""
    taken = np.empty((0, 2))
    apart = NUMBER * np.ptp(points[["umap_1", "umap_2"]].to_numpy(dtype=float), axis=0)
    for group, mark in marks.items():
        of = points.loc[points[panel].astype(str) == group, ["umap_1", "umap_2"]].to_numpy(float)
        at = _spot(of, taken, np.maximum(apart, 1e-9))
        taken = np.vstack([taken, at])
        hidden = bool((np.ptp(of, axis=0) < apart).all())  # by its own number: write it above
        text = ax.annotate(mark, (at[0], at[1]), (0, 9 if hidden else 0), ha="center", va="center",
                           textcoords="offset points", fontsize=9, fontweight="bold", color=INK,
                           zorder=5, annotation_clip=False)  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
        as_plain_text([text])


def _spot(
    of: Float[np.ndarray, "n 2"], taken: Float[np.ndarray, "m 2"], apart: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, " 2"]:
    """The most central point of a group that is free; where none is, the freest of its inner half.

    A point is free when no number stands nearer than ``apart``, in units of which all distances are
    measured. The middle of a group with two islands may be empty, so it must be a point.
    """
    depth = np.linalg.norm((of - np.median(of, axis=0)) / apart, axis=1)
    inner = np.argsort(depth, kind="stable")[: (len(of) + 1) // 2]
    if len(taken) == 0:
        return np.asarray(of[inner[0]])
    gaps = np.linalg.norm((of[inner, None] - taken) / apart, axis=2).min(axis=1)
    free = np.flatnonzero(gaps >= 1.0)
    return np.asarray(of[inner[free[0] if len(free) else gaps.argmax()]])


def _dot(colour: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker="o", markersize=6.5, color=colour, label=label)


def _columns(types: list[str], n_panels: int) -> int:
    """As many columns of names as fit below the panels."""
    longest = min(max(map(len, types), default=1), LONGEST)
    return max(1, min(5, 45 * n_panels // (longest + 10)))


def _name_types(figure: Figure, types: list[str], ncols: int) -> None:
    handles = [
        _dot(_colour("cell_type", name, i), f"{i + 1}  {short(name)}")
        for i, name in enumerate(types)
    ]
    legend = figure.legend(handles=handles, loc="outside lower left", ncols=ncols, labelcolor=INK)
    as_plain_text(legend.get_texts())


def _name_conditions(ax: Axes, conditions: list[str]) -> None:
    handles = [
        _dot(_colour("condition", name, i), CONDITIONS.get(name, (name, ""))[0])
        for i, name in enumerate(conditions)
    ]
    legend = ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02),
                       ncols=3, columnspacing=0.9, handletextpad=0.1, labelcolor=INK)  # fmt: skip
    as_plain_text(legend.get_texts())
