"""Telling base, down and up apart: accuracy by dose and representation, and who is confused."""

from collections.abc import Callable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.representations import LATENTS, in_order, look
from synthome.plotting.style import (
    INK,
    MUTED,
    add_grid,
    as_plain_text,
    new_figure,
    shared_legend,
    styled,
)

GUESS = 1.0 / 3.0
PROTOCOLS = {"strict": "Strict: twins on one side", "published": "Published: rows split at random"}
CONDITIONS = {"base": "as they are", "down": "turned down", "up": "turned up"}
SHIFT = 0.075  # between representations at one dose, so that no interval hides another


@styled
def accuracy_figure(accuracy: pd.DataFrame) -> Figure:
    """Accuracy against dose, one line for each representation and classifier, with intervals.

    Parameters
    ----------
    accuracy
        ``accuracy`` of ``evaluation.three_class``, of one protocol or of several.
    """
    rows = accuracy[np.isfinite(accuracy["accuracy"])]
    if rows.empty:
        raise InputError("The table of accuracies has no row with a value to draw.")
    protocols = _protocols(rows)
    doses = {p: sorted(rows.loc[rows["protocol"] == p, "dose"].unique()) for p in protocols}
    widths = [max(len(of), 3) for of in doses.values()]  # a single dose needs room for its title
    figure = new_figure(height=4.6, width=max(8.1, min(0.9 * sum(widths), 10.8)))
    panels = figure.subplots(1, len(protocols), squeeze=False, sharey=True, width_ratios=widths)[0]
    for ax, protocol in zip(panels, protocols, strict=True):
        _lines(ax, rows[rows["protocol"] == protocol], doses[protocol])
        ax.set_title(fill(PROTOCOLS.get(protocol, protocol), 6 * len(doses[protocol]) + 18))
        ax.axhline(GUESS, color=INK, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
        ax.text(1.0, GUESS, "guessing", transform=ax.get_yaxis_transform(), ha="right",
                va="bottom", fontsize=7.5, color=MUTED)  # fmt: skip
    panels[0].set_ylabel("Share of rows put in the right condition")
    panels[0].set_ylim(min(GUESS - 0.05, rows["low"].min() - 0.01), 1.02)
    shared_legend(figure, ncols=4 if len(protocols) > 1 else 3)
    return figure


def _lines(ax: Axes, rows: pd.DataFrame, doses: list[float]) -> None:
    kinds = [
        (representation, classifier)
        for representation in in_order(rows["representation"].tolist())
        for classifier in sorted(
            rows.loc[rows["representation"] == representation, "classifier"].unique()
        )
    ]
    for i, (representation, classifier) in enumerate(kinds):
        style = look(representation, classifier)
        chosen = (rows["representation"] == representation) & (rows["classifier"] == classifier)
        of = rows[chosen].sort_values("dose")
        x = np.array([doses.index(dose) for dose in of["dose"]], dtype=float)
        x += SHIFT * (i - (len(kinds) - 1) / 2)
        ax.vlines(x, of["low"], of["high"], color=style.colour, alpha=0.45, linewidth=2.2, zorder=3)
        ax.plot(x, of["accuracy"], ms=6, mec="white", mew=0.7, linewidth=1.3, zorder=4,
                label=style.name, **style.line_style())  # fmt: skip
    ax.set_xticks(range(len(doses)), [f"{dose:g} ×" for dose in doses])
    ax.set_xlim(-0.5, len(doses) - 0.5)
    ax.set_xlabel("Dose: factor down or up")
    add_grid(ax, "y")


@styled
def confusion_figure(
    confusion: pd.DataFrame,
    dose: float,
    representation: str = LATENTS,
    classifier: str = "logistic",
) -> Figure:
    """Of each true condition, the share that is called base, down, up; one panel per protocol.

    Parameters
    ----------
    confusion
        ``confusion`` of ``evaluation.three_class``; with a column ``protocol`` where there are
        several.
    """
    if "protocol" not in confusion:
        confusion = confusion.assign(protocol="strict")
    chosen = confusion[
        np.isclose(confusion["dose"], dose)
        & (confusion["representation"] == representation)
        & (confusion["classifier"] == classifier)
    ]
    if not chosen["n"].sum():
        raise InputError(
            f"The confusion table has no row of {representation!r} with the classifier "
            f"{classifier!r} at dose {dose:g}. Its doses are: "
            f"{', '.join(f'{d:g}' for d in sorted(confusion['dose'].unique())) or 'none'}."
        )
    protocols = _protocols(chosen)
    figure = new_figure(height=4.2, width=4.0 * max(len(protocols), 1.4))
    panels = figure.subplots(1, len(protocols), squeeze=False)[0]
    for ax, protocol in zip(panels, protocols, strict=True):
        counts = chosen[chosen["protocol"] == protocol].pivot_table(
            index="true", columns="predicted", values="n", aggfunc="sum", fill_value=0
        )
        accuracy = np.diag(counts).sum() / counts.to_numpy().sum()
        shares_heatmap(ax, counts, _condition)
        ax.set_title(
            f"{PROTOCOLS.get(protocol, protocol)}\n{100 * accuracy:.0f} % right", fontsize=9.2
        )
    name = look(representation, classifier).name
    figure.suptitle(f"{name}, dose {dose:g} ×", x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def shares_heatmap(
    ax: Axes, counts: pd.DataFrame, named: Callable[[str], str] = lambda name: fill(name, 12)
) -> None:
    """Shares of each row as shade and as text, with the number of rows below."""
    shares = counts.div(counts.sum(axis=1), axis=0).to_numpy()
    ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    for i, j in np.ndindex(shares.shape):
        ax.text(j, i, f"{100 * shares[i, j]:.0f} %\n", ha="center", va="center", fontsize=12,
                color="white" if shares[i, j] > 0.65 else INK, fontweight="bold")  # fmt: skip
        ax.text(j, i, f"\n{counts.iat[i, j]:,}", ha="center", va="center", fontsize=8,
                color="white" if shares[i, j] > 0.65 else INK)  # fmt: skip
    ax.set_xticks(range(len(counts.columns)), [named(str(name)) for name in counts.columns])
    ax.set_yticks(range(len(counts)), [named(str(name)) for name in counts.index], rotation=90,
                  va="center")  # fmt: skip
    ax.set_xlabel("Called")
    ax.set_ylabel("In truth")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    as_plain_text([*ax.get_xticklabels(), *ax.get_yticklabels()])


def _condition(name: str) -> str:
    return fill(CONDITIONS.get(name, name), 12)


def _protocols(rows: pd.DataFrame) -> list[str]:
    found = list(dict.fromkeys(rows["protocol"]))
    return sorted(found, key=lambda p: list(PROTOCOLS).index(p) if p in PROTOCOLS else 9)
