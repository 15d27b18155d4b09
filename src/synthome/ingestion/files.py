"""One table on disk: found, checked, and read with what was detected told in words.

The format is taken from the content and not from the name alone, since people rename files:
a ``.csv`` with tabs or semicolons works, a ``.gz`` that is not gzip is refused with a reason.
"""

import gzip
import hashlib
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from synthome.errors import InputError
from synthome.ingestion.delimited import WIDE, parse_delimited
from synthome.ingestion.journal import some

FORMATS = (".parquet", ".csv", ".tsv", ".txt")
GZIP, PARQUET, ZIP = b"\x1f\x8b", b"PAR1", b"PK\x03\x04"


class Table(NamedTuple):
    """A table as read: text cells when asked for, and what was detected on the way."""

    frame: pd.DataFrame
    path: Path
    told: list[str]


def existing_folder(folder: str | Path, asked_by: str = "cohort_dir (or external_dir)") -> Path:
    """``folder`` as an absolute path, or an error that says what is wrong with it.

    ``asked_by`` names the parameter that the person gave.
    """
    path = Path(folder).expanduser().absolute()
    if not path.exists():
        near = path.parent
        while not near.exists():
            near = near.parent
        raise InputError(
            f"The folder {path} does not exist ({near} does). Check {asked_by}; a relative "
            "path starts from the folder in which you type the command."
        )
    if not path.is_dir():
        raise InputError(f"{path} is a file; give the folder that holds it.")
    return path


def find_table(folder: Path, stem: str) -> Path:
    """The one file ``stem.{parquet,csv,tsv,txt}[.gz]`` in ``folder``, whatever the case.

    Raises
    ------
    InputError
        If there is none (the message lists what the folder holds), or more than one.
    """
    names = {f"{stem}{suffix}{gz}" for suffix in FORMATS for gz in ("", ".gz")}
    found = sorted(path for path in folder.iterdir() if path.name.lower() in names)
    if len(found) > 1:
        raise InputError(
            f"{folder} holds {some([path.name for path in found])}: which is meant? Keep one of "
            "them there."
        )
    if found:
        return found[0]
    present = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    workbook = next((n for n in present if Path(n).suffix.lower() in (".xlsx", ".xls")), None)
    hint = f" Save {workbook} as CSV first." if workbook else ""
    raise InputError(
        f"{folder} holds no {stem} table. It needs {stem}.parquet, {stem}.csv or {stem}.tsv (the "
        f"latter two also with .gz); it has {some(present, 6) or 'no files at all'}.{hint}"
    )


def read_table(path: Path, *, text: bool = False) -> Table:
    """Read Parquet or delimited text, compressed or not.

    Parameters
    ----------
    path
        The file.
    text
        Leave each cell as the text that stands in the file (sample sheets, whose ids may have
        leading zeros). Parquet keeps its own types either way.

    Raises
    ------
    InputError
        If the file is missing, empty, cut short, not what its name says, or ragged.
    """
    data, told = read_bytes(path)
    refuse_other_formats(data, path)
    if data.startswith(PARQUET) or ".parquet" in path.name.lower():
        return Table(_parse_parquet(data, path), path, told)
    frame, detected = parse_delimited(data, path, text=text)
    return Table(frame, path, told + detected)


def read_bytes(path: Path) -> tuple[bytes, list[str]]:
    """The content of ``path``, decompressed; and a note when the name says otherwise."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Check the path, or create the file.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if not data:
        raise InputError(f"{path} is empty (0 bytes). Copy or export it again.")
    named_gzip = path.suffix.lower() == ".gz"
    if not data.startswith(GZIP):
        if named_gzip:
            raise InputError(
                f"{path} is called .gz, but its content is not gzip (it starts with "
                f"{_first_signs(data)}). Rename it to {path.name[:-3]} if it is plain, or "
                "download it again."
            )
        return data, []
    told = [] if named_gzip else [f"{path.name} is gzip in spite of its name, and was unpacked"]
    return unpack(data, path), told


def unpack(data: bytes, path: Path) -> bytes:
    """Decompress gzip ``data``; a file cut short or damaged is an error that says which."""
    try:
        plain = gzip.decompress(data)
    except EOFError as error:
        raise InputError(
            f"{path} is cut short: the gzip data end too early (after {len(data):,} bytes). Copy "
            f"or download it again, and check it with: gzip -t {path.name}"
        ) from error
    except (OSError, zlib.error) as error:
        raise InputError(
            f"{path} is damaged: gzip says '{error}'. Copy or download it again, and check it "
            f"with: gzip -t {path.name}"
        ) from error
    if not plain.strip():
        raise InputError(f"{path} is empty inside. Export and compress it again.")
    return plain


def refuse_other_formats(data: bytes, path: Path) -> None:
    """Stop at a workbook, an archive or a web page that carries the name of a table."""
    head = data[:256].lstrip().lower()
    if data.startswith(ZIP):
        what = "a zip archive or an Excel workbook; save the sheet as CSV"
    elif data.startswith(b"\xd0\xcf\x11\xe0"):
        what = "an old Excel workbook; save the sheet as CSV"
    elif head.startswith((b"<!doctype", b"<html", b"<?xml")):
        what = "a web page, probably an error or log-in page; download the table itself"
    else:
        return
    raise InputError(f"{path} is not a table but {what}.")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(files: dict[str, str]) -> str:
    """One SHA-256 for several files: of the file itself, or of the sorted lines ``sha  name``."""
    if len(files) == 1:
        return next(iter(files.values()))
    lines = "".join(f"{sha}  {name}\n" for name, sha in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _parse_parquet(data: bytes, path: Path) -> pd.DataFrame:
    """A Parquet file, its stored index restored."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:  # one thread and no buffering: twice as quick for tens of thousands of short columns
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        frame = file.read(use_threads=file.metadata.num_columns < WIDE).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip()[:120]
        raise InputError(
            f"{path} is not a readable Parquet file: {reason}. It was probably cut short while "
            "copied; copy or export it again."
        ) from error
    if frame.empty:
        raise InputError(f"{path} holds no rows or no columns. Export it again.")
    return frame


def _first_signs(data: bytes) -> str:
    """The beginning of a file, printable, without its content being given away."""
    return repr(data[:4].decode("latin-1"))
