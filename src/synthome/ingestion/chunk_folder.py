"""A folder of chunks: CSR matrices of single cells, each beside a table of its rows.

Row i of ``NAME.npz``, a matrix of ``scipy.sparse.save_npz``, is described by row i of the table
``NAME``, ``NAME_metadata``, ``NAME.metadata`` or ``NAME_obs``: Parquet, CSV, or a pickled
DataFrame, which is read by ``safe_pickle``. One file ``genes`` or ``var`` may name the columns.

Opening reads tables and headers, so that whatever does not fit is told before training starts; the
counts are read chunk by chunk.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.chunk_tables import PICKLES, joined, read_genes, read_obs, same_columns
from synthome.ingestion.csr_file import StoredCSR
from synthome.ingestion.files import digest_of, existing_folder, sha256_of
from synthome.ingestion.journal import count, some
from synthome.ingestion.matrices import canonical

TABLES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz", *PICKLES)
GENE_FILES = ("genes", "var", "features", "gene_names")
BEHIND = re.compile(r"[._-](metadata|meta|obs)$", re.IGNORECASE)  # the name of a chunk


@dataclass(frozen=True)
class Chunk:
    """A matrix of some cells, and the table of its rows.

    Attributes
    ----------
    n_obs, n_vars
        Cells and genes.
    start
        Place of its first cell among those of the folder.
    """

    path: Path
    metadata_path: Path
    n_obs: int
    n_vars: int
    start: int

    def load(self) -> sparse.csr_matrix:
        """The counts, float32, as they were stored: see ``csr_file.StoredCSR.load``."""
        stored = StoredCSR.open(self.path)
        if stored.shape != (self.n_obs, self.n_vars):
            raise InputError(
                f"{self.path} is {stored.shape[0]:,} x {stored.shape[1]:,}, and was {self.n_obs:,} "
                f"x {self.n_vars:,} when its folder was opened. Run again."
            )
        return stored.load()


@dataclass(frozen=True, eq=False)
class ChunkRows:
    """The chunks as one matrix; of their counts, those of the chunk read last are kept."""

    chunks: tuple[Chunk, ...]
    _held: dict[int, sparse.csr_matrix] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return sum(chunk.n_obs for chunk in self.chunks), self.chunks[0].n_vars

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Some rows, as float32, the columns of each in order."""
        pieces = [sparse.csr_matrix((0, self.shape[1]), dtype=np.float32)]
        for chunk in self.chunks:
            low, high = max(start - chunk.start, 0), min(stop - chunk.start, chunk.n_obs)
            if low < high:
                pieces.append(self._loaded(chunk)[low:high])
        return canonical(pieces[1] if len(pieces) == 2 else sparse.vstack(pieces, format="csr"))

    def _loaded(self, chunk: Chunk) -> sparse.csr_matrix:
        if chunk.start not in self._held:
            self._held.clear()  # first, so that two are never held
            self._held[chunk.start] = chunk.load()
        return self._held[chunk.start]


