"""A language model beside plain classifiers of the same rows; attacks on what is handed on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.style import (
    CEILING,
    CHEAT,
    FLOOR,
    INK,
    MUTED,
    SYNTHETIC,
    add_grid,
    new_figure,
    shared_legend,
    styled,
)
from synthome.plotting.three_class import PROTOCOLS, shares_heatmap

MODELS = {
    "language_model": "Language model",
    "logistic": "Logistic regression",
    "forest": "Random forest",
    "neighbours": "Nearest neighbours",
    "network": "Small network",
}
ROWS = {  # kind of rows -> colour, marker, words
    "drawn": (SYNTHETIC, "o", "Learned from synthetic patients"),
    "real": (CEILING, "D", "Learned from real patients"),
    "noise": (FLOOR, "^", "Learned from noise per class"),
    "copies": (CHEAT, "X", "Learned from copied patients"),
}
RELEASED = {
    "written": (SYNTHETIC, "o", "Texts that the model wrote"),
    "drawn": ("#0072B2", "s", "Rows that it learned from"),
    "noise": (FLOOR, "^", "Noise per class"),
    "copies": (CHEAT, "X", "Copied patients"),
}
ATTACKS = {
    "text": "Nearest text, in edits",
    "nearest": "Nearest row",
    "monte_carlo": "Rows within reach",
    "subspace": "Space of the rows",
    "mahalanobis": "Distance to the class",
    "mahalanobis_pooled": "The same, classes pooled",
    "block_match": "Values found again",
}
NOBODY = "none"  # in the place of a class that was not named
SHIFT = 0.16  # between kinds of rows of one model


@styled
def matched_figure(summary: pd.DataFrame, n_classes: int) -> Figure:
    """Balanced accuracy of each model, a mark for each kind of rows; one panel per protocol.

    Parameters
    ----------
    summary
        ``evaluation.matched.summarised``.
    """
    rows = summary[summary["metric"] == "balanced_accuracy"]
    rows = rows[np.isfinite(rows["mean"])]
    if rows.empty:
        raise InputError("The comparison has no balanced accuracy to draw.")
    protocols = [p for p in ("strict", "published") if (rows["protocol"] == p).any()]
    models = [m for m in MODELS if (rows["model"] == m).any()]
    figure = new_figure(height=1.6 + 0.55 * len(models), width=8.6)
    widths = [1.7, 1.0][: len(protocols)]
    panels = figure.subplots(1, len(protocols), squeeze=False, sharey=True, width_ratios=widths)[0]
    titles = {"strict": "Strict: asked about new patients",
              "published": "Published: asked about\nthe patients it is made of"}  # fmt: skip
    least = min(rows["mean"].min(), rows["low"].min(), 1.0 / n_classes)
    for ax, protocol in zip(panels, protocols, strict=True):
        of = rows[rows["protocol"] == protocol]
        _marks(ax, of, "model", models, "arm", ROWS, "mean")
        ax.set_title(titles[protocol])
        ax.axvline(1.0 / n_classes, color=INK, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
        ax.set_xlim(max(0.0, least - 0.03), 1.02)
        ax.set_xlabel("Balanced accuracy")
    panels[0].text(1.0 / n_classes, -0.45, " guessing", fontsize=7.5, color=MUTED, va="center")
    panels[0].set_yticks(range(len(models)), [MODELS[m] for m in models])
    panels[0].set_ylim(len(models) - 0.5, -0.7)
    shared_legend(figure, ncols=2)
    return figure


@styled
def released_figure(attacks: pd.DataFrame) -> Figure:
    """AUC of each attack on each released set, with intervals.

    Parameters
    ----------
    attacks
        ``attacks`` of ``evaluation.matched.compare``.
    """
    rows = attacks[np.isfinite(attacks["auc"])]
    if rows.empty:
        raise InputError("There is no attack to draw.")
    names = [a for a in ATTACKS if (rows["attack"] == a).any()]
    figure = new_figure(height=1.6 + 0.45 * len(names))
    ax = figure.subplots()
    _marks(ax, rows, "attack", names, "arm", RELEASED, "auc")
    ax.axvline(0.5, color=INK, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
    ax.axvspan(0.6, 1.02, color=CHEAT, alpha=0.08, linewidth=0, zorder=0)
    ax.text(0.5, -0.45, " guessing", fontsize=7.5, color=MUTED, va="center")
    ax.set_yticks(range(len(names)), [ATTACKS[a] for a in names])
    ax.set_ylim(len(names) - 0.5, -0.7)
    ax.set_xlim(min(0.3, rows["auc"].min() - 0.02), 1.02)
    ax.set_xlabel("AUC: training patients told from others")
    shared_legend(figure, ncols=4)
    return figure


def _marks(
    ax: Axes,
    rows: pd.DataFrame,
    by: str,
    order: Sequence[str],
    kind: str,
    looks: dict[str, tuple[str, str, str]],
    value: str,
) -> None:
    """One row for each of ``order``, one mark with its interval for each of ``looks``."""
    kinds = [name for name in looks if (rows[kind] == name).any()]
    for i, name in enumerate(kinds):
        colour, marker, words = looks[name]
        of = rows[rows[kind] == name]
        y = np.array([order.index(m) for m in of[by]]) + SHIFT * (i - (len(kinds) - 1) / 2)
        ax.hlines(y, of["low"], of["high"], color=colour, alpha=0.4, linewidth=2.2, zorder=3)
        ax.plot(of[value], y, color=colour, marker=marker, linestyle="", ms=6.5, mec="white",
                mew=0.7, zorder=4, label=words)  # fmt: skip
    add_grid(ax, "x")


@styled
def called_figure(answers: pd.DataFrame) -> Figure:
    """Of each true class, the share that the language model called so; one panel per protocol.

    Parameters
    ----------
    answers
        ``answers`` of ``evaluation.matched.compare``.
    """
    if answers.empty:
        raise InputError("The language model answered nothing to draw.")
    protocols = [p for p in PROTOCOLS if (answers["protocol"] == p).any()]
    classes = sorted(answers["true"].unique())
    size = max(3.6, 0.85 * len(classes) + 1.2)
    figure = new_figure(height=size + 0.3, width=size * max(len(protocols), 1.3))
    panels = figure.subplots(1, len(protocols), squeeze=False)[0]
    titles = {"strict": "Strict", "published": "Published"}
    for ax, protocol in zip(panels, protocols, strict=True):
        of = answers[answers["protocol"] == protocol]
        called = of["called"].replace("", NOBODY)
        known = [*classes, *sorted(set(called) - set(classes))]
        counts = pd.crosstab(of["true"], called).reindex(index=classes, columns=known, fill_value=0)
        shares_heatmap(ax, counts)
        ax.set_title(f"{titles[protocol]}: {100 * (of['true'] == called).mean():.0f} % right")
    return figure
