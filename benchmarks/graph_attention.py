"""Graph attention against GATConv of PyTorch Geometric: forward and backward of one layer.

Spots of a hexagonal lattice read their six nearest and themselves, three heads are averaged, both
layers have the same weights. GATConv is asked not to add the self loops that are there already,
which only spares it time. PyTorch Geometric is without its optional extensions.
"""

import warnings
from functools import partial
from statistics import median

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import KDTree

from benchmarks.harness import Comparison, clock_of, in_pairs, peak_memory
from synthome.graph import Graph
from synthome.models.graph_attention import GraphAttention
from synthome.training.device import cpu_threads, pick_device

N_OUT, N_HEADS, K = 64, 3, 6
SIZES = [(3_600, 512), (20_000, 512), (3_600, 256), (20_000, 256)]  # spots, n_in; the claim first
THREADS, MANY = 2, 50_000


def lattice(n: int) -> Graph:
    """The first ``n`` spots of a square piece of a hexagonal lattice."""
    row, column = np.divmod(np.arange(n), int(np.ceil(n**0.5)))
    place = np.column_stack([column + 0.5 * (row % 2), row * 3**0.5 / 2])
    nearest = KDTree(place).query(place, K + 1)[1]
    edges = (np.ones(nearest.size), (np.repeat(np.arange(n), K + 1), nearest.ravel()))
    return Graph.of(sparse.csr_matrix(edges, shape=(n, n)))


class Layer:
    """Forward and backward, to the input and to all weights."""

    def __init__(self, whose: str, n: int, n_in: int, kind: str, device: str = "cpu") -> None:
        torch.manual_seed(0)
        where = pick_device(device)
        self.device, self.x = device, torch.randn(n, n_in, device=where, requires_grad=True)
        graph = lattice(n).to(where)
        own = GraphAttention(n_in, N_OUT, n_heads=N_HEADS, kind=kind).to(where)
        self.layer = own if whose == "ours" else _theirs(own)
        self.graph = graph if whose == "ours" else torch.stack([graph.indices, graph.targets])

    def __call__(self) -> torch.Tensor:
        self.x.grad = None
        self.layer.zero_grad(set_to_none=True)
        y = self.layer(self.x, self.graph)
        y.square().mean().backward()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return y.detach()


def _theirs(own: GraphAttention) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.nn import GATConv, GATv2Conv
    kind = GATConv if own.kind == "gat" else GATv2Conv
    layer = kind(own.n_in, own.n_out, heads=own.n_heads, concat=False, add_self_loops=False)
    with torch.no_grad():
        if own.kind == "gat":
            layer.lin.weight.copy_(own.weight)
            layer.att_src.copy_(own.of_source[None])
            layer.att_dst.copy_(own.of_target[None])
        else:
            layer.lin_l.weight.copy_(own.weight)
            layer.lin_r.weight.copy_(own.of_target)
            layer.att.copy_(own.of_source[None])
            layer.lin_l.bias.zero_()  # which we leave out
            layer.lin_r.bias.zero_()
    return layer.to(own.weight.device)


def run(device: str) -> Comparison:
    """3,600 spots, 512 to 64; other sizes, GATv2 and memory are in ``extra``."""
    # Memory first: a new process counts what this one has taken up by then as its own.
    peaks = {} if device == "cuda" else {whose: _extra_memory(whose) for whose in WHOSE}
    extra: dict[str, object] = {}
    with cpu_threads(THREADS):
        for kind in ("gat", "gatv2"):
            for n, n_in in SIZES:
                off, seconds = _compare(n, n_in, kind, device)
                ratio = median(b / a for a, b in zip(*seconds, strict=True))
                extra[f"{kind}, {n:,} spots, {n_in} to {N_OUT}"] = f"{ratio:.2f} x (off {off:.0e})"
                if (kind, n, n_in) == ("gat", *SIZES[0]):
                    ours, reference = seconds
    return Comparison(
        name="graph_attention",
        claim=f"graph attention forward and backward, {SIZES[0][0]:,} spots, 512 to {N_OUT}",
        protocol=f"{N_HEADS} heads, {K} neighbours and self, {THREADS} threads, seconds on the "
        f"wall; memory: above that of the inputs, {MANY:,} spots, 512 to {N_OUT}",
        ours=ours,
        reference=reference,
        peak_mb=peaks,
        extra=extra,
    )


WHOSE = ("ours", "reference")


def _compare(
    n: int, n_in: int, kind: str, device: str
) -> tuple[float, tuple[list[float], list[float]]]:
    """Largest difference of the two results, and the seconds of each."""
    ours, reference = (Layer(whose, n, n_in, kind, device) for whose in WHOSE)
    off = float((ours() - reference()).abs().max())
    steps = max(1, 10_000 // n)

    def several(step: Layer) -> None:
        for _ in range(steps):
            step()

    seconds = in_pairs(
        partial(several, ours), partial(several, reference), pairs=9, clock=clock_of("cuda")
    )
    return off, tuple([value / steps for value in side] for side in seconds)


def _extra_memory(whose: str) -> float:
    """Peak of a step above that of its inputs, both after a small step that compiles."""
    with_step, without = (peak_memory(partial(_step, whose, wanted)) for wanted in (True, False))
    return round(with_step - without, 1)


def _step(whose: str, wanted: bool) -> None:
    torch.set_num_threads(THREADS)
    Layer(whose, 100, 512, "gat")()
    layer = Layer(whose, MANY, 512, "gat")
    if wanted:
        layer()
