"""The text files of GEO: the series matrix of a study, the annotation of an array platform.

In a series matrix each ``!Sample_`` row has one value per sample, in quotes, between tabs. The row
``!Sample_characteristics_ch1`` is repeated, each value being ``key: value``; a sample may lack a
key, so that the same row holds different keys for different samples.
"""

import io
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from synthome.errors import InputError
from synthome.ingestion.files import read_bytes, refuse_other_formats
from synthome.ingestion.journal import count

KEPT = ("title", "geo_accession", "source_name_ch1", "description", "platform_id", "type")
CHARACTERISTICS = re.compile(r"characteristics_ch(\d)")
TABLE = ("!series_matrix_table_begin", "!series_matrix_table_end")
ANNOTATION = ("!platform_table_begin", "!platform_table_end")
MISSING = ["", "null", "NULL", "NA", "NaN", "nan", "N/A"]
SYMBOL_COLUMNS = ("gene symbol", "gene_symbol", "symbol", "ilmn_gene", "genesymbol")


class SeriesMatrix(NamedTuple):
    """What a series matrix says."""

    series: dict[str, str]  # title, platform_id, ...
    samples: pd.DataFrame  # one row per sample, index geo_accession
    expression: pd.DataFrame | None  # probes or genes x samples; None when the table is empty


def read_series_matrix(path: Path) -> SeriesMatrix:
    """Parse ``*_series_matrix.txt[.gz]``.

    Returns
    -------
    Characteristics become columns named by their key in small letters with ``_`` for spaces
    (``disease state: celiac`` is ``disease_state``); a key given twice joins its values by ``|``.

    Raises
    ------
    InputError
        If the file is no series matrix, is cut short, or its rows do not fit together.
    """
    data, _ = read_bytes(path)
    refuse_other_formats(data, path)
    text = data.decode("utf-8-sig", errors="replace")
    head, table = _split(text, TABLE, path)
    series: dict[str, str] = {}
    rows: list[tuple[str, list[str]]] = []
    for line in head.splitlines():
        key, *values = [cell.strip().strip('"').strip() for cell in line.split("\t")]
        if key.startswith("!Series_") and values:
            name = key.removeprefix("!Series_")
            series[name] = f"{series[name]} {values[0]}" if name in series else values[0]
        elif key.startswith("!Sample_"):
            rows.append((key.removeprefix("!Sample_"), values))
    samples = _samples(rows, path)
    expression = _table(table, path)
    if expression is not None:
        expression = expression.set_axis(expression.iloc[:, 0].astype(str), axis=0).iloc[:, 1:]
        expression.index.name = "ID_REF"
        unknown = [name for name in expression.columns if name not in samples.index]
        if unknown:
            raise InputError(
                f"{path} has {count(len(unknown), 'column')} of values without a sample, such as "
                f"{unknown[0]}. The file is inconsistent; download it again."
            )
    return SeriesMatrix(series, samples, expression)


def read_annotation(path: Path) -> pd.Series:
    """Gene symbol of each probe of a platform (``GPL*.annot[.gz]`` or a SOFT file).

    A probe that fits several genes (``A /// B``) or none is left out.
    """
    data, _ = read_bytes(path)
    refuse_other_formats(data, path)
    _, table = _split(data.decode("utf-8", errors="replace"), ANNOTATION, path)
    frame = pd.read_csv(io.StringIO(table), sep="\t", dtype=str, keep_default_na=False, quoting=3)
    by_name = {str(name).strip().lower(): name for name in frame.columns}
    column = next((by_name[name] for name in SYMBOL_COLUMNS if name in by_name), None)
    if column is None:
        raise InputError(
            f"{path} has no column of gene symbols; it has: {', '.join(map(str, frame.columns))}."
        )
    symbols = frame[column].str.strip().set_axis(frame.iloc[:, 0].str.strip())
    return symbols[(symbols != "") & ~symbols.str.contains("///", regex=False)]


def _split(text: str, markers: tuple[str, str], path: Path) -> tuple[str, str]:
    """The text before a table, and the table between its two markers."""
    begin, end = markers
    head, found, rest = text.partition(begin)
    if not found:
        raise InputError(f"{path} is not such a GEO file: it has no line {begin}.")
    table, found, _ = rest.partition(end)
    if not found:
        raise InputError(f"{path} is cut short: the line {end} is missing. Download it again.")
    return head, table.strip("\r\n")


def _table(table: str, path: Path) -> pd.DataFrame | None:
    """The values, or None when there is only a header."""
    if len(table.splitlines()) < 2:
        return None
    try:
        return pd.read_csv(
            io.StringIO(table),
            sep="\t",
            dtype={0: str},
            keep_default_na=False,
            na_values=MISSING,
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        raise InputError(f"The values of {path} cannot be read: {error}.") from error


def _samples(rows: list[tuple[str, list[str]]], path: Path) -> pd.DataFrame:
    """The sample sheet that the ``!Sample_`` rows hold."""
    accessions = next((values for name, values in rows if name == "geo_accession"), [])
    if not accessions:
        raise InputError(f"{path} names no samples: it has no line !Sample_geo_accession.")
    columns: dict[str, list[str]] = {}
    for name, values in rows:
        if len(values) != len(accessions):
            raise InputError(
                f"{path} is inconsistent: !Sample_{name} has {count(len(values), 'value')} for "
                f"{count(len(accessions), 'sample')}. Download it again."
            )
        channel = CHARACTERISTICS.fullmatch(name)
        if channel:
            _add_characteristics(columns, values, "" if channel[1] == "1" else f"_ch{channel[1]}")
        elif name in KEPT:
            for i, value in enumerate(values):
                _add(columns, name, i, value, len(values))
    frame = pd.DataFrame(columns, index=pd.Index(accessions, name="geo_accession"))
    return frame.drop(columns="geo_accession")


def _add_characteristics(columns: dict[str, list[str]], values: list[str], suffix: str) -> None:
    """File each ``key: value`` under its key; a value without a key under ``characteristics``."""
    for i, value in enumerate(values):
        key, colon, content = value.partition(":")
        name = re.sub(r"[^0-9a-z]+", "_", key.strip().lower()).strip("_") if colon else ""
        if value:
            _add(
                columns,
                (name or "characteristics") + suffix,
                i,
                content.strip() if name else value,
                len(values),
            )


def _add(columns: dict[str, list[str]], name: str, i: int, value: str, n: int) -> None:
    """Write one cell; a second value for the same sample is joined to the first."""
    column = columns.setdefault(name, [""] * n)
    if value and value not in column[i].split(" | "):
        column[i] = f"{column[i]} | {value}" if column[i] else value
