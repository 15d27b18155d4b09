"""Facts about a run: its name, code version, environment and parameters. Pure functions."""

import getpass
import json
import os
import platform
import re
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from synthome.errors import InputError

PACKAGES = ("synthome", "torch", "numpy", "pandas", "anndata", "scanpy", "scikit-learn", "kedro")
HOST, PROCESS = "host", "process"  # tags
NOT_ALLOWED = re.compile(r"[^\w\-. :/]")  # in the name of a parameter or metric of MLflow


def clean_name(name: str) -> str:
    """Replace what MLflow refuses in the name of a parameter or metric by an underscore."""
    return NOT_ALLOWED.sub("_", name)[:250]


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Flat parameters: ``{"model": {"n_latent": 10}}`` becomes ``{"model.n_latent": "10"}``.

    Config objects are dumped first; lists become JSON.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping) and value:
        flat: dict[str, str] = {}
        for key, item in value.items():
            flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
        return flat
    if isinstance(value, (Mapping, list, tuple)):
        return {clean_name(prefix): json.dumps(value, default=str)}
    return {clean_name(prefix): str(value)}


def run_name(
    pipelines: Sequence[str], env: str | None, params: Mapping[str, str], *, partial: bool = False
) -> str:
    """Return a name for people, such as ``rare_vae cohort seed=0``.

    Parameters
    ----------
    pipelines
        Names of the pipelines; none stands for the default pipeline.
    env
        Kedro environment; the plain ones are not worth a word.
    params
        Flat parameters; a seed that all of them share is worth a word.
    partial
        Whether only some nodes of the pipeline run.
    """
    names = [name.strip("_") for name in pipelines] or ["default"]
    words = ["+".join(names)]
    if env and env not in {"base", "local"}:
        words.append(env)
    seeds = {value for key, value in params.items() if key.rpartition(".")[2] == "seed"}
    if len(seeds) == 1:
        words.append(f"seed={seeds.pop()}")
    if partial:
        words.append("(part)")
    return " ".join(words)


def command_line(argv: Sequence[str]) -> str:
    """Return the command as it can be typed again, without the path of the program."""
    return shlex.join([Path(argv[0]).name, *argv[1:]]) if argv else ""


def git_state(project: Path) -> dict[str, str]:
    """Commit, branch and whether files differ from it; empty outside a repository."""
    commit = _git(project, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {
        "git.commit": commit,
        "git.branch": _git(project, "rev-parse", "--abbrev-ref", "HEAD"),
        "git.dirty": str(bool(_git(project, "status", "--porcelain"))).lower(),
    }


def _git(project: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # git is absent, or the disk very slow
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def installed() -> dict[str, str]:
    """Name and version of every installed package."""
    found: dict[str, str] = {}
    for distribution in distributions():
        # The folder carries both; reading each METADATA file would take ten times as long.
        folder = Path(getattr(distribution, "_path", "")).name
        match = re.fullmatch(r"(.+?)-([^-]+)\.(dist|egg)-info", folder)
        name, version = (
            match.group(1, 2) if match else (distribution.name or "", distribution.version or "")
        )
        found.setdefault(name.replace("_", "-").lower(), version)
    return dict(sorted(found.items()))


def context_tags(environ: Mapping[str, str]) -> dict[str, str]:
    """Tags that MLflow itself would give a run: the user, and those of ``MLFLOW_RUN_CONTEXT``.

    A sweep names its parent run in that variable. (MLflow's own function for this imports IPython.)
    """
    try:
        tags = {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a container without a user name
        tags = {}
    try:
        given = json.loads(environ.get("MLFLOW_RUN_CONTEXT", "") or "{}")
    except json.JSONDecodeError as error:
        raise InputError(
            f'MLFLOW_RUN_CONTEXT must hold JSON, such as \'{{"mlflow.parentRunId": "..."}}\', but '
            f"it is {environ['MLFLOW_RUN_CONTEXT']!r}."
        ) from error
    return tags | {str(key): str(value) for key, value in given.items()}


def environment_tags(packages: Mapping[str, str]) -> dict[str, str]:
    """Machine, process, Python, and the versions of the packages that decide numbers."""
    versions = {f"version.{name}": packages[name] for name in PACKAGES if name in packages}
    return {
        HOST: socket.gethostname(),
        PROCESS: str(os.getpid()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **versions,
    }
