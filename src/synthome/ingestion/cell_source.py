"""Cells that are read block by block: from h5ad, zarr, chunks, or from an AnnData in memory.

A file may hold several matrices: ``X``, ``raw/X`` and ``layers/NAME``. ``CellSource`` knows where
each is and reads the rows of one of them, that with the raw counts. ``obs`` and ``var`` are small
and are read at once. Nothing is unpickled: zarr arrays that would need it are refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem
from jaxtyping import Int
from scipy import sparse

from synthome.anndata_schema import COUNTS, UNS, provenance
from synthome.errors import InputError
from synthome.ingestion.chunk_folder import ChunkFolder, ChunkRows, has_chunks
from synthome.ingestion.count_values import find_counts
from synthome.ingestion.files import digest_of, sha256_of
from synthome.ingestion.journal import some
from synthome.ingestion.matrices import RowMatrix, in_memory, row_blocks, stored

KEPT_FACTS = ("label_key", "group_key", "batch_key")  # what a file may say of itself
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Place:
    """One matrix of the source, and the genes of its columns."""

    matrix: RowMatrix
    var: pd.DataFrame


@dataclass(frozen=True, eq=False)
class CellSource:
    """Cells x genes, of which some rows are read at a time.

    Attributes
    ----------
    obs
        One row per cell.
    places
        Every matrix: ``X``, ``raw/X``, ``layers/NAME``.
    uns
        Provenance under ``synthome``: source, sha256, files; and the truth of simulated cells.
    chosen
        The matrix whose rows are counts; None looks for it when it is first needed.
    gene_of_column, names
        The gene of each column, when columns are merged; and the names of the genes.
    """

    obs: pd.DataFrame
    places: Mapping[str, Place]
    uns: Mapping[str, Any]
    chosen: str | None = None
    gene_of_column: Int[np.ndarray, " n_columns"] | None = None
    names: pd.Index | None = None

    @classmethod
    def of(cls, adata: AnnData) -> Self:
        """The cells of an AnnData in memory; its matrices are shared, never changed."""
        places = {
            f"layers/{name}": Place(in_memory(m), adata.var) for name, m in adata.layers.items()
        }
        if adata.X is not None:
            places["X"] = Place(in_memory(adata.X), adata.var)
        if adata.raw is not None:
            places["raw/X"] = Place(in_memory(adata.raw.X), adata.raw.var)
        uns: dict[str, Any] = {k: v for k, v in adata.uns.items() if k == "truth"}
        return cls(adata.obs, places, uns | {UNS: {"source": "cells"} | provenance(adata)})

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The cells of an ``.h5ad`` file, or of a folder, left where they are.

        The folder is a zarr store, or holds chunks: see ``chunk_folder``.

        Raises
        ------
        InputError
            If there is none, if it is cut short or damaged, or if it holds no matrix.
        """
        path = Path(path).expanduser().absolute()
        if not path.exists():
            raise InputError(
                f"{path} does not exist. Check the path; a relative one starts from the folder in "
                "which you type the command."
            )
        if path.is_dir() and has_chunks(path):
            return cls._of_chunks(ChunkFolder.open(path))
        try:
            root, files = _open_zarr(path) if path.is_dir() else _open_h5ad(path)
            obs = _frame(root, "obs")
            places = _places(root, len(obs))
            given = read_elem(root[f"uns/{UNS}"]) if f"uns/{UNS}" in root else {}
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except UNREADABLE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise InputError(
                f"{path} is not a readable AnnData file: {reason}. It was probably cut short while "
                "copied, or is no AnnData; copy or write it again."
            ) from error
        kept = [k for k in (*KEPT_FACTS, "field_keys") if k in given]  # the last is a list
        facts: dict[str, Any] = {k: np.asarray(given[k]).astype(str).tolist() for k in kept}
        facts |= {"source": path.stem, "files": files, "sha256": digest_of(files)}
        return cls(obs, places, {UNS: facts})

    @classmethod
    def _of_chunks(cls, folder: ChunkFolder) -> Self:
        places = {"X": Place(ChunkRows(folder.chunks), folder.var)}
        facts = {"source": folder.path.name, "sha256": folder.sha256}
        files = {folder.path.name: folder.sha256}
        return cls(folder.obs, places, {UNS: facts | {"files": files}})

    @property
    def n_obs(self) -> int:
        """Cells."""
        return len(self.obs)

    @property
    def n_vars(self) -> int:
        """Genes."""
        return len(self.var_names)

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.uns[UNS]["source"])

    @property
    def sha256(self) -> str:
        """Digest of the file, of all files of a folder, or as the AnnData says."""
        return str(self.uns[UNS].get("sha256", ""))

    @cached_property
    def found_in(self) -> str:
        """The matrix with the raw counts: ``X``, ``layers/counts``, ``raw/X``, ...

        Raises
        ------
        InputError
            If none holds counts; the message says what each looks like.
        """
        if self.chosen is not None:
            return self.chosen
        return find_counts({name: place.matrix for name, place in self.places.items()})[0]

    @property
    def var(self) -> pd.DataFrame:
        """One row per column of the matrix with the counts, before any merging."""
        return self.places[self.found_in].var

    @cached_property
    def var_names(self) -> pd.Index:
        """Name of each gene."""
        return self.var.index.astype(str) if self.names is None else self.names

    def at(self, place: str) -> "CellSource":
        """The same cells, read from that matrix."""
        return replace(self, chosen=place)

    def merged(
        self, gene_of_column: Int[np.ndarray, " n_columns"], names: pd.Index
    ) -> "CellSource":
        """The same cells with columns of the same gene summed."""
        return replace(self, chosen=self.found_in, gene_of_column=gene_of_column, names=names)

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Counts of some cells, float32."""
        try:
            block = self.places[self.found_in].matrix.rows(start, stop)
        except UNREADABLE as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.found_in} cannot be read between row {start:,} and {stop:,}: "
                f"{str(error)[:160]}. The file is damaged; copy or write it again."
            ) from error
        return block if self._to_gene is None else (block @ self._to_gene).tocsr()

    def blocks(self, n_rows: int | None = None) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """All cells in order: which rows, and their counts; by default blocks of some 64 MB."""
        for rows in row_blocks(self.places[self.found_in].matrix.shape, n_rows):
            yield rows, self.rows(rows.start, rows.stop)

    @cached_property
    def _to_gene(self) -> sparse.csr_matrix | None:
        """What sums columns of the same gene, (n_columns, n_genes); None when each is its own."""
        codes = self.gene_of_column
        if codes is None or len(codes) == self.n_vars:
            return None
        ones = np.ones(len(codes), dtype=np.float32)
        return sparse.csr_matrix((ones, (np.arange(len(codes)), codes)))


def _open_h5ad(path: Path) -> tuple[Any, dict[str, str]]:
    """The root group of an HDF5 file, and the digest of the file."""
    import h5py

    if path.stat().st_size == 0:
        raise InputError("it is empty (0 bytes). Copy it again.")
    return h5py.File(path, "r"), {path.name: sha256_of(path)}


def _open_zarr(path: Path) -> tuple[Any, dict[str, str]]:
    """The root group of a zarr store of format 2 or 3, and one digest for all its files."""
    import zarr

    files = sorted(file for file in path.rglob("*") if file.is_file())
    if not any(file.name in ("zarr.json", ".zgroup") for file in files):
        raise InputError(
            "this folder is no zarr store (it holds neither zarr.json nor .zgroup), nor does it "
            "hold chunks (NAME.npz, each with a table NAME.parquet, .csv or .pkl). Give an .h5ad "
            "file, the folder that write_zarr made, or one of chunks."
        )
    _refuse_pickles(files)
    root = zarr.open_group(path, mode="r")
    digests = {file.relative_to(path).as_posix(): sha256_of(file) for file in files}
    return root, {path.name: digest_of(digests)}


def _refuse_pickles(files: list[Path]) -> None:
    """Stop at an array whose codec would run code of its own when it is read."""
    for file in files:
        if file.name in (".zarray", ".zmetadata", "zarr.json"):
            for codec in _codecs(json.loads(file.read_text(encoding="utf-8"))):
                if "pickle" in codec:
                    raise InputError(
                        f"{file.parent.name} is stored as pickles, which could run any program "
                        "when read. Write the store again with anndata's write_zarr."
                    )


def _codecs(node: Any) -> Iterator[str]:
    """Names of all codecs in the metadata of a zarr store."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("id", "name") and isinstance(value, str):
                yield value.lower()
            else:
                yield from _codecs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _codecs(value)


