"""The environment comes first, then the file, then SQLite at the root of the project."""

import socket
import time
from pathlib import Path

import pytest

from synthome.errors import InputError
from synthome.tracking.config import (
    TrackingConfig,
    check_server,
    experiment_name,
    is_enabled,
    is_required,
    tracking_uri,
)

PROJECT = Path("/project")


@pytest.mark.parametrize(
    ("configured", "environment", "expected"),
    [
        (None, "", "sqlite:////project/mlflow.db"),
        ("http://server:5000", "", "http://server:5000"),
        ("http://server:5000", "databricks", "databricks"),
        ("sqlite:///runs/all.db", "", "sqlite:////project/runs/all.db"),
        ("sqlite:////data/all.db", "", "sqlite:////data/all.db"),
    ],
)
def test_the_store_is_chosen_in_order(configured, environment, expected):
    environ = {"MLFLOW_TRACKING_URI": environment}
    assert tracking_uri(TrackingConfig(tracking_uri=configured), PROJECT, environ) == expected


@pytest.mark.parametrize("word", ["off", "OFF", "0", "false", "no"])
def test_a_word_switches_tracking_off(word):
    assert not is_enabled(TrackingConfig(), {"SYNTHOME_TRACKING": word})


@pytest.mark.parametrize("word", ["", "on", "1"])
def test_other_words_leave_it_to_the_file(word):
    assert is_enabled(TrackingConfig(), {"SYNTHOME_TRACKING": word})
    assert not is_enabled(TrackingConfig(enabled=False), {"SYNTHOME_TRACKING": word})


def test_the_experiment_is_chosen_in_order():
    assert experiment_name(TrackingConfig(), {}) == "synthome"
    assert experiment_name(TrackingConfig(experiment="a"), {"MLFLOW_EXPERIMENT_NAME": "b"}) == "b"


def test_a_store_that_somebody_has_named_is_required():
    assert not is_required(TrackingConfig(), {"MLFLOW_TRACKING_URI": " "})
    assert is_required(TrackingConfig(tracking_uri="sqlite:///x.db"), {})
    assert is_required(TrackingConfig(), {"MLFLOW_TRACKING_URI": "http://server"})


def test_nobody_at_the_door_is_told_within_seconds_without_the_password():
    start = time.monotonic()
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 does not answer.*=off"):
        check_server("http://user:secret@127.0.0.1:9")
    assert time.monotonic() - start < 6


def test_somebody_at_the_door_is_enough():
    """Whether it is MLflow is found out by MLflow."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_server(f"http://127.0.0.1:{server.getsockname()[1]}/path")
    check_server("sqlite:////nowhere/x.db")
    check_server("databricks")
