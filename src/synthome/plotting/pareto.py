"""What privacy costs: utility against the strongest attack, for all generators or along a knob.

A generator is on the frontier when no other leaks less and is at least as useful, or the other way
round. The yardsticks are drawn, and are no part of it: nobody ships noise, copies or patients.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.labels import along, label_points
from synthome.plotting.scores import Registry, Score, format_number, read_score
from synthome.plotting.style import (
    CEILING,
    CHEAT,
    CHEAT_TEXT,
    FLOOR,
    INK,
    MUTED,
    REAL,
    SYNTHETIC,
    add_grid,
    new_figure,
    styled,
)

Summaries = Mapping[str, Mapping[str, Mapping[str, Any]]]  # generator -> key -> entry
CHANCE = 0.5  # of an AUC


@dataclass(frozen=True)
class Yardstick:
    """A row of the leaderboard that is no candidate: what it is, and how it is drawn."""

    words: str
    colour: str
    text: str  # the colour, dark enough for words
    marker: str


YARDSTICKS = {
    "real": Yardstick("ceiling: real patients", CEILING, "#00694C", "D"),
    "independent_noise": Yardstick("floor: noise without structure", FLOOR, FLOOR, "v"),
    "copies": Yardstick("cheat: copied patients", CHEAT, CHEAT_TEXT, "X"),
}
KNOBS = {  # colour, marker, line, and what its settings are
    "noise": (SYNTHETIC, "o", "-", "added noise (share of the spread)"),
    "shrinkage": (REAL, "s", "--", "shrinkage (0 none, 1 full)"),
    "epsilon": (INK, "D", "-.", "differential privacy (ε: smaller is more private)"),
}
FURTHER_KNOBS = ((FLOOR, "^", ":"), (CHEAT_TEXT, "P", "--"), (CEILING, "v", "-."))


def badness(score: Score) -> float:
    """How far a score is from the best there is, on the side that is worse; NaN if unknown."""
    if score.direction == "higher":
        return -score.value
    if not math.isfinite(score.best):
        return score.value
    off = score.value - score.best
    return max(off, 0.0) if score.direction == "lower" else abs(off)


def frontier(bad: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that no other beats, by how bad each is in two respects; the best in the first first.

    One beats another when it is no worse in both respects and better in one.
    """

    def beaten(name: str) -> bool:
        return any(
            other[0] <= bad[name][0] and other[1] <= bad[name][1] and other != bad[name]
            for other in bad.values()
        )

    known = [name for name, pair in bad.items() if all(map(math.isfinite, pair))]
    return sorted((name for name in known if not beaten(name)), key=lambda name: bad[name])


@styled
def pareto_figure(
    summaries: Summaries,
    x: str = "privacy/worst_auc",
    y: str = "utility/tstr_auc",
    registry: Registry | None = None,
    limit: float | None = None,
) -> Figure:
    """One labelled point per generator with both intervals, the yardsticks, and the frontier.

    Parameters
    ----------
    summaries
        The content of ``metrics.json`` by generator; the names of ``YARDSTICKS`` are yardsticks.
    x, y
        Keys of the two scores; a generator that lacks one of them is left out.
    registry
        Words by key, such as ``synthome.evaluation.metrics.METRICS``.
    limit
        Largest ``x`` that is accepted; drawn as a line when given.
    """
    board = {
        name: (read_score(x, entries[x], registry), read_score(y, entries[y], registry))
        for name, entries in summaries.items()
        if x in entries and y in entries
    }
    board = {name: pair for name, pair in board.items() if all(score.measured for score in pair)}
    if not board:
        raise InputError(
            f"No generator has both {x} and {y}, so there is no point to draw. The generators are: "
            f"{', '.join(summaries) or 'none'}."
        )
    figure = new_figure(height=5.6)
    ax = figure.add_subplot()
    on_it = frontier(
        {n: (badness(a), badness(b)) for n, (a, b) in board.items() if n not in YARDSTICKS}
    )
    for name, (across, up) in board.items():
        _point(ax, name, across, up, name in on_it)
    steps = [(board[name][0].value, board[name][1].value) for name in on_it]
    if len(steps) > 1:
        ax.plot(*zip(*steps, strict=True), drawstyle="steps-post", color=SYNTHETIC, linewidth=1.4,
                zorder=3, label="Frontier: nothing is better in both")  # fmt: skip
    first = next(iter(board.values()))
    _guides(ax, board, first, limit)
    ax.set_xlabel(_axis_name(first[0]))
    ax.set_ylabel(fill(_axis_name(first[1]), 58))
    add_grid(ax)
    figure.legend(loc="outside lower left", ncols=2, labelcolor=INK)
    label_points(
        ax,
        np.array([[a.value, b.value] for a, b in board.values()]),
        list(board),
        [YARDSTICKS[name].text if name in YARDSTICKS else INK for name in board],
        avoid=along(_stairs(steps)),
    )
    return figure


def _stairs(steps: Sequence[tuple[float, float]]) -> np.ndarray:
    """Corners of the frontier, as ``steps-post`` draws it."""
    corners = [(b[0], a[1]) for a, b in itertools.pairwise(steps)]
    mixed = [p for pair in itertools.zip_longest(steps, corners) for p in pair if p is not None]
    return np.array(mixed, dtype=float).reshape(-1, 2)


