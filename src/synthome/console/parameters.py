"""Names that ``--params`` may carry, so that a misspelt one is an error and not a silent default.

Kedro takes any name. A name means something when a configuration file asks for it
(``${runtime_params:NAME}``), or when it is the dotted path of a parameter in a parameters file.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from synthome.errors import InputError

ASKED_FOR = re.compile(r"\$\{\s*runtime_params:\s*([\w.\-]+)\s*([,}])")
SUFFIXES = frozenset({".yml", ".yaml", ".json"})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name that resembles ``name``, else nothing."""
    known = list(known)
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not found:  # 'dir' for 'cohort_dir'
        found = [other for other in known if len(name) > 2 and name.lower() in other.lower()][:1]
    return f" Did you mean {found[0]!r}?" if found else ""


def asked_names(folders: Sequence[Path]) -> dict[str, bool]:
    """Names that configuration files ask for, and whether one of them has no default.

    Parameters
    ----------
    folders
        The folders of the base environment and of the chosen one.
    """
    names: dict[str, bool] = {}
    for path in _config_files(folders):
        for name, end in ASKED_FOR.findall(path.read_text(encoding="utf-8")):
            names[name] = names.get(name, False) or end == "}"
    return names


def declared_parameters(folders: Sequence[Path], patterns: Sequence[str]) -> dict[str, Any]:
    """Merge the parameters files of ``folders`` as they are written, nothing resolved."""
    merged: dict[str, Any] = {}
    for folder in folders:
        matched = {path for pattern in patterns for path in folder.glob(pattern)}
        inside = {path for found in matched if found.is_dir() for path in found.rglob("*")}
        for path in sorted(matched | inside):
            if path.is_file() and path.suffix in SUFFIXES:
                _merge(merged, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return merged


def unknown_names(
    given: Mapping[str, Any],
    asked: Collection[str],
    declared: Mapping[str, Any],
    typed: Collection[str] = (),
) -> list[str]:
    """Dotted names of ``given`` that nothing would read.

    Parameters
    ----------
    given
        Parameters of the command line, nested.
    asked
        Names from :func:`asked_names`.
    declared
        Nested parameters from :func:`declared_parameters`.
    typed
        Dotted paths that hold a config class: it judges by itself what is inside.
    """
    return [
        name
        for name in _leaves(given)
        if name not in asked
        and not any(name == path or name.startswith(f"{path}.") for path in typed)
        and not _is_declared(name, declared)
    ]


def unknown_parameter(name: str, asked: Collection[str], declared: Mapping[str, Any]) -> InputError:
    """Return the error for a name that nothing would read, with the nearest one that exists."""
    paths = sorted(_leaves(declared), key=lambda path: ("." not in path, len(path), path))
    short = ", ".join(sorted(asked)) or "none"
    return InputError(
        f"Unknown parameter {name!r} in --params.{nearest(name, [*sorted(asked), *paths])}"
        f" This environment asks for: {short}. The full path of any entry of the parameters files"
        " is understood too" + (f", such as {min(paths, key=len)}." if paths else ".")
    )


def _config_files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (p for p in sorted(folder.rglob("*")) if p.suffix in SUFFIXES and p.is_file())


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _is_declared(name: str, declared: Mapping[str, Any]) -> bool:
    """Whether ``name`` is an entry, a block, or lies below an entry that is not a block."""
    here: Any = declared
    for part in name.split("."):
        if not isinstance(here, Mapping):
            return True  # the value of an entry, such as a null that stands for a mapping
        if part not in here:
            return False
        here = here[part]
    return True
