"""One MLflow run for each ``kedro run``, filled by what the catalog's ``metadata`` asks for."""

import atexit
import logging
import os
import re
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from synthome.console.failures import explain, one_line, root_cause, validation_problems
from synthome.errors import InputError
from synthome.hooks.places import current_path, loaded_version, mlflow_metadata, plain_path
from synthome.tracking.config import (
    TrackingConfig,
    experiment_name,
    is_enabled,
    is_required,
    tracking_uri,
)
from synthome.tracking.describe import (
    command_line,
    context_tags,
    environment_tags,
    flatten,
    git_state,
    installed,
    run_name,
)
from synthome.tracking.inputs import describe_input
from synthome.tracking.launch import Helper, Opening, start_run
from synthome.tracking.recorder import Recorder
from synthome.tracking.records import (
    Artifact,
    Child,
    GeneratorModel,
    Instruction,
    Metrics,
    Params,
    Record,
    Tags,
    Text,
    history_points,
    metric_points,
)

LOGGER = logging.getLogger("synthome.run")
CONFIG_PATTERNS = ["mlflow*", "mlflow*/**"]
SLICES = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")
NEED_A_FILE = frozenset({"artifact", "model"})


class MlflowHooks:
    """Opens the run before the first node, and closes it whatever happens.

    FINISHED, or FAILED with the error as a tag; KILLED when the run was interrupted (Ctrl-C,
    SIGTERM) or abandoned in a notebook.
    """

    def __init__(self) -> None:
        self._config = TrackingConfig()
        self._project = Path.cwd()
        self._recorder: Recorder | None = None
        self._plan = Plan({})
        self._name = ""
        self._seen: set[str] = set()
        self._where = ""
        self._helper: Helper | None = None
        self._sigterm: Any = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read ``mlflow.yml``."""
        self._close("KILLED")  # a run before this one in the same process that was interrupted
        self._project = Path(context.project_path)
        self._config = _read_config(context.config_loader)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Open the run. A store that the user has named and that is not there stops all here."""
        self._close("KILLED")
        self._plan, self._seen = read_plan(pipeline, catalog), set()
        if not is_enabled(self._config, os.environ):
            return
        packages = installed()
        params = _params(run_params, pipeline, catalog)
        sliced = any(run_params.get(key) for key in SLICES)
        pipelines = list(run_params.get("pipeline_names") or [])
        self._name = run_name(pipelines, run_params.get("env"), params, partial=sliced)
        experiment = experiment_name(self._config, os.environ)
        tags = _tags(run_params, self._project) | environment_tags(packages)
        opening = Opening(
            uri=tracking_uri(self._config, self._project, os.environ),
            experiment=experiment,
            artifacts=str(self._project / "mlruns"),
            name=self._name,
            tags=tags,
        )
        required = is_required(self._config, os.environ)
        run = start_run(opening, self._helper_process(), required=required)
        if run is None:
            return
        self._where = f"experiment {experiment!r}, run {self._name!r}"
        self._recorder = Recorder(run)
        self._guard()
        listing = "".join(f"{name}=={version}\n" for name, version in packages.items())
        self._recorder.add(Params(params), Text(listing, "environment/packages.txt"))
        self._recorder.flush()

    @hook_impl(tryfirst=True)
    def before_dataset_loaded(self) -> None:
        """Send what the node before has left, outside of the time of any node."""
        if self._recorder is not None:
            self._recorder.flush()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Record input data, and which version of a versioned dataset was read."""
        if self._recorder is None or dataset_name in self._seen:
            return
        self._seen.add(dataset_name)
        if dataset_name in self._plan.datasets:
            records = self._plan.records(dataset_name, data, loaded=True)
            self._recorder.add(*records)
        elif version := self._plan.version(dataset_name):
            self._recorder.add(Tags({f"loaded.{dataset_name}": version}))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Record what the catalog asks for."""
        if self._recorder is not None:
            self._seen.add(dataset_name)
            self._recorder.add(*self._plan.records(dataset_name, data, loaded=False))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the run and say where it is."""
        if self._recorder is not None and self._close("FINISHED"):
            LOGGER.info("Tracked in MLflow: %s.", self._where)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the run as failed."""
        if self._recorder is not None:
            reason = explain(error) or one_line(root_cause(error))
            self._recorder.add(Tags({"error": reason[:1000]}))
            self._close("FAILED")

    def _helper_process(self) -> Helper | None:
        """Start the process that talks to MLflow, unless this one has imported MLflow anyway."""
        if "mlflow" in sys.modules:
            return None
        if self._helper is None or not self._helper.is_free:
            self._helper = Helper()
            atexit.register(self._helper.stop)
        return self._helper

    def _close(self, status: str) -> bool:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return False
        if recorder.is_mine:
            self._unguard()
        return recorder.close(status, wait=status == "FINISHED")  # bad news come first

    def _guard(self) -> None:
        """See to it that an interrupted run does not look as if it were running for ever."""
        atexit.register(self._close, "KILLED")
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._sigterm = signal.signal(signal.SIGTERM, _exit_on_sigterm)

    def _unguard(self) -> None:
        atexit.unregister(self._close)
        if self._sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._sigterm)
            self._sigterm = None


