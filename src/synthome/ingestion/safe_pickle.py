"""A pickled table, read without running anything that stands in the file.

A pickle is a program: it names functions, and unpickling calls them. Here it is unpickled in two
passes. The first runs no function at all: each name that the file asks for is looked up in
``BUILDERS``, refused when it is not there, and else answered by an inert ``Record``, which writes
down what it would have been called with. The second builds arrays, indexes and the table from these
records with public constructors, which check what they are given: the file never sets the flags of
a data type, the pointers of an array or the blocks of a table, with which it could reach memory.

Tables of pandas 1.5 to 3 and numpy 1 and 2 name the same things by different paths.
"""

import datetime
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from synthome.errors import InputError
from synthome.ingestion.files import GZIP, ZIP, read_bytes

Pair = tuple[str, str]  # module and name
Builder = Callable[..., Any]  # of the state of a record, and of its arguments

COMPRESSED = {
    GZIP: "gzip",
    ZIP: "zip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
PLAIN = {str, int, float, bool, complex, bytes, bytearray, type(None)}
CODES = re.compile(r"[biufcmMSUO]\d*")  # of data types: no structures, whose fields could lie
UNITS: dict[int, Any] = {7: "s", 8: "ms", 9: "us", 10: "ns"}  # of times, by pandas' number
TEXT = ("StringArray", "StringArrayNumpySemantics")
ARROW_TEXT = ("ArrowStringArray", "ArrowStringArrayNumpySemantics")


def read_pickled_frame(path: Path) -> pd.DataFrame:
    """Read a table that ``DataFrame.to_pickle`` wrote, of protocol 2 to 5, not compressed.

    Raises
    ------
    InputError
        If the file asks for anything that a table does not need, which is then not run; if it is
        compressed, cut short or damaged; or if it holds something else than a table.
    """
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(8)
        kind = next((kind for start, kind in COMPRESSED.items() if head.startswith(start)), None)
        if kind is not None:
            raise InputError(f"{path} is a pickle compressed by {kind}. Unpack it first.")
    data, _ = read_bytes(path)
    try:
        result = _build(_Reader(data, path).load(), {})
    except InputError:
        raise
    except Exception as error:  # what a damaged pickle raises can be anything
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise InputError(
            f"{path} cannot be read as a pickled table: {reason}. It was probably cut short while "
            "copied, or holds something else; copy it again, or write it as .parquet."
        ) from error
    if not isinstance(result, pd.DataFrame):
        kind = getattr(result, "__name__", type(result).__name__)
        raise InputError(
            f"{path} holds no table but an object of type {kind}. Pickle a pandas DataFrame with "
            "one row per cell."
        )
    return result


class Record:
    """What a pickle asks for: written down, not done."""

    __slots__ = ("args", "state")
    pair: ClassVar[Pair]
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "Record":
        """Keep the arguments."""
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """The first pass."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path
        self._records: dict[Pair, type[Record]] = {}

    def find_class(self, module: str, name: str) -> type:
        """The record of a name in ``BUILDERS``; any other is refused."""
        pair = (module, name)
        if pair == ("collections", "OrderedDict"):  # filled by the pickle itself
            return OrderedDict
        if pair not in BUILDERS:
            raise InputError(
                f"{self._path} asks for {module}.{name}, which a table of plain columns does not "
                "need and which could run a program. Nothing of it was run. If you trust the file, "
                "open it where it was made and write it as .parquet or .csv."
            )
        if pair not in self._records:
            self._records[pair] = type(name, (Record,), {"__slots__": (), "pair": pair})
        return self._records[pair]


def _build(node: Any, built: dict[int, Any]) -> Any:
    """The second pass: what a record stands for; what occurs twice is built once."""
    if type(node) in PLAIN:
        return node
    if id(node) not in built:
        built[id(node)] = _built(node, built)
    return built[id(node)]


def _built(node: Any, built: dict[int, Any]) -> Any:
    if isinstance(node, Record):
        args = _all(node.args, built)
        return BUILDERS[node.pair](_build(node.state, built), *args)
    if isinstance(node, type):  # a name that is used without being called
        return pd.NA if getattr(node, "pair", None) == NOT_AVAILABLE else node
    if isinstance(node, list | tuple | set | frozenset):
        return type(node)(_all(node, built))
    if isinstance(node, dict):
        return dict(zip(_all(node, built), _all(node.values(), built), strict=True))
    raise TypeError(f"it holds an object of type {type(node).__name__}")


def _all(nodes: Iterable[Any], built: dict[int, Any]) -> Iterable[Any]:
    """Each of them built; the same ones where all are plain, as the texts of a column are."""
    return nodes if set(map(type, nodes)) <= PLAIN else [_build(node, built) for node in nodes]


def _encoded(_: Any, text: str, encoding: str) -> bytes:
    """Bytes, as protocol 2 writes them."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes are encoded as {encoding}")
    return text.encode("latin-1")


