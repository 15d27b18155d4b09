"""The tables of a chunk folder: those of cells put below each other, and that of genes.

The types of the columns may differ from chunk to chunk, as they do where each was written from what
it holds: numbers stay numbers where all chunks have them; a categorical column has the categories
of all chunks; text that repeats becomes categorical.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import infer_dtype, union_categoricals

from synthome.errors import InputError
from synthome.ingestion.files import read_bytes, read_table
from synthome.ingestion.gene_sets import GENE_COLUMNS, HEADERS, ID_COLUMNS
from synthome.ingestion.journal import count, some
from synthome.ingestion.safe_pickle import read_pickled_frame
from synthome.ingestion.sheet import as_text

PICKLES = (".pkl", ".pickle")
UNNAMED = ("", "Unnamed: 0", "__index_level_0__")
GENE_HEADERS = HEADERS | {"0", "x", "index", "feature_id", "gene_ids"}


def _read_frame(path: Path) -> pd.DataFrame:
    """A table, its first column as the index where it has no name."""
    pickled = path.suffix.lower() in PICKLES
    frame = read_pickled_frame(path) if pickled else read_table(path).frame
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if frame.shape[1] and frame.columns[0] in UNNAMED:
        frame = frame.set_index(frame.columns[0])
    return frame


def read_obs(path: Path, matrix: Path, n_obs: int) -> pd.DataFrame:
    """The table of a chunk, which must have a row for each row of its matrix."""
    frame = _read_frame(path)
    if len(frame) != n_obs:
        raise InputError(
            f"{path.parent}: {matrix.name} has {count(n_obs, 'row')}, but {path.name} has "
            f"{len(frame):,}. Row i of both must be the same cell: write the pair again."
        )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{path} has the column {twice[0]!r} twice. Rename one of them.")
    return frame


def same_columns(paths: Sequence[Path], frames: Sequence[pd.DataFrame]) -> None:
    """Stop at a table with other columns than the first; their order is free."""
    first = frames[0].columns
    for path, frame in zip(paths, frames, strict=True):
        lacks, more = first.difference(frame.columns), frame.columns.difference(first)
        differs = [f"lacks {some(lacks)}"] * bool(len(lacks)) + [f"has {some(more)}"] * bool(
            len(more)
        )
        if differs:
            raise InputError(
                f"{path} has other columns than {paths[0].name}: it {' and '.join(differs)}. Write "
                "all tables with the same columns."
            )


def joined(frames: Sequence[pd.DataFrame], chunks: Sequence[str]) -> pd.DataFrame:
    """The tables of all chunks below each other.

    Where the same name stands twice, as row numbers do, the name of its chunk is put before each.
    """
    names = [frame.index.astype(str).astype(object) for frame in frames]
    index = names[0].append(names[1:])
    if not index.is_unique and len(frames) > 1:
        names = [f"{chunk}:" + own for chunk, own in zip(chunks, names, strict=True)]
        index = names[0].append(names[1:])
    columns = {
        name: _joined_column([frame[name] for frame in frames]) for name in frames[0].columns
    }
    obs = pd.DataFrame(columns, index=pd.RangeIndex(len(index)))
    return obs.set_axis(index.rename(None), axis=0)


def _joined_column(parts: list[pd.Series]) -> pd.Series:
    """One column of all chunks; numbers where all are, else categories, or text of many values."""
    parts = [part for part in parts if len(part)] or parts[:1]
    if not any(_is_text(part) for part in parts):
        joined = pd.concat(parts, ignore_index=True)
        if joined.dtype != object:
            return joined
    coded = [_categorical(part) for part in parts]
    if len({values.categories.dtype for values in coded}) > 1:
        coded = [pd.Categorical(as_text(pd.Series(values))) for values in coded]
    same = all(values.dtype == coded[0].dtype for values in coded)
    unified = union_categoricals(coded, ignore_order=not same, sort_categories=not same)
    given = all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts)
    repeats = 2 * len(unified.categories) <= len(unified)
    return pd.Series(unified if given or repeats else unified.astype(object))


def _is_text(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype | pd.StringDtype) or values.dtype == object


def _categorical(values: pd.Series) -> pd.Categorical:
    """Categories that are plain text, or numbers where they were given as such."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        kind = infer_dtype(values.cat.categories)
        if kind == "string":
            return values.cat.rename_categories(values.cat.categories.astype(object)).array
        if kind in ("integer", "floating", "boolean"):
            return values.array
    elif infer_dtype(values, skipna=True) in ("string", "empty"):
        return pd.Categorical(values.astype(object))
    return pd.Categorical(as_text(values))


def read_genes(path: Path | None, n_vars: int) -> pd.DataFrame:
    """One row per gene, under its name."""
    if path is None:
        return pd.DataFrame(index=pd.Index([f"gene_{j:05d}" for j in range(n_vars)]))
    var = _listed_genes(path, n_vars)
    if var is None:
        var = _by_name(_read_frame(path))
    if len(var) != n_vars:
        raise InputError(
            f"{path} names {count(len(var), 'gene')}, but the chunks beside it have {n_vars:,}. It "
            "needs one row per column, in their order; a table needs a header as well."
        )
    return var.set_axis(pd.Index(var.index.astype(str), name=None), axis=0)


def _listed_genes(path: Path, n_vars: int) -> pd.DataFrame | None:
    """One name per line, with or without a header; None for a table of several columns."""
    if path.name.lower().endswith((".parquet", *PICKLES)):
        return None
    text = read_bytes(path)[0].decode("utf-8-sig", errors="replace")
    lines = [line.strip().strip('"') for line in text.splitlines() if line.strip()]
    if any(sign in line for line in lines[:12] for sign in "\t,;"):
        return None
    headed = len(lines) == n_vars + 1 and lines[0].lower() in GENE_HEADERS
    return pd.DataFrame(index=pd.Index(lines[headed:]))


def _by_name(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of genes under the names that its index gives, or else the best column."""
    if not (frame.index.astype(str) == [str(i) for i in range(len(frame))]).all():
        return frame
    known = {str(name).lower(): name for name in frame.columns[::-1]}
    best = (known[name] for name in (*GENE_COLUMNS, *ID_COLUMNS, "feature_id") if name in known)
    return frame.set_index(next(best, frame.columns[0]))
