"""Ranks of one training: processes that torchrun started, each with its part of every minibatch.

Rank r of R reads rows r, r + R, ... of each order of the rows, a minibatch of ``batch_size`` each,
and all take the step of the mean gradient. Hence R ranks of batch size B do what one of R B does,
but for noise, of which each rank draws its own. One process alone is rank 0 of 1.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def is_one_of_many() -> bool:
    """Whether other ranks train along."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """R of this process."""
    return dist.get_rank() if is_one_of_many() else 0


def n_ranks() -> int:
    """How many there are."""
    return dist.get_world_size() if is_one_of_many() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Be the rank that torchrun said within the block: its variables are in the environment."""
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The GPU of this rank, of those that its machine has."""
    if device.type == "cuda" and is_one_of_many():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def own_part(rows: Tensor) -> Tensor:
    """What this rank reads of an order of rows: as many as each other, so that a few are left."""
    whole = len(rows) // n_ranks() * n_ranks()
    return rows[rank() : whole : n_ranks()] if is_one_of_many() else rows


def agreed(tensor: Tensor) -> Tensor:
    """The tensor of rank 0, in place."""
    if is_one_of_many():
        dist.broadcast(tensor, 0)
    return tensor


def wait() -> None:
    """Go on when all have come so far."""
    if is_one_of_many():
        dist.barrier()


def is_same(value: float) -> bool:
    """Whether all ranks have this value."""
    if not is_one_of_many():
        return True
    found: list[Any] = [None] * n_ranks()
    dist.all_gather_object(found, value)
    return len(set(found)) == 1


def begin_alike(module: nn.Module) -> None:
    """Give all ranks the weights of rank 0."""
    for tensor in module.state_dict().values():
        agreed(tensor)


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over ranks, in one message."""
    if not is_one_of_many():
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= n_ranks()
    sizes = [gradient.numel() for gradient in gradients]
    for parameter, part in zip(parameters, flat.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)


def summed(values: Sequence[Tensor]) -> list[Tensor]:
    """Each scalar summed over ranks, in one message."""
    if not is_one_of_many() or not values:
        return list(values)
    stacked = torch.stack([value.detach().double() for value in values])
    dist.all_reduce(stacked)
    return list(stacked)
