"""What a tissue model reads of an AnnData: X~ of eq. 4 of ``spatial_gvae``, image, counts, graph.

Spots are put along a Hilbert curve, so that a run of rows is a piece of tissue, and what is
computed from them is put back in the order of the AnnData.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from scipy import sparse

from synthome.anndata_schema import (
    COUNTS,
    IMAGE_FEATURES,
    LIBRARY_SIZE,
    NEIGHBOURS,
    SECTION,
    SPATIAL,
)
from synthome.csr import CSRRows
from synthome.errors import InputError
from synthome.graph import Graph
from synthome.preprocessing.spatial_blocks import hilbert_order
from synthome.rng import generator
from synthome.training.tissue_rows import TissueRows

CLIP = 10.0  # standard deviations, beyond which an input is cut off
ROWS_AT_A_TIME = 4_096

Order = Int[np.ndarray, " n_obs"]  # row of the AnnData of each spot along the curve


@dataclass(frozen=True, eq=False)
class TissueInputs:
    """Scales of the inputs, by the spots of the training.

    Attributes
    ----------
    depth
        Library size at which log rates are read.
    hops
        How often they are averaged over a spot and its neighbours.
    sections
        Names that the decoder tells apart; none when it does not.
    x_mean, x_spread, image_mean, image_spread
        Of each gene and of each image feature, (n_vars,) and (n_features,).
    """

    var_names: pd.Index
    depth: float
    hops: int
    sections: tuple[str, ...]
    x_mean: Float[np.ndarray, " n_vars"]
    x_spread: Float[np.ndarray, " n_vars"]
    image_mean: Float[np.ndarray, " n_features"]
    image_spread: Float[np.ndarray, " n_features"]

    @classmethod
    def fit(cls, train: AnnData, *, hops: int, use_image: bool, use_section: bool) -> Self:
        """Measure the spots of ``train``."""
        depth = float(np.median(library_size(train)))
        x = _smoothed(train, depth, hops)
        features = _features(train) if use_image else np.zeros((train.n_obs, 0), dtype=np.float32)
        sections = tuple(np.unique(section_of(train))) if use_section else ()
        return cls(
            train.var_names,
            depth,
            hops,
            sections,
            x.mean(axis=0),
            _spread(x),
            features.mean(axis=0),
            _spread(features),
        )

    @property
    def n_features(self) -> int:
        """Image features that are read."""
        return len(self.image_mean)

    def rows(self, adata: AnnData) -> tuple[Order, TissueRows]:
        """All spots along the curve: which row of ``adata`` each one is, and what is read.

        Raises
        ------
        InputError
            If there is no graph, or genes, image features or sections are not those of the
            training.
        """
        absent = self.var_names[~self.var_names.isin(adata.var_names)]
        if len(absent):
            raise InputError(
                f"{len(absent):,} of the {len(self.var_names):,} genes of the model are missing in "
                f"the data, the first being {absent[0]}. Give the spots with the genes of the "
                "training."
            )
        if not adata.var_names.equals(self.var_names):
            adata = adata[:, self.var_names]
        batch = self._batch(adata)
        order = hilbert_order(adata.obsm[SPATIAL], section_of(adata))
        x = _smoothed(adata, self.depth, self.hops)[order]
        x -= self.x_mean
        x /= self.x_spread
        np.clip(x, -CLIP, CLIP, out=x)
        counts = CSRRows.of(sparse.csr_matrix(adata.layers[COUNTS])[order])
        rows = TissueRows(
            torch.from_numpy(x),
            torch.zeros(adata.n_obs, 0),
            counts,
            counts.row_sums().clamp_min(1.0),
            torch.from_numpy(batch[order]),
            Graph.of(_graph(adata)[order][:, order]).with_self(),
        )
        if not self.n_features:
            return order, rows
        return order, self.shown(rows, _features(adata)[order])

    def shown(
        self, rows: TissueRows, features: Float[np.ndarray, "n_obs n_features"]
    ) -> TissueRows:
        """``rows`` with other image features, in the order of the curve.

        Raises
        ------
        InputError
            If their number is not that of the training.
        """
        if features.shape[1] != self.n_features:
            raise InputError(
                f"The model was trained on {self.n_features} image features, but these spots have "
                f"{features.shape[1]} in obsm['{IMAGE_FEATURES}']. Compute the same ones."
            )
        image = np.clip((features - self.image_mean) / self.image_spread, -CLIP, CLIP)
        return replace(rows, image=torch.from_numpy(image.astype(np.float32)))

    def _batch(self, adata: AnnData) -> Int[np.ndarray, " n_obs"]:
        """Number of the section of each spot."""
        if len(self.sections) < 2:
            return np.zeros(adata.n_obs, dtype=np.int64)
        names = section_of(adata)
        unknown = sorted(set(names) - set(self.sections))
        if unknown:
            raise InputError(
                f"Section {unknown[0]!r} was not seen in training, which had "
                f"{', '.join(self.sections)}. Train on it too, or set section_covariate: false."
            )
        return np.searchsorted(self.sections, names)

    def state(self) -> dict[str, np.ndarray]:
        """The scales as arrays; names, depth and hops are facts."""
        return {
            "x_mean": self.x_mean,
            "x_spread": self.x_spread,
            "image_mean": self.image_mean,
            "image_spread": self.image_spread,
        }


def set_aside(train: AnnData, fraction: float, seed: int) -> Bool[np.ndarray, " n_obs"]:
    """Spots that end training but are not trained on: a run of the Hilbert curve."""
    aside = np.zeros(train.n_obs, dtype=bool)
    if fraction and train.n_obs > 1:
        order = hilbert_order(train.obsm[SPATIAL], section_of(train))
        start = int(generator(seed, "aside").integers(train.n_obs))
        n_aside = max(1, round(fraction * train.n_obs))
        aside[order[(start + np.arange(n_aside)) % train.n_obs]] = True
    return aside


def average(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    """The mean over a spot and its neighbours as a matrix, (n_obs, n_obs)."""
    whole = (graph != 0).astype(np.float32) + sparse.eye_array(graph.shape[0], dtype=np.float32)
    share = 1.0 / np.asarray(whole.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags_array(share.astype(np.float32)) @ whole)


def in_parts(rows: TissueRows) -> Iterator[TissueRows]:
    """Pieces of the tissue, each with its rim, in order."""
    if len(rows) <= ROWS_AT_A_TIME:
        yield rows
        return
    for index in torch.arange(len(rows)).split(ROWS_AT_A_TIME):
        yield rows[index]


def put_back(order: Order, values: np.ndarray) -> np.ndarray:
    """Values along the curve in the order of the AnnData again."""
    result = np.empty_like(values)
    result[order] = values
    return result


def library_size(adata: AnnData) -> Float[np.ndarray, " n_obs"]:
    """Counts of each spot over the whole transcriptome where known, 1 or more."""
    if LIBRARY_SIZE in adata.obs:
        return np.maximum(adata.obs[LIBRARY_SIZE].to_numpy(np.float64), 1.0)
    return np.maximum(np.asarray(adata.layers[COUNTS].sum(axis=1), dtype=np.float64).ravel(), 1.0)


def section_of(adata: AnnData) -> np.ndarray:
    """Name of the section of each spot; all the same where there are none."""
    if SECTION not in adata.obs:
        return np.full(adata.n_obs, "", dtype=str)
    return adata.obs[SECTION].astype(str).to_numpy(dtype=str)


def _graph(adata: AnnData) -> sparse.csr_matrix:
    if NEIGHBOURS not in adata.obsp:
        raise InputError(
            f"A model of tissue reads the neighbours of each spot, but there is no "
            f"obsp['{NEIGHBOURS}']. Prepare the tissue with `kedro run --pipeline=preprocessing`, "
            "or put a graph there."
        )
    return sparse.csr_matrix(adata.obsp[NEIGHBOURS])


def _smoothed(adata: AnnData, depth: float, hops: int) -> Float[np.ndarray, "n_obs n_vars"]:
    """Log rates at a common depth, averaged ``hops`` times over neighbours."""
    counts = sparse.csr_matrix(adata.layers[COUNTS], dtype=np.float32)
    rates = sparse.diags_array((depth / library_size(adata)).astype(np.float32))
    x = sparse.csr_matrix(rates @ counts).log1p()
    if hops:
        mean = average(_graph(adata))
        for _ in range(hops):
            x = mean @ x
    return np.asarray(x.toarray(), dtype=np.float32)


def _features(adata: AnnData) -> Float[np.ndarray, "n_obs n_features"]:
    """What the image shows around each spot; no column where there is none."""
    if IMAGE_FEATURES not in adata.obsm:
        return np.zeros((adata.n_obs, 0), dtype=np.float32)
    return np.asarray(adata.obsm[IMAGE_FEATURES], dtype=np.float32)


def _spread(x: Float[np.ndarray, "n_obs n"]) -> Float[np.ndarray, " n"]:
    """Standard deviation of each column; 1 where it is constant."""
    spread = x.std(axis=0)
    least = 1e-6 * np.maximum(1.0, np.abs(x.mean(axis=0)))
    return np.where(spread > least, spread, 1.0).astype(x.dtype)
