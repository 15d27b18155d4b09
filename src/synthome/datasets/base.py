"""The dataset that all files of a run are written by: whole, versioned, and at a plain path.

A versioned file lives at ``<folder>/versions/<version>/<name>``, and ``<folder>/<name>`` is the
newest of them (a hard link where the file system has those, so that it costs no space). A path in
the documentation can therefore always be opened, and ``--load-versions`` still finds the others.
"""

import os
import secrets
import shutil
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from kedro.io.core import AbstractVersionedDataset, Version, VersionNotFoundError

from synthome.datasets.versions import VERSIONS
from synthome.errors import InputError
from synthome.ingestion.atomic import atomic_write

T = TypeVar("T")
L = TypeVar("L")


class AtomicDataset(AbstractVersionedDataset[T, L], Generic[T, L]):
    """Reads and writes one file; a subclass says how in ``_read`` and ``_write``.

    Parameters
    ----------
    filepath
        The plain path.
    version
        Given by Kedro when the catalog says ``versioned: true``.
    metadata
        For Kedro-Viz and MLflow; not used here.
    """

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(PurePosixPath(Path(filepath).as_posix()), version)
        self.metadata = metadata

    @abstractmethod
    def _write(self, data: T, path: Path) -> None:
        """Write ``data`` to ``path``, which is a temporary file."""

    @abstractmethod
    def _read(self, path: Path) -> L:
        """Read what ``_write`` wrote."""

    def save(self, data: T) -> None:
        """Write a new version, then let the plain path show it."""
        path = Path(self._get_save_path())
        if self._version and Path(self._filepath).is_dir():
            raise InputError(
                f"{self._filepath} is a folder, where the newest version shall stand as a file "
                "(an older layout kept versions in it). Move the folder away and run again."
            )
        with atomic_write(path) as temporary:
            self._write(data, temporary)
        if self._version:
            publish(path, Path(self._filepath))

    def load(self) -> L:
        """Read the version asked for: this run's own, else the newest."""
        return self._read(self.existing_path())

    def existing_path(self) -> Path:
        """The file that a load reads.

        Raises
        ------
        InputError
            If it does not exist.
        """
        with suppress(VersionNotFoundError):
            path = Path(self._get_load_path())
            if path.is_file():
                return path
        asked = self._version.load if self._version else None
        raise InputError(
            f"{self._filepath} does not exist"
            + (f" in version {asked}" if asked else "")
            + ". Run the pipeline that makes it first"
            + (", or ask for a version that exists: " + self._some_versions() if asked else "")
            + "."
        )

    def _get_versioned_path(self, version: str) -> PurePosixPath:
        """``<folder>/versions/<version>/<name>``, with Kedro's own check of the version."""
        name = super()._get_versioned_path(version)
        return self._filepath.parent / VERSIONS / name.parent.name / name.name

    def _get_load_path(self) -> PurePosixPath:
        """As Kedro does; a plain file without any version (copied there by hand) counts too."""
        try:
            return super()._get_load_path()
        except VersionNotFoundError:
            if Path(self._filepath).is_file():
                return self._filepath
            raise

    def _get_versions(self) -> list[str]:
        """Paths of the versions on disk, newest first; special signs in folder names are plain."""
        folder = Path(self._filepath.parent / VERSIONS)
        if not folder.is_dir():
            return []
        names = sorted((path.name for path in folder.iterdir() if path.is_dir()), reverse=True)
        paths = [self._get_versioned_path(name) for name in names]
        return [str(path) for path in paths if Path(path).is_file()]

    def _fetch_latest_load_version(self) -> str:
        """The version that this run wrote, once it has; before that the newest.

        Kedro takes the newest on disk, which may be that of another run going on beside this one.
        """
        own = self._version.save if self._version else None
        if own and Path(self._get_versioned_path(own)).is_file():
            return str(own)
        self._cached_load_version = None  # a version may have come since
        return str(super()._fetch_latest_load_version())

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _some_versions(self) -> str:
        names = [Path(path).parent.name for path in self._get_versions()[:3]]
        return ", ".join(names) or "there is none"

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}


def publish(version: Path, plain: Path) -> None:
    """Let ``plain`` show ``version``: by a hard link, else by a copy, in one step."""
    link = plain.with_name(f".{plain.stem}.{secrets.token_hex(6)}.tmp{plain.suffix}")
    try:
        os.link(version, link)
    except OSError:
        with atomic_write(plain) as temporary:
            shutil.copyfile(version, temporary)
        return
    try:
        os.replace(link, plain)
    finally:
        link.unlink(missing_ok=True)  # still there when both names were one file already
