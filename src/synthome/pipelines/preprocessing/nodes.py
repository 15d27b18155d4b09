"""Nodes of preprocessing: splits first, then everything fitted on the training part."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import SPLIT, is_absent
from synthome.preprocessing.field_categories import check_fields_in_training
from synthome.preprocessing.gene_selection import SelectionConfig
from synthome.preprocessing.image_config import ImageFeatureConfig
from synthome.preprocessing.spatial_blocks import SpatialBlocksConfig, assign_blocks
from synthome.preprocessing.spatial_graph import SpatialGraphConfig
from synthome.preprocessing.splits import SplitConfig, assign_folds
from synthome.preprocessing.tissue import TissueSelectionConfig
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.state_file import State

if TYPE_CHECKING:
    from synthome.ingestion.cell_source import CellSource
else:
    CellSource = Any


def split(cohort: AnnData, config: SplitConfig) -> AnnData:
    """Assign each sample to its test folds; fold 0 of the first repeat is the held-out part."""
    return assign_folds(cohort, config)


def split_contexts(cohort: AnnData, config: SplitConfig) -> AnnData:
    """The same for cells with fields, each category of which must be in every training part."""
    folds = assign_folds(cohort, config)
    check_fields_in_training(folds)
    return folds


def split_patients(
    cohort: AnnData,
    signatures: dict[str, list[str]],
    aliases: dict[str, str],
    config: SplitConfig,
) -> tuple[AnnData, dict[str, Any]]:
    """The same for patients, with the phenotype signatures that a user gave."""
    from synthome.ingestion.signatures import with_signatures

    known, report = with_signatures(cohort, signatures, aliases)
    return assign_folds(known, config), report


def select_genes(
    raw: CellSource,
    folds: AnnData,
    gene_sets: dict[str, list[str]],
    aliases: dict[str, str],
    config: SelectionConfig,
) -> tuple[AnnData, dict[str, Any]]:
    """Choose genes on the training cells, and collect their counts in all cells."""
    from synthome.ingestion.prepare_cells import select_with_sets

    return select_with_sets(raw, folds, config, gene_sets, aliases)


def split_tissue(cohort: AnnData, config: SpatialBlocksConfig) -> AnnData:
    """Deal compact blocks of spots to the test folds; images stay with the cohort."""
    from synthome.preprocessing.tissue import without_images

    return assign_blocks(without_images(cohort), config)


def read_image(
    cohort: AnnData, config: ImageFeatureConfig, cache: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What the image shows around each spot; computed once for an image and settings."""
    from synthome.preprocessing.tissue import cached_image_features
    from synthome.training.device import pick_device

    return cached_image_features(cohort, config, cache, pick_device("auto"))


def select_tissue(
    folds: AnnData,
    image_features: pd.DataFrame,
    graph: SpatialGraphConfig,
    config: TissueSelectionConfig,
) -> AnnData:
    """Put neighbours and image features beside the counts of genes chosen on training spots."""
    from synthome.preprocessing.tissue import select_tissue

    return select_tissue(folds, image_features, graph, config)


def fit_transform(split_cohort: AnnData, config: TransformConfig) -> State:
    """Fit normalisation and gene selection on the training part alone."""
    train = split_cohort[split_cohort.obs[SPLIT] == "train"]
    return ExpressionTransform.fit(train, config).state()


def prepare(split_cohort: AnnData, transform: State) -> AnnData:
    """Log expression of every sample, by the transform of the training part."""
    return ExpressionTransform.from_state(*transform).apply(split_cohort)


def prepare_external(external: AnnData, transform: State) -> AnnData:
    """Log expression of the external cohort, on the genes that it shares."""
    if is_absent(external):
        return external
    return ExpressionTransform.from_state(*transform).apply(external, missing="restrict")