def _exit_on_sigterm(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.exit(128 + signum)  # exit handlers run, unlike with the default action


@dataclass(frozen=True)
class Plan:
    """What the catalog asks for, known before the first node runs."""

    instructions: dict[str, list[Instruction]]
    datasets: dict[str, Any] = field(default_factory=dict)

    @property
    def several_systems(self) -> bool:
        """Whether metrics of more than one system go to this run, and need their name."""
        kinds = {"metrics", "history", "model"}
        named = {
            _system(name)
            for name, wanted in self.instructions.items()
            if any(instruction.kind in kinds for instruction in wanted)
        }
        return len(named) > 1

    def version(self, name: str) -> str | None:
        """Version of a dataset that was loaded."""
        return loaded_version(self.datasets[name]) if name in self.datasets else None

    def records(self, name: str, data: Any, *, loaded: bool) -> list[Record]:
        """Records of a dataset that was loaded or saved."""
        found: list[Record] = []
        dataset = self.datasets[name]
        if loaded and (version := loaded_version(dataset)):
            found.append(Tags({f"loaded.{name}": version}))
        for instruction in self.instructions.get(name, []):
            if instruction.kind == "input":
                path = plain_path(dataset)
                described = describe_input(name, data, str(path or ""))
                found += [described] if described is not None else []
            elif not loaded:
                found += self._output(name, data, instruction)
        return found

    def _output(self, name: str, data: Any, wanted: Instruction) -> list[Record]:
        system = _system(name)
        prefix = f"{system}/" if self.several_systems else ""
        path = current_path(self.datasets[name])
        file = [Artifact(str(path), f"{prefix}{wanted.folder}")] if path else []
        match wanted.kind:
            case "metrics":
                return [Metrics(metric_points(data, prefix), system), *file]
            case "history":
                points = history_points(data, f"{prefix}{wanted.folder or 'training'}/")
                return [Metrics(points, system)]
            case "model":
                model = f"{system}_" if self.several_systems else ""
                return [GeneratorModel(str(path), f"{model}{wanted.folder or 'generator'}", system)]
            case "children":
                return [_child(name, standing) for name, standing in data.items()]
            case _:
                return [*file]


def _child(name: str, standing: dict[str, Any]) -> Child:
    """A generator of the leaderboard: its options, its scores, how it ended."""
    reason = {"reason": standing["reason"]} if standing["reason"] else {}
    costs = {key: standing[key] for key in ("seconds", "seconds_wall", "peak_megabytes")}
    return Child(
        name=name,
        status="FAILED" if standing["status"] == "failed" else "FINISHED",
        params={"generator": standing["architecture"]} | flatten(standing["options"], "options"),
        tags={"status": standing["status"], "generator": name, **reason},
        points=metric_points(standing["metrics"] | costs),
    )


def read_plan(pipeline: Pipeline, catalog: DataCatalog) -> Plan:
    """Read the ``mlflow`` metadata of every dataset of ``pipeline``.

    Raises
    ------
    InputError
        If an entry of the catalog asks for something that does not exist.
    """
    instructions: dict[str, list[Instruction]] = {}
    datasets: dict[str, Any] = {}
    for name in sorted(pipeline.datasets()):
        if name.startswith("params:") or name == "parameters":
            continue
        dataset = catalog.get(name, fallback_to_runtime_pattern=True)
        datasets[name] = dataset
        try:
            instructions[name] = [
                Instruction.model_validate(wanted) for wanted in mlflow_metadata(dataset)
            ]
        except ValidationError as error:
            problems = " ".join(validation_problems(error, "metadata.mlflow", model=Instruction))
            raise InputError(f"Catalog entry {name!r}: {problems}") from error
        kinds = {instruction.kind for instruction in instructions[name]}
        if kinds & NEED_A_FILE and plain_path(dataset) is None:
            raise InputError(
                f"Catalog entry {name!r} asks MLflow for the {'/'.join(kinds & NEED_A_FILE)}, but "
                "its data are not in a local file. Give it a filepath, or take the metadata away."
            )
    return Plan(instructions, datasets)


def _read_config(loader: Any) -> TrackingConfig:
    loader.config_patterns.setdefault("mlflow", CONFIG_PATTERNS)
    try:
        return TrackingConfig.model_validate(loader["mlflow"] or {})
    except MissingConfigException:
        return TrackingConfig()
    except ValidationError as error:
        raise InputError(
            " ".join(validation_problems(error, "mlflow", model=TrackingConfig))
        ) from error


def _params(run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> dict[str, str]:
    """Every parameter that a node of this run takes, flat, and those of the command line."""
    flat: dict[str, str] = {}
    for name in sorted(pipeline.inputs()):
        if name == "parameters" or name.startswith("params:"):
            value = catalog.get(name)
            flat |= flatten(value.load() if value else None, name.partition(":")[2])
    runtime = run_params.get("runtime_params") or {}
    return flat | (flatten(runtime, "runtime") if runtime else {})


def _tags(run_params: dict[str, Any], project: Path) -> dict[str, str]:
    """What was run, of which code, how."""
    command = command_line(sys.argv)
    git = git_state(project)
    runner = re.search(r"(\w+Runner)", str(run_params.get("runner") or ""))
    sliced = {key: run_params[key] for key in SLICES if run_params.get(key)}
    tags = {
        **context_tags(os.environ),
        "mlflow.source.name": command,
        "mlflow.source.type": "LOCAL",
        "command": command,
        "kedro.session_id": str(run_params.get("run_id", "")),
        "kedro.env": str(run_params.get("env") or ""),
        "kedro.pipelines": ", ".join(run_params.get("pipeline_names") or ["__default__"]),
        "kedro.runner": runner.group(1) if runner else "SequentialRunner",
        "kedro.slice": "; ".join(f"{key}={_listed(value)}" for key, value in sliced.items()),
        **git,
    }
    if "git.commit" in git:
        tags["mlflow.source.git.commit"] = git["git.commit"]
        tags["mlflow.source.git.branch"] = git["git.branch"]
    return {key: value for key, value in tags.items() if value}


def _listed(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(map(str, value))


def _system(name: str) -> str:
    """Namespace of a dataset: ``rare_vae`` for ``rare_vae.metrics``."""
    return name.rpartition(".")[0]
