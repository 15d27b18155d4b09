import io
import random
import zipfile

import numpy as np
import pytest
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion import csr_file
from synthome.ingestion.csr_file import StoredCSR


def counts(n_obs=40, n_vars=30, seed=0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(0.5, (n_obs, n_vars)), dtype=np.float32)


def save(path, compressed=False, packing=None, level=None, **changes):
    """As ``save_npz`` writes, with parts changed; None leaves one out."""
    m = changes.pop("matrix", counts())
    parts = {"indices": m.indices, "indptr": m.indptr, "format": b"csr", "shape": m.shape}
    parts = {k: v for k, v in (parts | {"data": m.data} | changes).items() if v is not None}
    if packing is None:
        (np.savez_compressed if compressed else np.savez)(path, **parts)
        return path
    with zipfile.ZipFile(path, "w", packing, compresslevel=level) as archive:
        for name, part in parts.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(part))
            archive.writestr(f"{name}.npy", buffer.getvalue())
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("index", ["i4", "i8", ">i4"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i4", "u2", "u1", "?", ">f8", "f2"])
def test_a_matrix_is_what_scipy_reads(tmp_path, dtype, index, compressed):
    """``scipy.sparse.load_npz`` is the reference; the values become float32."""
    m = counts()
    path = save(
        tmp_path / "a.npz", compressed, data=m.data.astype(dtype),
        indices=m.indices.astype(index), indptr=m.indptr.astype(index),
    )  # fmt: skip
    stored = StoredCSR.open(path)
    assert stored.shape == m.shape
    loaded = stored.load()
    assert loaded.dtype == np.float32
    assert loaded.indices.dtype.isnative
    expected = sparse.csr_matrix(sparse.load_npz(path), dtype=np.float32)
    np.testing.assert_array_equal(loaded.toarray(), expected.toarray())
    loaded.data *= 2  # its own copy, which can be changed
    np.testing.assert_array_equal(StoredCSR.open(path).load().toarray(), expected.toarray())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("write", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("shape", [(40, 30), (1, 1), (0, 30), (5, 0)])
def test_what_scipy_saves_is_read(tmp_path, shape, write, compressed):
    """A matrix or an array of SciPy, of any shape; large enough for several pieces or empty."""
    m = counts(*shape)
    sparse.save_npz(tmp_path / "a.npz", write(m), compressed=compressed)
    loaded = StoredCSR.open(tmp_path / "a.npz").load()
    assert loaded.shape == shape
    np.testing.assert_array_equal(loaded.toarray(), m.toarray())


def test_an_array_of_many_pieces_is_unpacked_whole(tmp_path, monkeypatch):
    """Pieces of seven bytes end within values."""
    monkeypatch.setattr(csr_file, "PIECE", 7)
    path = save(tmp_path / "a.npz", compressed=True)
    np.testing.assert_array_equal(StoredCSR.open(path).load().toarray(), counts().toarray())


def test_opening_leaves_the_values_where_they_are(tmp_path):
    """A folder of many large chunks is opened by their headers: values may even be damaged."""
    path = save(tmp_path / "a.npz", matrix=counts(200, 300))
    content = bytearray(path.read_bytes())
    at = content.index(counts(200, 300).indices.tobytes())
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    stored = StoredCSR.open(path)
    assert stored.shape == (200, 300)
    with pytest.raises(InputError, match=r"a\.npz: .*indices lie beyond its shape"):
        stored.load()


def test_rows_keep_their_order_and_their_zeros(tmp_path):
    """What the file holds is returned; ``RowMatrix.rows`` puts columns in order."""
    data, indices = np.array([3, 0, 1], np.float32), np.array([2, 0, 1])
    path = save(tmp_path / "a.npz", data=data, indices=indices, indptr=[0, 3], shape=(1, 3))
    loaded = StoredCSR.open(path).load()
    assert loaded.indices.tolist() == [2, 0, 1]
    assert loaded.data.tolist() == [3, 0, 1]


WRAPS = np.array([0, 2**62, -(2**63), -(2**62)])  # each step is 2**62, beyond the largest number
BAD = {
    "columns": ({"format": b"csc"}, "as CSC, but rows are read from CSR. Write it again: m = "),
    "triples": ({"format": b"coo"}, "stored as COO"),
    "text format": ({"format": "bsr"}, "stored as BSR"),
    "dense": ({"format": None, "indices": None}, "no sparse matrix: it has no format, indices"),
    "no indices": ({"indices": None}, "it has no indices"),
    "objects": ({"data": np.array([1, "a"], dtype=object)}, "data is an array of objects"),
    "text": ({"data": np.array(["a", "b"])}, "its values are of type <U1"),
    "complex": ({"data": counts().data * 1j}, "its values are of type complex"),
    "decimal indices": ({"indices": counts().indices * 1.0}, "indices of type float64"),
    "too few values": ({"data": counts().data[:-1]}, "indptr does not fit its data"),
    "too few rows": ({"indptr": counts().indptr[:-1]}, "indptr does not fit its data"),
    "another shape": ({"shape": (41, 30)}, "indptr does not fit its data"),
    "three sizes": ({"shape": (4, 3, 2)}, "damaged or cut short"),
    "one size": ({"shape": 4}, "damaged or cut short"),
    "indptr falls": ({"indptr": np.r_[0, 9, 5, counts().indptr[3:]]}, "indptr does not fit"),
    "indptr below 0": ({"indptr": np.r_[0, -1, counts().indptr[2:]]}, "indptr does not fit"),
    "indptr wraps": (
        {"indptr": np.r_[WRAPS, counts().indptr[4:].astype("i8")]}, "indptr does not fit"
    ),
    "two dimensions": ({"data": counts().data[:, None]}, "damaged or cut short"),
    "index too large": ({"indices": np.r_[30, counts().indices[1:]]}, "lie beyond its shape"),
    "index below 0": ({"indices": np.r_[-1, counts().indices[1:]]}, "lie beyond its shape"),
}  # fmt: skip


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_matrix_by_rows_is_told(tmp_path, kind, compressed):
    """In one message that names the file; SciPy would crash on some of these."""
    changes, message = BAD[kind]
    path = save(tmp_path / "a.npz", compressed, **changes)
    with pytest.raises(InputError, match=message) as error:
        StoredCSR.open(path).load()
    assert str(path) in str(error.value)


def test_objects_are_not_unpickled(tmp_path):
    """They would run whatever the file says; the message says so."""
    class_ = type("Evil", (), {"__reduce__": lambda _: (open, (str(tmp_path / "made"), "w"))})
    data = np.array([class_()], dtype=object)
    path = save(tmp_path / "a.npz", data=data)
    with pytest.raises(InputError, match="could run any program when read"):
        StoredCSR.open(path)
    assert not (tmp_path / "made").exists()


def test_other_methods_of_compression_are_told(tmp_path):
    """NumPy writes none of them."""
    path = save(tmp_path / "a.npz", packing=zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="compressed by another method"):
        StoredCSR.open(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_was_cut_short_or_is_none_is_told(tmp_path, compressed):
    """Wherever it ends."""
    whole = save(tmp_path / "a.npz", compressed).read_bytes()
    path = tmp_path / "b.npz"
    for content in (*(whole[:n] for n in range(0, len(whole), 97)), b"x" * 200):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"b\.npz is damaged or cut short"):
            StoredCSR.open(path)


@pytest.mark.parametrize("level", [0, 6])
def test_a_byte_that_changed_in_a_compressed_file_is_noticed(tmp_path, level):
    """By the check sum, where it still unpacks: no value may be another one unseen."""
    path, m, rng = tmp_path / "a.npz", counts(200, 300), random.Random(0)
    whole = save(path, packing=zipfile.ZIP_DEFLATED, level=level, matrix=m).read_bytes()
    about = zipfile.ZipFile(path).getinfo("data.npy")
    for _ in range(30):
        content = bytearray(whole)
        place = rng.randrange(about.compress_size // 2, about.compress_size)
        content[about.header_offset + place] ^= 1 + rng.randrange(255)
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz is damaged or cut short"):
            StoredCSR.open(path).load()


@pytest.mark.parametrize("compressed", [False, True])
def test_any_byte_that_changed_ends_in_one_message_or_in_a_matrix(tmp_path, compressed):
    """Of the same shape as the file says: never in a crash or another error."""
    whole, rng = save(tmp_path / "a.npz", compressed).read_bytes(), random.Random(1)
    path = tmp_path / "b.npz"
    for _ in range(150):
        content = bytearray(whole)
        content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            stored = StoredCSR.open(path)
            assert stored.load().shape == stored.shape
        except InputError:
            continue
