"""Whether synthetic rows help a classifier: by how many are added, and by how many are real.

The bar to beat is a logistic regression with a tuned penalty on the real rows alone. A dose that
helps an untuned classifier up to that bar has replaced a penalty, and added nothing.
"""

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from synthome.errors import InputError
from synthome.evaluation.rates import resampled_interval
from synthome.plotting.style import (
    FLOOR,
    INK,
    REAL,
    SYNTHETIC,
    add_grid,
    new_figure,
    shared_legend,
    styled,
)

BAR = "tuned_logistic"
METRIC_NAMES = {"balanced_accuracy": "Balanced accuracy", "auc": "AUC", "aupr": "AUPR"}
KIND_NAMES = {
    "logistic": "logistic regression",
    "forest": "random forest",
    BAR: "tuned logistic regression",
    "balanced_forest": "class-weighted forest",
}
BASELINES = {BAR: (INK, "-"), "balanced_forest": (FLOOR, ":")}
KINDS: dict[str, dict[str, Any]] = {
    "forest": {"color": SYNTHETIC, "marker": "o", "linestyle": "-"},
    "logistic": {"color": REAL, "marker": "s", "linestyle": "--"},
}
SHIFT = 0.07  # between kinds at one dose, so that no interval hides another


@styled
def dose_figure(table: pd.DataFrame, n_train: float, n_test: float) -> Figure:
    """Score of each classifier by the dose of synthetic rows, with intervals over folds.

    The last panel is the gain over the best classifier on real rows alone, fold by fold: there an
    interval above 0 means something, where the scores themselves share what makes a fold hard.

    Parameters
    ----------
    table
        ``evaluation.utility.dose_curve`` of every fold, with columns ``repeat`` and ``fold``.
    n_train, n_test
        Mean number of real rows on both sides of a fold, for the corrected resampled t interval.
    """
    metrics = _metrics(table)
    figure = new_figure(height=3.9, width=3.6 * len(metrics) + 3.6)
    doses = sorted(table["dose"].unique())
    *panels, last = figure.subplots(1, len(metrics) + 1)
    for ax, metric in zip(panels, metrics, strict=True):
        rows = table[table["metric"] == metric]
        _bar(ax, rows, n_train, n_test)
        _curves(ax, rows, "value", doses, (n_train, n_test), (0.0, 1.0))
        ax.set_title(METRIC_NAMES.get(metric, metric))
    bar = best_baseline(table, metrics[0])
    last.axhline(0.0, color=INK, linewidth=1.3, zorder=2)
    _curves(last, paired_gains(table, metrics[0], bar), "gain", doses, (n_train, n_test))
    words = f"Gain in {_in_a_sentence(metrics[0])}, fold by fold, over {KIND_NAMES.get(bar, bar)} "
    last.set_title(fill(f"{words}on real rows alone", 42), fontsize=9)
    shared_legend(figure)
    return figure


def best_baseline(table: pd.DataFrame, metric: str) -> str:
    """The classifier that does best on real rows alone; of equal ones, the tuned one."""
    real = table[(table["metric"] == metric) & (table["dose"] == 0)]
    means = real.groupby("kind")["value"].mean().dropna()
    if means.empty:
        raise InputError(
            f"The dose table has no {metric} at dose 0, which is what a gain is over. Keep dose 0 "
            "among the doses."
        )
    return str(max(means.index, key=lambda kind: (round(means[kind], 12), kind == BAR)))


def paired_gains(table: pd.DataFrame, metric: str, baseline: str) -> pd.DataFrame:
    """What each classifier with synthetic rows has over ``baseline`` without, fold by fold.

    Patients of a fold are the same on both sides, so that easy and hard folds cancel out. Gains are
    rounded where floating-point numbers end: equal folds are equal.

    Returns
    -------
    Columns ``kind``, ``dose``, ``repeat``, ``fold``, ``gain``, for doses above 0.
    """
    keys = ["kind", "dose", "repeat", "fold"]  # several seeds of one fold are one value
    rows = table[table["metric"] == metric].groupby(keys, as_index=False)["value"].mean()
    real = rows[(rows["dose"] == 0) & (rows["kind"] == baseline)]
    bar = real.set_index(["repeat", "fold"])["value"]
    added = rows[rows["dose"] > 0]
    before = bar.reindex(pd.MultiIndex.from_frame(added[["repeat", "fold"]])).to_numpy(dtype=float)
    gain = np.round(added["value"].to_numpy(dtype=float) - before, 12)
    found = added[keys].assign(gain=gain)
    return found[np.isfinite(gain)].reset_index(drop=True)


