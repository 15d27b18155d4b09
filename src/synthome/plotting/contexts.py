"""What contexts add: effects that were planted, heads by group and epoch, genes, who tells them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from synthome.plotting.planted import BOX
from synthome.plotting.representations import ORANGE
from synthome.plotting.scores import format_number
from synthome.plotting.style import (
    CEILING,
    CHEAT,
    FAINT,
    FLOOR,
    INK,
    REAL,
    SYNTHETIC,
    add_grid,
    as_plain_text,
    new_figure,
    shared_legend,
    short,
    styled,
)

NORM = "train_norm_"  # columns of the history
METHODS = {"cycle_ae": ("Signed heads", SYNTHETIC), "published": ("Published model", CHEAT)}
JUDGES = {  # columns of evaluation.context_reading.context_scores
    "independent_accuracy": ("Real cells, independent judge", CEILING, "D"),
    "generated_independent": ("Generated cells, independent judge", SYNTHETIC, "o"),
    "generated_accuracy": ("Generated cells, the classifier of training", ORANGE, "P"),
    "integration_state": ("From the state (guessing is best)", REAL, "s"),
    "integration_pca": ("From as many principal components", INK, "^"),
    "chance": ("Guessing", FLOOR, "v"),
}
MOST_PANELS = 6  # of genes
MOST_BESIDE, MOST_WRITTEN = 8, 16  # groups of cells beside the curves; with their numbers
COLOURS = (REAL, SYNTHETIC, CEILING, CHEAT, ORANGE, FLOOR, INK)
LINES = ("-", "--", ":", "-.")  # when colours come again
COIN = 0.5  # share of signs that are right by chance


@styled
def planted_contexts_figure(table: pd.DataFrame) -> Figure:
    """Share of planted effects with the right sign, and correlation, by field.

    Parameters
    ----------
    table
        ``evaluation.context_reading.planted_scores``.
    """
    fields = list(dict.fromkeys(table["field"]))
    figure = new_figure(height=1.7 + 0.45 * len(fields))
    panels = figure.subplots(1, 3, sharey=True)
    for ax, (score, title, chance) in zip(
        panels,
        (
            ("sign_accuracy", "Right sign, all genes", COIN),
            ("down_accuracy", "Right sign, lowered genes", COIN),
            ("correlation", "Correlation of effects", None),
        ),
        strict=True,
    ):
        least = 0.0
        for m, (method, (name, colour)) in enumerate(METHODS.items()):
            own = table[table["method"] == method].groupby("field")[score].mean()
            if own.empty:
                continue
            y = np.arange(len(fields)) + 0.4 * m - 0.2
            value = own.reindex(fields).to_numpy(dtype=float)
            ax.barh(y, np.nan_to_num(value), height=0.36, color=colour, label=name)
            least = min(least, float(np.nan_to_num(value).min()))
            for at, number in zip(y, value, strict=True):
                ax.text(max(np.nan_to_num(number), 0.0) + 0.02, at, format_number(number),
                        va="center", fontsize=7.5, bbox=BOX, zorder=4)  # fmt: skip
        if chance is not None:
            ax.axvline(chance, color=INK, linewidth=1.1, linestyle=(0, (1, 1.5)), zorder=3)
        if least < 0.0:
            ax.axvline(0.0, color=INK, linewidth=0.8)
        ax.set_xlim(1.08 * least, 1.22)
        ax.set_title(title)
        add_grid(ax, "x")
    panels[0].set_yticks(range(len(fields)), [short(str(name)) for name in fields])
    panels[0].invert_yaxis()
    as_plain_text(panels[0].get_yticklabels())
    shared_legend(figure)
    return figure


@styled
def contributions_figure(heads: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Norm of each head in each group of cells, and over the epochs of training.

    Parameters
    ----------
    heads
        ``evaluation.context_reading.head_table``, the first of its tables.
    history
        Of training, with columns ``train_norm_<head>``.
    """
    wide = heads.pivot(index="head", columns="group", values="norm")
    order = list(dict.fromkeys(heads["head"]))
    wide = wide.loc[order, ["all", *(c for c in wide.columns if c != "all")]]
    curves = [name for name in order if f"{NORM}{name}" in history]
    beside = wide.shape[1] <= MOST_BESIDE
    height = 1.9 + 0.34 * len(order)
    figure = new_figure(height=height if beside or not curves else height + 2.6)
    if not curves:
        _heat(figure, figure.subplots(), wide)
        return figure
    heat, right = (
        figure.subplots(1, 2, width_ratios=(1.5, 1))
        if beside
        else figure.subplots(2, 1, height_ratios=(height - 1.2, 2.6))
    )
    _heat(figure, heat, wide)
    for h, name in enumerate(curves):
        right.plot(history["epoch"], history[f"{NORM}{name}"], color=COLOURS[h % len(COLOURS)],
                   linestyle=LINES[h // len(COLOURS) % len(LINES)], label=short(name))  # fmt: skip
    right.set_xlabel("Epoch")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_title("While it was trained")
    right.set_ylim(bottom=0.0)
    add_grid(right)
    shared_legend(figure, ncols=3)
    return figure


def _heat(figure: Figure, ax: Axes, wide: pd.DataFrame) -> None:
    """Lengths by head (rows) and group (columns), all cells apart; numbers where they fit."""
    values = wide.to_numpy(dtype=float)
    image = ax.imshow(values, cmap="Blues", vmin=0.0, aspect="auto")
    if values.shape[1] <= MOST_WRITTEN:
        middle = 0.6 * np.nanmax(values)
        for (i, j), value in np.ndenumerate(values):
            ax.text(j, i, f"{value:.1f}" if np.isfinite(value) else "–", ha="center", va="center",
                    fontsize=7.5, color="white" if value > middle else INK)  # fmt: skip
    else:
        figure.colorbar(image, ax=ax, label="Length")
    ax.axvline(0.5, color="white", linewidth=4)
    groups = ["all cells", *(short(str(name)) for name in wide.columns[1:])]
    ax.set_xticks(range(len(groups)), groups, ha="right", rotation_mode="anchor")
    many = len(groups) > MOST_WRITTEN
    for name in ax.get_xticklabels():
        name.set(rotation=90 if many else 35, va="center" if many else "top")
    ax.set_yticks(range(len(wide)), [short(str(name)) for name in wide.index])
    as_plain_text([*ax.get_xticklabels(), *ax.get_yticklabels()])
    ax.set_title("Length of what a head adds")
    ax.tick_params(length=0)


@styled
def head_genes_figure(genes: pd.DataFrame) -> Figure:
    """The genes that each category moves most, red up and blue down.

    Parameters
    ----------
    genes
        ``evaluation.context_reading.head_table``, the second of its tables.
    """
    panels = _largest(genes)
    n_columns = min(3, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = new_figure(height=0.4 + 2.3 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for ax, (head, category) in zip(axes.flat, panels, strict=False):
        own = genes[(genes["head"] == head) & (genes["category"] == category)]
        effect = own["effect"].to_numpy(dtype=float)
        ax.barh(range(len(own)), effect, color=np.where(effect > 0, SYNTHETIC, REAL), height=0.7)
        ax.set_yticks(range(len(own)), [short(str(name)) for name in own["gene"]], fontsize=7.5)
        ax.invert_yaxis()
        ax.axvline(0.0, color=INK, linewidth=0.8)
        as_plain_text([ax.set_title(short(f"{head}: {category}")), *ax.get_yticklabels()])
        add_grid(ax, "x")
    for i, ax in enumerate(axes.flat):
        if i >= len(panels):
            ax.set_axis_off()
        elif i + n_columns >= len(panels):  # the last of its column
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("Effect (natural log)")
    return figure


def _largest(genes: pd.DataFrame) -> list[tuple[str, str]]:
    """The categories with the largest effects, in the order of the table."""
    size = genes["effect"].abs().groupby([genes["head"], genes["category"]], sort=False).max()
    kept = set(size.sort_values(ascending=False, kind="stable").index[:MOST_PANELS])
    return [key for key in size.index if key in kept]


@styled
def context_scores_figure(table: pd.DataFrame) -> Figure:
    """Who tells each field, in real cells, in generated ones, and in the state.

    Parameters
    ----------
    table
        ``evaluation.context_reading.context_scores``.
    """
    figure = new_figure(height=1.7 + 0.58 * len(table))
    ax: Axes = figure.subplots()
    for i in range(0, len(table), 2):
        ax.axhspan(i - 0.5, i + 0.5, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
    for j, (column, (name, colour, marker)) in enumerate(JUDGES.items()):
        y = np.arange(len(table)) + 0.7 * ((j + 0.5) / len(JUDGES) - 0.5)
        ax.plot(table[column], y, linestyle="none", marker=marker, color=colour, mec="white",
                mew=0.6, ms=6.5, label=name)  # fmt: skip
    ax.set_yticks(range(len(table)), [short(str(name)) for name in table["field"]])
    as_plain_text(ax.get_yticklabels())
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(-0.03, 1.05)
    ax.set_xlabel("Balanced accuracy")
    add_grid(ax, "x")
    shared_legend(figure, ncols=2)
    return figure
