"""Did the image help: every arm over seeds and sections, the real image beside its controls."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.scores import format_number
from synthome.plotting.style import (
    FLOOR,
    INK,
    REAL,
    SYNTHETIC,
    add_grid,
    new_figure,
    styled,
)
from synthome.rng import generator

ARMS = {  # as in the table of scores -> in words
    "real": "Image of this tissue",
    "shuffled": "Shuffled over spots",
    "rotated": "Turned",
    "mirrored": "Mirrored",
    "noise": "Noise",
    "coordinates": "Coordinates alone",
    "none": "No image",
}
SCORES = {
    "ari": "ARI of the domains",
    "balanced_accuracy": "Labels read from the latents\n(balanced accuracy)",
    "prior_balanced_accuracy": "Labels read from the image alone\n(balanced accuracy)",
    "elbo": "Evidence (ELBO), nats per spot",
}
OURS = "real"


@styled
def image_test_figure(scores: pd.DataFrame) -> Figure:
    """A row for each arm, a panel for each score that is known: points and their mean.

    Parameters
    ----------
    scores
        One row for each arm, seed and section: ``arm``, ``seed``, ``section``, and of ``ari``,
        ``balanced_accuracy``, ``prior_balanced_accuracy``, ``nll``, ``kl`` those that are known.
    """
    table = with_elbo(scores)
    shown = [n for n in SCORES if n in table and np.isfinite(table[n].to_numpy(dtype=float)).any()]
    if not shown:
        raise InputError("The table of the arms of the image has no value to draw.")
    arms = arms_of(table)
    figure = new_figure(height=1.3 + 0.36 * len(arms), width=1.6 + 2.6 * len(shown))
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for ax, name in zip(panels, shown, strict=True):
        _points(ax, table, name, arms)
        ax.set_title(SCORES[name], fontsize=9)
    panels[0].set_yticks(range(len(arms)), [ARMS.get(arm, arm) for arm in arms])
    panels[0].set_ylim(len(arms) - 0.4, -0.6)
    return figure


def with_elbo(scores: pd.DataFrame) -> pd.DataFrame:
    """The table with the evidence, -(nll + kl), where both are known."""
    if {"nll", "kl"} <= set(scores):
        return scores.assign(elbo=-(scores["nll"] + scores["kl"]))
    return scores


def arms_of(scores: pd.DataFrame) -> list[str]:
    """Arms of the test that occur, the real one first; what was not trained is none of them."""
    found = set(scores["arm"].astype(str))
    return [arm for arm in ARMS if arm in found]


def _points(ax: Axes, table: pd.DataFrame, name: str, arms: list[str]) -> None:
    means = {}
    for y, arm in enumerate(arms):
        values = table.loc[table["arm"].astype(str) == arm, name].to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        if len(values) == 0:
            continue
        means[arm] = float(values.mean())
        colour = SYNTHETIC if arm == OURS else REAL if arm == "none" else FLOOR
        off = generator(0, "image test").uniform(-0.16, 0.16, len(values))
        ax.plot(values, y + off, linestyle="none", marker="o", ms=4, color=colour, alpha=0.45,
                mew=0, zorder=2)  # fmt: skip
        ax.plot([means[arm]] * 2, [y - 0.3, y + 0.3], color=colour, linewidth=2.6, zorder=3)
        ax.annotate(_number(means[arm]), (1.01, y), xycoords=("axes fraction", "data"),
                    va="center", fontsize=8, color=colour if arm == OURS else INK)  # fmt: skip
    controls = [mean for arm, mean in means.items() if arm != OURS]
    if controls and OURS in means:
        ax.axvline(max(controls), color=INK, linewidth=1.1, linestyle="--", zorder=1)
    ax.margins(x=0.08)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)
    add_grid(ax, "x")


def _number(value: float) -> str:
    """With a decimal where thousands of nats differ by one."""
    return format_number(value) if abs(value) < 100 else f"{value:,.1f}".replace("-", "−")
