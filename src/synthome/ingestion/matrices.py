"""Matrices that are read some rows at a time, wherever they lie: HDF5, zarr, memory.

An AnnData file holds a matrix dense, by rows (CSR) or by columns (CSC). Rows of the first two are
read where they stand. Those of a CSC matrix are scattered over the whole file, so that it is turned
into CSR when its rows are first asked for: in memory when it is small, else through temporary files
of 8 bytes for each non-zero value, with ``CHUNK`` values in memory at a time. That is two readings
of the file and as many sweeps over the temporary ones as the matrix has chunks, each time the file
is opened; a large file that is used often is better written by rows.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from scipy import sparse

from synthome.errors import InputError

CHUNK = 2**24  # non-zero values of a CSC matrix that are turned at a time
BLOCK_CELLS = 2**26  # cells of the table, zeros included, that a block of rows spans by default
MOST_ROWS = 2**14


@runtime_checkable
class RowMatrix(Protocol):
    """A matrix whose rows can be read in order, or any stretch of them."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Some rows, as float32."""
        ...


@dataclass(frozen=True, eq=False)
class DenseRows:
    """A dense array: of HDF5, zarr or NumPy."""

    values: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        n_rows, n_columns = self.values.shape
        return int(n_rows), int(n_columns)

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Some rows, as float32."""
        return sparse.csr_matrix(single(self.values[start:stop]))


@dataclass(frozen=True, eq=False)
class CompressedRows:
    """A CSR matrix, its values and indices on disk or in memory."""

    shape: tuple[int, int]
    data: Any
    indices: Any
    indptr: Int[np.ndarray, " n_rows_and_one"]

    def __post_init__(self) -> None:
        check_pointers(self.indptr, self.shape[0], self.data.shape[0], self.indices.shape[0])

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Some rows, as float32, the columns of each in order."""
        low, high = int(self.indptr[start]), int(self.indptr[stop])
        indices = np.asarray(self.indices[low:high])
        check_indices(indices, self.shape[1])
        block = sparse.csr_matrix(
            (single(self.data[low:high]), indices, self.indptr[start : stop + 1] - low),
            shape=(stop - start, self.shape[1]),
        )
        return canonical(block)


@dataclass(frozen=True, eq=False)
class CompressedColumns:
    """A CSC matrix, turned into rows when they are first asked for."""

    shape: tuple[int, int]
    data: Any
    indices: Any
    indptr: Int[np.ndarray, " n_columns_and_one"]

    def __post_init__(self) -> None:
        check_pointers(self.indptr, self.shape[1], self.data.shape[0], self.indices.shape[0])

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Some rows, as float32."""
        return self._by_rows.rows(start, stop)

    @cached_property
    def _by_rows(self) -> CompressedRows:
        n_values = int(self.indptr[-1])
        if n_values <= CHUNK:
            turned = next(self._turned_chunks(), sparse.csr_matrix(self.shape, dtype=np.float32))
            return CompressedRows(
                self.shape, turned.data, turned.indices, turned.indptr.astype(np.int64)
            )
        per_row = np.zeros(self.shape[0], dtype=np.int64)
        for low in range(0, n_values, CHUNK):
            indices = np.asarray(self.indices[low : low + CHUNK])
            check_indices(indices, self.shape[0])
            per_row += np.bincount(indices, minlength=self.shape[0])
        indptr = np.concatenate([[0], np.cumsum(per_row)])
        data, columns = _on_disk(n_values, np.float32), _on_disk(n_values, np.int32)
        filled = indptr[:-1].copy()  # where the next value of each row goes
        for chunk in self._turned_chunks():
            n_new = np.diff(chunk.indptr)
            place = np.repeat(filled - chunk.indptr[:-1], n_new) + np.arange(chunk.nnz)
            data[place], columns[place] = chunk.data, chunk.indices
            filled += n_new
        return CompressedRows(self.shape, data, columns, indptr)

    def _turned_chunks(self) -> Iterator[sparse.csr_matrix]:
        """Stretches of columns as CSR matrices of the full shape, of about ``CHUNK`` values."""
        n_columns = self.shape[1]
        start = 0
        while start < n_columns and self.indptr[start] < self.indptr[-1]:
            most = self.indptr[start] + CHUNK
            stop = max(int(np.searchsorted(self.indptr, most, side="right")) - 1, start + 1)
            low, high = int(self.indptr[start]), int(self.indptr[stop])
            indices = np.asarray(self.indices[low:high])
            check_indices(indices, self.shape[0])
            columns = np.repeat(np.arange(start, stop), np.diff(self.indptr[start : stop + 1]))
            yield sparse.coo_matrix(
                (single(self.data[low:high]), (indices, columns)), shape=self.shape
            ).tocsr()
            start = stop


def in_memory(matrix: Any) -> RowMatrix:
    """The rows of a SciPy matrix or a NumPy array."""
    if not sparse.issparse(matrix):
        return DenseRows(matrix)
    kind = CompressedColumns if matrix.format == "csc" else CompressedRows
    if matrix.format not in ("csr", "csc"):
        matrix = matrix.tocsr()
    shape = (int(matrix.shape[0]), int(matrix.shape[1]))
    return kind(shape, matrix.data, matrix.indices, np.asarray(matrix.indptr, dtype=np.int64))


def stored(element: Any) -> RowMatrix | None:
    """The rows of an element of an AnnData file, HDF5 or zarr; None when it is no matrix."""
    encoding = str(element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", "")))
    if getattr(element, "shape", None) is not None:
        return DenseRows(element) if len(element.shape) == 2 else None
    kind = next((k for k in ("csr", "csc") if encoding.startswith(k)), None)
    if kind is None:
        return None
    _check_chunks(element["data"])
    shape = element.attrs["shape"] if "shape" in element.attrs else element.attrs["h5sparse_shape"]
    return (CompressedRows if kind == "csr" else CompressedColumns)(
        (int(shape[0]), int(shape[1])),
        element["data"],
        element["indices"],
        np.asarray(element["indptr"][:], dtype=np.int64),
    )


def row_blocks(shape: tuple[int, int], n_rows: int | None = None) -> Iterator[slice]:
    """Stretches of ``n_rows`` rows; by default as many as span ``BLOCK_CELLS`` cells."""
    if n_rows is None:
        n_rows = min(max(BLOCK_CELLS // max(shape[1], 1), 1), MOST_ROWS)
    for start in range(0, shape[0], n_rows):
        yield slice(start, min(start + n_rows, shape[0]))


def canonical(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """The same rows with columns in order, each once, and no zeros stored; the input is kept."""
    if not block.has_canonical_format:
        block = block.copy()
        block.sum_duplicates()
    if not block.data.all():
        block = block.copy()
        block.eliminate_zeros()
    return block


def single(values: Any) -> np.ndarray:
    """Values as float32; what is too large becomes infinite, which later checks refuse."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32, copy=False)


