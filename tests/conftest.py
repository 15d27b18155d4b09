"""A throw-away Kedro project around our hooks and command line, for tests of what surrounds a run.

It imports nothing of the real pipelines, so that these tests stay fast and point at the hooks.
"""

import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SRC = Path(__file__).parents[1] / "src"
CONF = Path(__file__).parents[1] / "conf"
NUMBER = count()

SETTINGS = """
from synthome.hooks import HOOKS as THEIRS
HOOKS = tuple(type(hook)() for hook in THEIRS)
CONFIG_LOADER_ARGS = {
    "base_env": "base", "default_run_env": "local", "merge_strategy": {"parameters": "soft"}
}
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-viz",)
"""

CLI = "from synthome.cli import *\nfrom synthome.cli import cli, __getattr__\n"

DATA = """
import json
from pathlib import Path
from kedro.io import AbstractDataset
import numpy as np
import pandas as pd
from anndata import AnnData

class SourceDataset(AbstractDataset):
    '''A cohort that is made up where it is read.'''
    def __init__(self, metadata=None):
        self.metadata = metadata
    def load(self):
        obs = pd.DataFrame(
            {"condition": ["healthy", "sick"] * 3, "age": range(6)},
            index=[f"s{i}" for i in range(6)],
        )
        x = np.arange(24, dtype=float).reshape(6, 4)
        facts = {"label_key": "condition", "scale": "counts", "source": "made up"}
        return AnnData(x, obs=obs, uns={"synthome": facts})
    def save(self, data):
        raise NotImplementedError
    def _describe(self):
        return {}
"""

REGISTRY = """
import errno, os, signal, time
import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import PositiveInt
from synthome.config import Config
from synthome.errors import InputError

class ModelConfig(Config):
    n_latent: PositiveInt = 8
    learning_rate: float = 1e-3
    seed: int = 0

def prepare(raw):
    return raw.to_df().assign(condition=raw.obs["condition"])

def train(cohort, config: ModelConfig, mode):
    if mode == "input_error":
        try:
            raise InputError("The column 'x' is not there. Name one that is.")
        except InputError as error:
            raise RuntimeError("could not train") from error
    if mode == "bug":
        return {}["nothing"]
    if mode == "disk_full":
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x.h5ad")
    if mode in ("sigint", "sigterm"):
        number = signal.SIGINT if mode == "sigint" else signal.SIGTERM
        os.kill(os.getpid(), number)
        time.sleep(5)
    history = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [3.0, 2.0, 1.0]})
    return {"latent": config.n_latent}, history

def score(weights):
    entry = {"value": 0.9, "interval": [0.8, 1.0], "floor": 0.1, "ceiling": 1.0, "cheat": 1.0}
    return {"fidelity/std_slope": entry, "utility/tstr_auc": {"value": 0.7}}, "<p>report</p>"

def system(name):
    return Pipeline(
        [
            Node(train, ["cohort", "params:model", "params:mode"], ["weights", "history"],
                 name="train"),
            Node(score, "weights", ["metrics", "report"], name="score"),
        ],
        namespace=name, inputs={"cohort"}, parameters={"params:mode"},
    )

def register_pipelines():
    shared = Pipeline([Node(prepare, "raw", "cohort", name="prepare")])
    return {
        "alpha": shared + system("alpha"),
        "scoring": system("alpha").only_nodes("alpha.score"),
        "both": shared + system("alpha") + system("beta"),
        "__default__": shared + system("alpha"),
    }
"""

CATALOG = """
raw:
  type: {package}.data.SourceDataset
  metadata: {{kedro-viz: {{layer: raw}}, mlflow: {{kind: input}}}}
cohort:
  type: pandas.CSVDataset
  filepath: ${{runtime_params:folder,data}}/cohort.csv
"{{system}}.weights":
  type: json.JSONDataset
  filepath: data/{{system}}/weights.json
  versioned: true
  metadata: {{mlflow: {{kind: artifact, folder: models}}}}
"{{system}}.history":
  type: pandas.CSVDataset
  filepath: data/{{system}}/history.csv
  metadata: {{mlflow: {{kind: history}}}}
"{{system}}.metrics":
  type: json.JSONDataset
  filepath: data/{{system}}/metrics.json
  metadata: {{kedro-viz: {{layer: reporting}}, mlflow: {{kind: metrics, folder: scores}}}}
"{{system}}.report":
  type: text.TextDataset
  filepath: data/{{system}}/report.html
  metadata: {{kedro-viz: {{layer: reporting}}, mlflow: {{kind: artifact, folder: report}}}}
"""

