"""Collects records cheaply and hands them on between nodes, from threads and worker processes."""

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from synthome.tracking.records import Record, dumps, loads


@runtime_checkable
class Sink(Protocol):
    """Where records end: MLflow in this process or in another one."""

    def write(self, records: Sequence[Record]) -> None:
        """Take records."""
        ...

    def close(self, status: str, *, wait: bool = True) -> bool:
        """End the run; whether it is kept, as far as ``wait`` lets it know."""
        ...


class Recorder:
    """A buffer in front of a sink.

    A forked worker process (ParallelRunner) inherits the recorder. It must not use the connection
    of its parent, so that it leaves its records in a folder, which the parent reads when it
    flushes.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._records: list[Record] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="synthome-"))

    @property
    def is_mine(self) -> bool:
        """Whether this process opened the run."""
        return os.getpid() == self._process

    def add(self, *records: Record) -> None:
        """Keep records until the next flush."""
        if self.is_mine:
            self._records.extend(records)  # a single step, safe between threads
            return
        with (self._folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(f"{dumps(record)}\n" for record in records)

    def flush(self) -> None:
        """Send what has been collected."""
        if not self.is_mine:
            return
        with self._lock:
            records, self._records = self._records, []
            records += self._from_workers()
            if records:
                self._sink.write(records)

    def close(self, status: str, *, wait: bool = True) -> bool:
        """Flush, and end the run; whether it is kept, as far as ``wait`` lets it know."""
        if not self.is_mine:
            return False
        self.flush()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._sink.close(status, wait=wait)

    def _from_workers(self) -> list[Record]:
        records = []
        for path in sorted(self._folder.glob("*.jsonl")):
            records += [loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            path.unlink()
        return records
