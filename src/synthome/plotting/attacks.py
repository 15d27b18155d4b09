"""How well each membership attack does, against guessing and against copied patients."""

import math
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.scores import Registry, Score, read_scores
from synthome.plotting.style import (
    CHEAT,
    FLOOR,
    INK,
    MUTED,
    SYNTHETIC,
    add_grid,
    as_plain_text,
    new_figure,
    styled,
)


def attack_scores(
    metrics: Mapping[str, Mapping[str, Any]], registry: Registry | None = None
) -> list[Score]:
    """Read the AUC of every membership attack in ``metrics.json``, in its order."""
    return [
        score
        for key, score in read_scores(metrics, registry).items()
        if key.startswith("privacy/") and key.endswith("_auc") and score.measured
    ]


@styled
def attacks_figure(
    metrics: Mapping[str, Mapping[str, Any]],
    registry: Registry | None = None,
    alarm: float = 0.6,
) -> Figure:
    """One row per attack: AUC with interval, the floor, copies, and the line of guessing.

    Parameters
    ----------
    metrics
        The content of ``metrics.json``.
    registry
        Words by key, such as ``synthome.evaluation.metrics.METRICS``.
    alarm
        AUC above which an attack counts as a success; the area beyond it is shaded.
    """
    scores = attack_scores(metrics, registry)
    if not scores:
        raise InputError("The metrics hold no privacy/..._auc with a value, so no attack to draw.")
    figure = new_figure(height=0.42 * len(scores) + 1.5)
    ax = figure.add_subplot()
    known = [v for s in scores for v in (s.value, s.low, s.floor, s.cheat) if math.isfinite(v)]
    left = min(0.4, math.floor(10 * min(known)) / 10)
    ax.axvspan(alarm, 1.03, color="#FBEDE4", zorder=0)
    ax.axvline(0.5, color=INK, linewidth=1.2, linestyle="--", zorder=1)
    ys = range(len(scores))
    for y, score in enumerate(scores):
        if score.has_interval:
            ax.plot([score.low, score.high], [y, y], color=SYNTHETIC, linewidth=4, alpha=0.5)
    arms = (
        ([s.value for s in scores], "o", SYNTHETIC, "This generator, 95 % interval"),
        ([s.floor for s in scores], "v", FLOOR, "Floor: noise without structure"),
        ([s.cheat for s in scores], "x", CHEAT, "Cheat: copied patients"),
    )
    for values, marker, colour, name in arms:
        edge = {"mew": 2.0} if marker == "x" else {"mec": "white"}
        order = 5 if marker == "o" else 4
        ax.plot(values, ys, marker, color=colour, ms=8.5, label=name, zorder=order, **edge)
    ax.set_yticks(list(ys), [_label(score.name) for score in scores])
    as_plain_text(ax.get_yticklabels())
    ax.set_ylim(len(scores) - 0.5, -0.5)
    ax.set_xlim(left, 1.03)
    ax.set_xlabel("AUC of the attack: 0.5 is guessing, 1 names every patient")
    top = ax.get_xaxis_transform()
    ax.text(0.505, 1.02, "guessing", transform=top, color=INK, fontsize=8.5)
    ax.text(alarm + 0.005, 1.02, "the attack succeeds →", transform=top, color=MUTED, fontsize=8.5)
    add_grid(ax, "x")
    figure.legend(loc="outside lower left", ncols=3, labelcolor=INK)
    return figure


def _label(name: str) -> str:
    """The name of an attack on one or two lines."""
    name = name.removeprefix("Attack: ")
    return "\n".join(wrap(name[:1].upper() + name[1:], 34))
