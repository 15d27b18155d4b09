"""Where runs are tracked: an environment variable, else ``conf/<env>/mlflow.yml``, else SQLite."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from synthome.config import Config
from synthome.errors import InputError

SQLITE = "sqlite:///"
SWITCH = "SYNTHOME_TRACKING"  # environment variable: "off" runs without MLflow
URI_VARIABLE = "MLFLOW_TRACKING_URI"
OFF = frozenset({"off", "0", "false", "no"})
PROBE_SECONDS = 5.0
WAYS_OUT = (
    "Start it, or unset MLFLOW_TRACKING_URI (and tracking_uri in mlflow.yml) to track in a local "
    f"file, or run without tracking: {SWITCH}=off."
)


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
    if from_environment := environ.get(URI_VARIABLE, "").strip():
        return from_environment
    uri = config.tracking_uri or f"{SQLITE}mlflow.db"
    if uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/"):
        return f"{SQLITE}{(project / uri.removeprefix(SQLITE)).as_posix()}"
    return uri


def experiment_name(config: TrackingConfig, environ: Mapping[str, str]) -> str:
    """Name of the MLflow experiment; ``MLFLOW_EXPERIMENT_NAME`` comes first."""
    return environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or config.experiment


def is_required(config: TrackingConfig, environ: Mapping[str, str]) -> bool:
    """Whether somebody has named the store, and will want to know that it cannot be used."""
    return bool(environ.get(URI_VARIABLE, "").strip() or config.tracking_uri)


def is_server(uri: str) -> bool:
    """Whether ``uri`` is that of a server, which keeps the artifacts in a place of its own."""
    return urlsplit(uri).scheme in {"http", "https"}


def without_password(uri: str) -> str:
    """``uri`` as it may be shown."""
    return re.sub(r"//[^/@]*@", "//", uri)


def check_server(uri: str) -> None:
    """Knock at the door of a server, for MLflow itself takes minutes to find it closed.

    Raises
    ------
    InputError
        If nobody answers.
    """
    if not is_server(uri):
        return
    parts = urlsplit(uri)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"The MLflow server {without_password(uri)} does not answer "
            f"({error.strerror or error}). {WAYS_OUT}"
        ) from error
