"""Facts of a run for its report: how it was called, with which versions; and ids to keep out."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anndata import AnnData

from synthome import __version__
from synthome.anndata_schema import group_key

PACKAGES = ("torch", "anndata", "scikit-learn", "numpy", "scipy", "kedro")


def run_facts(parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    """Command, parameters, versions and machine, in the form that ``render_report`` takes."""
    return {
        "command": command(),
        "parameters": parameters,
        "versions": {"Python": platform.python_version(), **_versions()},
        "seed": seed,
        "code_version": __version__,
        "machine": f"{os.cpu_count()} CPU cores",
    }


def command() -> str:
    """The `kedro` command that this process is, or nothing when it is another program."""
    program, *arguments = sys.argv or [""]
    return " ".join(["kedro", *arguments]) if Path(program).stem == "kedro" else ""


def identifiers(*cohorts: AnnData) -> set[str]:
    """Ids of samples, and of patients where a group column is known: never to be shown."""
    found: set[str] = set()
    for adata in cohorts:
        found |= set(map(str, adata.obs_names))
        key = group_key(adata)
        if key is not None and key in adata.obs:
            found |= set(map(str, adata.obs[key].dropna()))
    return found


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree without metadata
            continue
    return found
