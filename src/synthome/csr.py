"""Sparse count matrices on the device: minibatches of rows, and products, without zeros.

Counts of single cells are zero for nine genes in ten. A ``CSRRows`` keeps the others alone, in
compressed sparse rows, and behaves like the first axis of a tensor: it has a length, a device, and
``rows[index]`` is a minibatch.
"""

from dataclasses import dataclass
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
        rows = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        return cls(
            torch.from_numpy(rows.indptr.astype(np.int64)),
            torch.from_numpy(rows.indices.astype(np.int32)),
            torch.from_numpy(rows.data),
            rows.shape[1],
        )

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

    def to(self, device: torch.device) -> "CSRRows":
        """The same on another device."""
        moved = (part.to(device) for part in (self.indptr, self.indices, self.values))
        return CSRRows(*moved, self.n_vars)

    def __getitem__(self, index: Int[Tensor, " n_rows"]) -> "CSRRows":
        """The rows of ``index``, in that order."""
        start = self.indptr[index]
        length = self.indptr[index + 1] - start
        indptr = self.indptr.new_zeros(index.shape[0] + 1)
        torch.cumsum(length, 0, out=indptr[1:])
        offset = torch.repeat_interleave(start - indptr[:-1], length)
        place = torch.arange(offset.shape[0], device=self.device).add_(offset)
        indices, values = self.indices.index_select(0, place), self.values.index_select(0, place)
        return CSRRows(indptr, indices, values, self.n_vars)

    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each stored value."""
        each = torch.arange(len(self), dtype=self.indices.dtype, device=self.device)
        size = self.values.shape[0]
        return torch.repeat_interleave(each, self.indptr.diff(), output_size=size)

    def with_values(self, values: Float[Tensor, " nnz"]) -> "CSRRows":
        """The same places with other values."""
        return CSRRows(self.indptr, self.indices, values, self.n_vars)

    def row_sums(self) -> Float[Tensor, " n_obs"]:
        """Sum of each row."""
        out = self.values.new_zeros(len(self))
        return out.index_add_(0, self.rows(), self.values)

    def dense(self) -> Float[Tensor, "n_obs n_vars"]:
        """With its zeros."""
        out = torch.zeros(self.shape, device=self.device)
        place = self.rows().long() * self.n_vars + self.indices
        out.view(-1).index_copy_(0, place, self.values)
        return out

    def transposed(self) -> "CSRRows":
        """Columns as rows, each sorted by row."""
        if self.device.type == "cpu":  # a linear pass; sorting on the device is quicker elsewhere
            parts = (self.values.numpy(), self.indices.numpy(), self.indptr.numpy())
            flipped = sparse.csr_matrix(parts, shape=self.shape).tocsc()
            parts = (flipped.indptr.astype(np.int64), flipped.indices, flipped.data)
            return CSRRows(*map(torch.from_numpy, parts), len(self))
        order = torch.argsort(self.indices, stable=True)
        length = torch.bincount(self.indices, minlength=self.n_vars)
        indptr = torch.cat([length.new_zeros(1), length.cumsum(0)])
        return CSRRows(indptr, self.rows()[order], self.values[order], len(self))

    def __matmul__(self, dense: Float[Tensor, "n_vars k"]) -> Float[Tensor, "n_obs k"]:
        """Product with a dense matrix, differentiable in the latter."""
        if PER_COUNT * self.values.shape[0] + BOOKKEEPING > len(self) * self.n_vars:
            return self.dense().to(dense.dtype) @ dense
        product: Tensor = _Product.apply(dense, self)
        return product


class _Product(torch.autograd.Function):
    """``rows @ dense`` and, for the gradient, ``rows' @ gradient``, each a weighted sum of rows."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, rows: CSRRows) -> Tensor:  # type: ignore[override]
        ctx.rows = rows
        return _weighted_sums(rows, dense.detach())  # which is not told that a gradient is wanted

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _weighted_sums(ctx.rows.transposed(), gradient.contiguous()), None


def _weighted_sums(rows: CSRRows, dense: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(
        rows.indices,
        dense,
        rows.indptr[:-1].to(rows.indices.dtype),
        mode="sum",
        per_sample_weights=rows.values.to(dense.dtype),
    )
