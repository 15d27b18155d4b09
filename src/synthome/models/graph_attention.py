"""Graph attention: each node reads its sources, with weights that it learns; heads are averaged.

For target i with sources j in A_i, which hold i itself where the graph has that edge, and head h:

    e_ijh = LeakyReLU(a_h . W_h x_j + b_h . W_h x_i)        ``kind: gat``                   (1)
    e_ijh = a_h . LeakyReLU(W_h x_j + V_h x_i)              ``kind: gatv2``                 (2)
    alpha_ijh = exp(e_ijh) / sum_{k in A_i} exp(e_ikh)                                      (3)
    y_i = 1/H sum_h sum_{j in A_i} alpha_ijh W_h x_j + bias                                 (4)

On a CPU, eqs. 1, 3 and 4 and their gradients are two passes over the edges by target and one by
source (``graph_kernels``), in which no message of an edge is ever stored. The scores of eq. 1 are
products of x with vectors W_h' a_h. The sum over sources and the product with W_h can change
places: x itself is summed where it is narrower than y. Elsewhere, and for eq. 2, messages are
tensors of PyTorch.

Velickovic et al. (2018), arXiv:1710.10903 (eqs. 1, 3, 4). Brody, Alon, Yahav (2022),
arXiv:2105.14491 (eq. 2).
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synthome.graph import Graph

SLOPE = 0.2  # of LeakyReLU below 0, as published


class GraphAttention(nn.Module):
    """Eqs. 1-4.

    Attributes
    ----------
    weight
        W of all heads, one below the other, (n_heads * n_out, n_in).
    of_source, of_target
        a and b of eq. 1, (n_heads, n_out); of eq. 2, a alone.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_heads: int = 3,
        kind: Literal["gat", "gatv2"] = "gat",
    ) -> None:
        super().__init__()
        self.n_in, self.n_out, self.n_heads, self.kind = n_in, n_out, n_heads, kind
        self.weight = nn.Parameter(torch.empty(n_heads * n_out, n_in))
        self.of_source = nn.Parameter(torch.empty(n_heads, n_out))
        second = (n_heads, n_out) if kind == "gat" else (n_heads * n_out, n_in)
        self.of_target = nn.Parameter(torch.empty(*second))  # b of eq. 1, or V of eq. 2
        self.bias = nn.Parameter(torch.zeros(n_out))
        for parameter in (self.weight, self.of_source, self.of_target):
            nn.init.xavier_uniform_(parameter)

    def forward(
        self, x: Float[Tensor, "n_sources n_in"], graph: Graph
    ) -> Float[Tensor, "n_targets n_out"]:
        """Eq. 4; a target without sources gets the bias."""
        if self.kind == "gatv2":
            return self._second_kind(x, graph) + self.bias
        of_head = self.weight.view(self.n_heads, self.n_out, self.n_in)
        source = x @ torch.einsum("hoi,ho->ih", of_head, self.of_source)  # (n_sources, n_heads)
        target = x[: graph.n_targets] @ torch.einsum("hoi,ho->ih", of_head, self.of_target)
        if x.device.type != "cpu":
            scores = nn.functional.leaky_relu(source[graph.indices] + target[graph.targets], SLOPE)
            return _by_edges(self._projected(x), scores, graph) + self.bias
        if self.n_in < self.n_out:
            read: Tensor = _Attention.apply(x[:, None], source, target, graph)
            weight = of_head.transpose(1, 2).reshape(-1, self.n_out)  # (n_heads * n_in, n_out)
            return torch.addmm(self.bias, read.flatten(1), weight)
        read = _Attention.apply(self._projected(x), source, target, graph)
        return read.squeeze(1) + self.bias

    def _projected(self, x: Tensor) -> Float[Tensor, "n_sources n_heads n_out"]:
        return (x @ self.weight.T).view(-1, self.n_heads, self.n_out)

    def _second_kind(self, x: Tensor, graph: Graph) -> Tensor:
        """Eqs. 2 to 4 without the bias."""
        projected = self._projected(x)
        own = (x[: graph.n_targets] @ self.of_target.T).view(-1, self.n_heads, self.n_out)
        summed = projected[graph.indices] + own[graph.targets]
        scores = (nn.functional.leaky_relu(summed, SLOPE) * self.of_source).sum(dim=-1)
        return _by_edges(projected, scores, graph)

    @torch.no_grad()
    def begin(self, weight: Float[Tensor, "n_out n_in"], bias: Float[Tensor, " n_out"]) -> None:
        """Start as the plain mean over the sources of ``weight @ x + bias``, in every head."""
        self.weight.copy_(weight.repeat(self.n_heads, 1))
        self.bias.copy_(bias)
        self.of_source.zero_()
        if self.kind == "gat":
            self.of_target.zero_()


def _by_edges(
    projected: Float[Tensor, "n_sources n_heads n_out"],
    scores: Float[Tensor, "n_edges n_heads"],
    graph: Graph,
) -> Float[Tensor, "n_targets n_out"]:
    """Eqs. 3 and 4 without the bias, from the scores of all edges."""
    n, targets = graph.n_targets, graph.targets
    each = targets[:, None].expand_as(scores)
    highest = scores.new_full((n, scores.shape[1]), -torch.inf)
    highest = highest.scatter_reduce(0, each, scores.detach(), "amax")
    weight = (scores - highest[targets]).exp()
    total = weight.new_zeros(n, scores.shape[1]).index_add(0, targets, weight)
    alpha = weight / total[targets] / scores.shape[1]
    message = torch.einsum("eh,eho->eo", alpha, projected[graph.indices])
    return message.new_zeros(n, message.shape[1]).index_add(0, targets, message)


class _Attention(torch.autograd.Function):
    """Sums over the sources of each target on a CPU, from the two summands of eq. 1."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, source: Tensor, target: Tensor, graph: Graph) -> Tensor:
        from synthome.models import graph_kernels

        read, alpha = graph_kernels.attend(values, source, target, graph, SLOPE)
        ctx.save_for_backward(values, source, target, alpha)
        ctx.graph = graph
        return read

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from synthome.models import graph_kernels

        values, source, target, alpha = ctx.saved_tensors
        found = graph_kernels.gradients(values, source, target, alpha, gradient, ctx.graph, SLOPE)
        return *found, None
