"""Graph attention: each node reads its sources, with weights that it learns; heads are averaged.

For target i with sources j in A_i, which hold i itself where the graph has that edge, and head h:

    e_ijh = LeakyReLU(a_h . W_h x_j + b_h . W_h x_i)        ``kind: gat``                   (1)
    e_ijh = a_h . LeakyReLU(W_h x_j + V_h x_i)              ``kind: gatv2``                 (2)
    alpha_ijh = exp(e_ijh) / sum_{k in A_i} exp(e_ikh)                                      (3)
    y_i = 1/H sum_h sum_{j in A_i} alpha_ijh W_h x_j + bias                                 (4)

On a CPU, eqs. 1 to 4 and their gradients are passes over the edges by target or by source
(``graph_kernels``), in which no message of an edge is ever stored. The scores of eq. 1 are products
of x with vectors W_h' a_h, and come out of the same product as W_h x. The sum over sources and the
product with W_h can change places: in eq. 1, x itself is summed where it is narrower than y.
Elsewhere, messages are tensors of PyTorch.

Velickovic et al. (2018), arXiv:1710.10903 (eqs. 1, 3, 4). Brody, Alon, Yahav (2022),
arXiv:2105.14491 (eq. 2).
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

from synthome.graph import Graph


class GraphAttention(nn.Module):
    """Eqs. 1-4.

    Parameters
    ----------
    negative_slope
        Of LeakyReLU below 0; 0.2 as published.

    Attributes
    ----------
    weight
        W of all heads, one below the other, (n_heads * n_out, n_in).
    of_source, of_target
        a and b of eq. 1, (n_heads, n_out); of eq. 2, a alone, and V, as ``weight``.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_heads: int = 3,
        kind: Literal["gat", "gatv2"] = "gat",
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out, self.n_heads, self.kind = n_in, n_out, n_heads, kind
        self.negative_slope = negative_slope
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
        assert x.shape[0] == graph.n_sources, "a row of x for each source of the graph"
        if x.device.type != "cpu":
            return self._by_edges(x, graph) + self.bias
        if self.kind == "gatv2":
            table, own = x @ self.weight.T, self._own(x, graph)
            read = _AttentionV2.apply(table, own, self.of_source, graph, self.negative_slope)
            return read.squeeze(1) + self.bias
        if self.n_in < self.n_out:
            table = torch.cat([x, x @ self._score_weight().T], dim=1)
            read = _Attention.apply(table, self.n_heads, 1, graph, self.negative_slope)
            weight = self._of_head().transpose(1, 2).reshape(-1, self.n_out)
            return torch.addmm(self.bias, read.flatten(1), weight)  # (n_heads * n_in, n_out)
        table = x @ torch.cat([self.weight, self._score_weight()]).T
        read = _Attention.apply(table, self.n_heads, self.n_heads, graph, self.negative_slope)
        return read.squeeze(1) + self.bias

    def _of_head(self) -> Float[Tensor, "n_heads n_out n_in"]:
        return self.weight.view(self.n_heads, self.n_out, self.n_in)

    def _score_weight(self) -> Float[Tensor, "two_n_heads n_in"]:
        """W_h' a_h of each head, then W_h' b_h: eq. 1."""
        vectors = torch.stack([self.of_source, self.of_target])
        return torch.einsum("hoi,tho->thi", self._of_head(), vectors).flatten(0, 1)

    def _own(self, x: Tensor, graph: Graph) -> Float[Tensor, "n_targets n_heads n_out"]:
        """V_h x_i of eq. 2."""
        return (x[: graph.n_targets] @ self.of_target.T).view(-1, self.n_heads, self.n_out)

    def _by_edges(self, x: Tensor, graph: Graph) -> Float[Tensor, "n_targets n_out"]:
        """Eqs. 1 to 4 without the bias, with a tensor for the messages of all edges."""
        n, targets = graph.n_targets, graph.targets
        message = (x @ self.weight.T).view(-1, self.n_heads, self.n_out)[graph.indices]
        if self.kind == "gat":
            source, target = (x @ self._score_weight().T).split(self.n_heads, dim=1)
            summed = source[graph.indices] + target[targets]
            scores = nn.functional.leaky_relu(summed, self.negative_slope)
        else:
            summed = message + self._own(x, graph)[targets]
            activated = nn.functional.leaky_relu(summed, self.negative_slope)
            scores = (activated * self.of_source).sum(dim=-1)
        scores = scores.to(self.bias.dtype)  # (n_edges, n_heads), in full precision from here
        each = targets[:, None].expand_as(scores)
        highest = scores.new_full((n, self.n_heads), -torch.inf)
        highest = highest.scatter_reduce(0, each, scores.detach(), "amax")
        weight = (scores - highest[targets]).exp()
        total = weight.new_zeros(n, self.n_heads).index_add(0, targets, weight)
        alpha = weight / total[targets] / self.n_heads
        message = torch.einsum("eh,eho->eo", alpha, message).to(self.bias.dtype)
        return message.new_zeros(n, self.n_out).index_add(0, targets, message)

    @torch.no_grad()
    def begin(self, weight: Float[Tensor, "n_out n_in"], bias: Float[Tensor, " n_out"]) -> None:
        """Start as the plain mean over the sources of ``weight @ x + bias``, in every head."""
        self.weight.copy_(weight.repeat(self.n_heads, 1))
        self.bias.copy_(bias)
        self.of_source.zero_()
        if self.kind == "gat":
            self.of_target.zero_()


class _Attention(torch.autograd.Function):
    """Eqs. 1, 3 and 4 on a CPU, from the table of sources that ``graph_kernels`` describes."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any, table: Tensor, n_heads: int, n_values: int, graph: Graph, slope: float
    ) -> Tensor:
        from synthome.models import graph_kernels

        read, alpha = graph_kernels.attend_gat(table, n_heads, n_values, graph, slope)
        ctx.save_for_backward(table, alpha)
        ctx.graph, ctx.slope = graph, slope
        return read

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cpu")
    def backward(  # type: ignore[override]  # its decorators are untyped
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        from synthome.models import graph_kernels

        table, alpha = ctx.saved_tensors
        found = graph_kernels.gradient_gat(table, alpha, gradient, ctx.graph, ctx.slope)
        return found, None, None, None, None


class _AttentionV2(torch.autograd.Function):
    """Eqs. 2 to 4 on a CPU, from W x, V x and a."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any, table: Tensor, own: Tensor, vector: Tensor, graph: Graph, slope: float
    ) -> Tensor:
        from synthome.models import graph_kernels

        read, alpha = graph_kernels.attend_gatv2(table, own, vector, graph, slope)
        ctx.save_for_backward(table, own, vector, alpha)
        ctx.graph, ctx.slope = graph, slope
        return read

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cpu")
    def backward(  # type: ignore[override]  # its decorators are untyped
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        from synthome.models import graph_kernels

        table, own, vector, alpha = ctx.saved_tensors
        found = graph_kernels.gradient_gatv2(
            table, own, vector, alpha, gradient, ctx.graph, ctx.slope
        )
        return *found, None, None
