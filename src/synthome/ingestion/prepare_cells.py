"""From a source of cells to the counts that models are trained on, without Kedro."""

from collections.abc import Mapping, Sequence
from typing import Any

from anndata import AnnData

from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.cells import CellsConfig, as_validated, validate_cells
from synthome.ingestion.gene_sets import choose_roles, match_genes
from synthome.preprocessing.field_categories import check_fields_in_training
from synthome.preprocessing.gene_selection import SelectionConfig, select_genes
from synthome.preprocessing.splits import SplitConfig, assign_folds

GeneSets = Mapping[str, Sequence[str]]


def prepare_cells(
    source: CellSource | AnnData,
    cells_config: CellsConfig,
    split_config: SplitConfig | None = None,
    selection_config: SelectionConfig | None = None,
    gene_sets: GeneSets | None = None,
) -> AnnData:
    """Validate, split and select genes: what the pipelines do up to ``split_cohort``.

    Parameters
    ----------
    source
        Cells; an AnnData in memory is taken as one.
    cells_config, split_config, selection_config
        The choices of each step; by default one of five folds is tested, and 3,000 genes are kept.
    gene_sets
        See ``select_with_sets``.

    Returns
    -------
    See ``preprocessing.gene_selection.select_genes``.
    """
    source = CellSource.of(source) if isinstance(source, AnnData) else source
    cohort, _ = validate_cells(source, cells_config)
    folds = assign_folds(cohort, split_config or SplitConfig(n_tested_folds=1))
    check_fields_in_training(folds)
    selected, _ = select_with_sets(source, folds, selection_config or SelectionConfig(), gene_sets)
    return selected


def select_with_sets(
    source: CellSource,
    folds: AnnData,
    config: SelectionConfig,
    gene_sets: GeneSets | None = None,
    aliases: Mapping[str, str] | None = None,
) -> tuple[AnnData, dict[str, Any]]:
    """Select genes of validated cells, those of gene sets among them.

    Parameters
    ----------
    source
        As it was given to ``validate_cells``.
    folds
        The validated cells with their split.
    config
        How many genes; which set is turned down and which up.
    gene_sets
        Genes by set as lists write them. Without any, the sets of simulated cells are those that
        were planted, and for other cells two random ones are drawn.
    aliases
        Another name of a gene to the one that is in use.

    Returns
    -------
    The cells with the counts of the chosen genes, and the report of what was found.
    """
    origin = "given" if gene_sets else "planted"
    planted = source.uns.get("truth", {}).get("gene_sets", {})
    sets = {name: list(map(str, genes)) for name, genes in (gene_sets or planted).items()}
    roles = choose_roles(sets, config.down, config.up) if sets else {}
    matched, report = match_genes(sets, folds.var, aliases, needed=roles.values())
    selected = select_genes(as_validated(source, folds), folds, config, matched, roles)
    kept = {name: genes.tolist() for name, genes in selected.uns["gene_sets"].items()}
    facts = selected.uns["synthome"]
    return selected, report | {
        "origin": origin if sets else "random",
        "down": facts["down_set"],
        "up": facts["up_set"],
        "genes": kept,
    }
