"""Where and in which precision a model is trained."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from synthome.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the GPU when there is one.

    Raises
    ------
    InputError
        If ``cuda`` is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "training.device is 'cuda', but PyTorch sees no CUDA device here. Use device: auto or "
            "cpu, or install a CUDA build of PyTorch on a machine with a GPU."
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bf16 on a GPU and fp32 on a CPU unless ``precision`` says otherwise."""
    wanted = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


@contextmanager
def cpu_threads(n: int) -> Iterator[None]:
    """Compute with ``n`` threads within the block.

    Sums split over another number of threads differ in their last bit, training amplifies that,
    and other libraries change the number behind our back: a seed means one result only if the
    number of threads is fixed too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
DEFAULT_THRESHOLD = 128 * 1024


@contextmanager
def memory_kept(device: torch.device) -> Iterator[None]:
    """Let freed memory stay with the process within the block, and give it back after.

    Gradients and activations of a wide layer are large blocks. The C library of Linux returns each
    to the system as soon as it is freed, and the system clears it again for the next step: with
    20,000 genes, that took two fifths of the time of a training step.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" and device.type == "cpu" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, 2**30)
    library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_THRESHOLD, DEFAULT_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, DEFAULT_THRESHOLD)
        library.malloc_trim(0)
