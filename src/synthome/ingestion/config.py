"""The choices a person has when a cohort is read."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from synthome.config import Config


def split_list(value: str | int | float | list[str] | None) -> list[str]:
    """Names given on the command line, where Kedro splits at commas: ``batch+sex`` is two.

    A list (from YAML) passes unchanged; nothing at all is an empty list.
    """
    if value is None:
        return []
    names = value if isinstance(value, list) else str(value).split("+")
    return [str(name).strip() for name in names if str(name).strip()]


def _name(value: Any) -> Any:
    """A column name: numbers from the command line become text, nothing becomes None."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return str(value).strip() if isinstance(value, str | int | float) else value


ColumnName = Annotated[str | None, BeforeValidator(_name)]
ColumnNames = Annotated[list[str], BeforeValidator(split_list)]


class IngestionConfig(Config):
    """How to read a cohort: which column is what, and on which scale the values are.

    Parameters
    ----------
    label
        Column of the sample sheet that holds the class of each sample. Without it, the label that
        the source itself names is used (a simulated cohort does).
    group
        Column whose equal values (patient, donor, twin pair) stay on one side of every split.
    where
        Column of true and false: only the rows that are true are kept.
    scale
        ``auto`` measures it. ``counts`` are raw integers, ``linear`` is TPM, CPM or an intensity,
        ``log`` is any logarithm of expression, also centred.
    keep_unlabelled
        Keep samples without a label, with ``""`` as their class.
    min_per_class
        The smallest class that can be learnt from and tested on.
    round_counts
        Round expected counts (RSEM, salmon, kallisto) to integers; only with ``scale: counts``.
    negatives
        What to do with negative linear values, as background-subtracted microarrays have them:
        ``refuse``, or ``noise`` to leave them to preprocessing, which raises what lies below the
        noise of the training rows to it.
    floor
        Raise smaller linear values to this one: another cure (100 for the leukaemia arrays in
        Dudoit et al. 2002, doi:10.1198/016214502753479248).
    offset
        Add this to linear values; the result must not be negative.
    drop_constant_genes
        Leave out genes with the same value in every sample: nothing can be learnt of them.
    min_shared_genes, allow_duplicates
        What ``align_external`` asks of an external cohort: genes in common, and no sample of the
        cohort in it unless allowed.
    """

    label: ColumnName = None
    group: ColumnName = None
    where: ColumnName = None
    scale: Literal["auto", "counts", "linear", "log"] = "auto"
    keep_unlabelled: bool = False
    min_per_class: PositiveInt = 3
    round_counts: bool = False
    negatives: Literal["refuse", "noise"] = "refuse"
    floor: float | None = None
    offset: float | None = None
    drop_constant_genes: bool = True
    min_shared_genes: PositiveInt = 20
    allow_duplicates: bool = False


class CellsConfig(Config):
    """Which column is what, where the counts are, and which cells are too poor to be kept.

    Parameters
    ----------
    cell_type
        Column with the type of each cell, the class that models and scores know. Without it, the
        first of ``fields``, or else the column that the source itself names (simulated cells do).
    fields
        Columns with metadata of a few categories (assay, sex, condition ...), whose contributions
        are told apart: a list, or ``assay+sex``. The type is one of them, and the first if it is
        not named. Without any, those that the source itself names.
    missing
        What becomes of a cell without a value in a field: ``drop`` leaves it out, ``category``
        gives it the category "missing". A cell without a type is left out in any case.
    batch
        Column with the experimental batch, a covariate of models.
    donor
        Column whose equal values stay on one side of every split.
    where
        Column of true and false: only the cells that are true are kept.
    library_size
        Column with the total counts of a cell over the whole transcriptome, where the file holds
        a part of it; without it the sum over the genes of the file.
    layer
        ``X``, ``raw`` or the name of a layer; None looks in ``layers["counts"]``, ``X`` and
        ``raw``, in this order.
    min_counts
        Cells with fewer counts over the genes of the file are left out.
    min_cells_per_type
        Types with fewer cells are left out, with a warning. Types between 3 and the number of
        folds lower that number; below 3 there is no split, which is an error.
    """

    cell_type: ColumnName = None
    fields: ColumnNames = Field(default_factory=list)
    missing: Literal["drop", "category"] = "category"
    batch: ColumnName = None
    donor: ColumnName = None
    where: ColumnName = None
    library_size: ColumnName = None
    layer: ColumnName = None
    min_counts: PositiveInt = 1
    min_cells_per_type: PositiveInt = 10
