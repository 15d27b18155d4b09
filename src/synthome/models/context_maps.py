"""Maps of the latent space by context: each category of a metadata field has a map of its own.

Row i of a minibatch is a cell with latent vector h_i and category c_i of the field:

    y_i = h_i W[c_i] + b[c_i]                                                               (1)
    y_i = h_i D[c_i] U[c_i] + b[c_i]          D has few columns, and U as many rows         (2)

A matrix gathered for each row makes eq. 1 many times slower than a loop over the categories. Here
rows are brought together by category once (``Grouping``), and each category that is present is one
product, written to where its result belongs; so are the gradients in h and in W. The gradient in W
is memory that reads as zero and is taken up where it is written to, so that categories that are
absent cost next to nothing.

Where a product is too small to be worth a call of its own, and on a GPU, categories with about as
many rows share one batched product, filled up with zero rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# On one thread, a batch was faster up to both. It copies matrices, which larger ones do not repay.
SMALL_MATRIX = 2**13  # numbers
FEW_ROWS = 32  # of a category


class Block(NamedTuple):
    """Slots of one category, or of several (a tensor) that have ``width`` each: one product."""

    context: int | Tensor
    width: int

    @property
    def n_slots(self) -> int:
        """Slots of all."""
        return self.width if isinstance(self.context, int) else self.width * len(self.context)

    def of(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Its maps: (n_in, n_out), or (n_categories, n_in, n_out)."""
        if isinstance(self.context, int):
            return weight[self.context].to(dtype)
        return weight.index_select(0, self.context).to(dtype)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each row of a minibatch stands while it is multiplied: its slot.

    The row of each slot is None where there are more slots than rows.
    """

    slot: Int[Tensor, " n_obs"]
    row: Int[Tensor, " n_obs"] | None
    blocks: list[Block]
    n_present: int  # categories

    def spread(self, rows: Float[Tensor, "n_obs n"]) -> Float[Tensor, "n_slots n"]:
        """Each row in its slot, and zeros in the slots without one."""
        if self.row is not None:
            return rows.index_select(0, self.row)
        n_slots = sum(block.n_slots for block in self.blocks)
        return rows.new_zeros(n_slots, rows.shape[1]).index_copy_(0, self.slot, rows)

    def collect(self, slots: Float[Tensor, "n_slots n"]) -> Float[Tensor, "n_obs n"]:
        """Each row from its slot."""
        return slots.index_select(0, self.slot)

    def cut(self, slots: Float[Tensor, "n_slots n"]) -> Iterator[Tensor]:
        """The part of each block: (width, n), or (n_categories, width, n)."""
        parts = slots.split([block.n_slots for block in self.blocks])
        for block, part in zip(self.blocks, parts, strict=True):
            one = isinstance(block.context, int)
            yield part if one else part.view(-1, block.width, part.shape[1])


@dataclass(frozen=True, eq=False)
class Grouping:
    """The rows of a minibatch by category of a field: made once, for all maps of the field.

    ``order`` sorts them; ``present`` has the categories with rows, ascending, and ``sizes`` how
    many rows each of these has.
    """

    context: Int[Tensor, " n_obs"]
    order: Int[Tensor, " n_obs"]
    present: list[int]
    sizes: list[int]
    _layouts: dict[int, Layout] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, context: Int[Tensor, " n_obs"]) -> "Grouping":
        """From the category of each row; on the CPU at best, since a GPU is waited for here."""
        context = context.long()
        ordered, order = context.sort(stable=True)
        present, sizes = ordered.unique_consecutive(return_counts=True)
        return cls(context, order, present.tolist(), sizes.tolist())

    def to(self, device: torch.device) -> "Grouping":
        """The same on another device."""
        return Grouping(self.context.to(device), self.order.to(device), self.present, self.sizes)

    def layout(self, widest: int) -> Layout:
        """Categories with up to ``widest`` rows in batches, the others one by one.

        A batch has all those with more than 2^(k-1) and at most 2^k rows, for some k.
        """
        if widest not in self._layouts:
            self._layouts[widest] = self._layout(widest)
        return self._layouts[widest]

    def _layout(self, widest: int) -> Layout:
        present, sizes = (np.array(x, dtype=np.int64) for x in (self.present, self.sizes))
        device, width = self.order.device, sizes.copy()
        batch = np.where(sizes <= widest, np.ceil(np.log2(sizes)), np.inf)
        blocks = []
        for k in np.unique(batch[batch < np.inf]):
            members = batch == k
            width[members] = longest = int(sizes[members].max())
            blocks.append(Block(torch.from_numpy(present[members]).to(device), longest))
        alone = batch == np.inf
        blocks += map(Block, present[alone].tolist(), sizes[alone].tolist())
        first, rank = np.empty_like(sizes), np.argsort(batch, kind="stable")
        first[rank] = width[rank].cumsum() - width[rank]
        within = np.arange(len(self.order)) - np.repeat(sizes.cumsum() - sizes, sizes)
        slot = torch.empty_like(self.order)
        slot[self.order] = torch.from_numpy(np.repeat(first, sizes) + within).to(device)
        if width.sum() > sizes.sum():
            return Layout(slot, None, blocks, len(present))
        row = torch.empty_like(slot)
        row[slot] = torch.arange(len(slot), device=device)
        return Layout(slot, row, blocks, len(present))


def grouped_linear(
    h: Float[Tensor, "n_obs n_in"],
    weight: Float[Tensor, "n_contexts n_in n_out"],
    bias: Float[Tensor, "n_contexts n_out"] | None,
    context: Int[Tensor, " n_obs"] | Grouping,
) -> Float[Tensor, "n_obs n_out"]:
    """Eq. 1; a ``Grouping`` in the place of categories spares their sorting."""
    return _chain(h, [weight], bias, context)


def low_rank_maps(
    h: Float[Tensor, "n_obs n_in"],
    down: Float[Tensor, "n_contexts n_in rank"],
    up: Float[Tensor, "n_contexts rank n_out"],
    bias: Float[Tensor, "n_contexts n_out"] | None,
    context: Int[Tensor, " n_obs"] | Grouping,
) -> Float[Tensor, "n_obs n_out"]:
    """Eq. 2, with D ``down`` and U ``up``."""
    return _chain(h, [down, up], bias, context)


def _chain(
    h: Tensor, weights: list[Tensor], bias: Tensor | None, context: Tensor | Grouping
) -> Tensor:
    """Products with one matrix after another, between one move to slots and one move back."""
    grouping = context if isinstance(context, Grouping) else Grouping.of(context)
    assert len(grouping.order) == len(h), "a category for each row"
    if grouping.present:
        assert grouping.present[0] >= 0, "categories count from 0"
        assert grouping.present[-1] < len(weights[0]), "each category has a map"
    on_cpu, dtype = h.device.type == "cpu", weights[0].dtype
    if not on_cpu and torch.is_autocast_enabled(h.device.type):
        dtype = torch.get_autocast_dtype(h.device.type)
    small = weights[0][0].numel() <= SMALL_MATRIX
    layout = grouping.layout((FEW_ROWS if small else 0) if on_cpu else len(h))
    slots = _Spread.apply(h.to(dtype), layout)
    for weight in weights[:-1]:
        slots = _Products.apply(slots, weight, None, layout)
    slots = _Products.apply(slots, weights[-1], bias, layout)
    y: Tensor = _Collected.apply(slots, layout)
    return y


class _Spread(torch.autograd.Function):
    """Rows to slots."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return layout.spread(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.layout.collect(gradient), None


