"""The passes of graph attention over the edges, compiled for the CPU.

Targets (or sources) are dealt to threads in blocks; each block writes its own rows, in a fixed
order, so that the result is the same to the bit for any number of threads.

All that is known of a source is one row of ``table``: its values, (n_values, d), which each head
has for itself (n_values = n_heads) or all heads share (n_values = 1), and for eq. 1 of
``graph_attention`` its scores as a source and as a target, n_heads each. Values of each head are
summed over heads, to (n_targets, 1, d); shared ones for each head, to (n_targets, n_heads, d).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from inspect import unwrap
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from synthome.graph import Graph

BLOCK = 512  # rows, for which another thread is worth its start


def compiled(kernel: Callable[..., None]) -> Callable[..., None]:
    """``kernel`` as machine code, made at its first call; it runs beside other threads."""
    fast = {"contract", "reassoc", "nsz", "arcp"}  # sums in any order; infinities as they are
    made: Callable[..., None] = njit(nogil=True, fastmath=fast)(unwrap(kernel))
    return made


def attend_gat(
    table: Float[Tensor, "n_sources width"], n_heads: int, n_values: int, graph: Graph, slope: float
) -> tuple[Float[Tensor, "n_targets n_read d"], Float[Tensor, "n_edges n_heads"]]:
    """Eqs. 1, 3 and 4 without the bias; and alpha."""
    d = (table.shape[1] - 2 * n_heads) // n_values
    alpha = table.new_empty(graph.n_edges, n_heads)
    arrays = _numpy(graph.indptr, graph.indices, table, alpha)
    _in_blocks(graph.n_targets, _scores_gat, *arrays, _like(alpha, slope))
    return _attended(table, alpha, n_heads if n_values == 1 else 1, d, graph), alpha


def attend_gatv2(
    table: Float[Tensor, "n_sources width"],
    own: Float[Tensor, "n_targets n_heads d"],
    vector: Float[Tensor, "n_heads d"],
    graph: Graph,
    slope: float,
) -> tuple[Float[Tensor, "n_targets 1 d"], Float[Tensor, "n_edges n_heads"]]:
    """Eqs. 2 to 4 without the bias, from W x, V x and a; and alpha."""
    alpha = table.new_empty(graph.n_edges, vector.shape[0])
    arrays = _numpy(graph.indptr, graph.indices, table, own, vector, alpha)
    _in_blocks(graph.n_targets, _scores_gatv2, *arrays, _like(alpha, slope))
    return _attended(table, alpha, 1, vector.shape[1], graph), alpha


def gradient_gat(
    table: Float[Tensor, "n_sources width"],
    alpha: Float[Tensor, "n_edges n_heads"],
    gradient: Float[Tensor, "n_targets n_read d"],
    graph: Graph,
    slope: float,
) -> Float[Tensor, "n_sources width"]:
    """Gradient in ``table``."""
    of_score = _score_gradients(table, alpha, gradient, graph)
    of_table = torch.zeros_like(table, memory_format=torch.contiguous_format)
    arrays = _numpy(graph.indptr, graph.indices, table, of_score, of_table)
    _in_blocks(graph.n_targets, _targets_gat, *arrays, _like(alpha, slope))
    indptr, place = graph.reverse
    arrays = _numpy(indptr, place, graph.targets, alpha, of_score, gradient, of_table)
    _in_blocks(graph.n_sources, _sources_gat, *arrays, _like(alpha, 1.0 / alpha.shape[1]))
    return of_table


def gradient_gatv2(
    table: Float[Tensor, "n_sources width"],
    own: Float[Tensor, "n_targets n_heads d"],
    vector: Float[Tensor, "n_heads d"],
    alpha: Float[Tensor, "n_edges n_heads"],
    gradient: Float[Tensor, "n_targets 1 d"],
    graph: Graph,
    slope: float,
) -> tuple[
    Float[Tensor, "n_sources width"],
    Float[Tensor, "n_targets n_heads d"],
    Float[Tensor, "n_heads d"],
]:
    """Gradients in ``table``, ``own`` and ``vector``."""
    of_score = _score_gradients(table, alpha, gradient, graph)
    of_own = torch.zeros_like(own, memory_format=torch.contiguous_format)
    of_vector = own.new_zeros(-(-graph.n_targets // BLOCK), *vector.shape)  # a sum of each block
    arrays = _numpy(graph.indptr, graph.indices, table, own, vector, of_score, of_own, of_vector)
    _in_blocks(graph.n_targets, _targets_gatv2, *arrays, _like(alpha, slope))
    of_table = torch.zeros_like(table, memory_format=torch.contiguous_format)
    indptr, place = graph.reverse
    arrays = _numpy(indptr, place, graph.targets, table, own, vector, alpha, of_score, gradient)
    constants = _like(alpha, slope), _like(alpha, 1.0 / alpha.shape[1])
    _in_blocks(graph.n_sources, _sources_gatv2, *arrays, *_numpy(of_table), *constants)
    return of_table, of_own, of_vector.sum(dim=0)


def _attended(table: Tensor, alpha: Tensor, n_read: int, d: int, graph: Graph) -> Tensor:
    read = table.new_zeros(graph.n_targets, n_read, d)
    arrays = _numpy(graph.indptr, graph.indices, table, alpha, read)
    _in_blocks(graph.n_targets, _attend, *arrays, _like(alpha, 1.0 / alpha.shape[1]))
    return read


def _score_gradients(table: Tensor, alpha: Tensor, gradient: Tensor, graph: Graph) -> Tensor:
    of_score = torch.empty_like(alpha)
    arrays = _numpy(graph.indptr, graph.indices, table, alpha, gradient, of_score)
    _in_blocks(graph.n_targets, _to_scores, *arrays, _like(alpha, 1.0 / alpha.shape[1]))
    return of_score


def _numpy(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _like(tensor: Tensor, value: float) -> Any:
    """A constant of the type of ``tensor``: a Python float would widen the loops."""
    return np.float32(value) if tensor.dtype == torch.float32 else np.float64(value)


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="graph")


def _in_blocks(n_rows: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Run ``kernel`` on ranges of blocks, as many at a time as PyTorch may use threads."""
    n_blocks = -(-n_rows // BLOCK)
    n_threads = min(torch.get_num_threads(), n_blocks)
    if n_threads <= 1:
        kernel(0, n_rows, *arguments)
        return
    edges = [min(n_rows, n_blocks * k // n_threads * BLOCK) for k in range(n_threads + 1)]
    running = [_pool(n_threads).submit(kernel, a, b, *arguments) for a, b in pairwise(edges)]
    for each in running:
        each.result()


@compiled
def _scores_gat(a, b, indptr, indices, table, alpha, slope):
    """Eq. 1."""
    n_heads = alpha.shape[1]
    source, target = table.shape[1] - 2 * n_heads, table.shape[1] - n_heads  # columns
    for i in range(a, b):
        for e in range(indptr[i], indptr[i + 1]):
            for h in range(n_heads):
                score = table[indices[e], source + h] + table[i, target + h]
                alpha[e, h] = score if score > 0 else score * slope


@compiled
def _scores_gatv2(a, b, indptr, indices, table, own, vector, alpha, slope):
    """Eq. 2."""
    n_heads, d = vector.shape
    for i in range(a, b):
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            for h in range(n_heads):
                score = slope * 0
                for o in range(d):
                    s = table[j, h * d + o] + own[i, h, o]
                    score += vector[h, o] * (s if s > 0 else s * slope)
                alpha[e, h] = score


@compiled
def _attend(a, b, indptr, indices, table, alpha, read, one_head):
    """Eq. 3, in the place of the scores, and eq. 4; ``one_head`` is 1 / n_heads."""
    n_heads, n_read, d = alpha.shape[1], read.shape[1], read.shape[2]
    for i in range(a, b):
        first, last = indptr[i], indptr[i + 1]
        for h in range(n_heads):
            highest = -np.inf
            for e in range(first, last):
                highest = max(highest, alpha[e, h])
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
                share = alpha[e, h] * one_head
                u, v = (0, h * d) if n_read == 1 else (h, 0)
                for o in range(d):
                    read[i, u, o] += share * table[j, v + o]


@compiled
def _to_scores(a, b, indptr, indices, table, alpha, gradient, of_score, one_head):
    """Gradient of eqs. 3 and 4 in the scores."""
    n_heads, n_read, d = alpha.shape[1], gradient.shape[1], gradient.shape[2]
    for i in range(a, b):
        first, last = indptr[i], indptr[i + 1]
        for h in range(n_heads):
            mean = 0.0
            u, v = (0, h * d) if n_read == 1 else (h, 0)
            for e in range(first, last):
                j = indices[e]
                product = one_head * 0
                for o in range(d):
                    product += gradient[i, u, o] * table[j, v + o]
                product *= one_head
                of_score[e, h] = product
                mean += alpha[e, h] * product
            for e in range(first, last):
                of_score[e, h] = alpha[e, h] * (of_score[e, h] - mean)


@compiled
def _targets_gat(a, b, indptr, indices, table, of_score, of_table, slope):
    """Gradient of eq. 1 before LeakyReLU, in the place of that after; its sum by target."""
    n_heads = of_score.shape[1]
    source, target = table.shape[1] - 2 * n_heads, table.shape[1] - n_heads
    for i in range(a, b):
        for e in range(indptr[i], indptr[i + 1]):
            for h in range(n_heads):
                if table[indices[e], source + h] + table[i, target + h] <= 0:
                    of_score[e, h] *= slope
                of_table[i, target + h] += of_score[e, h]


@compiled
def _sources_gat(a, b, indptr, place, targets, alpha, of_score, gradient, of_table, one_head):
    """Gradient of eq. 4 in the values of each source, and of eq. 1 in its score."""
    n_heads, n_read, d = alpha.shape[1], gradient.shape[1], gradient.shape[2]
    source = of_table.shape[1] - 2 * n_heads
    for j in range(a, b):
        for k in range(indptr[j], indptr[j + 1]):
            e = place[k]
            i = targets[e]
            for h in range(n_heads):
                share = alpha[e, h] * one_head
                of_table[j, source + h] += of_score[e, h]
                u, v = (0, h * d) if n_read == 1 else (h, 0)
                for o in range(d):
                    of_table[j, v + o] += share * gradient[i, u, o]


@compiled
def _targets_gatv2(a, b, indptr, indices, table, own, vector, of_score, of_own, of_vector, slope):
    """Gradient of eq. 2 in V x by target, and in a by block of targets."""
    n_heads, d = vector.shape
    for i in range(a, b):
        block = i // BLOCK
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            for h in range(n_heads):
                own_gradient = of_score[e, h]
                for o in range(d):
                    s = table[j, h * d + o] + own[i, h, o]
                    scaled = own_gradient if s > 0 else own_gradient * slope
                    of_own[i, h, o] += scaled * vector[h, o]
                    of_vector[block, h, o] += scaled * s


@compiled
def _sources_gatv2(
    a,
    b,
    indptr,
    place,
    targets,
    table,
    own,
    vector,
    alpha,
    of_score,
    gradient,
    of_table,
    slope,
    one_head,
):
    """Gradient of eqs. 2 and 4 in W x of each source."""
    n_heads, d = vector.shape
    for j in range(a, b):
        for k in range(indptr[j], indptr[j + 1]):
            e = place[k]
            i = targets[e]
            for h in range(n_heads):
                share, own_gradient = alpha[e, h] * one_head, of_score[e, h]
                for o in range(d):
                    s = table[j, h * d + o] + own[i, h, o]
                    scaled = own_gradient if s > 0 else own_gradient * slope
                    of_table[j, h * d + o] += share * gradient[i, 0, o] + scaled * vector[h, o]
