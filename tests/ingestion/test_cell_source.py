import json
import shutil
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion import matrices
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.cells import validate_cells
from synthome.ingestion.config import CellsConfig

SHAPE = (30, 12)


def counts(seed=0, shape=SHAPE) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(0.7, shape), dtype=np.float32)


def cells(x=None, **more) -> AnnData:
    x = counts() if x is None else x
    obs = pd.DataFrame({"cell_type": ["a", "b"] * 15}, index=[f"c{i}" for i in range(30)])
    var = pd.DataFrame(index=[f"G{j}" for j in range(x.shape[1])])
    return AnnData(x, obs=obs, var=var, **more)


def write(adata: AnnData, path, zarr_format=None):
    if zarr_format is None:
        adata.write_h5ad(path)
    else:
        with anndata.settings.override(zarr_write_format=zarr_format):
            adata.write_zarr(path)
    return path


pytestmark = [
    pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default"),
    pytest.mark.filterwarnings("ignore:zarr v3 autosharding will be the default"),
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part in the Zarr"),
]

ENCODINGS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": lambda x: x.toarray()}
STORES = {"h5ad": None, "zarr v2": 2, "zarr v3": 3}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_are_the_same_whatever_the_file(tmp_path, store, encoding):
    path = tmp_path / "mine.h5ad"
    write(cells(ENCODINGS[encoding](counts())), path, STORES[store])
    source = CellSource.open(path)
    assert (source.n_obs, source.n_vars) == SHAPE
    assert source.found_in == "X"
    assert list(source.var_names) == [f"G{j}" for j in range(12)]
    assert source.obs["cell_type"].astype(str).tolist() == ["a", "b"] * 15
    block = source.rows(3, 17)
    assert isinstance(block, sparse.csr_matrix)
    assert block.dtype == np.float32
    assert (block != counts()[3:17]).nnz == 0
    pieces = list(source.blocks(7))
    assert [(r.start, r.stop) for r, _ in pieces] == [(0, 7), (7, 14), (14, 21), (21, 28), (28, 30)]
    assert (sparse.vstack([piece for _, piece in pieces]) != counts()).nnz == 0
    assert source.name == "mine"
    assert len(source.sha256) == 64


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cells_in_memory_are_read_and_left_as_they_are(encoding):
    adata = cells(ENCODINGS[encoding](counts()))
    before = adata.copy()
    source = CellSource.of(adata)
    assert (source.rows(0, 30) != counts()).nnz == 0
    assert (sparse.csr_matrix(adata.X) != sparse.csr_matrix(before.X)).nnz == 0


def test_columns_out_of_order_repeated_or_zero_are_put_in_order_without_changing_the_input():
    data = np.array([1, 2, 3, 0, 4], dtype=np.float32)
    untidy = sparse.csr_matrix((data, np.array([2, 0, 2, 1, 1]), np.array([0, 3, 5])), shape=(2, 3))
    block = matrices.in_memory(untidy).rows(0, 2)
    np.testing.assert_array_equal(block.toarray(), [[2, 0, 4], [0, 4, 0]])
    assert block.has_canonical_format
    assert block.nnz == 3
    np.testing.assert_array_equal(untidy.data, [1, 2, 3, 0, 4])
    np.testing.assert_array_equal(untidy.indices, [2, 0, 2, 1, 1])


@pytest.mark.parametrize("chunk", [1, 5, 40])
def test_a_large_matrix_by_columns_is_turned_through_a_file(tmp_path, monkeypatch, chunk):
    """The chunk is made so small that the matrix does not fit in one."""
    monkeypatch.setattr(matrices, "CHUNK", chunk)
    source = CellSource.open(write(cells(sparse.csc_matrix(counts())), tmp_path / "mine.h5ad"))
    assert (source.rows(5, 30) != counts()[5:]).nnz == 0
    turned = source.places["X"].matrix._by_rows
    assert isinstance(turned.data, np.memmap)