class _Products(torch.autograd.Function):
    """The product of each block, and its bias; the gradients in the slots, the maps and the bias.

    Maps are read, and their gradients written, where they are. A bias is added within the product,
    and its gradient is a sum over neighbours, where rows in any order would cost a pass each.
    """

    @staticmethod
    def forward(
        ctx: Any, slots: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout
    ) -> Tensor:
        ctx.save_for_backward(slots, weight)
        ctx.layout, ctx.of_bias = layout, bias is not None and (bias.shape, bias.dtype)
        y = slots.new_empty(len(slots), weight.shape[2])
        for block, x, out in zip(layout.blocks, layout.cut(slots), layout.cut(y), strict=True):
            maps = block.of(weight, slots.dtype)
            if bias is None:
                torch.matmul(x, maps, out=out)
            elif isinstance(block.context, int):
                torch.addmm(bias[block.context].to(x.dtype), x, maps, out=out)
            else:
                own = bias.index_select(0, block.context).to(x.dtype)
                torch.baddbmm(own[:, None], x, maps, out=out)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        slots, weight = ctx.saved_tensors
        layout, of_slots, of_weight, of_bias = ctx.layout, None, None, None
        if ctx.needs_input_grad[0]:
            of_slots = torch.empty_like(slots)
            parts = layout.cut(gradient), layout.cut(of_slots)
            for block, g, out in zip(layout.blocks, *parts, strict=True):
                torch.matmul(g, block.of(weight, slots.dtype).mT, out=out)
        whole = layout.n_present == len(weight)
        if ctx.needs_input_grad[1]:
            of_weight = _zeros(weight.shape, weight.dtype, weight.device, whole)
            parts = layout.cut(slots), layout.cut(gradient)
            for block, x, g in zip(layout.blocks, *parts, strict=True):
                if isinstance(block.context, int) and weight.dtype == g.dtype:
                    torch.mm(x.mT, g, out=of_weight[block.context])
                elif isinstance(block.context, int):
                    of_weight[block.context] = x.mT @ g
                else:
                    found = torch.bmm(x.mT, g).to(weight.dtype)
                    of_weight.index_copy_(0, block.context, found)
        if ctx.needs_input_grad[2]:
            shape, dtype = ctx.of_bias
            of_bias = _zeros(shape, dtype, weight.device, whole)
            for block, g in zip(layout.blocks, layout.cut(gradient), strict=True):
                if isinstance(block.context, int):
                    of_bias[block.context] = g.sum(dim=0, dtype=dtype)
                else:
                    of_bias.index_copy_(0, block.context, g.sum(dim=1, dtype=dtype))
        return of_slots, of_weight, of_bias, None