def _dtype(state: Any, code: str, *_: Any) -> np.dtype:
    """A plain data type; its state is read for byte order and unit of time alone."""
    if not (isinstance(code, str) and CODES.fullmatch(code)):
        raise ValueError(f"it holds an array of type {code}")
    if code[0] in "mM":
        unit, number = state[8][1][:2]
        code = f"{code[0]}8[{int(number)}{unit.decode('ascii')}]"
    return np.dtype(code).newbyteorder(state[1] if state else "=")


def _array(content: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    if dtype.hasobject:
        if not isinstance(content, list):
            raise TypeError("an array of objects has no list of them")
        values = np.fromiter(content, dtype=object, count=len(content))
    elif dtype.kind == "b":
        values = np.frombuffer(content, np.uint8) != 0
    else:
        values = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
    return values.reshape(shape, order="F" if order == "F" else "C")


def _array_of_state(state: Any, *_: Any) -> np.ndarray:
    """As ``ndarray.__reduce__`` writes it."""
    _version, shape, dtype, by_column, content = state
    return _array(content, dtype, shape, "F" if by_column else "C")


def _array_of_buffer(_: Any, content: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    """As protocol 5 writes it."""
    return _array(content, dtype, shape, order)


def _backed(state: Any, kind: type[Record], _checksum: Any, inline: Any = None) -> Any:
    """A categorical, times, or text: an array beside a data type."""
    first, second = (inline if state is None else state)[:2]
    values, dtype = (first, second) if isinstance(first, np.ndarray) else (second, first)
    if kind.pair[1] == "Categorical":
        return pd.Categorical.from_codes(values, dtype=dtype)
    if kind.pair[1] in TEXT:
        return _rows(values, lambda row: pd.array(row, dtype="string"))
    if isinstance(dtype, pd.DatetimeTZDtype):
        zone = _zone(dtype.tz)
        return _rows(values, lambda row: pd.DatetimeIndex(row, tz="UTC").tz_convert(zone))
    return values


def _rows(values: np.ndarray, made: Callable[[np.ndarray], Any]) -> Any:
    """An array, or one for each row of a block."""
    return [made(row) for row in values] if values.ndim == 2 else made(values)


def _arrow_text(_: Any, parts: Any) -> Any:
    """Text of an Arrow array, of which every offset is checked."""
    import pyarrow as pa

    kind, length, n_missing, offset, buffers, children, dictionary = parts
    if kind not in ("string", "large_string") or children or dictionary is not None:
        raise TypeError(f"it holds an Arrow array of type {kind}")
    stored = [None if buffer is None else pa.py_buffer(buffer) for buffer in buffers]
    text = pa.Array.from_buffers(pa.type_for_alias(kind), length, stored, n_missing, offset)
    text.validate(full=True)
    return pd.array(text.to_numpy(zero_copy_only=False), dtype="string")


def _index(_: Any, kind: type[Record], parts: dict[str, Any]) -> pd.Index:
    """An index of any kind."""
    name = kind.pair[1]
    if name == "RangeIndex":
        return pd.RangeIndex(parts["start"], parts["stop"], parts["step"], name=parts["name"])
    if name == "MultiIndex":
        return pd.MultiIndex(parts["levels"], parts["codes"], names=parts["names"])
    if name == "IntervalIndex":
        sides = parts["left"], parts["right"], parts["closed"]
        return pd.IntervalIndex.from_arrays(*sides, name=parts["name"])
    return pd.Index(parts["data"], dtype=parts["data"].dtype, name=parts["name"])


def _table(_: Any, blocks: Any, axes: Any) -> pd.DataFrame:
    """Blocks of columns put side by side."""
    names, index = axes
    columns: dict[int, pd.Series] = {}
    for values, places in blocks:
        several = isinstance(values, list) or getattr(values, "ndim", 1) == 2
        parts = values if several else [values]
        for place, column in zip(np.arange(len(names))[places], parts, strict=True):
            columns[int(place)] = pd.Series(column, index=index, dtype=column.dtype)
    if len(columns) != len(names):
        raise ValueError(f"it names {len(names)} columns and holds {len(columns)}")
    frame = pd.DataFrame({i: columns[i] for i in range(len(names))}, index=index)
    return frame.set_axis(names, axis=1)


def _series(state: Any) -> pd.Series:
    index, values = state["_mgr"]
    return pd.Series(values, index=index, name=state["_name"])


def _scalar(_: Any, dtype: np.dtype, content: bytes) -> Any:
    return _array(content, dtype, (1,), "C")[0]


def _timestamp(_: Any, value: int, _freq: Any, tz: Any, unit: int = 10) -> pd.Timestamp:
    moment = pd.Timestamp(np.datetime64(value, UNITS[unit]))
    return moment if tz is None else moment.tz_localize("UTC").tz_convert(_zone(tz))


def _timedelta(_: Any, value: int, unit: int = 10) -> pd.Timedelta:
    return pd.Timedelta(np.timedelta64(value, UNITS[unit]))


def _zone(tz: Any) -> datetime.tzinfo:
    """A time zone that was built here, and no text, which could name any file."""
    if not isinstance(tz, datetime.tzinfo):
        raise TypeError(f"it has a time zone of type {type(tz).__name__}")
    return tz


def _nothing(_: Any, *args: Any) -> None:
    """For what tables name, and what says nothing that is needed."""


def _called(made: Builder) -> Builder:
    return lambda _, *args: made(*args)


def _masked(kind: type) -> Builder:
    return lambda state: kind(state["_data"], state["_mask"])


NOT_AVAILABLE = ("pandas._libs.missing", "NA")

# What each name builds, by the module that it stands in.
_MULTIARRAY: dict[str, Builder] = {"_reconstruct": _array_of_state, "scalar": _scalar}
_NUMERIC: dict[str, Builder] = {"_frombuffer": _array_of_buffer}
_BUILTINS = {t.__name__: _called(t) for t in (slice, set, frozenset, complex)} | {
    "bytearray": _called(lambda content: bytes(memoryview(content))),
    "bytes": _called(lambda: b""),  # protocol 2 calls it for no bytes at all
}
_TIMES = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone)
_INTEGERS = [f"{sign}nt{bits}Dtype" for sign in ("I", "UI") for bits in (8, 16, 32, 64)]
_OTHERS: dict[str, dict[str, Builder]] = {
    "numpy": {"dtype": _dtype, "ndarray": _nothing},
    "numpy.core.multiarray": _MULTIARRAY,
    "numpy._core.multiarray": _MULTIARRAY,
    "numpy.core.numeric": _NUMERIC,
    "numpy._core.numeric": _NUMERIC,
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "_codecs": {"encode": _encoded},
    "datetime": {t.__name__: _called(t) for t in _TIMES},
    "pytz": {"_UTC": _called(lambda: datetime.UTC)},
    "pyarrow.lib": {
        "_restore_array": _arrow_text,
        "py_buffer": _called(lambda content: content),
        "type_for_alias": _called(lambda name: name),
    },
    "pandas._libs.arrays": {"__pyx_unpickle_NDArrayBacked": _backed},
    "pandas._libs.internals": {"_unpickle_block": _called(lambda *parts: parts[:2])},
    "pandas._libs.missing": {"NA": _nothing},
    "pandas._libs.tslibs.nattype": {"__nat_unpickle": _called(lambda _: pd.NaT)},
    "pandas._libs.tslibs.timestamps": {"_unpickle_timestamp": _timestamp},
    "pandas._libs.tslibs.timedeltas": {"_timedelta_unpickle": _timedelta},
    "pandas.core.indexes.base": {"_new_Index": _index},
    "pandas.core.indexes.datetimes": {"_new_DatetimeIndex": _index},
    "pandas.core.indexes.interval": {"_new_IntervalIndex": _index},
    "pandas.core.internals.managers": {
        "BlockManager": _table,
        "SingleBlockManager": lambda state: (state[0][0], state[1][0]),
    },
}
# Classes: pandas 3 says that they stand in ``pandas`` or ``pandas.arrays``.
_CLASSES: dict[str, dict[str, Builder]] = {
    "frame": {"DataFrame": lambda state: state["_mgr"]},
    "series": {"Series": _series},
    "indexes.base": {"Index": _nothing},
    "indexes.range": {"RangeIndex": _nothing},
    "indexes.category": {"CategoricalIndex": _nothing},
    "indexes.datetimes": {"DatetimeIndex": _nothing},
    "indexes.timedeltas": {"TimedeltaIndex": _nothing},
    "indexes.interval": {"IntervalIndex": _nothing},
    "indexes.multi": {"MultiIndex": _nothing},
    "indexes.numeric": dict.fromkeys(("Int64Index", "UInt64Index", "Float64Index"), _nothing),
    "dtypes.dtypes": {
        "CategoricalDtype": lambda state: pd.CategoricalDtype(**state),
        "DatetimeTZDtype": lambda state: pd.DatetimeTZDtype(state["unit"], _zone(state["tz"])),
    },
    "arrays.categorical": {"Categorical": _nothing},
    "arrays.datetimes": {"DatetimeArray": _nothing},
    "arrays.timedeltas": {"TimedeltaArray": _nothing},
    "arrays.string_": dict.fromkeys((*TEXT, "StringDtype"), _nothing),
    "arrays.string_arrow": dict.fromkeys(ARROW_TEXT, lambda state: state["_pa_array"]),
    "arrays.boolean": {"BooleanArray": _masked(pd.arrays.BooleanArray), "BooleanDtype": _nothing},
    "arrays.integer": {"IntegerArray": _masked(pd.arrays.IntegerArray)}
    | dict.fromkeys(_INTEGERS, _nothing),
    "arrays.floating": {"FloatingArray": _masked(pd.arrays.FloatingArray)}
    | dict.fromkeys(("Float32Dtype", "Float64Dtype"), _nothing),
}
BUILDERS: dict[Pair, Builder] = {
    (module, name): builder for module, names in _OTHERS.items() for name, builder in names.items()
} | {
    (module, name): builder
    for home, names in _CLASSES.items()
    for name, builder in names.items()
    for module in (f"pandas.core.{home}", "pandas", "pandas.arrays")
}
