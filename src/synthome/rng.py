"""Randomness has one door: ``seeded`` for PyTorch, ``generator`` for NumPy."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch, NumPy and Python within the block; restore their states after it."""
    import torch

    states = (random.getstate(), np.random.get_state())
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def generator(seed: int, *keys: str | int) -> np.random.Generator:
    """A NumPy generator of its own for each seed and tuple of keys, the same in every run.

    Streams of different keys are independent, so that adding a consumer changes no other.
    """
    return np.random.default_rng([seed, *map(_word, keys)])


def stream(seed: int, *keys: str | int) -> int:
    """A seed for a ``torch.Generator`` of its own for each seed and tuple of keys."""
    return _word("/".join(f"{type(key).__name__}:{key}" for key in (seed, *keys))) >> 1


def _word(key: str | int) -> int:
    return int.from_bytes(blake2b(f"{type(key).__name__}:{key}".encode(), digest_size=8).digest())
