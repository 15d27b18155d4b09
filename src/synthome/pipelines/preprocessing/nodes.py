"""Nodes of preprocessing: splits first, then everything fitted on the training part."""

from typing import TYPE_CHECKING, Any

from anndata import AnnData

from synthome.anndata_schema import SPLIT, is_absent
from synthome.preprocessing.gene_selection import SelectionConfig
from synthome.preprocessing.splits import SplitConfig, assign_folds
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.state_file import State

if TYPE_CHECKING:
    from synthome.ingestion.cell_source import CellSource
else:
    CellSource = Any


def split(cohort: AnnData, config: SplitConfig) -> AnnData:
    """Assign each sample to its test folds; fold 0 of the first repeat is the held-out part."""
    return assign_folds(cohort, config)


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
