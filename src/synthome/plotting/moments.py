"""Mean and spread of every gene, real against synthetic, with the slope that R² hides.

R² is the squared Pearson correlation over genes, as published: it stays at 1 when every spread is
halved. The slope of the least-squares line of synthetic on real is what notices.
"""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthome.plotting.arms import read_arms
from synthome.plotting.style import INK, MUTED, SYNTHETIC, add_grid, add_note, new_figure, styled


def line_fit(real: np.ndarray, synthetic: np.ndarray) -> tuple[float, float, float]:
    """R² (squared Pearson), slope and intercept of ``synthetic`` on ``real``, each (n_vars,).

    NaN where ``real`` does not vary over genes.
    """
    centred = real - real.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        return np.nan, np.nan, np.nan
    response = synthetic - synthetic.mean()
    slope = float(centred @ response) / spread
    other = float(response @ response)
    r2 = np.nan if other == 0.0 else float(centred @ response) ** 2 / (spread * other)
    return r2, slope, float(synthetic.mean() - slope * real.mean())


@styled
def moments_figure(real: AnnData, synthetic: AnnData) -> Figure:
    """Per-gene mean and standard deviation of log expression: real training rows, synthetic."""
    arms = read_arms(real, synthetic)
    figure = new_figure(height=4.35)
    panels = (
        ("Mean of each gene", "mean", arms.train.mean(axis=0), arms.synthetic.mean(axis=0)),
        (
            "Spread of each gene",
            "standard deviation",
            arms.train.std(axis=0, ddof=1),
            arms.synthetic.std(axis=0, ddof=1),
        ),
    )
    for ax, (title, statistic, of_real, of_synthetic) in zip(
        figure.subplots(1, 2), panels, strict=True
    ):
        _panel(ax, of_real, of_synthetic)
        ax.set_title(title)
        ax.set_xlabel(f"Real training samples: {statistic}\n(log expression)")
        ax.set_ylabel(f"Synthetic samples: {statistic}\n(log expression)")
    return figure


def _panel(ax: Axes, real: np.ndarray, synthetic: np.ndarray) -> None:
    r2, slope, intercept = line_fit(real, synthetic)
    low = float(min(real.min(), synthetic.min()))
    high = float(max(real.max(), synthetic.max()))
    room = 0.04 * (high - low) or 0.5
    ends = np.array([low - room, high + room])
    ax.scatter(
        real,
        synthetic,
        s=7,
        color=SYNTHETIC,
        alpha=0.35 if len(real) > 300 else 0.7,
        linewidths=0,
        rasterized=True,
    )
    ax.plot(ends, ends, color=MUTED, linewidth=1.2, linestyle="--", label="Identity: slope 1")
    if np.isfinite(slope):
        ax.plot(ends, intercept + slope * ends, color=INK, linewidth=1.4, label="Fitted line")
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_box_aspect(1.0)
    add_note(ax, f"slope = {slope:.2f}\nR² = {r2:.3f}\n{len(real):,} genes")
    ax.legend(loc="lower right")
    add_grid(ax)
