"""Cells in, their validated sheet and its report out; the counts stay where they are.

Every count is looked at once, block by block: it must be a whole number >= 0. What is kept is one
row per cell and one per gene, with the row of each cell in its source, so that a later step can
read the counts of the genes that it chose.
"""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import LIBRARY_SIZE, SOURCE_ROW, UNS
from synthome.errors import InputError
from synthome.ingestion.cell_fields import fill_fields, named_fields, report_fields, with_fields
from synthome.ingestion.cell_sheet import (
    fill,
    filled,
    give_names,
    keep_donors_whole,
    large_types,
    library_sizes,
    where_true,
    with_type,
)
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.config import CellsConfig
from synthome.ingestion.counted import (
    SHEET,
    at_counts,
    columns_of,
    gene_names,
    genes_of,
    read_all,
    report_of,
    require_columns,
)
from synthome.ingestion.genes import tidy_names
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.sheet import as_text, storable

COLUMNS = {"cell_type": "label_key", "donor": "group_key", "batch": "batch_key"}

Report = dict[str, Any]


def validate_cells(source: CellSource, config: CellsConfig) -> tuple[AnnData, Report]:
    """Check the counts and put the sheet of cells in order.

    Parameters
    ----------
    source
        Cells as a dataset gives them.
    config
        Columns, place of the counts, thresholds.

    Returns
    -------
    The cells kept, without counts (``X`` is None): ``obs`` with type, fields, donor, batch,
    ``library_size`` and ``source_row``, ``var`` with one row per gene; and a report of plain
    numbers and words, of the form that ``validate_cohort`` gives, with what ``report_fields`` says
    of fields where some are named.

    Raises
    ------
    InputError
        At the first problem that the person has to mend.
    """
    try:
        return _validate(source, config, Journal(source.name, source.n_obs, row="cell"))
    except InputError as error:
        raise InputError(f"{source.name}: {error}") from error


def as_validated(source: CellSource, cohort: AnnData) -> CellSource:
    """The source with the counts and the genes that ``validate_cells`` settled on."""
    source = source.at(cohort.uns[UNS]["counts_in"])
    names, _ = tidy_names(gene_names(source), Journal(""))
    codes, unique = pd.factorize(names)
    if not np.array_equal(unique, cohort.var_names):
        raise InputError(
            f"{source.name} has other genes than when it was validated. Run the pipeline again "
            "from its first step."
        )
    return source.merged(codes, cohort.var_names)


def _validate(source: CellSource, config: CellsConfig, journal: Journal) -> tuple[AnnData, Report]:
    """The checks in order; see ``validate_cells``."""
    source = at_counts(source, config.layer, journal)
    given = source.uns[UNS]
    config = named_fields(config, given)
    obs, config = columns_of(source.obs, given, config, COLUMNS, journal)
    new_name = dict(zip(map(str, source.obs.columns), obs.columns, strict=True))
    config = config.model_copy(update={"fields": [new_name.get(f, f) for f in config.fields]})
    if config.cell_type is None:
        listed = some(list(obs.columns), 20) or "no columns at all"
        raise InputError(
            "Which column holds the type of each cell? Name it with --params=cell_type=COLUMN. "
            f"{SHEET} has: {listed}."
        )
    require_columns(obs, config, COLUMNS)
    label = config.cell_type
    asked = where_true(obs, config.where, journal)
    typed = with_type(obs, label, asked, journal)
    kept, n_missing = with_fields(obs, config, typed, journal)
    totals = read_all(source, kept, journal.row)
    rows = np.flatnonzero(filled(totals.counts, kept, config.min_counts, journal))
    obs = storable(obs.iloc[rows])
    obs[label] = as_text(obs[label])
    fill_fields(obs, config.fields)
    give_names(obs, journal)
    obs[SOURCE_ROW] = rows
    obs[LIBRARY_SIZE] = library_sizes(obs, totals.counts[rows], config.library_size, journal)
    obs = large_types(obs, label, config.min_cells_per_type, journal)
    obs, donor = keep_donors_whole(obs, label, config.donor, journal)
    if config.batch is not None:
        fill(obs, config.batch, "batch", journal)
    fields: list[str] = []
    told: Report = {}
    if config.fields:
        n_missing[label] = int(asked.sum() - typed.sum())
        fields, told = report_fields(obs, config.fields, n_missing, config.donor, journal)

    genes = genes_of(source, journal)
    uns = {k: v for k, v in source.uns.items() if k != UNS}
    cohort = AnnData(obs=obs, var=genes.var, uns=uns)
    cohort.uns[UNS] = {k: v for k, v in given.items() if k != "files"} | {
        "label_key": label,
        "group_key": donor or "",
        "batch_key": config.batch or "",
        "scale": "counts",
        "counts_in": source.found_in,
    }
    if fields:
        cohort.uns[UNS]["field_keys"] = fields
    sizes = f"{count(cohort.n_obs, 'cell')} and {count(cohort.n_vars, 'gene')}"
    types = obs[label].value_counts()
    journal.step("done", f"{sizes}; {some([f'{k} {n:,}' for k, n in types.items()], 10)}")
    report = report_of(cohort, given, config, totals, len(rows), journal)
    return cohort, report | told | {"symbols": genes.symbols}
