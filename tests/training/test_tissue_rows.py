"""Spots as rows of the training loop."""

import numpy as np
import torch
from scipy import sparse

from synthome.csr import CSRRows
from synthome.graph import Graph
from synthome.training.tissue_rows import TILE, TissueRows


def line(n):
    """Spots in a row, each reading itself and those beside it."""
    beside = sparse.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
    each = torch.arange(n, dtype=torch.float32)
    return TissueRows(
        each[:, None].repeat(1, 2),
        each[:, None],
        CSRRows.of(np.arange(1, n + 1)[:, None]),
        each + 1.0,
        torch.zeros(n, dtype=torch.int64),
        Graph.of(beside),
    )


def test_a_part_scores_its_spots_and_reads_their_rim():
    rows = line(10)
    part = rows[torch.tensor([3, 4])]
    assert len(part) == 2
    assert part.library_size.tolist() == [4.0, 5.0]
    assert part.counts.dense().flatten().tolist() == [4.0, 5.0]
    assert part.expression[:, 0].tolist() == [3.0, 4.0, 2.0, 5.0]
    assert part.image[:, 0].tolist() == [3.0, 4.0, 2.0, 5.0]
    assert part.graph.n_targets == 2
    assert part.graph.n_sources == 4


def test_an_epoch_visits_every_spot_once_in_tiles_of_neighbours():
    rows = line(3 * TILE + 100)
    torch.manual_seed(0)
    order = rows.order()
    assert sorted(order.tolist()) == list(range(len(rows)))
    steps = order.diff()
    assert (steps == 1).sum() >= len(rows) - 6  # but between tiles and at the end of the curve
    assert not torch.equal(order, rows.order())


def test_a_tile_brings_few_spots_that_are_only_read():
    rows = line(4 * TILE)
    part = rows[rows.order()[:TILE]]
    assert part.graph.n_sources <= TILE + 4
