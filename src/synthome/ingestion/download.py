"""Files from the network: retried, verified, cached; never half a file under a good name.

A checksum that the caller knows is required. Without one, the checksum of the first download is
written to ``checksums.json`` beside the files and required from then on (trust on first use).
"""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthome.errors import InputError
from synthome.ingestion.atomic import atomic_write
from synthome.ingestion.files import GZIP, sha256_of, unpack

logger = logging.getLogger("synthome.ingestion")

CHECKSUMS = "checksums.json"
ATTEMPTS = 3
TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 16


def fetch(
    url: str, folder: Path, sha256: str | None = None, wait: float = 1.0
) -> tuple[Path, list[str]]:
    """The file of ``url`` in ``folder``: from the cache when it is there, else downloaded.

    Parameters
    ----------
    url
        Where the file is; its last part names the file.
    folder
        The cache.
    sha256
        Checksum that the file must have. Without it, the one recorded at the first download.
    wait
        Seconds before the second attempt; twice as long before the third.

    Returns
    -------
    The path, and what was done, in words.

    Raises
    ------
    InputError
        If the server cannot be reached, has no such file, or sends one that is cut short or has
        another checksum. An earlier good file stays.
    """
    path = folder / url.rsplit("/", 1)[-1]
    recorded = _recorded(folder).get(path.name, {}).get("sha256")
    known = (sha256 or recorded or "").lower() or None
    if path.exists():
        found = sha256_of(path)
        if known is None:
            _record(folder, path.name, found, "file was there already")
            return path, [f"{path.name} was in {folder.name} already; its checksum is now recorded"]
        if found == known:
            return path, [f"{path.name} taken from the cache, checksum verified"]
        if sha256 is None:
            raise InputError(
                f"{path} has changed since it was first downloaded (SHA-256 {found[:12]}..., "
                f"recorded {known[:12]}...). Delete it and its entry in {CHECKSUMS} beside it to "
                "download it again, or put the original back."
            )
        logger.info("%s in the cache is not the expected one: downloading it again", path.name)
    with atomic_write(path) as temporary:
        _download(url, temporary, wait)
        found = sha256_of(temporary)
        if known is not None and found != known:
            source = "expected" if sha256 else f"recorded in {CHECKSUMS}"
            raise InputError(
                f"{url} has another checksum than {source}: SHA-256 {found}, expected {known}. The "
                "file was damaged on the way or changed at the source. Try again; if it stays so, "
                f"compare with the source and correct the checksum."
            )
        _refuse_damaged(temporary, url)
    if known is None:
        _record(folder, path.name, found, url)
        return path, [f"{path.name} downloaded; SHA-256 {found} recorded and required from now on"]
    return path, [f"{path.name} downloaded, checksum verified"]


class LineProgress:
    """A progress bar for where there is no terminal: a log line at each quarter, 5 s apart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = 0
        self.n = 0
        self._said = 0.0
        self._next = 0.25

    def update(self, n: int) -> None:
        """``n`` more bytes have come."""
        self.n += n
        now = time.monotonic()
        if self.total and self.n >= self._next * self.total and now - self._said > 5.0:
            share = min(self.n / self.total, 1.0)
            logger.info("%s: %.0f %% of %.1f MB", self.name, 100 * share, self.total / 1e6)
            self._next, self._said = share + 0.25, now

    def reset(self) -> None:
        """Start counting again (pooch does so before it fills the bar)."""
        self.n, self._next = 0, float("inf")

    def close(self) -> None:
        """Nothing to tidy up."""


def progress_for(name: str) -> Any:
    """A tqdm bar in a terminal, log lines otherwise."""
    if not sys.stderr.isatty():
        return LineProgress(name)
    from tqdm import tqdm

    return tqdm(total=0, desc=name, unit="B", unit_scale=True, leave=False, dynamic_ncols=True)


def _download(url: str, target: Path, wait: float) -> None:
    """Stream ``url`` to ``target``; retry what may pass, stop at once at what will not."""
    import requests

    name = url.rsplit("/", 1)[-1]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _stream(url, name, target)
            return
        except (requests.RequestException, ValueError, AssertionError) as error:
            reason, final = _reason(error)
            if final or attempt == ATTEMPTS:
                times = "" if attempt == 1 else f" ({attempt} attempts)"
                raise InputError(
                    f"Cannot download {url}: {reason}{times}. {_advice(error, target)}"
                ) from error
        logger.info("%s: %s; trying again in %g s", name, reason, wait * attempt)
        time.sleep(wait * attempt)


def _stream(url: str, name: str, target: Path) -> None:
    """One attempt."""
    import pooch

    progress = progress_for(name)
    downloader = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=CHUNK,
        timeout=TIMEOUT,
        headers={"Accept-Encoding": "identity"},  # a .gz shall arrive as it is stored
    )
    logger.info("downloading %s", url)
    try:
        downloader(url, str(target), None)
    finally:
        progress.close()


def _reason(error: Exception) -> tuple[str, bool]:
    """Why a download failed, and whether trying again is of no use."""
    import requests

    if isinstance(error, requests.HTTPError):
        status = _status(error)
        words = "there is no such file (404)" if status == 404 else f"the server answers {status}"
        return words, status < 500 and status not in (408, 429)
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT:g} s", False
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the file was complete", False
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached", False
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return "this is not a web address", True
    return f"{type(error).__name__}: {error}", False


def _status(error: Any) -> int:
    """The number with which the server answered."""
    return 0 if error.response is None else int(error.response.status_code)


def _advice(error: Exception, target: Path) -> str:
    """What to do about a failed download."""
    import requests

    if isinstance(error, requests.HTTPError) and _status(error) == 404:
        return "Check the accession and the file name on the page of the series."
    folder = target.parent
    return (
        "Check the network (and the proxy), or fetch the file by other means and put it into "
        f"{folder}; then run again."
    )


def _refuse_damaged(temporary: Path, url: str) -> None:
    """Stop at an empty file, and at gzip that is cut short or is not gzip."""
    data = temporary.read_bytes()
    if not data:
        raise InputError(f"{url} sent an empty file. Try again later.")
    if url.endswith(".gz"):
        if not data.startswith(GZIP):
            raise InputError(
                f"{url} did not send a gzip file (perhaps a log-in or error page). Open the "
                "address in a browser to see what comes."
            )
        try:
            unpack(data, temporary)
        except InputError as error:
            raise InputError(
                f"{url} was cut short on the way or is damaged at the source. Run again; nothing "
                "was kept of it."
            ) from error


def _recorded(folder: Path) -> dict[str, Any]:
    """The checksums on record in ``folder``."""
    path = folder / CHECKSUMS
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (json.JSONDecodeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not readable ({error}). Delete it; checksums are then recorded anew."
        ) from error


def _record(folder: Path, name: str, sha256: str, url: str) -> None:
    """Write the checksum of a first download down."""
    entry = {"sha256": sha256, "url": url, "recorded": datetime.now(UTC).isoformat("T", "seconds")}
    entries = _recorded(folder) | {name: entry}
    with atomic_write(folder / CHECKSUMS) as temporary:
        temporary.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
