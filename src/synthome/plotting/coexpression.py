"""Which genes move together: correlation matrices of real and synthetic samples, side by side."""

import numpy as np
from anndata import AnnData
from matplotlib.figure import Figure

from synthome.plotting.arms import Arms, read_arms
from synthome.plotting.style import new_figure, styled
from synthome.rng import generator

MIN_TEST = 20  # held-out rows below which a correlation matrix of them is mostly noise


def correlation(x: np.ndarray) -> np.ndarray:
    """Pearson correlation between genes, (n_vars, n_vars); 0 for a gene that does not vary."""
    z = x - x.mean(axis=0)
    norm = np.sqrt((z**2).sum(axis=0))
    varies = norm > 1e-12 * max(1.0, float(np.abs(x).max()))
    z = np.where(varies, z / np.where(varies, norm, 1.0), 0.0)
    result = np.clip(z.T @ z, -1.0, 1.0)
    np.fill_diagonal(result, 1.0)
    return result


def cluster_order(correlations: np.ndarray) -> np.ndarray:
    """Order of genes along the leaves of average linkage on 1 - correlation."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(correlations) < 3:
        return np.arange(len(correlations))
    distance = squareform(np.clip(1.0 - correlations, 0.0, 2.0), checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(distance, "average"), distance))


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two matrices over their upper triangles, diagonal left out."""
    upper = np.triu_indices(len(first), k=1)
    a, b = first[upper], second[upper]
    if len(a) < 2 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


@styled
def coexpression_figure(real: AnnData, synthetic: AnnData, n_genes: int = 100) -> Figure:
    """Correlations of the most variable genes: real | real again | synthetic.

    The second panel is what real data say about themselves, and so the most that can be asked of
    the third: the held-out rows, or the second half of the training rows (the first panel then
    being the first half) when fewer than ``MIN_TEST`` rows were held out.
    """
    arms = read_arms(real, synthetic)
    first, second, names = _real_panels(arms)
    top = np.sort(np.argsort(-arms.train.var(axis=0), kind="stable")[:n_genes])
    order = top[cluster_order(correlation(first[:, top]))]
    matrices = [correlation(x[:, order]) for x in (first, second, arms.synthetic)]
    figure = new_figure(height=3.05)
    axes = figure.subplots(1, 3)
    titles = (*names, f"Synthetic ({len(arms.synthetic):,})")
    for i, (ax, matrix, title) in enumerate(zip(axes, matrices, titles, strict=True)):
        image = ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(title, fontsize=9.5)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        below = f"{len(order)} genes, ordered by this panel"
        if i:
            below = f"agreement with the first: r = {agreement(matrices[0], matrix):.2f}"
        ax.set_xlabel(below)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.015, aspect=24)
    bar.set_label("Correlation of two genes")
    bar.set_ticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


def _real_panels(arms: Arms) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    if len(arms.test) >= MIN_TEST:
        names = f"Real, training ({len(arms.train)})", f"Real, held out ({len(arms.test)})"
        return arms.train, arms.test, names
    half = np.zeros(len(arms.train), dtype=bool)
    rng = generator(0, "coexpression", "half")
    for name in np.unique(arms.train_labels):  # each class is split in two
        rows = rng.permutation(np.flatnonzero(arms.train_labels == name))
        half[rows[: (len(rows) + 1) // 2]] = True
    names = f"Real, one half ({half.sum()})", f"Real, other half ({(~half).sum()})"
    return arms.train[half], arms.train[~half], names
