"""Delimited text: encoding, separator, decimal sign and header, detected and told.

Column names are read apart from the cells, because a reader that renames a repeated gene to
``TBCE.1`` would hide that it is repeated.
"""

import csv
import io
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from synthome.errors import InputError
from synthome.ingestion.journal import count

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "#N/A", "NULL", "null", "None", "-nan")
LOOK_AHEAD = 12  # rows that the separator and the decimal sign are judged on
WIDE = 2000  # columns above which pandas is slower than reading row by row
COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*")
POINT_NUMBER = re.compile(r"\s*[-+]?\d*\.\d+([eE][-+]?\d+)?\s*")


def parse_delimited(data: bytes, path: Path, *, text: bool) -> tuple[pd.DataFrame, list[str]]:
    """Read delimited text; the first column is always text, since it may hold ids.

    Parameters
    ----------
    data
        Content of the file, decompressed.
    path
        Where it came from, for messages.
    text
        Leave every cell as text; else numbers become numbers.

    Returns
    -------
    The table with a plain row index, and what was detected, in words.
    """
    decoded, told = _decode(data)
    head = [
        (number, line)
        for number, line in enumerate(islice(io.StringIO(decoded, newline=None), 200))
        if line.strip() and not line.startswith("#")
    ][: LOOK_AHEAD + 1]
    if len(head) < 2:
        raise InputError(f"{path} holds a header at most, and no rows. Export it again.")
    separator = _separator(head, path)
    rows = [_fields(line, separator) for _, line in head]
    names = [name.strip() for name in rows[0]]
    if len(rows[1]) == len(names) + 1:  # as R's write.table writes: no name above the row names
        names = ["", *names]
    _refuse_cut_end(decoded, separator, len(names), path)

    tabs = path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt"))
    if separator != ("\t" if tabs else ","):
        told.append(f"{path.name} is separated by {SEPARATORS[separator]}")
    decimal = _decimal(rows[1:], separator, path)
    if decimal == ",":
        told.append(f"{path.name} writes decimals with a comma")
    skipped = head[0][0]
    if skipped:
        told.append(f"{path.name}: {count(skipped, 'comment line')} above the header skipped")

    frame = None
    if not text and len(names) > WIDE and decimal == ".":
        frame = _read_wide(decoded, separator, len(names), skipped + 1)
    if frame is None:
        frame = _read(decoded, path, separator, decimal, len(names), skipped + 1, text)
    frame.columns = pd.Index(names, dtype=object)
    return _without_empty_columns(frame, path, told), told


def _decode(data: bytes) -> tuple[str, list[str]]:
    """Text of a file: UTF-8, UTF-16 when marked as such, else Latin-1 with a note."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16"), ["the text is UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("latin-1"), ["the text is not UTF-8 and was read as Latin-1"]


def _fields(line: str, separator: str) -> list[str]:
    """The fields of one line, quotes respected; the whole line when it cannot be taken apart."""
    line = line.rstrip("\r\n")
    if '"' not in line and separator != " ":
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return [line]


def _separator(head: list[tuple[int, str]], path: Path) -> str:
    """The separator with which all first rows have as many fields as the header, or one more."""
    lines = [line for _, line in head]
    best, best_width, ragged = "", 1, ""
    for separator in SEPARATORS:
        if separator == " " and best:
            break
        widths = [len(_fields(line, separator)) for line in lines]
        fits = len(set(widths[1:])) == 1 and widths[1] in (widths[0], widths[0] + 1)
        if fits and widths[1] > best_width:
            best, best_width = separator, widths[1]
        elif not fits and widths[0] > 1 and separator != " " and not ragged:
            odd = next(i for i, width in enumerate(widths) if i and width != widths[0])
            ragged = (
                f"line {head[odd][0] + 1} has {count(widths[odd], 'field')} where the header has "
                f"{widths[0]:,} ({SEPARATORS[separator]} taken as separator)"
            )
    if best:
        return best
    reason = ragged or "no separator was found (tab, comma or semicolon), so it is one column"
    raise InputError(f"{path} cannot be read as a table: {reason}. Correct or export it again.")


def _refuse_cut_end(decoded: str, separator: str, width: int, path: Path) -> None:
    """Stop when the last row is shorter than the header: the file was cut short."""
    last = decoded.rstrip("\r\n")
    last = last[last.rfind("\n") + 1 :]
    fields = len(_fields(last, separator))
    if fields < width and last.count('"') % 2 == 0:
        raise InputError(
            f"{path} ends in a row of {count(fields, 'field')} where the header has {width:,}: the "
            "file was probably cut short. Copy or export it again."
        )


def _decimal(rows: list[list[str]], separator: str, path: Path) -> str:
    """The decimal sign, judged from the first rows."""
    cells = [cell for row in rows for cell in row[1:WIDE]]
    commas = any(COMMA_NUMBER.fullmatch(cell) for cell in cells)
    points = any(POINT_NUMBER.fullmatch(cell) for cell in cells)
    if commas and (points or separator == ","):
        raise InputError(
            f"{path} writes numbers with a comma inside, and it is not clear whether the comma is "
            "the decimal sign or stands between thousands. Export it again with a decimal point "
            "and no thousands separator, or with semicolons between the columns."
        )
    return "," if commas else "."


def _read(
    decoded: str,
    path: Path,
    separator: str,
    decimal: str,
    width: int,
    skip: int,
    text: bool,
) -> pd.DataFrame:
    """The cells, by pandas; a line that is too long is an error with its number."""
    try:
        return pd.read_csv(
            io.StringIO(decoded),
            sep=separator,
            header=None,
            names=range(width),
            skiprows=skip,
            decimal=decimal,
            dtype=str if text else {0: str},
            keep_default_na=False,
            na_values=[] if text else {i: list(MISSING) for i in range(1, width)},
            low_memory=False,
            skipinitialspace=True,
            float_precision="round_trip",  # pandas is otherwise off in the last digit
        )
    except (pd.errors.ParserError, csv.Error) as error:
        place = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        reason = (
            f"line {int(place[2])} has {place[3]} fields where the header has {place[1]}"
            if place
            else str(error).removeprefix("Error tokenizing data. C error: ")
        )
        raise InputError(
            f"{path} cannot be read as a table: {reason}. Look for a separator inside a cell, or "
            "a quote that is not closed; correct it or export the table again."
        ) from error


def _read_wide(decoded: str, separator: str, width: int, skip: int) -> pd.DataFrame | None:
    """Cells of a table with many columns, all numbers but the first; None when they are not."""
    lines = islice(io.StringIO(decoded, newline=None), skip, None)
    ids, values = [], []
    for row in csv.reader(lines, delimiter=separator, skipinitialspace=True):
        if not row:
            continue
        if len(row) != width:
            return None
        try:
            values.append(np.array(row[1:], dtype=np.float64))
        except ValueError:
            return None
        ids.append(row[0])
    frame = pd.DataFrame(np.vstack(values), columns=range(1, width))
    return pd.concat([pd.Series(ids, name=0, dtype=object), frame], axis=1)


def _without_empty_columns(frame: pd.DataFrame, path: Path, told: list[str]) -> pd.DataFrame:
    """Leave out columns without a name and without a value: the mark of a trailing separator."""
    empty = {
        i
        for i, name in enumerate(frame.columns)
        if not name and i and (frame.iloc[:, i].isna() | (frame.iloc[:, i] == "")).all()
    }
    if not empty:
        return frame
    told.append(f"{path.name}: {count(len(empty), 'empty column')} without a name left out")
    return frame.iloc[:, [i for i in range(frame.shape[1]) if i not in empty]]
