"""Starts a tracked run: in a helper process, or in this one when it has imported MLflow anyway."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import synthome
from synthome.errors import InputError
from synthome.tracking.config import check_server
from synthome.tracking.recorder import Sink
from synthome.tracking.records import Record, dumps

LOGGER = logging.getLogger(__name__)
ENDED = "The process that talks to MLflow ended before its time"
STOP_SECONDS = 60.0  # enough to import MLflow on a busy machine and write what is left


@dataclass(frozen=True)
class Opening:
    """What opens a run; the arguments of :func:`synthome.tracking.store.open_run`."""

    uri: str
    experiment: str
    artifacts: str
    name: str
    tags: dict[str, str]


class Helper:
    """A process that runs :mod:`synthome.tracking.helper`."""

    def __init__(self) -> None:
        source = str(Path(synthome.__file__).parents[1])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8")  # noqa: SIM115
        self._retired = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "synthome.tracking.helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )

    @property
    def is_free(self) -> bool:
        """Whether it can take another run."""
        return self._process.poll() is None and not self._retired

    def retire(self) -> None:
        """Take no other run."""
        self._retired = True

    def send(self, verb: str, content: Any) -> None:
        """Send one line; a process that is gone is noticed when it is asked for an answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{json.dumps([verb, content])}\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": f"{ENDED}{self._last_words()}."}

    def stop(self) -> None:
        """Let it finish, and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f" ({lines[-1]})" if lines else ""


class RemoteRun:
    """A run that a helper writes. A problem with its opening is told when it closes."""

    def __init__(self, helper: Helper, opening: Opening) -> None:
        self._helper = helper
        self._opened: dict[str, Any] | None = None
        helper.send("open", asdict(opening))

    def opened(self) -> dict[str, Any]:
        """Wait until MLflow has opened the run, or has said why not."""
        if self._opened is None:
            self._opened = self._helper.answer()
        return self._opened

    def write(self, records: Sequence[Record]) -> None:
        """Hand the records over, without waiting."""
        self._helper.send("write", [dumps(record) for record in records])

    def close(self, status: str, *, wait: bool = True) -> bool:
        """Wait until everything is written; whether the run is in MLflow.

        Without ``wait``, the helper finishes on its own, and takes no other run.
        """
        self._helper.send("close", status)
        if not wait:
            self._helper.retire()
            return False
        if "error" in self.opened():
            LOGGER.warning("This run is not tracked. %s", self.opened()["error"])
            return False
        answer = self._helper.answer()
        for problem in answer.get("problems", [answer.get("error")]):
            LOGGER.warning("%s", problem)
        return "error" not in answer


def start_run(opening: Opening, helper: Helper | None, *, required: bool) -> Sink | None:
    """Start a run.

    Parameters
    ----------
    opening
        Where and what.
    helper
        The process that shall write it; None for this process.
    required
        Whether the user has asked for this store: then a store that cannot be used stops
        everything here, before any work. The store that is there by default costs a warning.

    Raises
    ------
    InputError
        If ``required`` and the store cannot be used.
    """
    check_server(opening.uri)
    if helper is not None:
        run = RemoteRun(helper, opening)
        if required and "error" in run.opened():
            helper.send("close", "FAILED")
            helper.answer()
            raise InputError(run.opened()["error"])
        return run
    from synthome.tracking.store import open_run

    try:
        return open_run(**{**asdict(opening), "artifacts": Path(opening.artifacts)})
    except InputError as error:
        if required:
            raise
        LOGGER.warning("This run is not tracked. %s", error)
        return None
