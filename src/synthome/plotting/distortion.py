"""What a text code costs: bits per gene against what decoding loses, and against accuracy."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from synthome.errors import InputError
from synthome.plotting.style import (
    CEILING,
    FLOOR,
    MUTED,
    SYNTHETIC,
    add_grid,
    new_figure,
    shared_legend,
    styled,
)

BAR = 0.9998  # decode R2 that a table of 513 symbols must reach
LOOKS = {  # colour, marker, line, how far above a point its precision stands, words
    "default": (SYNTHETIC, "o", "-", 6, "Range of the training rows, rounded"),
    "published": (FLOOR, "s", "--", -13, "Published: range 1, cut towards zero"),
}
UNCODED = "uncoded"
LEAST = 1e-12  # of 1 - R2 on a log scale


@styled
def distortion_figure(table: pd.DataFrame, bar: float | None = BAR) -> Figure:
    """Decode R2, and accuracy below it where there is one, against bits per gene.

    Parameters
    ----------
    table
        Of ``encoding.distortion``; several rows of one setting and precision, such as those of
        folds, are averaged.
    bar
        A decode R2 to draw as a line.
    """
    coded = table[table["setting"].isin(LOOKS) & np.isfinite(table["decode_r2"])]
    if coded.empty:
        raise InputError("The table of distortion has no row with a decode R2 to draw.")
    measured = coded["accuracy"].notna().any()
    rows = coded.groupby(["setting", "float_precision"], as_index=False).mean(numeric_only=True)
    figure = new_figure(height=6.4 if measured else 4.0)
    panels = figure.subplots(2 if measured else 1, 1, squeeze=False, sharex=True)[:, 0]
    rows = rows.assign(lost=(1.0 - rows["decode_r2"]).clip(lower=LEAST))
    _lines(panels[0], rows, "lost")
    _lost_axis(panels[0], rows["lost"], bar)
    if measured:
        _lines(panels[1], rows, "accuracy")
        panels[1].margins(y=0.1)
        panels[1].set_ylabel("Accuracy on decoded test rows")
        panels[1].set_title("What a classifier still tells apart")
        of_values = table.loc[table["setting"] == UNCODED, "accuracy"].mean()
        if np.isfinite(of_values):
            panels[1].axhline(of_values, color=CEILING, linewidth=1.3, linestyle="-.", zorder=2,
                              label="Values as they were measured")  # fmt: skip
    panels[-1].set_xlabel("Bits per gene: entropy of the symbols of test rows")
    for ax in panels:
        add_grid(ax)
    shared_legend(figure, ncols=3 if measured else 2)
    return figure


def _lines(ax: Axes, rows: pd.DataFrame, column: str) -> None:
    """One line per setting; beside each point, the precision that gave it."""
    for setting, (colour, marker, line, above, words) in LOOKS.items():
        of = rows[(rows["setting"] == setting) & rows[column].notna()]
        of = of.sort_values("float_precision")
        ax.plot(of["bits_per_gene"], of[column], color=colour, marker=marker, linestyle=line,
                ms=6.0, mec="white", mew=0.7, zorder=4, label=words)  # fmt: skip
        for x, y, precision in zip(
            of["bits_per_gene"], of[column], of["float_precision"], strict=True
        ):
            ax.annotate(f"{precision:g}", (x, y), xytext=(0, above), textcoords="offset points",
                        ha="center", fontsize=7.5, color=colour, zorder=5)  # fmt: skip


def _lost_axis(ax: Axes, lost: pd.Series, bar: float | None) -> None:
    """What is lost on a log scale, the best above, with ticks that read as R2."""
    values = [*lost, *([1.0 - bar] if bar is not None else [])]
    low, high = int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values))))
    ax.set_yscale("log")
    ax.set_ylim(10.0**high, 10.0**low)
    ax.yaxis.set_major_locator(FixedLocator([10.0**k for k in range(low, high + 1)]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{1.0 - y:.12g}"))
    ax.set_ylabel("Decode $R^2$ (log scale of what is lost)")
    ax.set_title("What decoding keeps; beside each point, the precision in bits")
    if bar is not None:
        ax.axhline(1.0 - bar, color=MUTED, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
        ax.text(0.0, 1.0 - bar, f" {bar:g}", transform=ax.get_yaxis_transform(), va="bottom",
                fontsize=7.5, color=MUTED)  # fmt: skip
