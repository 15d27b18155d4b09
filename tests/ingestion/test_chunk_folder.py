import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.chunk_folder import Chunk, ChunkFolder, ChunkRows
from synthome.ingestion.files import digest_of, sha256_of

N_VARS = 12
SIZES = {"chunk_1": 7, "chunk_2": 5, "chunk_10": 9}  # in the order that is meant
WRITERS = {
    "parquet": lambda frame, path: frame.to_parquet(path),
    "csv": lambda frame, path: frame.to_csv(path),
    "tsv": lambda frame, path: frame.to_csv(path, sep="\t"),
    "csv.gz": lambda frame, path: frame.to_csv(path),
    "pkl": lambda frame, path: frame.to_pickle(path),
    "pickle": lambda frame, path: frame.to_pickle(path, protocol=4),
}


def counts(name, n_obs=None, n_vars=N_VARS) -> sparse.csr_matrix:
    rng = np.random.default_rng(len(name) + sum(map(ord, name)))
    shape = (SIZES.get(name, 3) if n_obs is None else n_obs, n_vars)
    return sparse.csr_matrix(rng.poisson(0.7, shape), dtype=np.float32)


def cells(name, n_obs=None) -> pd.DataFrame:
    n_obs = SIZES.get(name, 3) if n_obs is None else n_obs
    return pd.DataFrame(
        {"cell_type": (["T", "B", name] * n_obs)[:n_obs], "n_umi": np.arange(n_obs)},
        index=[f"{name}-{i}" for i in range(n_obs)],
    )


def write(folder, name, table="parquet", behind="", compressed=False, **sizes):
    """One pair; ``table`` may be empty, for a matrix without one."""
    folder.mkdir(exist_ok=True)
    sparse.save_npz(folder / f"{name}.npz", counts(name, **sizes), compressed=compressed)
    if table:
        n_obs = sizes.get("n_obs")
        WRITERS[table](cells(name, n_obs), folder / f"{name}{behind}.{table}")


@pytest.fixture
def folder(tmp_path):
    for name in SIZES:
        write(tmp_path / "census", name)
    return tmp_path / "census"


def everything() -> sparse.csr_matrix:
    return sparse.vstack([counts(name) for name in SIZES], format="csr")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("table", "behind"),
    [
        *((table, "") for table in WRITERS),
        ("pkl", "_metadata"),
        ("csv", ".metadata"),
        ("csv", "_obs"),
    ],
)
def test_chunks_and_tables_are_paired_by_name_in_natural_order(tmp_path, table, behind, compressed):
    """Chunk 2 comes before chunk 10, whichever way the tables are stored."""
    for name in SIZES:
        write(tmp_path, name, table, behind, compressed)
    found = ChunkFolder.open(tmp_path)
    assert [chunk.path.stem for chunk in found.chunks] == list(SIZES)
    assert [chunk.start for chunk in found.chunks] == [0, 7, 12]
    assert [(chunk.n_obs, chunk.n_vars) for chunk in found.chunks] == [(7, 12), (5, 12), (9, 12)]
    for chunk in found.chunks:
        assert chunk.metadata_path.name == f"{chunk.path.stem}{behind}.{table}"
        np.testing.assert_array_equal(chunk.load().toarray(), counts(chunk.path.stem).toarray())
    expected = pd.concat([cells(name) for name in SIZES])
    assert found.obs.index.tolist() == expected.index.tolist()
    assert found.obs["cell_type"].tolist() == expected["cell_type"].tolist()
    assert found.obs["n_umi"].tolist() == expected["n_umi"].tolist()
    assert found.obs["cell_type"].cat.categories.tolist() == ["B", "T", *sorted(SIZES)]
    assert (found.n_obs, found.n_vars) == (21, 12)
    assert found.var.index[11] == "gene_00011"


def test_tables_of_chunks_may_be_stored_in_different_ways(tmp_path):
    """The same column is text in one and categorical in another."""
    write(tmp_path, "chunk_1", "csv")
    write(tmp_path, "chunk_2", "pkl", "_metadata")
    frame = cells("chunk_10").astype({"cell_type": "category"})
    write(tmp_path, "chunk_10", "")
    frame.to_parquet(tmp_path / "chunk_10.parquet")
    found = ChunkFolder.open(tmp_path).obs
    expected = pd.concat([cells(name) for name in SIZES])
    assert found["cell_type"].tolist() == expected["cell_type"].tolist()


@pytest.mark.parametrize(
    "file", ["genes.txt", "var.csv", "Genes.CSV", "features.tsv", "var.parquet"]
)
def test_one_file_names_the_genes(folder, file):
    """It is not taken for the table of a chunk."""
    names = pd.DataFrame({"length": range(N_VARS)}, index=[f"G{j}" for j in range(N_VARS)])
    if file.endswith("txt"):
        (folder / file).write_text("\n".join(names.index))
    elif file.endswith("parquet"):
        names.to_parquet(folder / file)
    else:
        names.to_csv(folder / file, sep="\t" if file.endswith("tsv") else ",")
    found = ChunkFolder.open(folder)
    assert found.var.index.tolist() == names.index.tolist()
    assert file in found.files


def test_the_digest_is_that_of_all_files_and_changes_with_any(folder):
    """A table that was corrected makes another data set."""
    found = ChunkFolder.open(folder)
    assert found.files == {path.name: sha256_of(path) for path in folder.iterdir()}
    assert found.sha256 == digest_of(found.files)
    cells("chunk_2").assign(n_umi=0).to_parquet(folder / "chunk_2.parquet")
    assert ChunkFolder.open(folder).sha256 != found.sha256


