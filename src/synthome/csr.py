"""Sparse count matrices on the device: minibatches of rows, and products, without zeros.

Counts of single cells are zero for nine genes in ten. A ``CSRRows`` keeps the others alone, in
compressed sparse rows, and behaves like the first axis of a tensor: it has a length, a device, and
``rows[index]`` is a minibatch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

# What a sparse product costs, in entries of a dense one: for each count, and to begin with.
PER_COUNT, BOOKKEEPING = 4, 2**15


@dataclass(frozen=True, eq=False)
class CSRRows:
    """A sparse matrix (n_obs, n_vars) by rows.

    Attributes
    ----------
    indptr
        Where each row starts in ``indices`` and ``values``, and where the last one ends.
    indices
        Column of each stored value; within a row in any order, each column once.
    """

    indptr: Int[Tensor, " n_obs_plus_1"]
    indices: Int[Tensor, " nnz"]
    values: Float[Tensor, " nnz"]
    n_vars: int

    @classmethod
    def of(cls, matrix: Any) -> "CSRRows":
        """Of a SciPy or dense matrix; stored zeros are dropped."""
        kept = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
        kept.sum_duplicates()
        kept.eliminate_zeros()
        indptr, indices = kept.indptr.astype(np.int64), kept.indices.astype(np.int32)
        tensors = [torch.from_numpy(part) for part in (indptr, indices, kept.data)]
        return cls(tensors[0], tensors[1], tensors[2], kept.shape[1])

    def __len__(self) -> int:
        return self.indptr.shape[0] - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.n_vars

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    @cached_property
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each stored value; made when it is asked for, as a third of the memory is its."""
        each = torch.arange(len(self), dtype=self.indices.dtype, device=self.device)
        return torch.repeat_interleave(each, self.indptr.diff())

    def to(self, device: torch.device) -> "CSRRows":
        """The same on another device."""
        indptr, indices = self.indptr.to(device), self.indices.to(device)
        return CSRRows(indptr, indices, self.values.to(device), self.n_vars)

    def __getitem__(self, index: Int[Tensor, " n_rows"]) -> "CSRRows":
        """The rows of ``index``, in that order."""
        start = self.indptr[index]
        length = self.indptr[index + 1] - start
        indptr = self.indptr.new_zeros(index.shape[0] + 1)
        torch.cumsum(length, 0, out=indptr[1:])
        each = torch.arange(index.shape[0], dtype=self.indices.dtype, device=self.device)
        rows = torch.repeat_interleave(each, length)
        place = torch.arange(rows.shape[0], device=self.device)
        place += (start - indptr[:-1]).index_select(0, rows)
        indices, values = self.indices.index_select(0, place), self.values.index_select(0, place)
        part = CSRRows(indptr, indices, values, self.n_vars)
        vars(part)["rows"] = rows  # of ``cached_property``
        return part

    def with_values(self, values: Float[Tensor, " nnz"]) -> "CSRRows":
        """The same places with other values."""
        other = CSRRows(self.indptr, self.indices, values, self.n_vars)
        vars(other)["rows"] = self.rows
        return other

    def row_sums(self) -> Float[Tensor, " n_obs"]:
        """Sum of each row."""
        out = self.values.new_zeros(len(self))
        return out.index_add_(0, self.rows, self.values)

    def dense(self) -> Float[Tensor, "n_obs n_vars"]:
        """With its zeros."""
        out = torch.zeros(self.shape, device=self.device)
        place = self.rows.long() * self.n_vars + self.indices
        out.view(-1).index_copy_(0, place, self.values)
        return out

    def __matmul__(self, dense: Float[Tensor, "n_vars k"]) -> Float[Tensor, "n_obs k"]:
        """Product with a dense matrix, differentiable in the latter."""
        if PER_COUNT * self.values.shape[0] + BOOKKEEPING > len(self) * self.n_vars:
            return self.dense().to(dense.dtype) @ dense
        product: Tensor = _Product.apply(dense, self)
        return product


class _Product(torch.autograd.Function):
    """``rows @ dense`` and, for the gradient, ``rows' @ gradient``, each a weighted sum of rows."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, rows: CSRRows) -> Tensor:
        ctx.rows = rows
        # Detached, since the sums would be slower if they knew that a gradient is wanted.
        return _weighted_sums(rows.indptr, rows.indices, rows.values, dense.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _weighted_sums(*_by_column(ctx.rows), gradient.contiguous()), None


def _by_column(rows: CSRRows) -> tuple[Tensor, Tensor, Tensor]:
    """Where each column starts, and the row and value of its entries."""
    if rows.device.type == "cpu":  # a linear pass; sorting on the device is quicker elsewhere
        parts = (rows.values.numpy(), rows.indices.numpy(), rows.indptr.numpy())
        flipped = sparse.csr_matrix(parts, shape=rows.shape).tocsc()
        indptr, indices, values = map(
            torch.from_numpy, (flipped.indptr, flipped.indices, flipped.data)
        )
        return indptr, indices, values
    order = torch.argsort(rows.indices, stable=True)
    length = torch.bincount(rows.indices, minlength=rows.n_vars)
    indptr = torch.cat([length.new_zeros(1), length.cumsum(0)])
    return indptr, rows.rows[order], rows.values[order]


def _weighted_sums(indptr: Tensor, indices: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(
        indices,
        dense,
        indptr[:-1].to(indices.dtype),
        mode="sum",
        per_sample_weights=values.to(dense.dtype),
    )
