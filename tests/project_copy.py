"""A copy of the project in a temporary folder: runs write there and nowhere else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[1]
Run = Callable[..., Path]


def copy_project(folder: Path) -> Path:
    """Configuration and metadata are copied, the package is the installed one."""
    shutil.copytree(PROJECT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, folder)
    (folder / "src").mkdir()
    return folder


def run(
    project: Path,
    pipeline: str,
    env: str = "test",
    only: dict[str, Any] | None = None,
    **params: Any,
) -> Path:
    """Run one pipeline in process (``only`` some nodes); return the project's folder."""
    bootstrap_project(project)
    with KedroSession.create(project, env=env, runtime_params=params) as session:
        session.run(pipeline_names=[pipeline], **(only or {}))
    return project