def test_a_disk_without_room_for_the_turned_matrix_is_told(monkeypatch):
    monkeypatch.setattr(matrices, "CHUNK", 5)
    monkeypatch.setattr(matrices.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match="has no room for. Name another folder .* TMPDIR"):
        CellSource.of(cells(sparse.csc_matrix(counts()))).rows(0, 3)


def test_an_empty_matrix_by_columns_has_empty_rows():
    empty = matrices.in_memory(sparse.csc_matrix((4, 3), dtype=np.float32))
    assert empty.rows(1, 3).shape == (2, 3)
    assert empty.rows(1, 3).nnz == 0


def test_counts_are_looked_for_in_the_layer_in_x_and_in_raw(tmp_path):
    logs = counts().log1p()
    assert CellSource.of(cells(layers={"counts": counts(1)})).found_in == "layers/counts"
    in_layer = cells(logs, layers={"counts": counts()})
    assert CellSource.of(in_layer).found_in == "layers/counts"
    more = counts(2, (30, 20))
    in_raw = cells(logs)
    in_raw.raw = cells(more)
    source = CellSource.open(write(in_raw, tmp_path / "raw.h5ad"))
    assert source.found_in == "raw/X"
    assert source.n_vars == 20  # raw has genes of its own
    assert (source.rows(0, 30) != more).nnz == 0
    assert source.at("X").n_vars == 12


def test_columns_of_the_same_gene_are_summed():
    source = CellSource.of(cells()).merged(
        np.array([0, 1, 0, *range(2, 11)]), pd.Index([f"g{j}" for j in range(11)])
    )
    dense = counts().toarray()
    assert source.n_vars == 11
    np.testing.assert_array_equal(source.rows(0, 30).toarray()[:, 0], dense[:, 0] + dense[:, 2])
    np.testing.assert_array_equal(source.rows(0, 30).toarray()[:, 1], dense[:, 1])


def test_a_file_may_say_which_column_is_what(tmp_path):
    adata = cells()
    adata.uns["synthome"] = {"label_key": "cell_type", "group_key": "", "source": "elsewhere"}
    facts = CellSource.open(write(adata, tmp_path / "mine.h5ad")).uns["synthome"]
    assert facts["label_key"] == "cell_type"
    assert facts["source"] == "mine"


def test_a_file_without_x_is_read_from_its_layer(tmp_path):
    adata = cells(layers={"counts": counts()})
    adata.X = None
    source = CellSource.open(write(adata, tmp_path / "mine.h5ad"))
    assert source.found_in == "layers/counts"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("empty", "it is empty"),
        ("cut", "not a readable AnnData file"),
        ("text", "not a readable AnnData file"),
        ("another hdf5", "it has no obs; it holds table"),
        ("no X", "it holds no expression values: X is missing"),
        ("other cells", r"X is 30 x 12, but there are 29 cells in obs"),
        ("bad pointers", "its indptr does not fit its data"),
        ("folder", "this folder is no zarr store"),
    ],
)
def test_files_that_cannot_be_used_are_told(tmp_path, kind, message):
    path = tmp_path / "mine.h5ad"
    if kind not in ("missing", "empty", "text", "folder", "another hdf5"):
        write(cells(), path)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "text":
        path.write_text("a,b\n1,2\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "another hdf5":
        with h5py.File(path, "w") as file:
            file["table"] = np.ones(3)
    elif kind == "no X":
        with h5py.File(path, "a") as file:
            del file["X"]
    elif kind == "other cells":
        whole, less = cells(), tmp_path / "less.h5ad"
        write(whole[:29].copy(), less)
        with h5py.File(path, "a") as file, h5py.File(less) as other:
            del file["obs"]
            other.copy("obs", file)
    elif kind == "bad pointers":
        with h5py.File(path, "a") as file:
            file["X/indptr"][1] = 10**6
    with pytest.raises(InputError, match=message) as error:
        CellSource.open(path)
    assert str(path) in str(error.value)


def test_indices_beyond_the_shape_do_not_read_foreign_memory(tmp_path):
    path = write(cells(), tmp_path / "mine.h5ad")
    with h5py.File(path, "a") as file:
        file["X/indices"][0] = 10**6
    with pytest.raises(InputError, match="indices lie beyond its shape"):
        CellSource.open(path).rows(0, 30)


def test_a_part_of_the_file_that_is_damaged_is_told_when_it_is_read(tmp_path):
    path = tmp_path / "mine.h5ad"
    cells().write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\x07" * chunk.size
    path.write_bytes(content)
    source = CellSource.open(path).at("X")
    with pytest.raises(InputError, match="X cannot be read between row 0 and 30"):
        source.rows(0, 30)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("X/indptr", "its indptr does not fit its data"),
        ("X/data", "1 of the 1 chunks of X/data are missing"),
        ("obs", "mine.zarr"),
    ],
)
def test_a_damaged_zarr_folder_is_told(tmp_path, zarr_format, part, message):
    """A chunk that is not there would be read as zeros."""
    path = write(cells(), tmp_path / "mine.zarr", zarr_format)
    shutil.rmtree(path / part)
    with pytest.raises(InputError, match=message):
        CellSource.open(path)


