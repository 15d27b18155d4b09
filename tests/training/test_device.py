"""Devices, threads and memory are put back as they were."""

import sys

import pytest
import torch

from synthome.training import device as module
from synthome.training.device import cpu_threads, memory_kept


def test_threads_come_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), cpu_threads(1):
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


class Library:
    """Notes what is asked of the C library."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int] | str] = []

    def mallopt(self, option: int, value: int) -> int:
        self.asked.append((option, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.asked.append("trim")
        return 1


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is on Linux")
def test_memory_is_kept_within_the_block_and_given_back_after_an_error(monkeypatch):
    library = Library()
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: library)
    with pytest.raises(RuntimeError), memory_kept(torch.device("cpu")):
        assert library.asked == [(-3, 2**30), (-1, 2**31 - 1)]
        raise RuntimeError
    assert library.asked[2:] == [(-3, 128 * 1024), (-1, 128 * 1024), "trim"]


def test_a_c_library_without_the_switch_is_left_alone(monkeypatch):
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: object())
    with memory_kept(torch.device("cpu")):
        assert torch.ones(3).sum() == 3