def test_files_of_other_kinds_are_left_alone(folder):
    """Read-me files, hidden copies of a file manager, folders."""
    (folder / "README.txt").write_text("hello")
    (folder / "._chunk_1.npz").write_bytes(b"x")
    (folder / ".chunk_9.csv").write_text("x")
    (folder / "old.npz.d").mkdir()
    assert len(ChunkFolder.open(folder).chunks) == 3


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 21), (3, 9), (6, 13), (7, 12), (20, 21), (5, 5), (0, 1)]
)
def test_rows_cross_the_borders_of_chunks(folder, start, stop):
    """As a slice of the whole matrix."""
    block = ChunkRows(ChunkFolder.open(folder).chunks).rows(start, stop)
    assert block.dtype == np.float32
    assert block.has_canonical_format
    np.testing.assert_array_equal(block.toarray(), everything()[start:stop].toarray())


def test_each_chunk_is_loaded_once_when_rows_are_read_in_order(folder, monkeypatch):
    """And one alone is kept, for the memory of a machine holds no more."""
    loads, load = [], Chunk.load
    monkeypatch.setattr(Chunk, "load", lambda self: loads.append(self.path.stem) or load(self))
    rows = ChunkRows(ChunkFolder.open(folder).chunks)
    assert loads == []
    for start in range(0, 21, 2):
        rows.rows(start, min(start + 2, 21))
        assert len(rows._held) == 1
    assert loads == list(SIZES)


def test_a_chunk_that_changed_since_the_folder_was_opened_is_told(folder):
    """Rows would go with the tables of others."""
    chunk = ChunkFolder.open(folder).chunks[0]
    write(folder, "chunk_1", "", n_obs=6)
    with pytest.raises(InputError, match="is 6 x 12, and was 7 x 12 when its folder was opened"):
        chunk.load()


def break_(folder, kind):
    if kind == "no table":
        (folder / "chunk_2.parquet").unlink()
    elif kind == "no matrix":
        (folder / "chunk_2.npz").unlink()
    elif kind == "two tables":
        cells("chunk_2").to_csv(folder / "chunk_2_metadata.csv")
    elif kind == "rows":
        cells("chunk_2").iloc[1:].to_parquet(folder / "chunk_2.parquet")
    elif kind == "genes":
        write(folder, "chunk_2", n_vars=11)
    elif kind == "columns":
        cells("chunk_2").rename(columns={"n_umi": "umis"}).to_parquet(folder / "chunk_2.parquet")
    elif kind == "CSC":
        sparse.save_npz(folder / "chunk_2.npz", counts("chunk_2").tocsc())
    elif kind == "cut":
        path = folder / "chunk_2.npz"
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == "cut table":
        path = folder / "chunk_2.parquet"
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == "two lists of genes":
        for name in ("genes.txt", "var.csv"):
            (folder / name).write_text("\n".join("ABCDEFGHIJKL"))
    elif kind == "too few genes":
        (folder / "genes.txt").write_text("A\nB")
    elif kind == "no chunks":
        for path in folder.glob("*.npz"):
            path.unlink()
    elif kind == "empty":
        for path in folder.iterdir():
            path.unlink()
    elif kind == "no folder":
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "no table",
            r"census: chunk_2\.npz has no table of its cells. Put chunk_2\.parquet, \.csv",
        ),
        ("no matrix", r"census: chunk_2\.parquet without its matrix: chunk_2\.npz is missing"),
        ("two tables", r"chunk_2\.npz has 2 tables of its cells, chunk_2\.parquet, chunk_2_meta"),
        ("rows", r"census: chunk_2\.npz has 5 rows, but chunk_2\.parquet has 4"),
        ("genes", r"census: chunk_2\.npz has 11 genes, but chunk_1\.npz has 12"),
        (
            "columns",
            r"chunk_2\.parquet has other columns than chunk_1\.parquet: it lacks n_umi and ",
        ),
        ("CSC", r"chunk_2\.npz: its matrix is stored as CSC"),
        ("cut", r"chunk_2\.npz is damaged or cut short"),
        ("cut table", r"chunk_2\.parquet is not a readable Parquet file"),
        ("two lists of genes", r"holds genes\.txt, var\.csv: which names the genes"),
        ("too few genes", r"genes\.txt names 2 genes, but the chunks beside it have 12"),
        (
            "no chunks",
            r"census holds no chunks. It needs matrices NAME\.npz .* it has chunk_1\.par",
        ),
        ("empty", r"census holds no chunks. .* it has no files at all"),
        ("no folder", r"census does not exist"),
    ],
)
def test_what_does_not_fit_is_told_when_the_folder_is_opened(folder, kind, message):
    """With the pair and the counts, before anything is trained."""
    break_(folder, kind)
    with pytest.raises(InputError, match=message):
        ChunkFolder.open(folder)


def test_a_pickled_table_that_would_run_a_command_is_refused(folder):
    """The folder is opened through the restricted reader."""
    (folder / "chunk_2.parquet").unlink()
    (folder / "chunk_2_metadata.pkl").write_bytes(b"cos\nsystem\n(S'touch made'\ntR.")
    with pytest.raises(InputError, match=r"chunk_2_metadata\.pkl asks for os\.system"):
        ChunkFolder.open(folder)
