"""The page that a run prints: plain lines, in a terminal with the current step below them.

Log records of synthome become lines; warnings become one line each, without a source listing;
known noise of other libraries is dropped, each with its reason. Nothing here outlives the
``with page():`` block.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from synthome.progress import Stream

# Warnings of other libraries that say nothing to the person at the keyboard:
# (start of the message as a regular expression, category, why it may be dropped).
KNOWN_NOISE: tuple[tuple[str, type[Warning], str], ...] = (
    (r"n_jobs value .* overridden to 1 by setting random_state", UserWarning, "umap: wanted"),
    (r".*`preview_fn` is an experimental feature", Warning, "kedro: we use it knowingly"),
    (r".*pkg_resources is deprecated", Warning, "a dependency of a dependency"),
    (r"Accessing the 'model_fields' attribute on the instance", Warning, "kedro 1.7 does so"),
)


class PageHandler(logging.StreamHandler):
    """Writes a record as one plain line, above the status line and the progress bars."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._status = ""
        self._status_wanted = stream.isatty()

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, ``warning:`` or ``error:`` before it where that is the level."""
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{'warning' if record.levelno < logging.ERROR else 'error'}: {text}"

    def emit(self, record: logging.LogRecord) -> None:
        """Clear the status line, write the record, and write the status line again."""
        with _above_bars(self.stream):
            self._erase()
            super().emit(record)
            self._draw()

    def status(self, text: str) -> None:
        """Show ``text`` as the last line until it is replaced; only a terminal sees it."""
        self.acquire()
        try:
            self._erase()
            self._status = text
            self._draw()
        finally:
            self.release()

    def _erase(self) -> None:
        if self._status and self._status_wanted:
            self.stream.write("\r\033[K")

    def _draw(self) -> None:
        if self._status and self._status_wanted:
            self.stream.write(self._status)
            self.stream.flush()


def _above_bars(stream: Stream) -> AbstractContextManager[None]:
    """Lift any tqdm bar while a line is written; tqdm is not imported for that."""
    tqdm = sys.modules.get("tqdm")
    return tqdm.tqdm.external_write_mode(file=stream) if tqdm else nullcontext()


def show_status(text: str) -> None:
    """Show ``text`` on the status line of the page, if there is a page."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PageHandler):
            handler.status(text)


@contextmanager
def page(*, verbose: bool = False, stream: Stream | None = None) -> Iterator[None]:
    """Send log records and warnings to a plain page on ``stream`` (standard output).

    Handlers that write to files, and handlers with a layout of their own, are left in place.

    Parameters
    ----------
    verbose
        Show the records of Kedro too, debug records of synthome, and every warning.
    stream
        Standard output by default.
    """
    root, levels = logging.getLogger(), _levels(verbose)
    handlers = list(root.handlers)
    before = {name: logging.getLogger(name).level for name in levels}
    shown = PageHandler(sys.stdout if stream is None else stream)
    if verbose:
        shown.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    root.handlers = [handler for handler in handlers if not _is_plain_console(handler)] + [shown]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    with warnings.catch_warnings():
        warnings.showwarning = _warn_in_one_line
        for message, category, _reason in () if verbose else KNOWN_NOISE:
            warnings.filterwarnings("ignore", message, category)
        try:
            yield
        finally:
            shown.status("")
            root.handlers = handlers
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


def _levels(verbose: bool) -> dict[str, int]:
    """Levels that the page itself needs; conf/logging.yml may ask for less of the others."""
    if verbose:
        return {"synthome": logging.DEBUG, "kedro": logging.INFO}
    return {
        "synthome": logging.INFO,
        # Kedro tells each error a second time, and in many lines; the command line tells it once.
        "kedro.pipeline.node": logging.CRITICAL,
        "kedro.validation": logging.CRITICAL,
        "kedro.framework.session": logging.ERROR,
    }


def _is_plain_console(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr)


def _warn_in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Stream | None = None,  # noqa: ARG001  (the signature is Python's)
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Tell a warning in one line that names the package, not a path and a source line."""
    parts = Path(filename).parts
    package = parts[parts.index("site-packages") + 1] if "site-packages" in parts else ""
    where = package.removesuffix(".py") or f"{Path(filename).name}:{lineno}"
    text = " ".join(str(message).split())
    logging.getLogger("synthome.warnings").warning("%s (%s, %s)", text, category.__name__, where)
