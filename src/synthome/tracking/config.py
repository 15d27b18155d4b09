"""Where runs are tracked: an environment variable, else ``conf/<env>/mlflow.yml``, else SQLite."""

from collections.abc import Mapping
from pathlib import Path

from synthome.config import Config

SQLITE = "sqlite:///"
SWITCH = "SYNTHOME_TRACKING"  # environment variable: "off" runs without MLflow
OFF = frozenset({"off", "0", "false", "no"})


class TrackingConfig(Config):
    """Contents of ``mlflow.yml``.

    ``tracking_uri`` may be left out: the environment variable ``MLFLOW_TRACKING_URI`` comes first
    in any case, and ``mlflow.db`` at the root of the project last.
    """

    enabled: bool = True
    tracking_uri: str | None = None
    experiment: str = "synthome"


def is_enabled(config: TrackingConfig, environ: Mapping[str, str]) -> bool:
    """Whether runs are tracked: neither the file nor the environment has switched it off."""
    return config.enabled and environ.get(SWITCH, "").strip().lower() not in OFF


def tracking_uri(config: TrackingConfig, project: Path, environ: Mapping[str, str]) -> str:
    """Address of the MLflow store.

    A relative SQLite path from ``mlflow.yml`` counts from the project, not from the folder in
    which the command was typed, so that notebooks and scripts meet in one database.
    """
    if from_environment := environ.get("MLFLOW_TRACKING_URI", "").strip():
        return from_environment
    uri = config.tracking_uri or f"{SQLITE}mlflow.db"
    if uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/"):
        return f"{SQLITE}{(project / uri.removeprefix(SQLITE)).as_posix()}"
    return uri


def experiment_name(config: TrackingConfig, environ: Mapping[str, str]) -> str:
    """Name of the MLflow experiment; ``MLFLOW_EXPERIMENT_NAME`` comes first."""
    return environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or config.experiment
