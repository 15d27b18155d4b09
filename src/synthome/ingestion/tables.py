"""A cohort in a folder: ``expression`` and ``samples`` put together into one AnnData."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import UNS
from synthome.errors import InputError
from synthome.ingestion.files import (
    Table,
    digest_of,
    existing_folder,
    find_table,
    read_table,
    sha256_of,
)
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.matching import Match, has_own_index, match_samples, object_columns
from synthome.ingestion.sheet import as_ids, typed

SOURCE_NAME = "source_name"  # the column of ``var`` with gene names as the file has them


def read_cohort_folder(folder: str | Path) -> AnnData:
    """Read ``expression`` and ``samples`` from a folder into one raw AnnData.

    Parameters
    ----------
    folder
        Holds ``expression.{parquet,csv,tsv}[.gz]`` and ``samples.{parquet,csv,tsv}[.gz]``.

    Returns
    -------
    Samples of both tables x genes: values as given, every column of the sheet in ``obs``, what
    was detected in ``uns["synthome"]["reading"]``, SHA-256 of each file in ``["files"]``.

    Raises
    ------
    InputError
        If a file is missing or broken, or the ids of the two tables do not fit together.
    """
    folder = existing_folder(folder)
    expression = read_table(find_table(folder, "expression"))
    sheet = read_sheet(find_table(folder, "samples"))
    journal = Journal(folder.name)
    for note in expression.told + sheet.told:
        journal.step("file format", note)
    adata = assemble(expression.frame, sheet.frame, journal, expression.path, sheet.path)
    files = {table.path.name: sha256_of(table.path) for table in (expression, sheet)}
    return with_source(adata, folder.name, files, journal)


def with_source(
    adata: AnnData, source: str, files: dict[str, str], journal: Journal, **items: str
) -> AnnData:
    """Write where a raw cohort came from into its provenance (in place; it is a new object)."""
    adata.uns[UNS] = {
        "source": source,
        "sha256": digest_of(files),
        "files": files,
        "reading": journal.to_json(),
    } | items
    return adata


def read_sheet(path: Path) -> Table:
    """A sample sheet, its columns typed; Parquet keeps the types it has."""
    table = read_table(path, text=True)
    if ".parquet" in path.name.lower():
        return table
    comma = any("decimals with a comma" in note for note in table.told)
    return table._replace(frame=typed(table.frame, comma))


def assemble(
    expression: pd.DataFrame,
    sheet: pd.DataFrame,
    journal: Journal,
    expression_path: Path,
    sheet_path: Path,
) -> AnnData:
    """Match the two tables by id and put them into one AnnData, samples x genes.

    Parameters
    ----------
    expression
        Samples x genes or genes x samples, ids in the index, in a column or as column names.
    sheet
        One row per sample.
    journal
        Receives what was detected and what was left out.
    expression_path, sheet_path
        Where the tables came from, for messages.
    """
    repeated = sheet.columns[sheet.columns.duplicated()].unique()
    if len(repeated):
        raise InputError(
            f"{sheet_path} has more than one column of the name {some(map(repr, repeated))}. Give "
            "each column a name of its own."
        )
    match = match_samples(expression, sheet, expression_path, sheet_path)
    frame, names, left_out, n_expression = (
        _genes_as_rows(expression, match, expression_path)
        if match.by_columns
        else _samples_as_rows(expression, match, set(map(str, sheet.columns)))
    )

    ids = match.sheet.values[match.sheet_rows]
    values = numbers(frame, names, ids, expression_path, genes_as_rows=match.by_columns)
    n_genes = len(names)
    journal.start(
        "read",
        f"{expression_path.name} has {count(n_expression, 'sample')} and "
        f"{count(n_genes, 'gene')}, {sheet_path.name} has {count(len(sheet), 'sample')}",
        len(sheet),
        n_genes,
    )
    if match.sheet.column is not None:
        journal.step("sample ids", f"sample ids of {sheet_path.name} are in {match.sheet.place}")
    if match.by_columns:
        journal.step("orientation", f"{expression_path.name} is genes x samples: transposed")
    if match.loosely:
        journal.step(
            "sample ids",
            "ids match only when punctuation and a leading X (as R writes names) are set aside",
            warning=True,
        )
    for note in left_out:
        journal.step("columns", note)
    only_expression = n_expression - len(ids)
    if only_expression or len(ids) < len(sheet):
        journal.step(
            "samples in both tables",
            f"{count(len(ids), 'sample')} in both tables; only in {sheet_path.name}: "
            f"{len(sheet) - len(ids)}, only in {expression_path.name}: {only_expression}",
            n_obs=len(ids),
            warning=len(ids) < 0.5 * max(len(sheet), n_expression),
        )
    unnamed = names == ""
    if unnamed.any():
        values, names = values[:, ~unnamed], names[~unnamed]
        journal.step("gene names", "genes without a name left out", n_vars=len(names))

    obs = sheet.iloc[match.sheet_rows]
    if match.sheet.column is not None:
        obs = obs.drop(columns=obs.columns[match.sheet.column])
    obs = obs.set_axis(pd.Index(ids), axis=0)
    obs.columns = obs.columns.astype(str)
    var = pd.DataFrame({SOURCE_NAME: names}, index=unique_names(names))
    return AnnData(np.ascontiguousarray(values), obs=obs, var=var)


def unique_names(names: np.ndarray) -> pd.Index:
    """Gene names, repeated ones told apart by ``#2``, ``#3``, until they are merged."""
    series = pd.Series(names, dtype=object)
    nth = series.groupby(series, sort=False).cumcount()
    return pd.Index(series.where(nth == 0, series + "#" + (nth + 1).astype(str)))


