"""A CSR matrix in an ``.npz`` file of ``scipy.sparse.save_npz``, at the speed of the disk.

Such a file is a zip archive of arrays. Opening it reads the headers, the shape and where the rows
start; loading takes the arrays from where they lie in the file, values and columns at the same
time, where ``scipy.sparse.load_npz`` copies them in small pieces. Check sums are held against what
is compressed alone, since for the rest they would take as long as reading. Nothing is unpickled.
"""

import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.matrices import check_indices, check_pointers, single

CSR_PARTS = ("format", "shape", "data", "indptr", "indices")  # of a matrix that SciPy wrote
DAMAGED = (
    OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
PIECE = 2**16  # bytes of a compressed array that are unpacked at a time
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a file in a zip archive: its mark and two lengths


class StoredArray(NamedTuple):
    """Where an array lies in an ``.npz`` file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    n_header: int  # bytes before the values
    start: int  # of header and values in the file
    n_bytes: int  # of both in the file
    n_plain: int  # and unpacked
    packed: bool
    crc: int  # of the plain bytes


@dataclass(frozen=True, eq=False)
class StoredCSR:
    """A CSR matrix in an ``.npz`` file of ``scipy.sparse.save_npz``; its values stay there."""

    path: Path
    shape: tuple[int, int]
    data: StoredArray
    indices: StoredArray
    indptr: Int[np.ndarray, " n_rows_and_one"]

    @classmethod
    def open(cls, path: Path) -> "StoredCSR":
        """Read what is small: headers, shape, and where the rows start.

        Raises
        ------
        InputError
            If the file is damaged, or holds something else than a CSR matrix of numbers.
        """
        try:
            return cls._open(path)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except DAMAGED as error:
            raise InputError(_damaged(path, error)) from error

    @classmethod
    def _open(cls, path: Path) -> "StoredCSR":
        with zipfile.ZipFile(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist()]
            parts = {name: _find_array(archive, name) for name in held if name in CSR_PARTS}
        if "format" in parts:
            form = str(_read_array(path, parts["format"]).astype(str))
            if form != "csr":
                raise InputError(
                    f"its matrix is stored as {form.upper()}, but rows are read from CSR. Write it "
                    "again: m = scipy.sparse.load_npz(FILE).tocsr(); scipy.sparse.save_npz(FILE, m)"
                )
        missing = [name for name in CSR_PARTS if name not in parts]
        if missing:
            raise InputError(
                f"it is no sparse matrix: it has no {', '.join(missing)} (it holds "
                f"{', '.join(held) or 'nothing'}). Write the matrix with scipy.sparse.save_npz."
            )
        n_rows, n_columns = map(int, _read_array(path, parts["shape"]))
        data, indices, indptr = parts["data"], parts["indices"], parts["indptr"]
        if data.dtype.kind not in "biuf" or {indices.dtype.kind, indptr.dtype.kind} - {"i", "u"}:
            raise InputError(
                f"its values are of type {data.dtype} and its indices of type {indices.dtype}, "
                "where numbers and whole numbers are needed. Write it again as float32."
            )
        starts = _read_array(path, indptr).astype(np.int64)
        check_pointers(starts, n_rows, data.shape[0], indices.shape[0])
        return cls(path, (n_rows, n_columns), data, indices, starts)

    def load(self) -> sparse.csr_matrix:
        """The matrix in float32, its rows as they were stored: in any order, zeros kept.

        Raises
        ------
        InputError
            If the file is damaged, or has indices beyond its shape.
        """
        try:
            with ThreadPoolExecutor(1) as other:
                data = other.submit(lambda: single(_read_array(self.path, self.data)))
                indices = _read_array(self.path, self.indices)
                check_indices(indices, self.shape[1])
                return sparse.csr_matrix((data.result(), indices, self.indptr), shape=self.shape)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        except DAMAGED as error:
            raise InputError(_damaged(self.path, error)) from error


def _find_array(archive: zipfile.ZipFile, name: str) -> StoredArray:
    """Where an array lies; of the array itself only the header is read."""
    about = archive.getinfo(f"{name}.npy")
    if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{name} is compressed by another method than NumPy's. Write it again.")
    with archive.open(about) as file:
        version = np.lib.format.read_magic(file)
        reads = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = reads.get(version[0], reads[2])(file)
        n_header = file.tell()
    if dtype.hasobject:
        raise InputError(
            f"{name} is an array of objects, stored as a pickle, which could run any program when "
            "read. Write the matrix again with numbers."
        )
    if about.file_size != n_header + dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"{name} has another length than it says")
    raw = archive.fp
    assert raw is not None
    raw.seek(about.header_offset)
    _, n_name, n_extra = LOCAL_HEADER.unpack(raw.read(LOCAL_HEADER.size))
    start = about.header_offset + LOCAL_HEADER.size + n_name + n_extra
    if start + about.compress_size > raw.seek(0, 2):
        raise ValueError("the file ends too early")
    packed = about.compress_type == zipfile.ZIP_DEFLATED
    sizes = about.compress_size, about.file_size
    return StoredArray(dtype, shape, n_header, start, *sizes, packed, about.CRC)


def _read_array(path: Path, array: StoredArray) -> np.ndarray:
    """The values of an array, from a single place of the file."""
    n_values = int(np.prod(array.shape, dtype=object))
    if array.packed:
        values = _unpacked(path, array)[array.n_header :].view(array.dtype)
    else:
        start = array.start + array.n_header
        values = np.fromfile(path, array.dtype, n_values, offset=start)
    if len(values) != n_values:
        raise ValueError("the file ends too early")
    return values.reshape(array.shape)


def _unpacked(path: Path, array: StoredArray) -> np.ndarray:
    """The plain bytes of a compressed array, checked against their sum."""
    plain = np.empty(array.n_plain, dtype=np.uint8)
    unpack, filled, crc = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    with path.open("rb") as file:
        file.seek(array.start)
        for start in range(0, array.n_bytes, PIECE):
            packed = file.read(min(PIECE, array.n_bytes - start))
            piece = unpack.decompress(packed, len(plain) - filled + 1)
            if len(piece) > len(plain) - filled:
                raise ValueError("an array is longer than it says")
            plain[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled, crc = filled + len(piece), zlib.crc32(piece, crc)
    if filled < len(plain) or crc != array.crc:
        raise ValueError("the bytes of an array do not add up to its check sum")
    return plain


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is damaged or cut short: {str(error)[:120] or type(error).__name__}. Copy or "
        "write it again."
    )
