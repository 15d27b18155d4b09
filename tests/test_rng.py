"""Randomness has one door."""

import random

import numpy as np
import torch

from synthome.rng import generator, seeded, stream


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


def test_streams_differ_by_seed_and_key_and_fit_a_torch_generator():
    streams = [stream(seed, use, step) for seed in (0, 1) for use in "ab" for step in (0, 1)]
    assert len(set(streams)) == len(streams)
    assert stream(3, "a") == stream(3, "a") != stream(3, 1)
    drawn = [torch.rand(3, generator=torch.Generator().manual_seed(each)) for each in streams]
    assert not torch.equal(drawn[0], drawn[1])
