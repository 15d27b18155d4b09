"""Real and synthetic samples on one map, drawn from the real training rows alone.

Axes are fitted to the training rows; test and synthetic rows are only projected, so that nothing
they do can bend the map towards them.
"""

import warnings
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import sparse

from synthome.plotting.arms import Arms, read_arms
from synthome.plotting.style import (
    INK,
    MARKERS,
    MUTED,
    REAL,
    SYNTHETIC,
    add_grid,
    as_plain_text,
    legend_columns,
    new_figure,
    short,
    styled,
)
from synthome.rng import generator

Method = Literal["pca", "umap"]
MAX_EXACT = 4096  # training rows up to which all distances between them are computed
MAX_SYNTHETIC = 1500  # points drawn; more would only hide one another
_ARM_NAMES = {
    "train": "Real, used for training",
    "test": "Real, held out",
    "synthetic": "Synthetic",
}


def embed(
    real: AnnData, synthetic: AnnData, method: Method = "pca", seed: int = 0
) -> tuple[pd.DataFrame, tuple[str, str]]:
    """Coordinates of every sample on a map fitted to the real training rows.

    Returns
    -------
    Columns ``x``, ``y``, ``arm`` (train, test, synthetic), ``class``; and the two axis titles.
    """
    arms = read_arms(real, synthetic)
    synthetic_rows = np.arange(len(arms.synthetic))
    if len(synthetic_rows) > MAX_SYNTHETIC:
        rng = generator(seed, "embedding")
        synthetic_rows = np.sort(rng.choice(synthetic_rows, MAX_SYNTHETIC, replace=False))
    parts = {
        "train": (arms.train, arms.train_labels),
        "test": (arms.test, arms.test_labels),
        "synthetic": (arms.synthetic[synthetic_rows], arms.synthetic_labels[synthetic_rows]),
    }
    everything = np.vstack([x for x, _ in parts.values()])
    points, titles = (
        _pca_map(arms, everything) if method == "pca" else _umap_map(arms, everything, seed)
    )
    frame = pd.DataFrame(
        {
            "x": points[:, 0],
            "y": points[:, 1],
            "arm": np.concatenate([np.full(len(x), arm) for arm, (x, _) in parts.items()]),
            "class": np.concatenate([names for _, names in parts.values()]),
        }
    )
    return frame, titles


def _pca_map(arms: Arms, everything: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, svd_solver="full").fit(arms.train)
    first, second = (f"{share:.0%} of training variance" for share in pca.explained_variance_ratio_)
    return pca.transform(everything), (f"PC1 ({first})", f"PC2 ({second})")


