"""Records: what the hooks want tracked, as plain values that know nothing of MLflow or Kedro.

A record survives a trip through JSON, so that a worker process can leave its records in a file for
the process that talks to MLflow.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from synthome.config import Config
from synthome.tracking.describe import clean_name

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["metrics", "artifact", "history", "model", "input", "children"]
SIDES = ("floor", "ceiling", "cheat", "n")  # what stands beside a value, under `<key>.<side>`
STEP_COLUMNS = ("epoch", "step")


class Instruction(Config):
    """What the catalog asks for a dataset: ``metadata: {mlflow: {kind: artifact, folder: x}}``."""

    kind: Kind
    folder: str = ""


class Point(NamedTuple):
    """One value of one metric."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Params:
    """Parameters of the run, flat."""

    values: dict[str, str]


@dataclass(frozen=True)
class Tags:
    """Facts about the run."""

    values: dict[str, str]


@dataclass(frozen=True)
class Metrics:
    """Points of metrics; ``system`` is the namespace whose trained model they describe."""

    points: list[Point]
    system: str = ""


@dataclass(frozen=True)
class Artifact:
    """A file or folder to be copied into ``folder`` of the run."""

    path: str
    folder: str = ""


@dataclass(frozen=True)
class Text:
    """A text to be stored as the artifact ``name``."""

    text: str
    name: str


@dataclass(frozen=True)
class GeneratorModel:
    """A trained generator: a weights file that becomes an MLflow model."""

    path: str
    name: str
    system: str = ""


@dataclass(frozen=True)
class Input:
    """A data set that the run has read."""

    name: str
    digest: str
    source: str
    columns: dict[str, str] = field(default_factory=dict)  # name -> MLflow type
    profile: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Child:
    """A run of its own below the run, such as one of several methods that are compared."""

    name: str
    status: Literal["FINISHED", "FAILED"]
    params: dict[str, str]
    tags: dict[str, str]
    points: list[Point]


Record = Params | Tags | Metrics | Artifact | Text | GeneratorModel | Input | Child
TYPES: dict[str, type] = {cls.__name__: cls for cls in get_args(Record)}


def dumps(record: Record) -> str:
    """One line of JSON."""
    return json.dumps([type(record).__name__, asdict(record)])


def loads(line: str) -> Record:
    """Inverse of :func:`dumps`."""
    name, values = json.loads(line)
    if "points" in values:
        values["points"] = [Point(*point) for point in values["points"]]
    return TYPES[name](**values)


def metric_points(metrics: Mapping[str, Any], prefix: str = "") -> list[Point]:
    """Points of a ``metrics.json``: ``key`` for the value, ``key.floor``, ``key.low`` and so on.

    Entries are numbers, or mappings with ``value``, ``interval`` and the controls of
    :data:`SIDES`. What is not a number (None, a text) is left out; NaN and infinity too, for
    MLflow keeps them badly and the file itself is the record.
    """
    points = []
    for key, entry in metrics.items():
        name = f"{prefix}{key}"
        if not isinstance(entry, Mapping):
            points.append((name, entry))
            continue
        points.append((name, entry.get("value")))
        points += [(f"{name}.{side}", entry.get(side)) for side in SIDES]
        interval = entry.get("interval")
        if isinstance(interval, (list, tuple)) and len(interval) == 2:
            points += [(f"{name}.low", interval[0]), (f"{name}.high", interval[1])]
    return [Point(clean_name(name), float(value)) for name, value in points if _is_number(value)]


def history_points(history: "pd.DataFrame", prefix: str = "training/") -> list[Point]:
    """Points of a table with one row per epoch: each numeric column is a metric over the steps.

    The step is the column ``epoch`` or ``step``, else the row number.
    """
    named = next((name for name in STEP_COLUMNS if name in history.columns), None)
    steps = range(len(history)) if named is None else history[named].astype(int)
    return [
        Point(clean_name(f"{prefix}{column}"), float(value), int(step))
        for column in history.columns
        if column != named
        for step, value in zip(steps, history[column].tolist(), strict=True)
        if _is_number(value)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
