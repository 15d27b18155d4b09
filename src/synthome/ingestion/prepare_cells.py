"""From a source of cells to the counts that models are trained on, in one call without Kedro."""

from collections.abc import Mapping, Sequence

from anndata import AnnData

from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.cells import CellsConfig, as_validated, validate_cells
from synthome.ingestion.gene_sets import match_genes
from synthome.preprocessing.gene_selection import SelectionConfig, select_genes
from synthome.preprocessing.splits import SplitConfig, assign_folds


def prepare_cells(
    source: CellSource | AnnData,
    cells_config: CellsConfig,
    split_config: SplitConfig | None = None,
    selection_config: SelectionConfig | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
) -> AnnData:
    """Validate, split and select genes: what the pipelines do up to ``split_cohort``.

    Parameters
    ----------
    source
        Cells; an AnnData in memory is taken as one.
    cells_config, split_config, selection_config
        The choices of each step; by default one of five folds is tested, and 3,000 genes are kept.
    gene_sets
        Genes to keep, as lists write them; see ``ingestion.gene_sets.match_genes``.

    Returns
    -------
    See ``preprocessing.gene_selection.select_genes``.
    """
    source = CellSource.of(source) if isinstance(source, AnnData) else source
    cohort, _ = validate_cells(source, cells_config)
    folds = assign_folds(cohort, split_config or SplitConfig(n_tested_folds=1))
    matched, _ = match_genes(gene_sets or {}, cohort.var)
    return select_genes(
        as_validated(source, cohort), folds, selection_config or SelectionConfig(), matched
    )