def _on_disk(n: int, dtype: type) -> np.ndarray:
    """An array in a temporary file that vanishes with it.

    Raises
    ------
    InputError
        If the file would not fit, for writing beyond the end of a disk kills the process.
    """
    n_bytes, folder = n * np.dtype(dtype).itemsize, tempfile.gettempdir()
    if n_bytes > shutil.disk_usage(folder).free:
        raise InputError(
            f"A matrix by columns (CSC) is turned through a temporary file of {n_bytes / 1e9:,.1f} "
            f"GB, which {folder} has no room for. Name another folder with the variable TMPDIR, or "
            "store the matrix by rows (CSR)."
        )
    with tempfile.TemporaryFile(prefix="synthome-") as file:
        return np.memmap(file, dtype=dtype, shape=(n,), mode="w+")


def _check_chunks(data: Any) -> None:
    """Stop at zarr values of which chunks are missing, for they would be read as zeros."""
    if getattr(data, "nchunks_initialized", 1) < getattr(data, "nchunks", 1):
        raise InputError(
            f"{data.nchunks - data.nchunks_initialized:,} of the {data.nchunks:,} chunks of "
            f"{data.name.strip('/')} are missing. The folder was copied in part; copy it again."
        )


def check_pointers(indptr: np.ndarray, n_lines: int, n_data: int, n_indices: int) -> None:
    """Stop at a sparse matrix whose parts do not fit together."""
    fits = len(indptr) == n_lines + 1 and indptr[0] == 0 and indptr.min() >= 0
    fits = fits and (np.diff(indptr) >= 0).all()
    if not fits or not indptr[-1] == n_data == n_indices:
        raise InputError(
            "A sparse matrix is damaged: its indptr does not fit its data. Write the file again "
            "from the program it comes from."
        )


def check_indices(indices: np.ndarray, n_lines: int) -> None:
    """Stop at indices beyond the shape, which would read foreign memory."""
    unsigned = indices.view(indices.dtype.str.replace("i", "u"))  # so that -1 is large: one pass
    if unsigned.dtype.kind != "u" or (indices.size and unsigned.max() >= n_lines):
        raise InputError(
            "A sparse matrix is damaged: some of its indices lie beyond its shape. Write the file "
            "again from the program it comes from."
        )
