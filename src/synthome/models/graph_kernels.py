"""The passes of graph attention over the edges, compiled for the CPU.

Targets (or sources) are dealt to threads in ranges; each writes its own rows, in a fixed order, so
that the result is the same to the bit for any number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from inspect import unwrap
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from synthome.graph import Graph

FEWEST = 512  # rows for which another thread is worth its start


def compiled(kernel: Callable[..., None]) -> Callable[..., None]:
    """``kernel`` as machine code, made at its first call; it runs beside other threads."""
    fast = {"contract", "reassoc", "nsz", "arcp"}  # sums in any order; infinities as they are
    made: Callable[..., None] = njit(nogil=True, fastmath=fast)(unwrap(kernel))
    return made


def attend(
    values: Tensor, source: Tensor, target: Tensor, graph: Graph, slope: float
) -> tuple[Tensor, Tensor]:
    """Weighted sums of ``values`` over the sources of each target, over n_heads; and alpha.

    Values of each head, (n_sources, n_heads, d), are summed over heads to (n_targets, 1, d); values
    that all heads share, (n_sources, 1, d), are summed for each head to (n_targets, n_heads, d).
    """
    n_heads = source.shape[1]
    n_read = n_heads if values.shape[1] == 1 else 1
    read = values.new_empty(graph.n_targets, n_read, values.shape[2])
    alpha = values.new_empty(graph.n_edges, n_heads)
    arrays = _numpy(graph.indptr, graph.indices, values, source, target, alpha, read)
    _in_ranges(graph.n_targets, _attend, *arrays, slope)
    return read, alpha


def gradients(
    values: Tensor,
    source: Tensor,
    target: Tensor,
    alpha: Tensor,
    gradient: Tensor,
    graph: Graph,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in ``values``, ``source`` and ``target``."""
    of_score = torch.empty_like(alpha)
    of_target = torch.empty_like(target, memory_format=torch.contiguous_format)
    forward = _numpy(graph.indptr, graph.indices, values, source, target, alpha, gradient)
    _in_ranges(graph.n_targets, _to_scores, *forward, *_numpy(of_score, of_target), slope)
    of_values = torch.empty_like(values, memory_format=torch.contiguous_format)
    of_source = torch.empty_like(source, memory_format=torch.contiguous_format)
    indptr, place = graph.reverse
    backward = _numpy(indptr, place, graph.targets, alpha, of_score, gradient)
    _in_ranges(graph.n_sources, _to_sources, *backward, *_numpy(of_values, of_source))
    return of_values, of_source, of_target


def _numpy(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="graph")


def _in_ranges(n_rows: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Run ``kernel`` on ranges of rows, as many at a time as PyTorch may use threads."""
    n_threads = max(1, min(torch.get_num_threads(), n_rows // FEWEST))
    if n_threads == 1:
        kernel(0, n_rows, *arguments)
        return
    edges = np.linspace(0, n_rows, n_threads + 1).astype(np.int64).tolist()
    running = [_pool(n_threads).submit(kernel, a, b, *arguments) for a, b in pairwise(edges)]
    for each in running:
        each.result()


@compiled
def _attend(a, b, indptr, indices, values, source, target, alpha, read, slope):
    n_heads, n_values, n_read, d = source.shape[1], values.shape[1], read.shape[1], read.shape[2]
    for i in range(a, b):
        for h in range(n_read):
            for o in range(d):
                read[i, h, o] = 0.0
        first, last = indptr[i], indptr[i + 1]
        for h in range(n_heads):
            highest = -np.inf
            for e in range(first, last):
                score = source[indices[e], h] + target[i, h]
                score = score if score > 0.0 else score * slope
                alpha[e, h] = score
                highest = max(highest, score)
            total = 0.0
            for e in range(first, last):
                weight = np.exp(alpha[e, h] - highest)
                alpha[e, h] = weight
                total += weight
            for e in range(first, last):
                alpha[e, h] /= total
        for e in range(first, last):
            j = indices[e]
            for h in range(n_heads):
                share = alpha[e, h] / n_heads
                u, v = h % n_read, h % n_values
                for o in range(d):
                    read[i, u, o] += share * values[j, v, o]


@compiled
def _to_scores(
    a, b, indptr, indices, values, source, target, alpha, gradient, of_score, of_target, slope
):
    n_heads, n_values, n_read = source.shape[1], values.shape[1], gradient.shape[1]
    d = values.shape[2]
    for i in range(a, b):
        first, last = indptr[i], indptr[i + 1]
        for h in range(n_heads):
            of_target[i, h] = 0.0
            mean = alpha.dtype.type(0.0)
            u, v = h % n_read, h % n_values
            for e in range(first, last):
                j = indices[e]
                product = alpha.dtype.type(0.0)
                for o in range(d):
                    product += gradient[i, u, o] * values[j, v, o]
                product /= n_heads
                of_score[e, h] = product
                mean += alpha[e, h] * product
            for e in range(first, last):
                own = alpha[e, h] * (of_score[e, h] - mean)
                if source[indices[e], h] + target[i, h] <= 0.0:
                    own *= slope
                of_score[e, h] = own
                of_target[i, h] += own


@compiled
def _to_sources(a, b, indptr, place, targets, alpha, of_score, gradient, of_values, of_source):
    n_heads, n_values, n_read = of_source.shape[1], of_values.shape[1], gradient.shape[1]
    d = of_values.shape[2]
    for j in range(a, b):
        for h in range(n_heads):
            of_source[j, h] = 0.0
        for v in range(n_values):
            for o in range(d):
                of_values[j, v, o] = 0.0
        for k in range(indptr[j], indptr[j + 1]):
            e = place[k]
            i = targets[e]
            for h in range(n_heads):
                share = alpha[e, h] / n_heads
                of_source[j, h] += of_score[e, h]
                u, v = h % n_read, h % n_values
                for o in range(d):
                    of_values[j, v, o] += share * gradient[i, u, o]
