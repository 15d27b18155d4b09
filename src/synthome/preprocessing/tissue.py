"""From a validated tissue to what models read: neighbours, image features, counts of some genes.

Genes are chosen by Moran's I of their log rates over the training spots and the edges among them:
what is not arranged in space cannot tell domains apart, however variable it is.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from pydantic import PositiveInt

from synthome.anndata_schema import IMAGE_FEATURES, NEIGHBOURS, SPATIAL, SPLIT
from synthome.config import Config
from synthome.errors import InputError
from synthome.preprocessing.image_config import ImageFeatureConfig
from synthome.preprocessing.spatial_graph import SpatialGraphConfig

logger = logging.getLogger(__name__)


class TissueSelectionConfig(Config):
    """How many genes are kept, of those that vary most in space; None keeps all."""

    n_top_genes: PositiveInt | None = 3000


def without_images(tissue: AnnData) -> AnnData:
    """A copy that leaves the images behind, which are read once."""
    uns = {name: of for name, of in tissue.uns.items() if name != SPATIAL}
    return AnnData(
        X=tissue.X,
        obs=tissue.obs.copy(),
        var=tissue.var.copy(),
        uns=uns,
        obsm=dict(tissue.obsm),
        layers=dict(tissue.layers),
    )


def cached_image_features(
    tissue: AnnData, config: ImageFeatureConfig, cache: Path, device: Any = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Image features of each spot as a table, from ``cache`` when image and settings are the same.

    ``cache`` is a Parquet file beside which the report lies; what is in it is used only if it was
    made of the same image, places and settings. An encoder computes on ``device``.
    """
    import json

    from synthome.preprocessing.image_features import cache_key, image_features

    key = cache_key(tissue, config)
    facts = cache.with_suffix(".json")
    if cache.exists() and facts.exists():
        report = json.loads(facts.read_text(encoding="utf-8"))
        if report.get("key") == key:
            logger.info("Image features: those of the same image and settings are used again.")
            return pd.read_parquet(cache), report
    features, report = image_features(tissue, config, device)
    names = report.get("names") or [f"feature_{i}" for i in range(features.shape[1])]
    table = pd.DataFrame(features, columns=pd.Index(names, dtype=str))
    report = {**report, "n_features": features.shape[1], "key": key}
    facts.unlink(missing_ok=True)  # never the facts of one table beside another
    table.to_parquet(cache)
    facts.write_text(json.dumps(report), encoding="utf-8")
    return table, report


def select_tissue(
    folds: AnnData,
    image_features: pd.DataFrame,
    graph_config: SpatialGraphConfig,
    config: TissueSelectionConfig,
) -> AnnData:
    """``folds`` with neighbours in ``obsp``, image features in ``obsm``, and the chosen genes.

    Raises
    ------
    InputError
        If the features are of other spots, or the graph cannot be drawn.
    """
    from synthome.preprocessing.spatial_genes import select_spatial_genes
    from synthome.preprocessing.spatial_graph import spatial_graph

    if image_features.shape[1] and len(image_features) != folds.n_obs:
        raise InputError(
            f"There are image features of {len(image_features):,} spots, but the tissue has "
            f"{folds.n_obs:,}. Run --pipeline=preprocessing again from its start."
        )
    graph = spatial_graph(folds, graph_config)
    kept = folds.var_names
    if config.n_top_genes is not None and config.n_top_genes < folds.n_vars:
        train = (folds.obs[SPLIT] == "train").to_numpy()
        chosen = select_spatial_genes(folds, graph, config.n_top_genes, train)
        kept = kept[kept.isin(chosen)]
    result = folds[:, kept].copy()
    result.obsp[NEIGHBOURS] = graph.matrix()
    result.obsm.pop(IMAGE_FEATURES, None)
    if image_features.shape[1]:
        result.obsm[IMAGE_FEATURES] = image_features.to_numpy(np.float32)
    return result
