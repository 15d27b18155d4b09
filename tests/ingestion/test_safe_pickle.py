import bz2
import datetime
import gzip
import lzma
import os
import pickle
import random
import struct

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas._libs.internals import _unpickle_block
from pandas.core.internals.blocks import Block

from synthome.errors import InputError
from synthome.ingestion.safe_pickle import BUILDERS, read_pickled_frame

PROTOCOLS = [2, 3, 4, 5]


def cells(n=6) -> pd.DataFrame:
    """Columns of all kinds that tables of cells have."""
    return pd.DataFrame(
        {
            "soma_joinid": np.arange(n),
            "n_umi": np.linspace(0, 9, n, dtype=np.float32),
            "score": [np.nan, *range(n - 1)],
            "is_primary": np.arange(n) % 2 == 0,
            "donor": [f"d{i % 3}" for i in range(n)],
            "cell_type": pd.Categorical(["T", "B", None] * (n // 3)),
            "stage": pd.Categorical(["young", "old"] * (n // 2), ["young", "old"], ordered=True),
            "age": pd.cut(np.arange(n), 3),
            "year": pd.Categorical([2020, 2021] * (n // 2)),
            "day": pd.date_range("2020", periods=n, freq="D"),
            "moment": pd.date_range("2020", periods=n, freq="D", tz="UTC"),
            "waited": pd.to_timedelta(np.arange(n), "h"),
            "count": pd.array([1, None] * (n // 2), dtype="Int64"),
            "ratio": pd.array([0.5, None] * (n // 2), dtype="Float32"),
            "treated": pd.array([True, None] * (n // 2), dtype="boolean"),
            "note": pd.array(["a", None] * (n // 2), dtype="string[python]"),
            "mixed": pd.Series([1, "x", None, 2.5, b"y", pd.NA] * (n // 6), dtype=object),
        },
        index=[f"cell{i}" for i in range(n)],
    )


OBJECTS = [
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    datetime.timedelta(1), pd.Timestamp("2020", tz="UTC"), pd.Timedelta(1, "s"), pd.NaT,
    np.float64(2), np.bool_(True), np.datetime64("2020"), 1j, {1}, frozenset({2}), slice(1),
    [1, "a"], ("b", None), {"k": [1]},
]  # fmt: skip

FRAMES = {
    "all kinds": cells(),
    "no columns": pd.DataFrame(index=["a", "b"]),
    "no rows": cells()[:0],
    "row numbers": pd.DataFrame({"x": [1, 2]}),
    "two names": pd.DataFrame({"x": [1, 2]}, index=pd.MultiIndex.from_product([["a"], [1, 2]])),
    "categories as names": pd.DataFrame({"x": [1, 2]}, index=pd.CategoricalIndex(["a", "b"])),
    "days as names": pd.DataFrame(
        {"x": [1, 2]}, index=pd.to_datetime(["2020-01-01", "2021-03-01"])
    ),
    "numbered columns": pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "the same column twice": pd.DataFrame([[1, 2.5, 3]], columns=["a", "b", "a"]),
    "large": pd.concat([cells()] * 2000),
}


def write(path, content: bytes):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_is_read_as_it_was_written(tmp_path, kind, protocol):
    """What pandas wrote is what is rebuilt, although none of its own functions is called."""
    path = tmp_path / "cells.pkl"
    FRAMES[kind].to_pickle(path, protocol=protocol)
    pd.testing.assert_frame_equal(read_pickled_frame(path), FRAMES[kind], check_flags=False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_in_cells_stay_what_they_are(tmp_path, protocol):
    """Values and types, those of NumPy and pandas among them."""
    pd.DataFrame({"x": pd.Series(OBJECTS, dtype=object)}).to_pickle(
        tmp_path / "x.pkl", protocol=protocol
    )
    found = read_pickled_frame(tmp_path / "x.pkl")["x"].tolist()
    assert repr(found) == repr(OBJECTS)
    assert [type(value) for value in found] == [type(value) for value in OBJECTS]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_text_that_arrow_holds_is_read_as_text(tmp_path, protocol):
    """pandas 3 keeps text in Arrow by default."""
    frame = pd.DataFrame({"x": pd.array(["a", None, "bcd"], dtype="string[pyarrow]")})
    frame.to_pickle(tmp_path / "x.pkl", protocol=protocol)
    assert read_pickled_frame(tmp_path / "x.pkl")["x"].fillna("-").tolist() == ["a", "-", "bcd"]


OTHER_PATHS = {
    "numpy 1": [("numpy._core.", "numpy.core.")],
    "pandas 1.5": [
        ("pandas.core.indexes.base\nIndex\n", "pandas.core.indexes.numeric\nInt64Index\n")
    ],
    "pandas 3": [
        ("pandas.core.frame\nDataFrame", "pandas\nDataFrame"),
        ("pandas.core.indexes.base\nIndex\n", "pandas\nIndex\n"),
        ("pandas.core.arrays.categorical\n", "pandas\n"),
        ("pandas.core.arrays.integer\n", "pandas.arrays\n"),
    ],
}


@pytest.mark.parametrize("versions", OTHER_PATHS)
def test_other_versions_name_the_same_things_by_other_paths(tmp_path, versions):
    """Protocol 2 spells each name as text, so that it can be replaced there."""
    frame = pd.DataFrame(
        {0: pd.array([1, None], dtype="Int64"), 1: pd.Categorical([5, 7]), 2: [0.5, 2]},
        index=[4, 9],
    )
    frame.columns = pd.Index([0, 1, 2])
    content = pickle.dumps(frame, protocol=2)
    for here, there in OTHER_PATHS[versions]:
        assert here.encode() in content
        content = content.replace(here.encode(), there.encode())
    pd.testing.assert_frame_equal(read_pickled_frame(write(tmp_path / "x.pkl", content)), frame)


def called(module: str, name: str, *args: object, by_stack: bool = False) -> bytes:
    """A pickle that calls ``module.name(*args)``."""
    found = f"c{module}\n{name}\n".encode()
    if by_stack:
        texts = [b"\x8c" + struct.pack("<B", len(t)) + t.encode() for t in (module, name)]
        found = b"\x80\x04" + b"".join(texts) + b"\x93"
    return found + pickle.dumps(args, protocol=2)[2:-1] + b"R."


DANGEROUS = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("builtins", "__import__"),
    ("builtins", "open"), ("builtins", "compile"), ("builtins", "map"), ("builtins", "type"),
    ("__builtin__", "eval"), ("__builtin__", "apply"), ("builtins", "object"),
    ("functools", "partial"), ("operator", "attrgetter"), ("operator", "methodcaller"),
    ("importlib", "import_module"), ("runpy", "run_path"), ("types", "FunctionType"),
    ("copyreg", "_reconstructor"), ("copyreg", "add_extension"), ("codecs", "open"),
    ("pickle", "loads"), ("_pickle", "loads"), ("marshal", "loads"), ("shutil", "rmtree"),
    ("numpy", "load"), ("numpy", "fromfile"), ("numpy", "memmap"), ("numpy", "core"),
    ("numpy.core.multiarray", "fromfile"), ("numpy.f2py", "compile"), ("numpy", "f2py"),
    ("numpy.testing", "runstring"), ("numpy.testing._private.utils", "runstring"),
    ("numpy.distutils.exec_command", "exec_command"), ("numpy.lib.npyio", "load"),
    ("pandas", "read_pickle"), ("pandas", "eval"), ("pandas", "read_csv"), ("pandas", "io"),
    ("pandas.io.pickle", "read_pickle"), ("pandas.io.common", "get_handle"),
    ("pandas.io.common", "os"), ("pandas.core.computation.eval", "eval"),
    ("pandas.core.frame", "sys"), ("pandas.core.frame.DataFrame", "query"),
    ("pandas.core.indexes.base", "np"), ("pandas.compat.pickle_compat", "load"),
    ("torch.storage", "_load_from_bytes"), ("torch._utils", "_rebuild_tensor_v2"),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"), ("pyarrow.lib", "memory_map"),
    ("zoneinfo", "ZoneInfo"), ("pytz", "_p"), ("uuid", "UUID"),
]  # fmt: skip
DOTTED = [
    ("builtins", "slice.__class__"), ("numpy", "dtype.__class__"), ("numpy", "ndarray.tofile"),
    ("pandas.core.frame", "DataFrame.to_pickle"), ("pandas", "DataFrame.eval"),
    ("pandas.core.frame", "DataFrame.__init__.__globals__"), ("datetime", "datetime.__class__"),
    ("collections", "OrderedDict.__class__"), ("os", "path.join"),
]  # fmt: skip


@pytest.mark.parametrize("by_stack", [False, True])
@pytest.mark.parametrize(("module", "name"), [*DANGEROUS, *DOTTED])
def test_a_name_that_tables_do_not_need_is_refused(tmp_path, module, name, by_stack):
    """By whichever opcode it is asked for; the message names the file and the name."""
    path = write(tmp_path / "x.pkl", called(module, name, "x", by_stack=by_stack))
    with pytest.raises(InputError) as error:
        read_pickled_frame(path)
    assert f"{path} asks for {module}.{name}," in str(error.value)
    assert "Nothing of it was run" in str(error.value)


class Command:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("hidden_in", ["file", "cell", "category", "name", "attribute"])
def test_no_command_is_run_wherever_it_hides(tmp_path, hidden_in, protocol):
    """The command would leave a file behind."""
    made = tmp_path / "made"
    evil = Command(f"touch {made}")
    frame: object = pd.DataFrame({"x": ["a", "b"]})
    if hidden_in == "file":
        frame = evil
    elif hidden_in == "cell":
        frame = pd.DataFrame({"x": ["a", evil]})
    elif hidden_in == "category":
        frame = pd.DataFrame({"x": pd.Categorical([evil])})
    elif hidden_in == "name":
        frame = pd.DataFrame({"x": ["a"]}, index=[evil])
    else:
        frame.attrs["x"] = evil
    path = write(tmp_path / "x.pkl", pickle.dumps(frame, protocol=protocol))
    with pytest.raises(InputError, match=r"asks for (posix|nt)\.system"):
        read_pickled_frame(path)
    assert not made.exists()


def test_the_names_that_are_admitted_can_neither_call_nor_open():
    """Each stands in the list by itself; a prefix would let in pandas.eval and numpy.load."""
    assert not {pair for pair in BUILDERS if "." in pair[1]}
    assert not {pair for pair in BUILDERS if pair in DANGEROUS}
    modules = {module.split(".")[0] for module, _ in BUILDERS}
    assert modules == {
        "numpy", "pandas", "builtins", "__builtin__", "_codecs", "datetime", "pytz", "pyarrow"
    }  # fmt: skip
    assert len(BUILDERS) < 150


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_structure_that_lies_about_its_pointers_is_refused(tmp_path, protocol):
    """NumPy believes the flags of a pickled dtype, and would take bytes for pointers."""
    frame = pd.DataFrame({"x": [np.zeros(1, dtype="i8,O")]})
    frame.to_pickle(tmp_path / "x.pkl", protocol=protocol)
    with pytest.raises(InputError, match="an array of type V16"):
        read_pickled_frame(tmp_path / "x.pkl")


class Lying(pickle.Pickler):
    """Writes something else for objects of one class."""

    def __init__(self, file, kind: type, lie) -> None:
        super().__init__(file, protocol=5)
        self.kind, self.lie = kind, lie

    def reducer_override(self, obj):
        return self.lie(obj) if isinstance(obj, self.kind) else NotImplemented


def with_state(change):
    """A lie that changes the state, the third part of what ``__reduce__`` gives."""
    return lambda obj: (*obj.__reduce_ex__(2)[:2], change(obj.__reduce_ex__(2)[2]))


def far_offsets(array: pa.Array):
    make, (parts,) = array.__reduce__()
    buffers = [parts[4][0], pa.py_buffer(np.array([0, 10**9, 2]).tobytes()), parts[4][2]]
    return make, ((*parts[:4], buffers, *parts[5:]),)


def bytes_for_objects(array: np.ndarray):
    if array.dtype != object:
        return NotImplemented
    return with_state(lambda state: (*state[:4], b"A" * array.size))(array)


LIES = {
    "codes beyond the categories": (
        pd.Categorical, with_state(lambda state: (state[0], np.array([0, 9], np.int8), {})),
        "codes need to be between",
    ),
    "columns beyond the table": (
        Block, lambda block: (_unpickle_block, (block.values, np.array([10**6]), 2)),
        "out of bounds",
    ),
    "columns before the table": (
        Block, lambda block: (_unpickle_block, (block.values, np.array([-(10**6)]), 2)),
        "out of bounds",
    ),
    "the same column for all": (
        Block, lambda block: (_unpickle_block, (block.values, np.array([0]), 2)), "4 columns and"
    ),
    "an array longer than its bytes": (
        np.ndarray, with_state(lambda state: (1, (10**6,), *state[2:])), "cannot reshape"
    ),
    "bytes for objects": (np.ndarray, bytes_for_objects, "no list of them"),
    "offsets beyond the text": (pa.Array, far_offsets, "(?i)offset"),
    "a time zone that is a path": (
        pd.DatetimeTZDtype,
        with_state(lambda state: {"unit": "ns", "tz": "dateutil//etc/passwd"}),
        "time zone of type str",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIES)
def test_what_would_reach_foreign_memory_is_refused(tmp_path, kind):
    """pandas and NumPy believe what a pickle says of sizes and places; here it is checked."""
    liar, lie, message = LIES[kind]
    frame = pd.DataFrame(
        {
            "x": pd.Categorical(["u", "v"]),
            "y": ["a", "b"],
            "moment": pd.date_range("2020", periods=2, tz="UTC"),
            "text": pd.array(["a", "b"], dtype="string[pyarrow]"),
        }
    )
    path = tmp_path / "x.pkl"
    with path.open("wb") as file:
        Lying(file, liar, lie).dump(frame)
    with pytest.raises(InputError, match=message):
        read_pickled_frame(path)


@pytest.mark.parametrize("target", ["pandas.core.frame\nDataFrame", "builtins\nslice"])
def test_a_pickle_cannot_change_what_it_names(tmp_path, target):
    """BUILD on a class would set its attributes, for this file and the next."""
    for state in ({"_mgr": 1}, (None, {"__init__": 1})):
        content = f"c{target}\n".encode() + pickle.dumps(state, protocol=2)[2:-1] + b"b."
        with pytest.raises(InputError, match="cannot be read as a pickled table"):
            read_pickled_frame(write(tmp_path / "x.pkl", content))
    cells().to_pickle(tmp_path / "y.pkl")
    pd.testing.assert_frame_equal(read_pickled_frame(tmp_path / "y.pkl"), cells())


@pytest.mark.parametrize("held", [cells()["donor"], {"a": 1}, [1], "text", np.arange(3), None])
def test_what_is_no_table_is_told(tmp_path, held):
    """The message says what it is, since a Series is easily pickled for a table."""
    path = write(tmp_path / "x.pkl", pickle.dumps(held))
    with pytest.raises(
        InputError, match=f"holds no table but an object of type {type(held).__name__}"
    ):
        read_pickled_frame(path)


@pytest.mark.parametrize("packing", [gzip, bz2, lzma])
def test_a_compressed_pickle_is_told(tmp_path, packing):
    """Under whichever name it goes."""
    path = write(tmp_path / "x.pkl", packing.compress(pickle.dumps(cells())))
    with pytest.raises(
        InputError, match=r"x\.pkl is a pickle compressed by (gzip|bz2|xz)\. Unpack"
    ):
        read_pickled_frame(path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_damaged_pickle_ends_in_one_message_and_no_other_way(tmp_path, protocol):
    """Cut anywhere, or with any byte changed: no traceback of pandas, no crash."""
    frame, rng = cells()[["donor", "cell_type", "n_umi", "count"]], random.Random(0)
    content = pickle.dumps(frame, protocol=protocol)
    path, n_refused = tmp_path / "x.pkl", 0
    for _ in range(100):
        with pytest.raises(InputError, match="x.pkl"):
            read_pickled_frame(write(path, content[: rng.randrange(len(content))]))
        changed = bytearray(content)
        changed[rng.randrange(len(content))] = rng.randrange(256)
        try:
            result = read_pickled_frame(write(path, bytes(changed)))
        except InputError:
            n_refused += 1
        else:
            assert isinstance(result, pd.DataFrame)
    assert n_refused > 10


def test_a_missing_or_empty_file_is_told(tmp_path):
    """As for any other table."""
    with pytest.raises(InputError, match="does not exist"):
        read_pickled_frame(tmp_path / "x.pkl")
    with pytest.raises(InputError, match="is empty"):
        read_pickled_frame(write(tmp_path / "x.pkl", b""))


def test_a_list_within_itself_does_not_end_in_a_crash(tmp_path):
    """Nor one nested a hundred thousand times."""
    endless: list = []
    endless.append(endless)
    for content in (pickle.dumps(endless), b"]" * 10**5 + b"a" * (10**5 - 1) + b"."):
        with pytest.raises(InputError, match="cannot be read"):
            read_pickled_frame(write(tmp_path / "x.pkl", content))
