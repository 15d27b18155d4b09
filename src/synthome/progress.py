"""Progress of a long loop: a bar in a terminal, a few plain lines elsewhere, nothing when short.

::

    for fold in progress(folds, "scoring"):
        ...

    with progress(config.max_epochs, "fitting") as epochs:  # `with` when the loop may break
        for epoch in epochs:
            epochs.note(f"loss {loss:.4f}")
            if patience_is_over:
                break

A terminal sees a bar that vanishes when the loop ends. A log file sees at most one line each ten
seconds and one at the end. A loop that is over within two seconds leaves no trace in either.
"""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

LOGGER = logging.getLogger(__name__)
QUIET_SECONDS = 2.0  # a loop shorter than this is not worth a word
LINE_SECONDS = 10.0  # between two plain lines


@runtime_checkable
class Stream(Protocol):
    """What a terminal, a file and a buffer in a test have in common."""

    def write(self, text: str, /) -> int: ...  # noqa: D102
    def flush(self) -> None: ...  # noqa: D102
    def isatty(self) -> bool: ...  # noqa: D102


def duration(seconds: float) -> str:
    """Return a time span for people: ``0.4 s``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


class Progress(Generic[T]):
    """One loop and how far it is; made by :func:`progress`."""

    def __init__(
        self,
        items: Iterable[T],
        description: str,
        total: int | None,
        stream: Stream,
        clock: Callable[[], float],
    ) -> None:
        self._items = items
        self._description = description
        self._total = total
        self._stream = stream
        self._clock = clock
        self._note = ""
        self._done = 0
        self._start = self._last_line = clock()
        self._bar: tqdm | None = None
        self._entered = False

    def __enter__(self) -> Self:
        self._entered = True
        self._start = self._last_line = self._clock()
        if self._stream.isatty():
            self._bar = _bar(self._description, self._total, self._stream)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif exc_type is None and self._elapsed() >= QUIET_SECONDS:
            self._log(f"{self._count()} in {duration(self._elapsed())}")

    def __iter__(self) -> Iterator[T]:
        if self._entered:
            yield from self._advancing()
        else:
            with self:
                yield from self._advancing()

    def _advancing(self) -> Iterator[T]:
        for item in self._items:
            yield item
            self.advance()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps as done, and show it when it is time to."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
            return
        now = self._clock()
        if now - self._last_line >= LINE_SECONDS and self._done != self._total:
            self._last_line = now
            self._log(f"{self._count()}, {duration(self._elapsed())}{self._time_left()}")

    def note(self, text: str) -> None:
        """Show ``text``, such as the current loss, behind the count."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def _elapsed(self) -> float:
        return self._clock() - self._start

    def _count(self) -> str:
        return f"{self._done}" if self._total is None else f"{self._done} of {self._total}"

    def _time_left(self) -> str:
        if not self._total or not self._done:
            return ""
        left = self._elapsed() * (self._total - self._done) / self._done
        return f", about {duration(left)} left"

    def _log(self, text: str) -> None:
        note = f" ({self._note})" if self._note else ""
        LOGGER.info("      %s: %s%s", self._description, text, note)


def progress(
    items: Iterable[T] | int,
    description: str,
    *,
    total: int | None = None,
    stream: Stream | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Progress[T]:
    """Iterate over ``items`` (or count up to a number) and show how far it is.

    Parameters
    ----------
    items
        What to iterate over; a number ``n`` stands for ``range(n)``.
    description
        A word or two that open the bar or the line.
    total
        Number of steps, when ``items`` does not know its length.
    stream
        Where a bar goes when it is a terminal; standard error by default. Plain lines are log
        records of level INFO, so that a library user hears nothing unless asked for.
    clock
        Seconds from any origin; replaced in tests.
    """
    steps: Any = range(items) if isinstance(items, int) else items
    if total is None and isinstance(steps, Sized):
        total = len(steps)
    return Progress(steps, description, total, sys.stderr if stream is None else stream, clock)


def _bar(description: str, total: int | None, stream: Stream) -> "tqdm":
    """Make a tqdm bar that appears after the quiet time, leaves no line, and starts no thread."""
    from tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0

    size = shutil.get_terminal_size()  # tqdm hides its bar in a terminal that reports no rows
    return Bar(
        total=total,
        desc=f"      {description}",
        file=stream,
        leave=False,
        delay=QUIET_SECONDS,
        ncols=min(size.columns, 100) - 1,
        nrows=size.lines,
    )