def test_pickles_in_a_zarr_store_are_never_read(tmp_path):
    path = write(cells(), tmp_path / "mine.zarr", 2)
    array = path / "obs" / "_index" / ".zarray"
    known = json.loads(array.read_text())
    array.write_text(json.dumps(known | {"filters": [{"id": "pickle", "protocol": 5}]}))
    with pytest.raises(InputError, match="_index is stored as pickles"):
        CellSource.open(path)


def chunk_folder(path, n_vars=12):
    """The cells of ``cells()`` in three chunks."""
    path.mkdir()
    x, obs = counts(shape=(30, n_vars)), cells().obs
    for name, rows in {"c1": slice(0, 4), "c2": slice(4, 21), "c10": slice(21, 30)}.items():
        sparse.save_npz(path / f"{name}.npz", x[rows])
        obs[rows].to_parquet(path / f"{name}.parquet")
    (path / "genes.txt").write_text("\n".join(f"G{j}" for j in range(n_vars)))
    return path


def test_a_folder_of_chunks_is_read_as_one_file_is(tmp_path):
    """Every pipeline that reads cells can read chunks, whatever the borders."""
    source = CellSource.open(chunk_folder(tmp_path / "census"))
    expected = CellSource.of(cells())
    assert source.found_in == "X"
    assert (source.name, len(source.sha256)) == ("census", 64)
    assert source.var_names.tolist() == expected.var_names.tolist()
    assert source.obs["cell_type"].tolist() == expected.obs["cell_type"].tolist()
    assert source.obs.index.tolist() == expected.obs.index.tolist()
    for (rows, found), (also, block) in zip(source.blocks(7), expected.blocks(7), strict=True):
        assert rows == also
        assert (found != block).nnz == 0


def test_cells_of_a_folder_of_chunks_are_validated_as_those_of_a_file(tmp_path):
    """The sheet and the counts that models are trained on are the same."""
    config = CellsConfig(cell_type="cell_type", min_counts=1, min_cells_per_type=1)
    folder, _ = validate_cells(CellSource.open(chunk_folder(tmp_path / "census")), config)
    file, _ = validate_cells(CellSource.open(write(cells(), tmp_path / "mine.h5ad")), config)
    pd.testing.assert_frame_equal(folder.obs, file.obs)
    assert folder.var_names.tolist() == file.var_names.tolist()


def test_a_folder_of_no_known_kind_is_told_both(tmp_path):
    """The person learns which folders can be read."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"no zarr store .* nor does it hold chunks \(NAME\.npz"):
        CellSource.open(tmp_path)


def test_a_chunk_that_is_damaged_is_told_when_it_is_read(tmp_path):
    """By its own name, since the folder has many."""
    path = chunk_folder(tmp_path / "census") / "c2.npz"
    parts = dict(np.load(path))
    parts["indices"][0] = 10**6
    np.savez(path, **parts)
    with pytest.raises(InputError, match=r"c2\.npz: .*indices lie beyond its shape"):
        CellSource.open(path.parent).rows(0, 30)
