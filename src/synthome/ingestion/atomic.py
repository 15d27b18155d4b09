"""Files that are whole or absent: written beside their place, then moved there in one step."""

import errno
import glob
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synthome.errors import InputError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_WORDS = ("no space left on device", "disk quota exceeded", "file too large")
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_STALE_SECONDS = 24 * 3600


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; move it to ``path`` when the block ends.

    Whatever interrupts the block, Ctrl-C included, the temporary file goes and an earlier
    ``path`` stays as it was. The new file is flushed to the disk before it takes the name.

    Raises
    ------
    InputError
        If the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, where a file shall be written. Move the folder away and run "
                "again."
            )
        _sweep(path)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes files that only their owner may read
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        message = _in_words(error, path)
        if message:
            raise InputError(message) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether ``error``, or what caused it, says that nothing more fits on the disk.

    HDF5 and safetensors give the reason as text only.
    """
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).lower()
        if getattr(seen, "errno", None) in _DISK or any(words in text for words in _DISK_WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _in_words(error: BaseException, path: Path) -> str:
    """What the person can do about ``error``; empty when it is not about the disk."""
    kept = "The earlier version is unchanged" if path.exists() else "Nothing was left half-written"
    if isinstance(error, InputError) or not isinstance(error, Exception):
        return ""
    if is_disk_full(error):
        return (
            f"No space left on the disk while writing {path}. {kept}. Free some space (older runs "
            "lie in the folders called 'versions'), then run again."
        )
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return (
            f"Not allowed to write {path} ({error.strerror}). {kept}. Change the permissions of "
            f"{path.parent}, or choose another folder."
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        return (
            f"Cannot write {path}: {error.filename} is a file, where a folder is needed. {kept}. "
            "Move that file away and run again."
        )
    return ""


def _flush(path: Path) -> None:
    """Ask the system to put ``path`` (a file or a folder) on the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some file systems cannot, for folders
            raise
    finally:
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Remove what a killed process left beside ``path`` more than a day ago."""
    pattern = f".{glob.escape(path.stem)}.*.tmp{glob.escape(path.suffix)}"
    for stale in path.parent.glob(pattern):
        with suppress(OSError):
            if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
                stale.unlink()
