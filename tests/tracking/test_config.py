"""The environment comes first, then the file, then SQLite at the root of the project."""

from pathlib import Path

import pytest

from synthome.tracking.config import TrackingConfig, experiment_name, is_enabled, tracking_uri

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
