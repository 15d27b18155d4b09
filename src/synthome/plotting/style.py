"""The one house style: who has which colour and marker, and how a figure is made and saved.

Colours are those of Okabe and Ito, told apart under the common forms of colour blindness; each
role has a marker of its own as well, so that nothing rests on colour alone.

Okabe M, Ito K (2008), Color Universal Design, https://jfly.uni-koeln.de/color/
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from textwrap import shorten
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

REAL = "#0072B2"  # blue
SYNTHETIC = "#D55E00"  # vermillion; also "this generator" among floor, ceiling and cheat
FLOOR = "#5A5A5A"  # grey, dark enough to differ from the ceiling without red or green
CEILING = "#009E73"  # bluish green
CHEAT = "#CC79A7"  # reddish purple
CHEAT_TEXT = "#8F2D73"  # the same, dark enough for words
INK = "#1F2933"
MUTED = "#5F6B76"
FAINT = "#E4E7EB"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "*")  # one per class of samples

WIDTH = 8.0  # inches; with DPI, 1440 pixels
DPI = 180
LONGEST = 34  # letters of a name beside a row
LETTER, ENTRY = 0.07, 0.6  # inches of a legend: one letter, and what an entry needs besides

_RC: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: same glyphs on every machine
    "font.size": 9.0,
    "text.color": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _house_style() -> Iterator[None]:
    with matplotlib.rc_context(_RC):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function in the house style; matplotlib's own settings stay as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _house_style():
            return draw(*args, **kwargs)

    return wrapper


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure, in inches, that belongs to no window and no pyplot state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_grid(ax: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Faint lines behind the data, no tick marks."""
    ax.grid(True, axis=axis)
    ax.tick_params(length=0)


def as_plain_text(texts: Iterable[Text]) -> None:
    """Show names from outside as they are: a class called ``$x$`` is no formula."""
    for text in texts:
        text.set_parse_math(False)


def shared_legend(figure: Figure, ncols: int = 2, **how: Any) -> None:
    """One legend below all panels, with each name once."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        found, names = ax.get_legend_handles_labels()
        handles |= {str(name): artist for name, artist in zip(names, found, strict=True)}
    legend = figure.legend(
        list(handles.values()), list(handles), loc="outside lower left", ncols=ncols, **how
    )
    as_plain_text(legend.get_texts())


def legend_columns(names: Sequence[str], most: int = 4, width: float = WIDTH) -> int:
    """Columns of a legend that fit side by side; matplotlib fills one after the other."""
    for ncols in range(min(most, len(names)), 1, -1):
        columns = np.array_split(np.array([len(name) for name in names]), ncols)
        if sum(ENTRY + LETTER * column.max() for column in columns) <= width:
            return ncols
    return 1


def short(name: str) -> str:
    """A name from outside that fits beside a row: cut after a word, if it must be."""
    return shorten(name, LONGEST, placeholder=" …")


def add_note(ax: Axes, text: str, x: float = 0.04, y: float = 0.96) -> None:
    """Write a few lines of numbers in a corner (axes coordinates), readable over points."""
    ax.text(
        x,
        y,
        text,
        transform=ax.transAxes,
        va="top" if y > 0.5 else "bottom",
        ha="left" if x < 0.5 else "right",
        linespacing=1.5,
        bbox={"boxstyle": "round,pad=0.4", "fc": "white", "ec": FAINT, "alpha": 0.92},
    )


@styled
def nothing_figure(text: str) -> Figure:
    """A sentence in the place of a figure that has nothing to show."""
    figure = new_figure(height=0.9)
    figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
    return figure


def or_nothing(there: Any, text: str, draw: Callable[[], Figure]) -> Figure:
    """The figure where there is something to show, and a sentence where not."""
    return draw() if there else nothing_figure(text)


def has_values(table: pd.DataFrame, name: str) -> bool:
    """Whether a column is there and any of it is finite."""
    return name in table and bool(np.isfinite(table[name].to_numpy(dtype=float)).any())


def png_bytes(figure: Figure, dpi: int = DPI) -> bytes:
    """Encode the figure as PNG: the same bytes whenever the same figure is drawn."""
    buffer = io.BytesIO()
    with _house_style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