def _curves(
    ax: Axes,
    rows: pd.DataFrame,
    column: str,
    doses: list[float],
    sizes: tuple[float, float],
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> None:
    """Means over folds with their intervals, one line per classifier, doses evenly apart."""
    kinds = [kind for kind in KINDS if (rows["kind"] == kind).any()]
    for i, kind in enumerate(kinds):
        of = rows[rows["kind"] == kind].groupby("dose")[column]
        at = np.array([doses.index(dose) for dose in of.groups], dtype=float)
        means = of.mean().to_numpy(dtype=float)
        limits = np.array([resampled_interval(v.to_numpy(float), *sizes)
                           for _, v in of])  # fmt: skip
        x = at + SHIFT * (i - (len(kinds) - 1) / 2)
        ax.vlines(x, *np.clip(limits, *bounds).T, color=KINDS[kind]["color"], alpha=0.45,
                  linewidth=2.4, zorder=3)  # fmt: skip
        ax.plot(x, means, ms=6.5, mec="white", zorder=4, label=_name(kind), **KINDS[kind])
    ax.set_xticks(range(len(doses)), [_dose(dose) for dose in doses])
    ax.set_xlim(-0.4, len(doses) - 0.6)
    ax.set_xlabel("Synthetic rows added\n(multiples of the real ones)")
    add_grid(ax, "y")


def _bar(ax: Axes, rows: pd.DataFrame, n_train: float, n_test: float) -> None:
    """Lines of the classifiers that need no synthetic rows, with the band of the tuned one."""
    for kind, (colour, line) in BASELINES.items():
        values = rows.loc[rows["kind"] == kind, "value"].to_numpy(dtype=float)
        if not np.isfinite(values).any():
            continue
        low, high = np.clip(resampled_interval(values, n_train, n_test), 0.0, 1.0)
        if kind == BAR and np.isfinite(low):
            ax.axhspan(low, high, color=colour, alpha=0.07, linewidth=0, zorder=0)
        ax.axhline(float(np.nanmean(values)), color=colour, linestyle=line, linewidth=1.3,
                   zorder=2, label=f"{_name(kind)} on real rows alone")  # fmt: skip


@styled
def few_shot_figure(table: pd.DataFrame) -> Figure:
    """Score by the number of real training rows, alone and joined by synthetic ones.

    Lines are means over folds; each faint point is one fold.

    Parameters
    ----------
    table
        ``evaluation.utility.few_shot_curve`` of every fold: columns ``n_real``, ``arm`` (real,
        augmented), ``kind``, ``metric``, ``value``. Sizes that differ by a row or two between
        folds, as classes round, are drawn where they are.
    """
    metrics = _metrics(table)
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    figure = new_figure(height=2.7 * len(kinds) + 0.7, width=max(4.6, 3.6 * len(metrics)))
    grid = figure.subplots(len(kinds), len(metrics), squeeze=False, sharex=True, sharey="col")
    arms = {
        "real": {"color": REAL, "marker": "s", "linestyle": "--", "label": "Real rows alone"},
        "augmented": {"color": SYNTHETIC, "marker": "o", "linestyle": "-",
                      "label": "Real and synthetic rows"},
    }  # fmt: skip
    for row, kind in zip(grid, kinds, strict=True):
        for ax, metric in zip(row, metrics, strict=True):
            for arm, look in arms.items():
                of = table[
                    (table["kind"] == kind) & (table["metric"] == metric) & (table["arm"] == arm)
                ]
                means = of.groupby("n_real")["value"].mean()
                ax.plot(of["n_real"], of["value"], look["marker"], color=look["color"], ms=3.5,
                        alpha=0.3, mew=0, linestyle="none", label="_fold")  # fmt: skip
                ax.plot(means.index, means, ms=6.5, mec="white", zorder=4, **look)
            ax.set_title(f"{METRIC_NAMES.get(metric, metric)}, {_name(kind).lower()}", fontsize=9)
            add_grid(ax, "y")
    for ax in grid[-1]:
        ax.set_xlabel("Real training rows")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    shared_legend(figure)
    return figure


def _metrics(table: pd.DataFrame) -> list[str]:
    found = table.loc[np.isfinite(table["value"]), "metric"].unique()
    metrics = [name for name in METRIC_NAMES if name in found]
    if not metrics:
        raise InputError(
            "The table has no value of balanced_accuracy, auc or aupr, so there is no curve to "
            f"draw. Its metrics are: {', '.join(map(str, found)) or 'none'}."
        )
    return metrics[:2]  # AUPR only where it stands alone or with one other


def _in_a_sentence(metric: str) -> str:
    name = METRIC_NAMES[metric]
    return name if name.isupper() else name.lower()


def _dose(dose: float) -> str:
    return "0" if dose == 0 else f"{dose:g} ×"


def _name(kind: str) -> str:
    words = KIND_NAMES.get(kind, kind)
    return words[:1].upper() + words[1:]
