"""Which genes carry each factor: a heatmap of loadings, with what other seeds agree to.

Of some factors the genes with the largest loadings are shown, each gene once. A dot marks a loading
that fits with other seeds have as well; a bar above a column is the stability of the whole factor.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting.style import (
    FLOOR,
    INK,
    REAL,
    SYNTHETIC,
    as_plain_text,
    new_figure,
    short,
    styled,
)

STABLE = 0.9  # of a loading, above which seeds are said to agree
N_FACTORS, N_GENES = 10, 5
ROW = 0.185  # inches
SIGNS = {"down": ("▼", REAL), "up": ("▲", SYNTHETIC)}


def telling_factors(
    table: pd.DataFrame, response: pd.DataFrame | None = None, n_factors: int = N_FACTORS
) -> list[int]:
    """The factors that answer most to a perturbation; without such a table, the most stable ones.

    Parameters
    ----------
    table
        ``evaluation.loadings.loading_table``.
    response
        ``evaluation.loadings.factor_response``.
    """
    if response is not None and len(response):
        size = response["effect"].abs().groupby(response["factor"]).max()
    else:
        size = table.groupby("factor")["factor_stability"].first()
    size = size.sort_values(ascending=False, kind="stable")
    return [int(factor) for factor in size.index[:n_factors]]


@styled
def loadings_figure(
    table: pd.DataFrame,
    factors: Sequence[int] | None = None,
    planted: Mapping[str, Collection[str]] | None = None,
    n_genes: int = N_GENES,
) -> Figure:
    """Leading genes of each factor by factors.

    Parameters
    ----------
    table
        ``evaluation.loadings.loading_table``, with all genes; what is missing is left white.
    factors
        Which to show, in that order; by default the most stable ones.
    planted
        Genes turned down and up, which are marked beside their names.
    n_genes
        Leading genes of each factor.
    """
    if table.empty:
        raise InputError("The table of loadings is empty.")
    chosen = telling_factors(table) if factors is None else list(factors)
    rows = table[table["factor"].isin(chosen)]
    genes = _leading(rows, chosen, n_genes)
    values = _wide(rows, "loading", genes, chosen)
    agreed = _wide(rows, "stability", genes, chosen) >= STABLE
    height = 1.7 + ROW * len(genes)
    figure = new_figure(height=height, width=max(5.6, 2.9 + 0.42 * len(chosen)))
    top, ax = figure.subplots(2, 1, sharex=True, height_ratios=[0.6, height - 1.7])
    reach = float(np.nanmax(np.abs(values))) or 1.0
    image = ax.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    y, x = np.nonzero(agreed)
    dark = np.abs(values[y, x]) > 0.6 * reach
    for colour, which in ((INK, ~dark), ("white", dark)):
        ax.plot(x[which], y[which], "o", color=colour, ms=2.6, mew=0, label="_agreed")
    _names(ax, genes, planted or {})
    ax.set_xticks(range(len(chosen)), [str(factor) for factor in chosen])
    marks = "; ▲ ▼ turned up, down" if planted else ""
    ax.set_xlabel(f"Latent factor\n• seeds agree (stability {STABLE:g} or more){marks}")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    _stability(top, rows, chosen)
    bar = figure.colorbar(image, ax=ax, shrink=min(1.0, 2.4 / (height - 1.7)), aspect=18)
    bar.set_label("Loading (log expression)")
    return figure


def _leading(rows: pd.DataFrame, chosen: Sequence[int], n_genes: int) -> list[str]:
    """Leading genes, factor after factor, largest first, each where it comes first."""
    first = rows[rows["rank"] <= n_genes].assign(
        place=lambda of: of["factor"].map({factor: i for i, factor in enumerate(chosen)})
    )
    return list(dict.fromkeys(map(str, first.sort_values(["place", "rank"])["gene"])))


def _wide(rows: pd.DataFrame, column: str, genes: list[str], chosen: Sequence[int]) -> np.ndarray:
    shown = rows[rows["gene"].isin(genes)]
    wide = shown.pivot_table(index="gene", columns="factor", values=column)
    return wide.reindex(index=genes, columns=list(chosen)).to_numpy(dtype=float)


def _names(ax: Axes, genes: list[str], planted: Mapping[str, Collection[str]]) -> None:
    direction = {str(gene): name for name, members in planted.items() for gene in members}
    marks = [SIGNS.get(direction.get(gene, ""), ("", INK)) for gene in genes]
    labels = [f"{short(gene)} {sign}".strip() for gene, (sign, _) in zip(genes, marks, strict=True)]
    ax.set_yticks(range(len(genes)), labels, fontsize=7.5)
    as_plain_text(ax.get_yticklabels())
    for label, (_, colour) in zip(ax.get_yticklabels(), marks, strict=True):
        label.set_color(colour)


def _stability(ax: Axes, rows: pd.DataFrame, chosen: Sequence[int]) -> None:
    stable = rows.groupby("factor")["factor_stability"].first().reindex(list(chosen))
    ax.bar(range(len(chosen)), stable, color=FLOOR, width=0.7)
    ax.set_ylim(0.0, 1.0)
    ax.set_yticks([0.0, 1.0])
    ax.set_ylabel("stability", fontsize=7.5)
    ax.tick_params(length=0, labelsize=7.5, labelbottom=False)