def _umap_map(arms: Arms, everything: np.ndarray, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Draw the UMAP of the leading principal components of the training rows.

    Further rows stand at the mean of their training neighbours, weighted by UMAP's own membership
    strengths. UMAP's stochastic placement is left out: on a map of few points, repulsion drives
    every added row to the rim, held-out patients included.
    """
    from sklearn.decomposition import PCA
    from sklearn.metrics import pairwise_distances

    n_train = len(arms.train)
    if n_train < 5:  # a neighbour graph of so few points says nothing: show their PCA
        points, _ = _pca_map(arms, everything)
        return points, ("UMAP 1 (too few rows: PCA)", "UMAP 2 (too few rows: PCA)")
    n_components = min(30, n_train - 1, arms.train.shape[1])
    pca = PCA(n_components=n_components, svd_solver="full").fit(arms.train)
    train, rows = pca.transform(arms.train), pca.transform(everything)
    spread = np.abs(train[:, :2]).max() or 1.0
    choices = {
        "n_neighbors": n_neighbors(n_train),
        "min_dist": 0.3,
        "init": (10.0 * train[:, :2] / spread).astype(np.float32),
        "random_state": seed,
        "transform_seed": seed,
        "n_jobs": 1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and umap talk about their own internals
        from umap import UMAP

        if n_train <= MAX_EXACT:
            # Given exact distances, UMAP compiles half as much code: the same graph, 10 s sooner.
            reducer = UMAP(metric="precomputed", **choices).fit(_all_distances(train))
            rows = pairwise_distances(rows, train).astype(np.float32)
        else:
            reducer = UMAP(**choices).fit(train)
        reducer.transform_mode = "graph"
        weights = np.asarray(reducer.transform(rows).todense())
    points = weights @ reducer.embedding_ / weights.sum(axis=1, keepdims=True)
    points[:n_train] = reducer.embedding_
    return points, ("UMAP 1", "UMAP 2")


def n_neighbors(n_train: int) -> int:
    """Neighbours of a training row: a fifth of the rows, between 3 and 15, and fewer than all."""
    return min(max(n_train // 5, 3), 15, n_train - 1)


def _all_distances(x: np.ndarray) -> sparse.csr_matrix:
    """Every distance between rows of ``x``, zeros stored too: (n_obs, n_obs)."""
    from sklearn.metrics import pairwise_distances

    n_obs = len(x)
    distances = pairwise_distances(x).astype(np.float32)
    distances = np.maximum(distances, distances.T)
    np.fill_diagonal(distances, 0.0)
    columns = np.tile(np.arange(n_obs), n_obs)
    rows = np.arange(n_obs + 1) * n_obs
    return sparse.csr_matrix((distances.ravel(), columns, rows), shape=(n_obs, n_obs))


@styled
def embedding_figure(
    real: AnnData, synthetic: AnnData, method: Method = "pca", seed: int = 0
) -> Figure:
    """Two maps side by side on the same axes: real samples, and synthetic ones over them.

    Colour tells real from synthetic, the marker tells the class, a hollow marker is a real sample
    that was held out.
    """
    points, titles = embed(real, synthetic, method, seed)
    classes = sorted(points["class"].unique())
    figure = new_figure(height=4.95)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    real_points = points[points["arm"] != "synthetic"]
    synthetic_points = points[points["arm"] == "synthetic"]
    _scatter(left, real_points, classes)
    _scatter(right, synthetic_points, classes)
    _scatter(right, real_points, classes, faded=True)
    left.set_title(f"Real ({len(real_points):,})")
    right.set_title(f"Synthetic ({len(synthetic_points):,}), real ones behind")
    left.set_ylabel(titles[1])
    for ax in (left, right):
        ax.set_xlabel(titles[0])
        ax.set_box_aspect(1.0)
        add_grid(ax)
        if method == "umap":  # distances on this map have no unit
            ax.set_xticklabels([])
            ax.set_yticklabels([])
    _legend(figure, points, classes)
    return figure


def pca_figure(real: AnnData, synthetic: AnnData) -> Figure:
    """Real and synthetic samples on the first two principal components of real training rows."""
    return embedding_figure(real, synthetic, "pca")


def umap_figure(real: AnnData, synthetic: AnnData, seed: int = 0) -> Figure:
    """Real and synthetic samples on a UMAP of the real training rows."""
    return embedding_figure(real, synthetic, "umap", seed)


def _scatter(ax: Axes, points: pd.DataFrame, classes: list[str], faded: bool = False) -> None:
    for i, name in enumerate(classes):
        for arm in ("train", "test", "synthetic"):
            chosen = points[(points["class"] == name) & (points["arm"] == arm)]
            if chosen.empty:
                continue
            synthetic = arm == "synthetic"
            colour = SYNTHETIC if synthetic else "#A9B4BE" if faded else REAL
            ax.scatter(
                chosen["x"],
                chosen["y"],
                s=16 if synthetic else 30,
                marker=MARKERS[i % len(MARKERS)],
                facecolors="white" if arm == "test" else colour,
                edgecolors=colour if arm == "test" else "none" if synthetic else "white",
                linewidths=1.3 if arm == "test" else 0.0 if synthetic else 0.6,
                alpha=0.35 if synthetic and len(points) > 300 else 0.6 if synthetic else 1.0,
                zorder=1 if faded else 2,
            )


def _legend(figure: Figure, points: pd.DataFrame, classes: list[str]) -> None:
    present = [arm for arm in _ARM_NAMES if (points["arm"] == arm).any()]
    colours = {"train": REAL, "test": REAL, "synthetic": SYNTHETIC}
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=7,
            markerfacecolor="white" if arm == "test" else colours[arm],
            markeredgecolor=colours[arm],
            label=_ARM_NAMES[arm],
        )
        for arm in present
    ]
    handles += [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[i % len(MARKERS)],
            markersize=7,
            markerfacecolor=MUTED,
            markeredgecolor=MUTED,
            label=f"Class: {short(name)}" if name else "Without a label",
        )
        for i, name in enumerate(classes)
    ]
    ncols = legend_columns([str(handle.get_label()) for handle in handles])
    legend = figure.legend(handles=handles, loc="outside lower left", ncols=ncols, labelcolor=INK)
    as_plain_text(legend.get_texts())