def _point(ax: Axes, name: str, across: Score, up: Score, on_it: bool) -> None:
    yardstick = YARDSTICKS.get(name)
    colour, marker = (yardstick.colour, yardstick.marker) if yardstick else (SYNTHETIC, "o")
    faint: dict[str, Any] = {"color": colour, "linewidth": 1.0, "alpha": 0.22, "zorder": 1}
    if across.has_interval:
        ax.plot([across.low, across.high], [up.value] * 2, label="_interval", **faint)
    if up.has_interval:
        ax.plot([across.value] * 2, [up.low, up.high], label="_interval", **faint)
    label = yardstick.words[:1].upper() + yardstick.words[1:] if yardstick else f"_{name}"
    inside = colour if yardstick or on_it else "white"
    ax.plot(across.value, up.value, marker, ms=8 if yardstick else 7, color=inside,
            mec="white" if yardstick else SYNTHETIC, mew=1.2, linestyle="none",
            zorder=6 if yardstick else 5, label=label)  # fmt: skip


def _guides(
    ax: Axes,
    board: Mapping[str, tuple[Score, Score]],
    axes: tuple[Score, Score],
    limit: float | None,
) -> None:
    """Limits that hold every interval and chance; lines for chance and for the limit."""
    for which, score in enumerate(axes):
        pairs = [pair[which] for pair in board.values()]
        values = [v for s in pairs for v in (s.value, s.low, s.high) if math.isfinite(v)]
        values += [CHANCE] if score.short == "AUC" else []
        values += [limit] if limit is not None and which == 0 else []
        room = 0.05 * (max(values) - min(values)) or 0.05
        (ax.set_ylim if which else ax.set_xlim)(min(values) - room, max(values) + room)
    line: dict[str, Any] = {"color": INK, "linewidth": 1.1, "linestyle": "--", "zorder": 0}
    if axes[0].short == "AUC":
        ax.axvline(CHANCE, **line, label="_chance")
        ax.text(CHANCE, 1.01, "guessing", transform=ax.get_xaxis_transform(), ha="center",
                fontsize=8)  # fmt: skip
    if axes[1].short == "AUC":
        ax.axhline(CHANCE, **line, label="_chance")
        ax.text(1.005, CHANCE, "chance", transform=ax.get_yaxis_transform(), va="center",
                fontsize=8)  # fmt: skip
    if limit is not None:
        ax.axvspan(limit, ax.get_xlim()[1], color="#FBEDE4", zorder=-1)
        ax.text(limit, 1.01, f"limit {format_number(limit)}: leaks →", color=MUTED, fontsize=8,
                transform=ax.get_xaxis_transform())  # fmt: skip


def _axis_name(score: Score) -> str:
    ends = {"higher": "higher is better", "lower": "lower is better"}
    side = ends.get(score.direction, f"{format_number(score.best)} is right")
    words = f" ({score.short})" if score.short and score.short not in score.name else ""
    return f"{score.name}{words}: {side}"


@styled
def privacy_curve_figure(table: pd.DataFrame) -> Figure:
    """The price of privacy: one line per knob, each setting written beside its point.

    Parameters
    ----------
    table
        Columns ``knob`` (``KNOBS`` have words of their own), ``setting``, ``utility``,
        ``utility_low``, ``utility_high``, ``attack``, ``attack_low``, ``attack_high``, all of them
        AUC. A row without both values is left out; without limits, a point has no interval.
    """
    table = table[np.isfinite(table["utility"]) & np.isfinite(table["attack"])]
    if table.empty:
        raise InputError("The table of the privacy knob has no row with utility and attack.")
    figure = new_figure(height=5.0)
    ax = figure.add_subplot()
    table = table.sort_values(["knob", "setting"], kind="stable")
    lines: list[np.ndarray] = []
    inks: list[str] = []
    spare = iter(FURTHER_KNOBS * len(table))
    for name, rows in table.groupby("knob", sort=False):
        known = KNOBS.get(str(name))
        colour, marker, line, words = known or (*next(spare), str(name).replace("_", " "))
        errors: dict[str, Any] = {"color": colour, "alpha": 0.25, "linewidth": 1.0, "zorder": 1}
        ax.hlines(rows["utility"], rows["attack_low"], rows["attack_high"], **errors)
        ax.vlines(rows["attack"], rows["utility_low"], rows["utility_high"], **errors)
        (drawn,) = ax.plot(rows["attack"], rows["utility"], marker=marker, linestyle=line, ms=6.5,
                           color=colour, mec="white", zorder=4)  # fmt: skip
        inks += [colour] * len(rows)
        lines.append(along(rows[["attack", "utility"]].to_numpy(dtype=float)))
        drawn.set_label(words[:1].upper() + words[1:])
    ax.axvline(CHANCE, color=INK, linewidth=1.1, linestyle="--", zorder=0, label="_chance")
    ax.text(CHANCE, 1.01, "guessing", transform=ax.get_xaxis_transform(), ha="center", fontsize=8)
    _limits(ax, table)
    ax.set_xlabel("Strongest attack (AUC): lower is better")
    ax.set_ylabel("Utility: train on synthetic, test on real (AUC): higher is better")
    add_grid(ax)
    legend = figure.legend(loc="outside lower left", ncols=2, labelcolor=INK, handlelength=3.2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    points = table[["attack", "utility"]].to_numpy(dtype=float)
    label_points(ax, points, _settings(table), inks, avoid=np.concatenate(lines), size=7.5)
    return figure


def _settings(table: pd.DataFrame) -> Sequence[str]:
    signs = {"epsilon": "ε = "}
    return [
        f"{signs.get(str(knob), '')}{setting:g}"
        for knob, setting in zip(table["knob"], table["setting"], strict=True)
    ]


def _limits(ax: Axes, table: pd.DataFrame) -> None:
    for name, setter in (("attack", ax.set_xlim), ("utility", ax.set_ylim)):
        values = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float).ravel()
        values = values[np.isfinite(values)]
        values = np.append(values, CHANCE) if name == "attack" else values
        room = 0.06 * float(np.ptp(values)) or 0.05
        setter(float(values.min()) - room, float(values.max()) + room)