def _frame(root: Any, key: str) -> pd.DataFrame:
    """``obs`` or ``var`` as a table."""
    if key not in root:
        raise InputError(f"it has no {key}; it holds {some(sorted(root), 10) or 'nothing'}.")
    frame = read_elem(root[key])
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"its {key} is no table. Write it again with anndata.")
    return frame.set_axis(frame.index.astype(str), axis=0)


def _places(root: Any, n_obs: int) -> dict[str, Place]:
    """Every matrix of a file with the genes of its columns."""
    var = _frame(root, "var")
    found: dict[str, Place] = {}
    layers = [f"layers/{name}" for name in root["layers"]] if "layers" in root else []
    for key in [f"layers/{COUNTS}", "X", "raw/X", *layers]:
        if key in found or key not in root:
            continue
        matrix = stored(root[key])
        if matrix is not None:
            genes = _frame(root["raw"], "var") if key == "raw/X" else var
            found[key] = Place(matrix, genes)
    if not found:
        raise InputError(
            "it holds no expression values: X is missing, and so are layers and raw (it has "
            f"{some(sorted(root), 10)}). Write it again with the raw counts in X."
        )
    for key, place in found.items():
        if place.matrix.shape != (n_obs, len(place.var)):
            raise InputError(
                f"{key} is {place.matrix.shape[0]:,} x {place.matrix.shape[1]:,}, but there are "
                f"{n_obs:,} cells in obs and {len(place.var):,} genes in var. Write it again."
            )
    return found
