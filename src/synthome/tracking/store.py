"""The one module that talks to MLflow; importing it imports MLflow (two seconds)."""

import json
import logging
import os
import re
import socket
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

# MLflow reads these while it is imported. A setting of the user comes first.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # its migrations and greetings
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a dead server costs seconds, not minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}
for _key, _value in _SETTINGS.items():
    os.environ.setdefault(_key, _value)
for _name in ("alembic", "mlflow.store.db"):  # the same, when MLflow was imported before
    logging.getLogger(_name).setLevel(logging.WARNING)

import mlflow  # noqa: E402  (the environment comes first)
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException  # noqa: E402

from synthome.errors import InputError  # noqa: E402
from synthome.tracking.config import (  # noqa: E402
    SQLITE,
    WAYS_OUT,
    is_server,
    without_password,
)
from synthome.tracking.describe import HOST, PROCESS  # noqa: E402
from synthome.tracking.records import (  # noqa: E402
    Artifact,
    Child,
    GeneratorModel,
    Input,
    Metrics,
    Params,
    Record,
    Tags,
    Text,
)

T = TypeVar("T")

LOGGER = logging.getLogger(__name__)
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100  # of one request
PARENT = "mlflow.parentRunId"
INHERITED = ("mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit")
MAX_PARAM, MAX_TAG = 6000, 8000  # characters of one value


