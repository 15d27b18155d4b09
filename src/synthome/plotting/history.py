"""Loss curves of a training run, with the epoch whose weights were kept."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from synthome.errors import InputError
from synthome.plotting.style import (
    CEILING,
    INK,
    MUTED,
    REAL,
    SYNTHETIC,
    add_grid,
    new_figure,
    styled,
)

MAX_PANELS = 4  # further curves, in the order of the columns
LOSSES = ("train_loss", "validation_loss")
_NOT_CURVES = {"epoch", "best", "seconds", "stage", *LOSSES}
_TITLES = {
    "nll": "Counts given the latents (NLL)",
    "kl": "Kullback–Leibler term",
    "reconstruction": "Reconstruction term",
    "learning_rate": "Learning rate",
    "beta": "Weight of the KL term",
    "kl_weight": "Weight of the KL term",
}


def best_row(history: pd.DataFrame) -> int | None:
    """Position of the epoch whose weights were restored: flagged, or lowest in validation.

    None when nothing was validated and nothing is flagged.
    """
    if "best" in history and history["best"].any():
        return int(np.flatnonzero(history["best"].to_numpy(dtype=bool))[-1])
    if "validation_loss" in history and history["validation_loss"].notna().any():
        return int(np.nanargmin(history["validation_loss"].to_numpy(dtype=float)))
    return None


@styled
def loss_curves(history: pd.DataFrame) -> Figure:
    """Training and validation loss per epoch, the kept epoch, and small panels for the rest.

    Parameters
    ----------
    history
        One row per epoch: ``epoch``, ``train_loss``, perhaps ``validation_loss``, ``best``
        (bool), and any further numeric columns, each of which gets a small panel.
    """
    missing = [column for column in ("epoch", "train_loss") if column not in history]
    if missing or history.empty:
        raise InputError(
            "A training history needs at least one row and the columns epoch and train_loss, but "
            f"this one has {len(history)} rows and the columns "
            f"{', '.join(map(str, history.columns)) or '(none)'}."
        )
    extra = _further_curves(history)
    figure = new_figure(height=3.6 if not extra else 5.4)
    if extra:
        grid = figure.add_gridspec(2, len(extra), height_ratios=[2.0, 1.0])
        main = figure.add_subplot(grid[0, :])
        for i, (term, columns) in enumerate(extra.items()):
            _small_panel(figure.add_subplot(grid[1, i]), history, term, columns)
    else:
        main = figure.add_subplot()
    _losses(main, history)
    if not extra:
        main.set_xlabel("Epoch")
    return figure


def _losses(ax: Axes, history: pd.DataFrame) -> None:
    styles = zip(LOSSES, ("Training", "Validation"), (REAL, SYNTHETIC), ("-", "--"), strict=True)
    for column, name, colour, line in styles:
        if column in history and history[column].notna().any():
            ax.plot(history["epoch"], history[column], line, color=colour, label=name)
    shown = history[[c for c in LOSSES if c in history]].to_numpy(dtype=float)
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > 30 * shown.min():
        ax.set_yscale("log")
    kept = best_row(history)
    if kept is not None:
        column = "validation_loss" if "validation_loss" in history else "train_loss"
        epoch, loss = history["epoch"].iloc[kept], float(history[column].iloc[kept])
        ax.axvline(epoch, color=CEILING, linewidth=1.0, linestyle=":")
        if math.isfinite(loss):
            ax.plot([epoch], [loss], "o", color=CEILING, markersize=6, zorder=5)
        ax.plot(
            [], [], "o:", color=CEILING, label=f"Weights kept: epoch {epoch:g}, loss {loss:.4g}"
        )
    ax.set_title("Loss while the model was trained")
    ax.set_ylabel("Loss (lower is better)")
    ax.legend(loc="upper right", labelcolor=INK, frameon=True, edgecolor="none")
    add_grid(ax)


def _further_curves(history: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of the further panels by term: ``train_kl`` and ``validation_kl`` share one."""
    terms: dict[str, list[str]] = {}
    for column in map(str, history.select_dtypes("number").columns):
        if column not in _NOT_CURVES and history[column].notna().any():
            term = column.removeprefix("train_").removeprefix("validation_")
            terms.setdefault(term, []).append(column)
    return dict(list(terms.items())[:MAX_PANELS])


def _small_panel(ax: Axes, history: pd.DataFrame, term: str, columns: list[str]) -> None:
    for column in columns:
        validation = column.startswith("validation_")
        colour = SYNTHETIC if validation else REAL if column.startswith("train_") else MUTED
        ax.plot(history["epoch"], history[column], "--" if validation else "-", color=colour)
    values = history[columns].stack()
    spread = values.max() / values.min() if values.min() > 0 else 1.0
    if spread > 30 or (term == "learning_rate" and spread > 1.5):
        ax.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if spread < 30 else (1.0,)
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))
    title = _TITLES.get(term, term.replace("_", " ").capitalize())
    ax.set_title(title, fontsize=9.0, fontweight="normal")
    ax.set_xlabel("Epoch")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    add_grid(ax)
