"""From an exception to words: what failed, where, what to do. Knows no Kedro.

A failure is *expected* when the user can mend it (a wrong file, a full disk, a misspelt name); it
is told as one message. Any other is a fault of the program: its last line is told, and the whole
traceback goes to a file.
"""

import errno
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from synthome.console.parameters import nearest
from synthome.errors import InputError

NO_RUNTIME_PARAMETER = re.compile(r"Runtime parameter '([^']+)' not found")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what it came from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)


def explain(error: BaseException) -> str | None:
    """Return the message of an expected failure; None for a fault of the program."""
    for cause in causes(error):
        message = _explain_one(cause)
        if message is not None:
            return message
    return None


def _explain_one(error: BaseException) -> str | None:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, ValidationError):
        return "\n".join(validation_problems(error, ""))
    if isinstance(error, MemoryError):
        return (
            "The memory of this machine is used up. Close other programs, use fewer genes or "
            "samples, or run on a larger machine."
        )
    if isinstance(error, OSError):
        return _explain_os(error)
    if found := NO_RUNTIME_PARAMETER.search(str(error)):
        name = found.group(1)
        return f"This environment needs the parameter {name!r}: add --params={name}=VALUE."
    if type(error).__name__ == "ParserError" and "Invalid YAML" in str(error):
        return f"{error} Mend the file; an editor with YAML support shows the place."
    return None


def _explain_os(error: OSError) -> str | None:
    place = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return (
            f"The disk is full{place}. Earlier outputs are as they were; free some space, or put "
            "the data folder on a larger disk, and run again."
        )
    if error.errno == errno.EDQUOT:
        return f"Your disk quota is used up{place}. Free some space and run again."
    if error.errno == errno.EROFS:
        return f"The file system is read-only{place}. Run in a folder that you may write to."
    if isinstance(error, PermissionError):
        return f"Permission denied{place}. Check who may read and write this file or folder."
    return None


def validation_problems(
    error: ValidationError, path: str, given: Any = None, model: type[BaseModel] | None = None
) -> list[str]:
    """Sentences, one for each wrong field: its full path, the value, what is allowed.

    Parameters
    ----------
    error
        What pydantic said.
    path
        Dotted path of the block that was checked, such as ``rare_vae.training``.
    given
        The block as it was written. When a validator builds a second config from a part of it,
        pydantic tells the place inside that part alone; here the whole place is found again.
    model
        The config class of the block, whose fields are offered; else the class that the error
        names, when only one has that name.
    """
    if model is None:
        called = [found for found in _config_classes() if found.__name__ == error.title]
        model = called[0] if len(called) == 1 else None
    return [_problem(item, path, given, model) for item in error.errors(include_url=False)]


def _problem(item: Mapping[str, Any], path: str, given: Any, model: type[BaseModel] | None) -> str:
    inside, location = _locate(given, item["loc"])
    where = ".".join(map(str, [*([path] if path else []), *inside, *location]))
    if item["type"] == "extra_forbidden":
        found = _class_of(_at(given, inside), location) if inside else model
        known = _fields(found, location[:-1])
        names = f" There are: {', '.join(known)}." if known else ""
        return f"Unknown parameter {where!r}.{nearest(str(location[-1]), known)}{names}"
    if item["type"] == "missing":
        return f"Parameter {where!r} is missing: give it a value in the parameters file."
    reason = item["msg"].removeprefix("Value error, ").rstrip(".")
    if isinstance(item["input"], (Mapping, BaseModel)):
        return f"Parameter {where!r} is not valid: {reason}."
    return f"Parameter {where!r} is {item['input']!r}: {reason[:1].lower()}{reason[1:]}."


def _locate(given: Any, location: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Find the block of ``given`` that holds ``location``: its path, and the location in it."""
    for inside in ((), *_blocks(given)) if location else ():
        if _at(given, (*inside, *location)) is not None:
            return inside, location
    return (), location


def _blocks(given: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if isinstance(value, Mapping):
            yield (*path, key)
            yield from _blocks(value, (*path, key))


def _at(given: Any, location: tuple[Any, ...]) -> Any:
    for part in location:
        given = given.get(part) if isinstance(given, Mapping) else None
    return given


def _config_classes() -> Iterator[type[BaseModel]]:
    classes: list[type[BaseModel]] = [BaseModel]
    while classes:
        found = classes.pop()
        yield found
        classes += found.__subclasses__()


def _class_of(block: Any, location: tuple[Any, ...]) -> type[BaseModel] | None:
    """Find the config class that knows the other names of ``block``; None when it is not clear."""
    names = set(block) - {location[0]}
    found = [kind for kind in _config_classes() if names and names <= set(kind.model_fields)]
    return found[0] if len(found) == 1 else None


def _fields(model: type[BaseModel] | None, location: tuple[Any, ...]) -> list[str]:
    """Field names of the model at ``location`` inside ``model``; none when it is no model."""
    for part in location:
        field = model.model_fields.get(str(part)) if model is not None else None
        nested = field.annotation if field is not None else None
        model = nested if isinstance(nested, type) and issubclass(nested, BaseModel) else None
    return [] if model is None else list(model.model_fields)


def root_cause(error: BaseException) -> BaseException:
    """Return the exception that began the chain."""
    return list(causes(error))[-1]


def one_line(error: BaseException) -> str:
    """Return what a traceback ends with, and the place: ``KeyError: 'x' (file.py, line 3)``."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    frame = (ours or frames)[-1]
    return f"{text} ({_short(frame.filename)}, line {frame.lineno}, in {frame.name})"


def _short(filename: str) -> str:
    parts = Path(filename).parts
    for start in ("src", "site-packages"):
        if start in parts:
            return "/".join(parts[parts.index(start) + (start == "site-packages") :])
    return Path(filename).name


def write_traceback(error: BaseException, folder: Path, command: str) -> Path | None:
    """Write the whole traceback to a new file in ``folder``; None when even that fails."""
    name = f"error-{datetime.now().astimezone():%Y-%m-%dT%H.%M.%S}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        trace = "".join(traceback.format_exception(error))
        path.write_text(f"{command}\n\n{trace}", encoding="utf-8")
    except OSError:
        return None
    return path
