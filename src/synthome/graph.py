"""Who reads whom: a directed graph as the sources of each target, in compressed sparse rows.

A tissue is a graph of spots, and attention reads each spot's neighbours. Of half a million spots an
n x n matrix has no place in memory: a ``Graph`` keeps six numbers for each.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from scipy import sparse
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges from sources to targets; target i is the same node as source i.

    There may be more sources than targets: the others, at the end, are read but do not read, as
    the rim around the spots of a minibatch.

    Attributes
    ----------
    indptr
        Where the sources of each target start in ``indices``, and where the last ones end.
    indices
        The sources, below ``n_sources``; those of a target ascend, each is there once.
    """

    indptr: Int[Tensor, " n_targets_plus_1"]
    indices: Int[Tensor, " n_edges"]
    n_sources: int

    @classmethod
    def of(cls, matrix: sparse.sparray | sparse.spmatrix) -> "Graph":
        """Of a sparse matrix (n_targets, n_sources): an edge where a value is stored."""
        kept = sparse.csr_matrix(matrix, copy=True)
        kept.sum_duplicates()
        indptr, indices = kept.indptr.astype(np.int64), kept.indices.astype(np.int64)
        return cls(torch.from_numpy(indptr), torch.from_numpy(indices), kept.shape[1])

    @property
    def n_targets(self) -> int:
        """Nodes that read."""
        return self.indptr.shape[0] - 1

    @property
    def n_edges(self) -> int:
        """Pairs of a target and one of its sources."""
        return self.indices.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the edges are."""
        return self.indices.device

    def to(self, device: torch.device) -> "Graph":
        """The same on another device."""
        return Graph(self.indptr.to(device), self.indices.to(device), self.n_sources)

    @cached_property
    def degrees(self) -> Int[Tensor, " n_targets"]:
        """Sources of each target."""
        return self.indptr.diff()

    @cached_property
    def targets(self) -> Int[Tensor, " n_edges"]:
        """Target of each edge."""
        each = torch.arange(self.n_targets, device=self.device)
        return torch.repeat_interleave(each, self.degrees)

    @cached_property
    def reverse(self) -> tuple[Int[Tensor, " n_sources_plus_1"], Int[Tensor, " n_edges"]]:
        """The edges by source: where those of each source start, and the place of each edge."""
        place = torch.argsort(self.indices, stable=True)
        length = torch.bincount(self.indices, minlength=self.n_sources)
        return torch.cat([length.new_zeros(1), length.cumsum(0)]), place

    def with_self(self) -> "Graph":
        """With an edge from each target to itself."""
        own = torch.arange(self.n_targets, device=self.device)
        return Graph.of(self.matrix() + _ones(own, own, self.n_targets, self.n_sources))

    def matrix(self) -> sparse.csr_matrix:
        """As a sparse matrix (n_targets, n_sources) of ones."""
        parts = np.ones(self.n_edges), self.indices.cpu().numpy(), self.indptr.cpu().numpy()
        return sparse.csr_matrix(parts, shape=(self.n_targets, self.n_sources))

    def part(
        self, index: Int[Tensor, " n_rows"]
    ) -> tuple["Graph", Int[Tensor, " n_sources_of_part"]]:
        """The graph of some targets, and which nodes its sources are: ``index`` first, then a rim.

        All sources of these targets are there, so that one layer on the part equals the layer on
        the whole, at these targets.
        """
        length = self.degrees[index]
        indptr = torch.cat([length.new_zeros(1), length.cumsum(0)])
        place = torch.arange(int(indptr[-1]), device=self.device)
        place += torch.repeat_interleave(self.indptr[index] - indptr[:-1], length)
        sources = self.indices[place]
        local = self.indices.new_full((self.n_sources,), -1)
        local[index] = torch.arange(index.shape[0], device=self.device)
        rim = torch.unique(sources[local[sources] < 0])
        local[rim] = torch.arange(rim.shape[0], device=self.device) + index.shape[0]
        nodes = torch.cat([index, rim])
        own = Graph(indptr, local[sources], nodes.shape[0])
        return own, nodes


def _ones(targets: Tensor, sources: Tensor, n_targets: int, n_sources: int) -> sparse.csr_matrix:
    place = targets.cpu().numpy(), sources.cpu().numpy()
    return sparse.csr_matrix((np.ones(len(targets)), place), shape=(n_targets, n_sources))