class TrackedRun:
    """One MLflow run; every call names the run, so that any thread may write."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.experiment_id = experiment_id
        self._models: dict[str, str] = {}  # system -> id of its logged model
        self._warned = False

    def write(self, records: Sequence[Record]) -> None:
        """Send records. What cannot be sent is told once, and never stops the run."""
        for record in records:
            try:
                self._write_one(record)
            except Exception as error:
                level = logging.DEBUG if self._warned else logging.WARNING
                LOGGER.log(
                    level,
                    "Part of this run could not be tracked in MLflow (%s: %s). The run goes on; "
                    "its outputs on disk are complete.",
                    type(record).__name__.lower(),
                    _first_line(error),
                )
                self._warned = True

    def close(self, status: str, *, wait: bool = True) -> bool:  # noqa: ARG002
        """End the run as FINISHED, FAILED or KILLED; whether MLflow has taken note."""
        try:
            self.client.set_terminated(self.run_id, status)
        except Exception as error:
            LOGGER.warning("MLflow could not be told that the run ended: %s", _first_line(error))
            return False
        return True

    def _write_one(self, record: Record) -> None:
        match record:
            case Params():
                self._write_params(record.values)
            case Tags():
                tags = [RunTag(key, value[:MAX_TAG]) for key, value in record.values.items()]
                for some in _batches(tags, MAX_TAGS):
                    self.client.log_batch(self.run_id, tags=some)
            case Metrics():
                self._write_metrics(record)
            case Artifact() if Path(record.path).is_dir():
                folder = "/".join(filter(None, (record.folder, Path(record.path).name)))
                self.client.log_artifacts(self.run_id, record.path, folder)
            case Artifact():
                self.client.log_artifact(self.run_id, record.path, record.folder or None)
            case Text():
                self.client.log_text(self.run_id, record.text, record.name)
            case Input():
                self._write_input(record)
            case Child():
                self._write_child(record)
            case GeneratorModel():
                from synthome.tracking.model import log_generator

                self._models[record.system] = log_generator(
                    self.client, self.run_id, self.experiment_id, Path(record.path), record.name
                )

    def _write_params(self, values: Mapping[str, str]) -> None:
        params = []
        for key, value in values.items():
            if len(value) > MAX_PARAM:
                name = f"parameters/{re.sub(r'[^0-9A-Za-z_.-]', '_', key)}.txt"
                self.client.log_text(self.run_id, value, name)
                value = f"see artifact {name}"
            params.append(Param(key, value))
        for some in _batches(params, MAX_PARAMS):
            self.client.log_batch(self.run_id, params=some)

    def _write_metrics(self, record: Metrics) -> None:
        now, model = int(time.time() * 1000), self._models.get(record.system)
        metrics = [
            Metric(key, value, now, step, model_id=model) for key, value, step in record.points
        ]
        for some in _batches(metrics, MAX_METRICS):
            self.client.log_batch(self.run_id, metrics=some)

    def _write_child(self, record: Child) -> None:
        """A run below this one, complete at once; the UI nests it by the tag of its parent."""
        own = self.client.get_run(self.run_id).data.tags
        tags = {key: own[key] for key in INHERITED if key in own} | record.tags
        run = self.client.create_run(
            self.experiment_id,
            run_name=record.name,
            tags={key: value[:MAX_TAG] for key, value in tags.items()} | {PARENT: self.run_id},
        )
        child = TrackedRun(self.client, run.info.run_id, self.experiment_id)
        child._write_params(record.params)
        child._write_metrics(Metrics(record.points))
        child.close(record.status)

    def _write_input(self, record: Input) -> None:
        columns = [{"name": name, "type": kind} for name, kind in record.columns.items()]
        dataset = Dataset(
            name=record.name,
            digest=record.digest,
            source_type="local",
            source=json.dumps({"uri": record.source}),
            schema=json.dumps({"mlflow_colspec": columns}) if columns else None,
            profile=json.dumps(record.profile, default=str),
        )
        context = InputTag("mlflow.data.context", "input")
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [context])])


def open_run(
    uri: str, experiment: str, artifacts: Path, name: str, tags: Mapping[str, str]
) -> TrackedRun:
    """Start a run, and the experiment when it is new.

    Parameters
    ----------
    uri
        Address of the store.
    experiment
        Its name.
    artifacts
        Folder for the files of a new experiment in a local store; a server knows its own.
    name, tags
        Of the run.

    Raises
    ------
    InputError
        If the store does not answer or refuses: better now than after hours of training.
    """
    try:
        with quiet():
            client = MlflowClient(uri)
            experiment_id = _experiment(client, uri, experiment, artifacts)
            _close_abandoned(client, uri, experiment_id)
            short = {key: value[:MAX_TAG] for key, value in tags.items()}
            run = client.create_run(experiment_id, run_name=name, tags=short)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"MLflow at {without_password(uri)} cannot be used: {_first_line(error)} {WAYS_OUT}"
        ) from error
    return TrackedRun(client, run.info.run_id, experiment_id)


def _experiment(client: MlflowClient, uri: str, name: str, artifacts: Path) -> str:
    for _attempt in range(2):
        found = client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise InputError(
                f"The MLflow experiment {name!r} was deleted. Restore it with `mlflow experiments "
                f"restore --experiment-id {found.experiment_id}`, or choose another name with "
                "MLFLOW_EXPERIMENT_NAME or in conf/base/mlflow.yml."
            )
        if found is not None:
            return found.experiment_id
        location = None if is_server(uri) else artifacts.absolute().as_uri()
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:  # another run made it a moment ago
            continue
    raise InputError(f"The MLflow experiment {name!r} can be neither found nor created.")


def _close_abandoned(client: MlflowClient, uri: str, experiment_id: str) -> None:
    """End the runs of this machine whose process is gone: no handler runs when memory runs out."""
    if not uri.startswith(SQLITE):
        return
    mine = f"attributes.status = 'RUNNING' and tags.{HOST} = '{socket.gethostname()}'"
    for run in client.search_runs([experiment_id], mine):
        process = run.data.tags.get(PROCESS, "")
        if process.isdigit() and not _is_alive(int(process)):
            client.set_terminated(run.info.run_id, "KILLED")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, but belongs to somebody else
        return True
    return True


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return without_password(text[0] if text else type(error).__name__)[:300]


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@contextmanager
def current_store(uri: str) -> Iterator[None]:
    """Make ``uri`` the store of MLflow's global functions, for a while.

    For longer it would stay in the environment, and look like a wish of the user.
    """
    before: Any = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of MLflow: advice to the author of a model, and its own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
