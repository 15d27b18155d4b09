"""Counts of spots or cells as the pipelines of 10x Genomics write them: HDF5 or mtx files."""

import gzip
import io
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from scipy import io as scipy_io
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.files import read_bytes
from synthome.ingestion.journal import Journal, count, some

EXPRESSION = "Gene Expression"  # other kinds of features (antibodies) are left out
UNREADABLE = (OSError, KeyError, ValueError, TypeError, EOFError)


class Matrix(NamedTuple):
    """Counts (n_obs, n_vars), and what their rows and columns are."""

    counts: sparse.csr_matrix
    barcodes: np.ndarray
    genes: pd.DataFrame  # columns id and symbol
    files: list[Path]


def read_matrix(path: Path, journal: Journal) -> Matrix:
    """Read ``filtered_feature_bc_matrix.h5``, or the folder of mtx files.

    Raises
    ------
    InputError
        If it is damaged, of another format, or holds no genes.
    """
    try:
        counts, barcodes, features, files = (_read_mtx if path.is_dir() else _read_h5)(path)
    except InputError:
        raise
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"{path} cannot be read as a matrix of Space Ranger: {reason}. It was probably cut "
            "short while copied; copy it again."
        ) from error
    counts, genes = _expression(counts, features, path, journal)
    if not genes["id"].is_unique:
        twice = genes["id"][genes["id"].duplicated()].iloc[0]
        raise InputError(f"{path} has the gene id {twice!r} twice. Copy it again.")
    return Matrix(counts, barcodes, genes, files)


def _read_h5(path: Path) -> tuple[sparse.csr_matrix, np.ndarray, pd.DataFrame, list[Path]]:
    """Counts (spots, features) of an HDF5 file of Cell Ranger 3 or later, whose columns are spots.

    Columns of (features, spots) are rows of (spots, features): nothing has to be turned.
    """
    with h5py.File(path, "r") as file:
        if "matrix" not in file:
            raise InputError(
                f"{path} has no group 'matrix' (it holds {some(sorted(file), 4) or 'nothing'}). "
                "Write it with Space Ranger 1.0 or later, or give the folder with mtx files."
            )
        matrix = file["matrix"]
        n_features, n_spots = map(int, matrix["shape"][:])
        counts = sparse.csr_matrix(
            (matrix["data"][:].astype(np.float32), matrix["indices"][:], matrix["indptr"][:]),
            shape=(n_spots, n_features),
        )
        features = {
            "id": _words(matrix["features/id"]),
            "symbol": _words(matrix["features/name"]),
            "kind": _words(matrix["features/feature_type"]),
        }
        barcodes = _words(matrix["barcodes"])
    counts.sort_indices()
    return counts, barcodes, pd.DataFrame(features), [path]


def _words(entry: Any) -> np.ndarray:
    """Text of an HDF5 file."""
    return np.array([word.decode() for word in entry[:]], dtype=object)


def _read_mtx(folder: Path) -> tuple[sparse.csr_matrix, np.ndarray, pd.DataFrame, list[Path]]:
    """Counts (spots, features) of ``matrix.mtx``, ``barcodes.tsv``, ``features.tsv``, or .gz."""
    paths = []
    for name in ("matrix.mtx", "barcodes.tsv", "features.tsv"):
        found = [p for p in (folder / f"{name}.gz", folder / name) if p.is_file()]
        if not found:
            held = some(sorted(path.name for path in folder.iterdir()), 6) or "nothing"
            raise InputError(f"{folder} has no {name}.gz; it holds {held}. Copy it again.")
        paths.append(found[0])
    opened = gzip.open if paths[0].suffix == ".gz" else open
    with opened(paths[0], "rb") as file:
        counts = sparse.csr_matrix(scipy_io.mmread(file).T, dtype=np.float32)
    barcodes, features = (_lines(path) for path in paths[1:])
    table = features.reindex(columns=range(3)).set_axis(["id", "symbol", "kind"], axis=1)
    table = table.assign(symbol=table["symbol"].fillna(table["id"]))
    table = table.assign(kind=table["kind"].fillna(EXPRESSION))
    sizes = (len(barcodes), len(table))
    if counts.shape != sizes:
        raise InputError(
            f"{folder}: {paths[0].name} is of {counts.shape[0]:,} barcodes and "
            f"{counts.shape[1]:,} features, but there are {sizes[0]:,} and {sizes[1]:,} in the "
            "lists beside it. Copy all three files again."
        )
    return counts, barcodes[0].to_numpy(dtype=object), table, paths


def _lines(path: Path) -> pd.DataFrame:
    """A list without a header, as text, columns between tabs."""
    data, _ = read_bytes(path)
    return pd.read_csv(io.BytesIO(data), sep="\t", header=None, dtype=str, keep_default_na=False)


def _expression(
    counts: sparse.csr_matrix, features: pd.DataFrame, path: Path, journal: Journal
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Genes alone; antibodies and other features are left out."""
    of_genes = (features["kind"] == EXPRESSION).to_numpy()
    if not of_genes.any():
        raise InputError(
            f"{path} has no features of the kind {EXPRESSION!r}, only "
            f"{some(sorted(set(features['kind'])))}. Give the matrix of the transcriptome."
        )
    if not of_genes.all():
        others = sorted(set(features["kind"][~of_genes]))
        told = f"{count(int((~of_genes).sum()), 'feature')} left out: {some(others)}"
        journal.step("features", told)
    genes = features.loc[of_genes, ["id", "symbol"]].reset_index(drop=True)
    return counts[:, np.flatnonzero(of_genes)], genes
