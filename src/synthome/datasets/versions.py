"""Old versions removed: every run leaves one, and nothing else takes them away."""

import re
import shutil
from pathlib import Path

from synthome.errors import InputError

VERSIONS = "versions"
TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}\.\d{2}\.\d{2}\.\d{3}Z")


def prune_versions(folder: str | Path, keep: int) -> list[Path]:
    """Remove all but the newest ``keep`` versions in each folder ``versions`` below ``folder``.

    Parameters
    ----------
    folder
        Where to look, with everything below it: ``data``, or ``data/06_models/rare_vae``.
    keep
        How many to keep, at least 1. Plain files beside ``versions`` are never touched, and
        neither is a folder whose name is no time stamp of Kedro.

    Returns
    -------
    The folders removed.
    """
    if keep < 1:
        raise InputError(f"keep={keep}: at least one version has to stay.")
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is not a folder. Give the folder whose versions shall be pruned.")
    removed = []
    for versions in sorted(path for path in root.rglob(VERSIONS) if path.is_dir()):
        stamped = sorted(
            path for path in versions.iterdir() if path.is_dir() and TIMESTAMP.fullmatch(path.name)
        )
        for old in stamped[:-keep]:
            shutil.rmtree(old)
            removed.append(old)
    return removed
