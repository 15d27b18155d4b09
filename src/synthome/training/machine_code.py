"""Loops over counts as machine code, by Numba; imported when such a loop first runs."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

from numba import njit


def machine_code(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """``kernel`` compiled for the types of its first call; it runs beside other threads."""
    made: Callable[..., Any] = njit(nogil=True)(unwrap(kernel))
    return made
