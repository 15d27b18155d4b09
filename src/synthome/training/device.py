"""Where and in which precision a model is trained."""

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