def numbers(
    frame: pd.DataFrame,
    genes: np.ndarray,
    samples: pd.Index,
    path: Path,
    *,
    genes_as_rows: bool,
) -> np.ndarray:
    """Expression values, (n_obs, n_vars), float64; text in a cell is an error with its place."""
    if all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in set(frame.dtypes)):
        values = frame.to_numpy(dtype=np.float64)
        return values.T if genes_as_rows else values
    columns = []
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        converted = pd.to_numeric(column, errors="coerce").astype(float).to_numpy()
        wrong = np.isnan(converted) & ~column.isna().to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            gene, sample = (genes[row], samples[i]) if genes_as_rows else (genes[i], samples[row])
            raise InputError(
                f"{path} holds text where a number should be: {str(column.iloc[row])!r} at sample "
                f"{sample!r}, gene {gene!r}. Correct the cell (or leave out the gene), with a "
                "decimal point and no thousands separator."
            )
        columns.append(converted)
    values = np.column_stack(columns)
    return values.T if genes_as_rows else values


def _genes_as_rows(
    expression: pd.DataFrame, match: Match, path: Path
) -> tuple[pd.DataFrame, np.ndarray, list[str], int]:
    """Sample columns, gene names, notes on columns left out, number of sample columns."""
    others = [i for i in range(expression.shape[1]) if i not in set(match.positions)]
    textual = [i for i in others if _is_text(expression.iloc[:, i])]
    if has_own_index(expression):
        names, place = expression.index, None
    else:
        names_like = [i for i in textual if expression.iloc[:, i].nunique() > len(expression) / 2]
        whole = [i for i in others if expression.dtypes.iloc[i].kind in "Oiu"]  # Entrez ids
        place = next(iter(names_like + textual + whole), None)
        if place is None:
            raise InputError(
                f"{path} has a column for each sample but none with gene names. Add a first column "
                "with gene symbols or Ensembl ids."
            )
        names = expression.iloc[:, place]
    notes = []
    described = [str(expression.columns[i]) for i in textual if i != place]
    if described:
        notes.append(f"columns of text that describe genes left out: {some(described, 6)}")
    numeric = len([i for i in others if i != place and i not in textual])
    if place is not None and place != 0:
        notes.append(f"gene names are in column {str(expression.columns[place])!r}")
    frame = expression.iloc[:, match.positions]
    return frame, as_ids(names).to_numpy(), notes, len(match.positions) + numeric


def _samples_as_rows(
    expression: pd.DataFrame, match: Match, sheet_columns: set[str]
) -> tuple[pd.DataFrame, np.ndarray, list[str], int]:
    """Gene columns of the shared samples, gene names, notes, number of sample rows."""
    own = {match.expression.column}
    textual = [
        i
        for i in map(int, np.flatnonzero(object_columns(expression)))
        if i not in own and _is_text(expression.iloc[:, i])
    ]
    of_sheet = [
        i
        for i, name in enumerate(map(str, expression.columns))
        if name in sheet_columns and i not in own and i not in textual
    ]
    notes = []
    if textual or of_sheet:
        dropped = [str(expression.columns[i]) for i in [*textual, *of_sheet]]
        notes.append(f"columns that describe samples, not genes, left out: {some(dropped, 6)}")
    genes = [i for i in range(expression.shape[1]) if i not in {*own, *textual, *of_sheet}]
    frame = expression.iloc[match.positions, genes]
    return frame, as_ids(expression.columns[genes]).to_numpy(), notes, len(expression)


def _is_text(column: pd.Series) -> bool:
    """Whether a column holds words: most of its given cells are not numbers."""
    if column.dtype != object and not isinstance(column.dtype, pd.CategoricalDtype):
        return not pd.api.types.is_numeric_dtype(column.dtype)
    given = column.dropna()
    if given.empty:
        return False
    return bool(pd.to_numeric(given.astype(str), errors="coerce").isna().mean() > 0.5)