@dataclass(frozen=True, eq=False)
class ChunkFolder:
    """All chunks of a folder in the order of their names: 2 comes before 10.

    Attributes
    ----------
    obs
        One row per cell of all chunks; text that repeats is categorical, with the same categories
        in all of them.
    var
        One row per gene; ``gene_00000`` and on where no file names them.
    genes_path
        The file that names them.
    """

    path: Path
    chunks: tuple[Chunk, ...]
    obs: pd.DataFrame
    var: pd.DataFrame
    genes_path: Path | None = None

    @classmethod
    def open(cls, path: str | Path) -> "ChunkFolder":
        """Read tables and headers, and hold them against each other.

        Raises
        ------
        InputError
            At the first thing that does not fit; the message names the pair of files.
        """
        folder = existing_folder(path, "the path")
        pairs, genes_path = _pairs(folder)
        chunks: list[Chunk] = []
        for matrix, table in pairs:
            n_obs, n_vars = StoredCSR.open(matrix).shape
            start = chunks[-1].start + chunks[-1].n_obs if chunks else 0
            chunks.append(Chunk(matrix, table, n_obs, n_vars, start))
            if n_vars != chunks[0].n_vars:
                raise InputError(
                    f"{folder}: {matrix.name} has {count(n_vars, 'gene')}, but {pairs[0][0].name} "
                    f"has {chunks[0].n_vars:,}. Write all chunks with the same genes."
                )
        frames = [read_obs(chunk.metadata_path, chunk.path, chunk.n_obs) for chunk in chunks]
        same_columns([chunk.metadata_path for chunk in chunks], frames)
        obs = joined(frames, [chunk.path.stem for chunk in chunks])
        return cls(folder, tuple(chunks), obs, read_genes(genes_path, chunks[0].n_vars), genes_path)

    @property
    def n_obs(self) -> int:
        """Cells."""
        return len(self.obs)

    @property
    def n_vars(self) -> int:
        """Genes."""
        return len(self.var)

    @cached_property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file by its name; every file is read for it."""
        paths = [p for chunk in self.chunks for p in (chunk.path, chunk.metadata_path)]
        return {p.name: sha256_of(p) for p in [*paths, *filter(None, [self.genes_path])]}

    @property
    def sha256(self) -> str:
        """One digest for all files."""
        return digest_of(self.files)


def has_chunks(folder: Path) -> bool:
    """Whether a folder holds any ``.npz`` file."""
    return any(_is_matrix(path) for path in folder.iterdir())


def _is_matrix(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts the numbers in names as numbers."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name.lower())]


def _pairs(folder: Path) -> tuple[list[tuple[Path, Path]], Path | None]:
    """Each matrix with its table, and the file of genes."""
    present = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    matrices = sorted(filter(_is_matrix, present), key=lambda path: _natural(path.name))
    if not matrices:
        held = some([path.name for path in present], 6) or "no files at all"
        raise InputError(
            f"{folder} holds no chunks. It needs matrices NAME.npz (scipy.sparse.save_npz), each "
            f"with a table of its cells NAME.parquet, NAME.csv or NAME.pkl; it has {held}."
        )
    stems = {path.stem for path in matrices}
    tables: dict[str, list[Path]] = {stem: [] for stem in stems}
    genes: list[Path] = []
    for path in present:
        name = _without_suffix(path)
        owner = name if name in stems else BEHIND.sub("", name)
        if owner not in stems and path.suffix != ".npz" and name.lower() in GENE_FILES:
            genes.append(path)
        elif path.name.lower().endswith(TABLES):
            tables.setdefault(owner, []).append(path)
    for matrix in matrices:
        found = [path.name for path in tables[matrix.stem]]
        if not found:
            raise InputError(
                f"{folder}: {matrix.name} has no table of its cells. Put {matrix.stem}.parquet, "
                f".csv or .pkl (or {matrix.stem}_metadata.*) beside it, with one row per cell."
            )
        if len(found) > 1:
            raise InputError(
                f"{folder}: {matrix.name} has {len(found)} tables of its cells, {some(found)}: "
                "which is meant? Keep one of them there."
            )
    alone = sorted((path.name, owner) for owner in set(tables) - stems for path in tables[owner])
    if alone:
        raise InputError(
            f"{folder}: {some([name for name, _ in alone])} without its matrix: {alone[0][1]}.npz "
            "is missing. Copy it there, or move a table that belongs to no matrix elsewhere."
        )
    if len(genes) > 1:
        raise InputError(
            f"{folder} holds {some([path.name for path in genes])}: which names the genes? Keep "
            "one of them there."
        )
    return [(path, tables[path.stem][0]) for path in matrices], next(iter(genes), None)


def _without_suffix(path: Path) -> str:
    name = path.name
    known = (*TABLES, ".txt.gz", ".txt", ".npz")
    suffix = next((s for s in known if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