PARAMETERS = """
mode: ${runtime_params:mode,ok}
alpha: {model: {n_latent: 4, seed: 7}}
beta: {model: {n_latent: 5}}
"""


class ByFile(LoadScopeScheduling):
    """A file is run by one worker, so that its fixtures are made once.

    Whole pipelines share a finished run and what UMAP compiles, so that they stay together.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::")[0]
        whole = "tests/pipelines/" in path or path.endswith("plotting/test_embedding.py")
        return "pipelines" if whole else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Take the place of what ``--dist`` names."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@dataclass(frozen=True)
class TinyProject:
    """A project on disk."""

    path: Path
    package: str
    pages: list[list[str]] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    @property
    def tracking(self) -> str:
        """Address of its MLflow database."""
        return f"sqlite:///{self.path}/mlflow.db"

    def run(
        self,
        *pipelines: str,
        env: str | None = None,
        runner: Any = None,
        only: dict[str, Any] | None = None,
        **params: Any,
    ) -> list[str]:
        """Run in this process (``only`` some nodes); return the lines of the page."""
        from synthome.console.page import page

        session, paper = self.session(env, params), io.StringIO()
        try:
            with page(stream=paper):
                session.run(pipeline_names=list(pipelines) or None, runner=runner, **(only or {}))
        finally:
            self.pages.append(paper.getvalue().splitlines())
        return self.pages[-1]

    def session(self, env: str | None = None, params: dict[str, Any] | None = None) -> Any:
        """Open a session in this process."""
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(self.path)
        return KedroSession.create(self.path, env=env, runtime_params=params or None)

    def command(
        self, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Type a `kedro` command in a process of its own."""
        return subprocess.run(
            [Path(sys.executable).with_name("kedro"), *arguments],
            cwd=cwd or self.path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def tiny_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyProject]:
    """A fresh project, current folder and clean environment; tracking is off unless asked for."""
    project = _make(tmp_path / "project")
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    monkeypatch.setenv("SYNTHOME_TRACKING", "off")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "KEDRO_ENV", "SYNTHOME_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield project
    root.handlers, root.level = handlers, level
    for name in [name for name in sys.modules if name.split(".")[0] == project.package]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def empty_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An MLflow database without runs: MLflow takes seconds to make one, so that it is kept."""
    from mlflow.version import VERSION

    cache = getattr(request.config, "cache", None)  # may be switched off
    kept = cache.mkdir("mlflow") / f"{VERSION}.db" if cache is not None else None
    if kept is not None and kept.exists():
        return kept
    from synthome.tracking.store import MlflowClient, quiet

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with quiet():
        MlflowClient(f"sqlite:///{path}").search_experiments()
    if kept is None:
        return path
    whole = kept.with_suffix(f".{os.getpid()}")
    shutil.copy(path, whole)
    os.replace(whole, kept)
    return kept


@pytest.fixture
def tracked_project(
    tiny_project: TinyProject, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> TinyProject:
    """The same project, tracked in its own SQLite database."""
    monkeypatch.delenv("SYNTHOME_TRACKING")
    shutil.copy(empty_database, tiny_project.path / "mlflow.db")
    return tiny_project


def _make(path: Path) -> TinyProject:
    package = f"tiny_{os.getpid()}_{next(NUMBER)}"
    project = TinyProject(path, package)
    project.write(
        "pyproject.toml",
        f"""
        [tool.kedro]
        package_name = "{package}"
        project_name = "tiny"
        kedro_init_version = "1.7.0"
        source_dir = "src"
        """,
    )
    project.write(".telemetry", "consent: false\n")
    project.write("conf/local/.gitkeep", "")
    project.write("conf/logging.yml", (CONF / "logging.yml").read_text(encoding="utf-8"))
    project.write("conf/base/catalog.yml", CATALOG.format(package=package))
    project.write("conf/base/parameters.yml", PARAMETERS)
    project.write(f"src/{package}/__init__.py", "")
    project.write(f"src/{package}/settings.py", SETTINGS)
    project.write(f"src/{package}/cli.py", CLI)
    project.write(f"src/{package}/data.py", DATA)
    project.write(f"src/{package}/pipeline_registry.py", REGISTRY)
    return project
