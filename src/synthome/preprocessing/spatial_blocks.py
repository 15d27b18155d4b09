"""Test folds of a tissue as compact blocks, since a spot next to a training spot is no test of it.

Each section is cut in blocks of equal size, to a spot: in two at its wider side, each part again,
until there are ``n_folds * blocks_per_fold``. They are dealt to the folds at random, as many of
each section to each fold. The fold of a spot depends on the seed, on the places and on the names of
the sections: neither on the order of the rows, nor on labels or expression.

At the rim of a block test spots still have training spots beside them: ``within_reach`` tells
which, so that they are not scored.
"""

import numpy as np
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeInt, PositiveInt

from synthome.anndata_schema import BLOCK, FOLD_PREFIX, SPATIAL, SPLIT, fold_columns
from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import proportional
from synthome.graph import Graph
from synthome.preprocessing.spatial_graph import sections
from synthome.preprocessing.splits import NEVER_TESTED
from synthome.rng import generator

HILBERT_BITS = 16  # a section is seen as 2^16 x 2^16 cells


class SpatialBlocksConfig(Config):
    """Cross-validation over compact blocks of spots.

    Attributes
    ----------
    n_folds, blocks_per_fold
        Folds, and blocks of each section in each fold: many small blocks make folds alike, few
        large ones keep test spots far from training spots.
    n_tested_folds
        Only so many folds are tested, and the spots of the others always trained on; None tests
        all.
    """

    n_folds: int = Field(default=5, ge=2)
    blocks_per_fold: PositiveInt = 4
    n_tested_folds: PositiveInt | None = None
    seed: NonNegativeInt = 0


def assign_blocks(adata: AnnData, config: SpatialBlocksConfig) -> AnnData:
    """Return a copy of ``adata`` with ``block``, ``fold_0`` and ``split`` in ``obs``.

    Blocks are numbered through all sections. ``split`` is ``test`` where ``fold_0`` is 0.

    Raises
    ------
    InputError
        If a section has fewer spots than blocks.
    """
    n_blocks = config.n_folds * config.blocks_per_fold  # of each section
    block, fold = np.empty((2, adata.n_obs), dtype=np.int64)
    for number, (name, rows) in enumerate(sections(adata)):
        if len(rows) < n_blocks:
            raise InputError(
                f"Section {name!r} has {len(rows):,} of the {n_blocks:,} spots or more that "
                f"n_folds={config.n_folds} times blocks_per_fold={config.blocks_per_fold} need. "
                "Lower these, or leave that section out with --params=where=COLUMN."
            )
        own = bisected(adata.obsm[SPATIAL][rows], n_blocks)
        deal = generator(config.seed, "blocks", name).permutation(n_blocks) % config.n_folds
        deal[deal >= (config.n_tested_folds or config.n_folds)] = NEVER_TESTED
        block[rows], fold[rows] = number * n_blocks + own, deal[own]

    result = adata.copy()
    result.obs = result.obs.drop(columns=[*fold_columns(adata), SPLIT, BLOCK], errors="ignore")
    result.obs[BLOCK] = block
    result.obs[f"{FOLD_PREFIX}0"] = fold
    result.obs[SPLIT] = np.where(fold == 0, "test", "train")
    return result


def bisected(xy: Float[np.ndarray, "n 2"], n_blocks: int) -> Int[np.ndarray, " n"]:
    """Number of the block of each place; blocks differ by one in size at most.

    A part is cut across its wider side, and where places share a line, along it.
    """
    sizes = proportional(len(xy), np.ones(n_blocks))
    block = np.empty(len(xy), dtype=np.int64)
    parts = [(np.arange(len(xy)), 0, n_blocks)]  # places, and the blocks they are cut in
    while parts:
        rows, first, end = parts.pop()
        if end - first == 1:
            block[rows] = first
            continue
        middle = (first + end) // 2
        axis = int(np.ptp(xy[rows], axis=0).argmax())
        order = np.lexsort((xy[rows, 1 - axis], xy[rows, axis]))
        n_before = sizes[first:middle].sum()
        parts.append((rows[order[:n_before]], first, middle))
        parts.append((rows[order[n_before:]], middle, end))
    return block


def within_reach(
    of: Bool[np.ndarray, " n_obs"], graph: Graph, hops: int
) -> Bool[np.ndarray, " n_obs"]:
    """Other spots that are within ``hops`` edges of those in ``of``, either way along."""
    edges = graph.matrix()
    edges = edges + edges.T
    reached = of.copy()
    for _ in range(hops):
        reached |= edges @ reached > 0
    near: Bool[np.ndarray, " n_obs"] = reached & ~of
    return near


def hilbert_order(
    xy: Float[np.ndarray, "n_obs 2"], section: np.ndarray | None = None
) -> Int[np.ndarray, " n_obs"]:
    """Rows in the order of a Hilbert curve, section by section.

    The curve goes through a square of cells around each section without a jump, so that a run of
    rows is a compact tile: a minibatch with a short rim.

    Parameters
    ----------
    section
        Section of each row; None for one section. Sections follow each other by name.
    """
    codes = np.zeros(len(xy), dtype=np.int64)
    if section is not None:
        codes = np.unique(section.astype(str), return_inverse=True)[1]
    along = np.empty(len(xy), dtype=np.int64)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        offset = xy[rows] - xy[rows].min(axis=0)
        cell = offset / max(offset.max(), np.finfo(float).tiny) * (2**HILBERT_BITS - 1)
        along[rows] = _hilbert(cell.astype(np.int64))
    return np.lexsort((xy[:, 1], xy[:, 0], along, codes))


def _hilbert(cell: Int[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
    """How far along the curve each cell is: two bits a level, from the largest quarters down.

    Within each quarter the curve is the same but turned: the first quarter swaps x and y, the last
    one swaps and flips them.
    """
    x, y = cell.T.copy()
    along = np.zeros(len(cell), dtype=np.int64)
    for level in range(HILBERT_BITS - 1, -1, -1):
        right, upper = x >> level & 1, y >> level & 1
        along = along << 2 | (3 * right ^ upper)  # quarters in the order 00, 01, 11, 10
        last = (right == 1) & (upper == 0)
        x, y = (np.where(last, ~v, v) for v in (x, y))
        x, y = np.where(upper == 0, y, x), np.where(upper == 0, x, y)
    return along
