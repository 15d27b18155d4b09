"""From a validated tissue to what models read."""

import numpy as np
import pandas as pd
import pytest

from synthome.anndata_schema import COUNTS, IMAGE_FEATURES, NEIGHBOURS, SPATIAL, SPLIT
from synthome.errors import InputError
from synthome.ingestion.tissue import validate_tissue
from synthome.ingestion.tissue_config import TissueConfig
from synthome.preprocessing.image_config import ImageFeatureConfig
from synthome.preprocessing.spatial_blocks import SpatialBlocksConfig, assign_blocks
from synthome.preprocessing.spatial_graph import SpatialGraphConfig
from synthome.preprocessing.tissue import (
    TissueSelectionConfig,
    cached_image_features,
    select_tissue,
    without_images,
)
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue

SETTINGS = ImageFeatureConfig(scales=(1.0,))


@pytest.fixture(scope="module")
def tissue():
    return validate_tissue(
        simulate_tissue(TissueSliceConfig(n_obs=200, n_vars=60)), TissueConfig()
    )[0]


@pytest.fixture(scope="module")
def folds(tissue):
    return assign_blocks(without_images(tissue), SpatialBlocksConfig(n_folds=3, blocks_per_fold=2))


def test_images_stay_behind_and_nothing_else(tissue):
    found = without_images(tissue)
    assert SPATIAL in tissue.uns
    assert SPATIAL not in found.uns
    assert (found.layers[COUNTS] != tissue.layers[COUNTS]).nnz == 0
    pd.testing.assert_frame_equal(found.obs, tissue.obs)
    np.testing.assert_array_equal(found.obsm[SPATIAL], tissue.obsm[SPATIAL])


def test_features_are_computed_once_for_an_image_and_settings(tissue, tmp_path, monkeypatch):
    cache = tmp_path / "cache.parquet"
    first, report = cached_image_features(tissue, SETTINGS, cache)

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr("synthome.preprocessing.image_features.image_features", refuse)
    again, same = cached_image_features(tissue, SETTINGS, cache)
    pd.testing.assert_frame_equal(first, again)
    assert same["key"] == report["key"]
    other = tissue.copy()
    other.uns[SPATIAL]["S1"]["images"]["hires"] = other.uns[SPATIAL]["S1"]["images"]["hires"][::-1]
    with pytest.raises(AssertionError, match="computed again"):
        cached_image_features(other, SETTINGS, cache)
    with pytest.raises(AssertionError, match="computed again"):
        cached_image_features(tissue, ImageFeatureConfig(scales=(2.0,)), cache)


def test_neighbours_and_features_stand_beside_the_chosen_genes(folds):
    features = pd.DataFrame(np.arange(400.0).reshape(200, 2), columns=["a", "b"])
    chosen = TissueSelectionConfig(n_top_genes=20)
    found = select_tissue(folds, features, SpatialGraphConfig(k=4), chosen)
    assert found.shape == (200, 20)
    assert (np.asarray(found.obsp[NEIGHBOURS].sum(axis=1)).ravel() == 4).all()
    np.testing.assert_array_equal(found.obsm[IMAGE_FEATURES], features)


def test_genes_are_chosen_on_training_spots_alone(folds):
    chosen = TissueSelectionConfig(n_top_genes=20)
    none = pd.DataFrame(index=range(200))
    before = select_tissue(folds, none, SpatialGraphConfig(), chosen)
    changed = folds.copy()
    counts = changed.layers[COUNTS].tolil()
    counts[np.flatnonzero(changed.obs[SPLIT] == "test")] = 7.0
    changed.layers[COUNTS] = counts.tocsr()
    after = select_tissue(changed, none, SpatialGraphConfig(), chosen)
    assert before.var_names.equals(after.var_names)
    assert IMAGE_FEATURES not in before.obsm


def test_features_of_other_spots_are_refused(folds):
    features = pd.DataFrame(np.zeros((7, 2)), columns=["a", "b"])
    with pytest.raises(InputError, match="7 spots"):
        select_tissue(folds, features, SpatialGraphConfig(), TissueSelectionConfig())
