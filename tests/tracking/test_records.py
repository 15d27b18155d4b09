"""Records are what MLflow will show: which numbers, under which names, at which steps."""

import json

import numpy as np
import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric_name
from pydantic import ValidationError

from synthome.tracking.records import (
    Artifact,
    GeneratorModel,
    Input,
    Instruction,
    Metrics,
    Params,
    Point,
    Tags,
    Text,
    dumps,
    history_points,
    loads,
    metric_points,
)

METRICS = {
    "fidelity/std_slope": {
        "value": 0.93,
        "interval": [0.9, 0.96],
        "floor": 0.4,
        "ceiling": 1.0,
        "cheat": 1.0,
        "n": 5,
        "cheat_wins": True,
        "protocol": "strict",
    },
    "privacy/nearest_auc": {"value": None, "floor": float("nan"), "interval": None},
    "utility/tstr_auc": 0.8,
    "protocol": "strict",
}


def test_a_metric_stands_beside_its_controls_under_flat_names():
    """The key of metrics.json is the MLflow key; its controls sort right below it."""
    points = {point.key: point.value for point in metric_points(METRICS)}
    assert points == {
        "fidelity/std_slope": 0.93,
        "fidelity/std_slope.floor": 0.4,
        "fidelity/std_slope.ceiling": 1.0,
        "fidelity/std_slope.cheat": 1.0,
        "fidelity/std_slope.n": 5.0,
        "fidelity/std_slope.low": 0.9,
        "fidelity/std_slope.high": 0.96,
        "utility/tstr_auc": 0.8,
    }
    assert next(iter(points)) == "fidelity/std_slope"


def test_a_prefix_keeps_two_systems_apart():
    keys = {point.key for point in metric_points({"a/b": {"value": 1}}, "ldvae/")}
    assert keys == {"ldvae/a/b"}


def test_history_becomes_one_series_per_column_over_the_epochs():
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [3.0, 2.0, np.nan],
            "learning_rate": np.array([1e-3, 1e-3, 1e-4], dtype=np.float32),
            "best": [False, True, False],
            "note": ["a", "b", "c"],
        }
    )
    points = history_points(history)
    assert [p for p in points if p.key == "training/train_loss"] == [
        Point("training/train_loss", 3.0, 1),
        Point("training/train_loss", 2.0, 2),
    ]
    assert {p.key for p in points} == {"training/train_loss", "training/learning_rate"}
    assert {p.step for p in points} == {1, 2, 3}


@pytest.mark.parametrize("field", ["type × assay", "50 % dose", "a=b;c", "gène"])
def test_mlflow_takes_metrics_that_are_named_after_columns_of_a_user(field):
    """Of its own code: one name that it refuses loses all metrics that are sent with it."""
    history = pd.DataFrame({"epoch": [1], f"train_norm_{field}": [1.0]})
    (point,) = history_points(history)
    (other,) = metric_points({f"contexts/{field}": 1.0})
    for key in (point.key, other.key):
        _validate_metric_name(key)
    assert point.key.startswith("training/train_norm_")


def test_history_without_an_epoch_column_counts_its_rows():
    assert [p.step for p in history_points(pd.DataFrame({"loss": [1.0, 2.0]}))] == [0, 1]


@pytest.mark.parametrize(
    "record",
    [
        Params({"a": "1"}),
        Tags({"b": "2"}),
        Metrics([Point("a/b", 0.5, 3)], "rare_vae"),
        Artifact("/tmp/x", "figures"),
        Text("text", "name.txt"),
        GeneratorModel("/tmp/w", "generator", "rare_vae"),
        Input("bulk.raw", "ab12", "file", {"age": "double"}, {"n_obs": 3}),
    ],
)
def test_a_record_survives_json(record):
    """Worker processes hand their records over as lines of a file."""
    line = dumps(record)
    assert "\n" not in line
    assert json.loads(line)[0] == type(record).__name__
    assert loads(line) == record


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValidationError, match="metric"):
        Instruction.model_validate({"kind": "metric"})
