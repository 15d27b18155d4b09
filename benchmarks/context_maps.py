"""One map for each context against a loop over contexts: forward and backward.

Each row of a minibatch has one of many contexts, drawn at random, and each context a 256 x 256
matrix and a bias. The reference has an ``nn.Linear`` for each context, and applies it to its rows
through a boolean mask; it visits the contexts that are present, which it is told. Where matrices
are stacked in one tensor, as ours are, a loop gives each context it visits a gradient of the size
of all: ``extra`` has that too. Memory stays with the process, as in training.
"""

from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, clock_of, in_pairs, seconds_of
from synthome.models.context_maps import Grouping, grouped_linear, low_rank_maps
from synthome.training.device import cpu_threads, memory_kept, pick_device

N, RANK, MANY = 256, 8, 5_000
SIZES = [(4_096, 50), (4_096, 5), (4_096, 500), (512, 50), (512, 5), (512, 500)]  # the claim first


class Ours:
    """Products by group; to group the minibatch is part of a step."""

    def __init__(
        self, n_obs: int, n_contexts: int, device: str, rank: int | None = None, apart: int = 1
    ) -> None:
        """Of so many contexts; the ones drawn are ``apart``, with others between them."""
        torch.manual_seed(0)
        self.where = pick_device(device)
        self.h, self.gradient = torch.randn(2, n_obs, N, device=self.where)
        self.h.requires_grad_()
        self.context = torch.randint(n_contexts // apart, (n_obs,)) * apart
        sizes = [(N, N)] if rank is None else [(N, rank), (rank, N)]
        maps = [torch.randn(n_contexts, *size) / N**0.5 for size in sizes]
        both = [*maps, torch.randn(n_contexts, N)]
        self.parameters = [x.to(self.where).requires_grad_() for x in both]

    def apply(self) -> Tensor:
        grouping = Grouping.of(self.context).to(self.where)
        if len(self.parameters) == 2:
            weight, bias = self.parameters
            return grouped_linear(self.h, weight, bias, grouping)
        down, up, bias = self.parameters
        return low_rank_maps(self.h, down, up, bias, grouping)

    def __call__(self) -> Tensor:
        for x in (self.h, *self.parameters):
            x.grad = None
        y = self.apply()
        y.backward(self.gradient)
        if self.where.type == "cuda":
            torch.cuda.synchronize()
        return y.detach()


class Stacked(Ours):
    """The same tensors, a context at a time."""

    def __init__(self, n_obs: int, n_contexts: int, device: str, rank: int | None = None) -> None:
        super().__init__(n_obs, n_contexts, device, rank)
        self.present = self.context.unique().tolist()
        self.context = self.context.to(self.where)

    def apply(self) -> Tensor:
        y = torch.zeros_like(self.gradient)
        for c in self.present:
            mask = self.context == c
            y[mask] = self.one(c, self.h[mask])
        return y

    def one(self, c: int, h: Tensor) -> Tensor:
        *maps, bias = self.parameters
        for weight in maps:
            h = h @ weight[c]
        return h + bias[c]


class Layers(Stacked):
    """A layer for each context."""

    def __init__(self, n_obs: int, n_contexts: int, device: str, rank: int | None = None) -> None:
        super().__init__(n_obs, n_contexts, device, rank)
        *maps, bias = (x.detach() for x in self.parameters)
        self.layers = [[_layer(x[c], None) for x in maps[:-1]] for c in range(n_contexts)]
        for c, layers in enumerate(self.layers):
            layers.append(_layer(maps[-1][c], bias[c]))
        self.parameters = [x for each in self.layers for layer in each for x in layer.parameters()]

    def one(self, c: int, h: Tensor) -> Tensor:
        for layer in self.layers[c]:
            h = layer(h)
        return h


def _layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, *weight.shape, bias=bias is not None)
    layer.weight = nn.Parameter(weight.T.contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


def run(device: str) -> Comparison:
    """4,096 rows of 50 contexts; others, of low rank, and absent contexts are in ``extra``."""
    extra: dict[str, object] = {}
    with cpu_threads(1), memory_kept(pick_device(device)):
        for n_obs, k in SIZES:
            pair = Ours(n_obs, k, device), Layers(n_obs, k, device)
            seconds = _seconds(*pair, device, extra, f"{n_obs:,} rows of {k:,} contexts")
            if (n_obs, k) == SIZES[0]:
                ours, reference = seconds
        for n_obs, k in SIZES[:2]:
            stacked = Stacked(n_obs, k, device)
            what = f"{n_obs:,} rows of {k:,} contexts, to a loop over stacked matrices"
            _seconds(Ours(n_obs, k, device), stacked, device, extra, what)
        for n_obs in (4_096, 512):
            pair = Ours(n_obs, MANY, device, RANK), Layers(n_obs, MANY, device, RANK)
            what = f"{n_obs:,} rows of {MANY:,} contexts, rank {RANK}"
            _seconds(*pair, device, extra, what)
        for n_obs in (4_096, 512):
            few, many = Ours(n_obs, 500, device, RANK), Ours(n_obs, MANY, device, RANK, apart=10)
            times = [min(side) for side in in_pairs(few, many, pairs=15, clock=clock_of(device))]
            what = f"{n_obs:,} rows of 500 contexts among {MANY:,}, rank {RANK}"
            extra[what] = f"{times[1] / times[0]:.2f} times the seconds of 500 among 500"
    return Comparison(
        name="context_maps",
        claim=f"a {N} x {N} map for each of {SIZES[0][1]} contexts, {SIZES[0][0]:,} rows",
        protocol=f"forward and backward, one thread, {seconds_of(device)}",
        ours=ours,
        reference=reference,
        extra=extra,
    )


def _seconds(
    ours: Ours, loop: Stacked, device: str, extra: dict[str, object], what: str
) -> tuple[list[float], list[float]]:
    """Seconds of each; their ratio and the largest difference of results go to ``extra``."""
    off = float((ours() - loop()).abs().max())
    seconds = in_pairs(ours, loop, pairs=15, clock=clock_of(device))
    ratio = median(b / a for a, b in zip(*seconds, strict=True))
    best = min(seconds[1]) / min(seconds[0])
    extra[what] = f"{ratio:.2f} x, best of each {best:.2f} x (off {off:.0e})"
    return seconds
