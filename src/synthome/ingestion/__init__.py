"""From the files of a person to one validated cohort, with a report of what was kept and why.

==============  ===================================================================
``files``       one table on disk: format, compression, separator, decimal sign
``tables``      a folder with ``expression`` and ``samples``: ids and orientation
``h5ad``        a cohort that is an AnnData file already
``geo``         a GEO series: series matrix, supplementary table, platform annotation
``download``    files from the network: retries, checksums, cache
``samples``     which samples: ``where``, label, groups, class sizes
``genes``       gene names: versions, spreadsheet damage, duplicates
``scale``       which scale the values are on, and whether they can be used
``validate``    all checks in order, and the report
``align``       a second cohort beside the first: shared genes, shared samples
``signatures``  phenotype signatures of a user, found among the genes of the cohort
==============  ===================================================================

Single cells are read block by block, from files that need not fit in memory:

=================  ================================================================
``matrices``       rows of a matrix by rows, by columns or dense, on disk or not
``cell_source``    h5ad, zarr, chunks or an AnnData in memory as one source of cells
``chunk_folder``   pairs of npz and metadata; ``csr_file``, ``chunk_tables``, ``safe_pickle``
``cell_fields``    metadata fields: which take part; ``confounding`` between them
``count_values``   which matrix holds raw counts, and what the others look like
``cells``          all checks in order, and the report; ``cell_sheet`` for ``obs``
``counted``        what cells share with the spots of a tissue: counts, genes, report
``gene_sets``      lists of genes, and where they are among the genes of the cells
``prepare_cells``  the whole way to the counts that models are trained on
``pbmc``           blood cells that come with scanpy; ``recover`` their counts
=================  ================================================================

Tissues are AnnData in memory, with coordinates and, where there is one, the image:

================  =================================================================
``tissue``        all checks in order, and the report; ``tissue_config`` the choices
``tissue_space``  coordinates, duplicate places, images held against the spots
``tissue_file``   an h5ad file of scanpy or squidpy
``visium``        folders of Space Ranger; ``visium_matrix`` for their counts
================  =================================================================

Nothing here imports Kedro. Names below are loaded on first use, so that reading a catalog stays
quick.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "CellSource": "cell_source",
    "CellsConfig": "config",
    "IngestionConfig": "config",
    "split_list": "config",
    "read_cohort_folder": "tables",
    "read_h5ad_cohort": "h5ad",
    "read_geo": "geo",
    "read_tissue": "tissue_file",
    "read_visium": "visium",
    "TissueConfig": "tissue_config",
    "validate_cohort": "validate",
    "validate_external": "align",
    "align_external": "align",
    "match_genes": "gene_sets",
    "prepare_cells": "prepare_cells",
    "read_gene_sets": "gene_sets",
    "with_signatures": "signatures",
    "validate_cells": "cells",
    "validate_tissue": "tissue",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