class _Collected(torch.autograd.Function):
    """Slots to rows."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return layout.collect(slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.layout.spread(gradient), None


def _zeros(
    shape: torch.Size, dtype: torch.dtype, device: torch.device, whole: bool = False
) -> Tensor:
    """Zeros that a CPU takes up when they are first written to; anything if the ``whole`` is.

    NumPy asks for large pages of memory, which PyTorch does not: small ones cost more than the
    products do.
    """
    if device.type != "cpu":
        return (torch.empty if whole else torch.zeros)(shape, dtype=dtype, device=device)
    memory = (np.empty if whole else np.zeros)(shape.numel() * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(memory).view(dtype).view(shape)


class ContextMaps(nn.Module):
    """Eq. 1 for all categories of a field; eq. 2 on top of the identity where a rank is given.

    Maps of low rank begin as the identity, full ones close to it. Non-negative maps have no bias,
    and full ones among them begin as means over the latent space, with weights drawn at random.

    Parameters
    ----------
    rank
        Columns of D; None for full matrices.
    non_negative
        No number of a map is below 0, if ``project`` follows each step of the optimiser.
    """

    def __init__(
        self, n_contexts: int, n_latent: int, rank: int | None, non_negative: bool = False
    ) -> None:
        super().__init__()
        self.rank, self.non_negative = rank, non_negative
        self.register_parameter("bias", None)
        if not non_negative:
            self.bias = nn.Parameter(torch.zeros(n_contexts, n_latent))
        first = torch.empty(n_contexts, n_latent, n_latent if rank is None else rank)
        if non_negative:
            nn.init.uniform_(first, 0.0, 2.0 / n_latent)  # columns of W sum to 1 on average
        else:
            nn.init.normal_(first, std=n_latent**-0.5)
        if rank is not None:
            self.down = nn.Parameter(first)
            self.up = nn.Parameter(torch.zeros(n_contexts, rank, n_latent))
        elif non_negative:
            self.weight = nn.Parameter(first)
        else:
            self.weight = nn.Parameter(torch.eye(n_latent) + 0.01 * first)

    def forward(
        self, h: Float[Tensor, "n_obs n_latent"], context: Int[Tensor, " n_obs"] | Grouping
    ) -> Float[Tensor, "n_obs n_latent"]:
        """Each row through the map of its category."""
        if self.rank is None:
            return grouped_linear(h, self.weight, self.bias, context)
        return h + low_rank_maps(h, self.down, self.up, self.bias, context)

    @torch.no_grad()
    def project(self) -> None:
        """Set what is below 0 to 0, in maps that are to be non-negative."""
        if self.non_negative:
            for parameter in self.parameters():
                parameter.clamp_(min=0.0)
