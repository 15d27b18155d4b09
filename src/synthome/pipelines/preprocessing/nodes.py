"""Nodes of preprocessing: splits first, then everything fitted on the training part."""

from anndata import AnnData

from synthome.anndata_schema import SPLIT, is_absent
from synthome.preprocessing.splits import SplitConfig, assign_folds
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.state_file import State


def split(cohort: AnnData, config: SplitConfig) -> AnnData:
    """Assign each sample to its test folds; fold 0 of the first repeat is the held-out part."""
    return assign_folds(cohort, config)


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
