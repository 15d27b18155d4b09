"""The run-time type checker of the test suite: beartype, except where it cannot look."""

from collections.abc import Callable
from typing import Any, Self, get_args

from beartype import BeartypeConf, beartype

# An int is welcome where a float is expected, as everywhere in Python.
CHECKED = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check calls against annotations; a method that names ``Self`` is left alone.

    jaxtyping decorates methods one by one, and beartype knows ``Self`` only in whole classes.
    """
    hints = getattr(function, "__annotations__", {}).values()
    if any(hint is Self or Self in get_args(hint) for hint in hints):
        return function
    return CHECKED(function)
