"""MLflow in a process of its own, so that its two to five seconds of start-up are nobody's.

``python -m synthome.tracking.helper`` reads lines of JSON, ``[verb, content]``, and answers
``open`` and ``close`` with one line each. It imports MLflow while the run computes. When its input
ends without ``close``, the process that it works for is gone, and the run is marked as KILLED:
also when the kernel killed it because memory ran out.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from synthome.errors import InputError
from synthome.tracking.records import loads

Answer = Callable[[dict[str, Any]], None]


class Problems(logging.Handler):
    """Keeps warnings until the run ends, for the page of the other process."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.found.append(record.getMessage())


def serve(lines: Iterable[str], answer: Answer) -> None:
    """Obey ``lines`` until they end; one run at a time, any number one after another."""
    from synthome.tracking.store import TrackedRun, open_run

    run: TrackedRun | None = None
    problems = Problems()
    logger = logging.getLogger("synthome")
    logger.addHandler(problems)
    try:
        for line in lines:
            verb, content = json.loads(line)
            if verb == "open":
                try:
                    run = open_run(**{**content, "artifacts": Path(content["artifacts"])})
                except InputError as error:
                    answer({"error": str(error)})
                else:
                    answer({"run": run.run_id})
            elif verb == "write" and run is not None:
                run.write([loads(record) for record in content])
            elif verb == "close":
                if run is not None:
                    run.close(content)
                run = None
                answer({"problems": problems.found})
                problems.found = []
    finally:
        logger.removeHandler(problems)
        if run is not None:
            run.close("KILLED")


def main() -> None:
    """Serve standard input; nothing that a library prints can get between the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the other process
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:  # the other process never waits for MLflow to be imported
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    threading.Thread(target=read, daemon=True).start()
    serve(iter(lines.get, None), answer)


if __name__ == "__main__":
    main()
