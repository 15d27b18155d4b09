"""Spots of a tissue as rows of the training loop: minibatches of tiles, each with its rim.

A model of a tissue reads the neighbours of each spot. A minibatch of spots drawn at random would
bring six neighbours for each; spots that lie together share theirs. So the rows stand along a
Hilbert curve, an epoch cuts it into tiles of neighbouring spots at a place of its own, and a
minibatch is some tiles and the rim around them, which is read but not scored. One layer of
attention on a minibatch is exact, and its cost does not grow with the tissue.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from synthome.csr import CSRRows
from synthome.graph import Graph

TILE = 512  # spots


@dataclass(frozen=True, eq=False)
class TissueRows:
    """Spots, and what is read around them.

    Attributes
    ----------
    expression, image
        What the encoders read: of the spots, then of the rim.
    counts, library_size, batch
        Of the spots: counts, their sums, and the number of the section.
    graph
        Which spots each of them reads, itself included.
    """

    expression: Float[Tensor, "n_sources n_vars"]
    image: Float[Tensor, "n_sources n_features"]
    counts: CSRRows
    library_size: Float[Tensor, " n_obs"]
    batch: Int[Tensor, " n_obs"]
    graph: Graph

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def shape(self) -> tuple[int, int]:
        """Spots and genes."""
        return self.counts.shape

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.counts.device

    @property
    def values(self) -> Float[Tensor, " nnz"]:
        """The counts that are not zero."""
        return self.counts.values

    def to(self, device: torch.device) -> "TissueRows":
        """The same on another device."""
        return TissueRows(
            self.expression.to(device),
            self.image.to(device),
            self.counts.to(device),
            self.library_size.to(device),
            self.batch.to(device),
            self.graph.to(device),
        )

    def __getitem__(self, index: Int[Tensor, " n_rows"]) -> "TissueRows":
        """The spots of ``index`` in that order, with their rim."""
        part, nodes = self.graph.part(index)
        return TissueRows(
            self.expression[nodes],
            self.image[nodes],
            self.counts[index],
            self.library_size[index],
            self.batch[index],
            part,
        )

    def order(self) -> Int[Tensor, " n_obs"]:
        """The rows of one epoch: tiles of neighbours, cut at a random place, in random order."""
        n_obs = len(self)
        n_tiles = -(-n_obs // TILE)
        start = int(torch.randint(n_obs, ()))
        along = (torch.arange(n_obs, device=self.device) + start) % n_obs
        tiles = along.split(TILE)
        return torch.cat([tiles[int(i)] for i in torch.randperm(n_tiles)])
