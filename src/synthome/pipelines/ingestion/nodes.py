"""Nodes of ingestion: raw values in, validated cohorts and a report out."""

from typing import TYPE_CHECKING, Any

from anndata import AnnData

from synthome.anndata_schema import is_absent
from synthome.ingestion.config import CellsConfig, IngestionConfig
from synthome.ingestion.tissue_config import TissueConfig

if TYPE_CHECKING:
    from synthome.ingestion.cell_source import CellSource
else:
    CellSource = Any

Report = dict[str, Any]


def validate(raw: AnnData, config: IngestionConfig) -> tuple[AnnData, Report]:
    """Check the cohort; return it with the report of what was kept and dropped."""
    from synthome.ingestion.validate import validate_cohort

    return validate_cohort(raw, config)


def validate_cells(raw: CellSource, config: CellsConfig) -> tuple[AnnData, Report]:
    """Check the cells; return their sheet, without counts, and the report."""
    from synthome.ingestion.cells import validate_cells

    return validate_cells(raw, config)


def describe_fields(cohort: AnnData, validation_report: Report) -> Report:
    """Metadata fields of the cells for a person to read: categories, and what is confounded."""
    from synthome.ingestion import cell_fields

    return cell_fields.describe_fields(cohort, validation_report)


def validate_tissue(raw: AnnData, config: TissueConfig) -> tuple[AnnData, Report]:
    """Check spots, places and images; return the tissue and the report."""
    from synthome.ingestion import tissue

    return tissue.validate_tissue(raw, config)


def validate_external(
    raw: AnnData, cohort: AnnData, config: IngestionConfig
) -> tuple[AnnData, Report]:
    """Check the external cohort and bring it to the genes and classes of the cohort."""
    from synthome.ingestion import align

    external, report = align.validate_external(raw, config)
    if is_absent(external):
        return external, report
    aligned, alignment = align.align_external(
        external, cohort, config.min_shared_genes, config.allow_duplicates
    )
    return aligned, report | alignment | {"steps": [*report["steps"], *alignment["steps"]]}
