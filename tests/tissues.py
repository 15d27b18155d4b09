"""Small prepared tissues for tests of the model and of what is asked of it."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import sparse

from synthome.ingestion.tissue import validate_tissue
from synthome.ingestion.tissue_config import TissueConfig
from synthome.preprocessing.image_config import ImageFeatureConfig
from synthome.preprocessing.image_features import image_features
from synthome.preprocessing.spatial_blocks import SpatialBlocksConfig, assign_blocks
from synthome.preprocessing.spatial_graph import SpatialGraphConfig
from synthome.preprocessing.tissue import (
    TissueSelectionConfig,
    select_tissue,
    without_images,
)
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue


@cache
def _made(n_obs, n_vars, n_sections, seed):
    config = TissueSliceConfig(n_obs=n_obs, n_vars=n_vars, n_sections=n_sections, seed=seed)
    tissue, _ = validate_tissue(simulate_tissue(config), TissueConfig())
    features, _ = image_features(tissue, ImageFeatureConfig(scales=(1.0, 2.0)))
    blocks = SpatialBlocksConfig(n_folds=3, blocks_per_fold=2, n_tested_folds=1)
    chosen = TissueSelectionConfig(n_top_genes=None)
    made = select_tissue(
        assign_blocks(without_images(tissue), blocks),
        pd.DataFrame(features),
        SpatialGraphConfig(),
        chosen,
    )
    size = made.obs["library_size"].to_numpy()
    rates = sparse.diags_array(1e4 / size) @ made.layers["counts"]
    made.X = sparse.csr_matrix(rates, dtype=np.float32).log1p()
    return made


def prepared_tissue(n_obs=300, n_vars=80, n_sections=1, seed=0):
    """A simulated slice with blocks, neighbours, image features and log expression."""
    return _made(n_obs, n_vars, n_sections, seed).copy()
