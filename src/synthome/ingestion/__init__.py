"""From the files of a person to one validated cohort, with a report of what was kept and why.

============  =====================================================================
``files``     one table on disk: format, compression, separator, decimal sign
``tables``    a folder with ``expression`` and ``samples``: ids and orientation
``h5ad``      a cohort that is an AnnData file already
``geo``       a GEO series: series matrix, supplementary table, platform annotation
``download``  files from the network: retries, checksums, cache
``samples``   which samples: ``where``, label, groups, class sizes
``genes``     gene names: versions, spreadsheet damage, duplicates
``scale``     which scale the values are on, and whether they can be used
``validate``  all checks in order, and the report
``align``     a second cohort beside the first: shared genes, shared samples
============  =====================================================================

Nothing here imports Kedro. Names below are loaded on first use, so that reading a catalog stays
quick.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "IngestionConfig": "config",
    "split_list": "config",
    "read_cohort_folder": "tables",
    "read_h5ad_cohort": "h5ad",
    "read_geo": "geo",
    "validate_cohort": "validate",
    "validate_external": "align",
    "align_external": "align",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
