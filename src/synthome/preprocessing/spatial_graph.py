"""Which spots of a tissue are neighbours: the nearest k, those within a radius, or Delaunay's.

Places are measured section by section in units of its median nearest-neighbour distance, from its
lower corner, and rounded far below any real distance. Hence the graph is the same in pixels and in
micrometres, wherever the slide lay, and whatever the order of the rows; what is equally near is
taken by place, x before y.

No spot neighbours itself, and no edge joins two sections.
"""

from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import PositiveFloat, PositiveInt, model_validator
from scipy import sparse
from scipy.spatial import Delaunay, QhullError, cKDTree

from synthome.anndata_schema import SECTION, SPATIAL
from synthome.config import Config
from synthome.errors import InputError
from synthome.graph import Graph

PLACE_DECIMALS, DISTANCE_DECIMALS = 8, 6  # to which places and distances are told apart
SPARE = 8  # neighbours looked up beyond k, among which ties are resolved

Pairs = tuple[Int[np.ndarray, " n_edges"], Int[np.ndarray, " n_edges"]]  # targets, sources


class SpatialGraphConfig(Config):
    """Who is a neighbour.

    Attributes
    ----------
    kind
        ``knn``: each spot reads its ``k`` nearest, which need not read it. ``radius``: all within
        ``radius``. ``delaunay``: those that share a side of Delaunay's triangles.
    k
        Neighbours of each spot, for ``knn``.
    radius
        For ``radius``, in units of the median distance of a spot of the section to its nearest one:
        on the hexagonal grid of Visium 1 reaches the six around a spot, 2 the eighteen.
    max_edge
        For ``delaunay``: edges longer than so many median edges of the section are left out, of
        which there are some along the outline. None keeps all.
    """

    kind: Literal["knn", "radius", "delaunay"] = "knn"
    k: PositiveInt = 6
    radius: PositiveFloat | None = None
    max_edge: PositiveFloat | None = 2.0

    @model_validator(mode="after")
    def _radius_with_its_kind(self) -> Self:
        if (self.kind == "radius") != (self.radius is not None):
            raise ValueError(
                f"kind={self.kind} with radius={self.radius}: give a radius for kind=radius, in "
                "units of the distance to the nearest spot, and for no other kind."
            )
        return self


def spatial_graph(adata: AnnData, config: SpatialGraphConfig) -> Graph:
    """The neighbours of each spot in its section, from ``obsm["spatial"]`` and ``obs["section"]``.

    Raises
    ------
    InputError
        If a place is not finite, a section too small, or a spot left without neighbours.
    """
    targets, sources = [], []
    for name, rows in sections(adata):
        place = _places(adata.obsm[SPATIAL][rows], name)
        order = np.lexsort((place[:, 1], place[:, 0]))
        pairs = _pairs(place[order], config, name)
        targets.append(rows[order][pairs[0]])
        sources.append(rows[order][pairs[1]])
    ends = np.concatenate(targets), np.concatenate(sources)
    edges = np.ones(len(ends[0]), dtype=np.float32)
    return Graph.of(sparse.csr_matrix((edges, ends), shape=(adata.n_obs, adata.n_obs)))


def sections(adata: AnnData) -> Iterator[tuple[str, Int[np.ndarray, " n_rows"]]]:
    """Name and rows of each section, by name; all rows are one section where no column tells."""
    if SECTION not in adata.obs:
        yield "tissue", np.arange(adata.n_obs)
        return
    names, section = np.unique(adata.obs[SECTION].astype(str), return_inverse=True)
    for number, name in enumerate(names):
        yield str(name), np.flatnonzero(section == number)


def subgraph(graph: Graph, kept: Bool[np.ndarray, " n_obs"]) -> Graph:
    """The graph of some spots, in their order: the edges that join two of them."""
    return Graph.of(graph.matrix()[kept][:, kept])


def _places(xy: Float[np.ndarray, "n 2"], name: str) -> Float[np.ndarray, "n 2"]:
    """Places in units of the median distance to the nearest spot, from the lower corner."""
    n_wrong = int((~np.isfinite(xy).all(axis=1)).sum())
    if n_wrong:
        raise InputError(
            f"{_spots(n_wrong)} of section {name!r} have no finite place in obsm['{SPATIAL}']. "
            "Leave them out with --params=where=COLUMN."
        )
    if len(xy) == 1:
        return np.zeros((1, 2))
    nearest = cKDTree(xy).query(xy, k=[2])[0]
    assert (nearest > 0).all(), "ingestion refuses spots in the same place"
    return np.round((xy - xy.min(axis=0)) / np.median(nearest), PLACE_DECIMALS)


def _pairs(place: Float[np.ndarray, "n 2"], config: SpatialGraphConfig, name: str) -> Pairs:
    """The edges of one section, whose spots are in the order of their places."""
    if config.kind == "knn":
        return _nearest(place, config.k, name)
    if config.kind == "radius":
        assert config.radius is not None
        return _within(place, config.radius, name)
    return _delaunay(place, config.max_edge, name)


def _nearest(place: Float[np.ndarray, "n 2"], k: int, name: str) -> Pairs:
    """The k nearest spots of each; of equally near ones, those that come first by place."""
    n = len(place)
    if k >= n:
        raise InputError(
            f"Section {name!r} has {_spots(n)}, so none has k={k} neighbours in it. Use k={n - 1} "
            "or fewer, or leave that section out with --params=where=COLUMN."
            if n > 1
            else f"Section {name!r} has a single spot, which has no neighbours. Leave it out with "
            "--params=where=COLUMN."
        )
    tree = cKDTree(place)
    sources = np.empty((n, k), dtype=np.int64)
    rows, wanted = np.arange(n), k + 1 + SPARE
    while len(rows):
        wanted = min(wanted, n)
        distance, near = tree.query(place[rows], wanted)  # (n_rows, wanted)
        distance = np.round(distance, DISTANCE_DECIMALS)
        distance[near == rows[:, None]] = -1.0  # itself, always the first
        order = np.lexsort((near, distance), axis=-1)
        near = np.take_along_axis(near, order, axis=-1)
        distance = np.take_along_axis(distance, order, axis=-1)
        sources[rows] = near[:, 1 : k + 1]
        tied = (distance[:, k] == distance[:, -1]) & (wanted < n)  # some as near may be missing
        rows, wanted = rows[tied], 2 * wanted
    return np.repeat(np.arange(n), k), sources.ravel()


def _within(place: Float[np.ndarray, "n 2"], radius: float, name: str) -> Pairs:
    """All pairs at most ``radius`` apart, both ways."""
    tree = cKDTree(place)
    one, other = tree.query_pairs(_up_to(radius), output_type="ndarray").T
    alone = np.bincount(np.r_[one, other], minlength=len(place)) == 0
    if alone.any():
        if len(place) == 1:
            cure = "Leave it out with --params=where=COLUMN."
        else:
            least = tree.query(place[alone], k=[2])[0].max()
            cure = f"Use radius={_rounded_up(least)} or more, or kind=knn."
        raise InputError(
            f"radius={radius:g} leaves {alone.sum():,} of {_spots(len(place))} of section {name!r} "
            f"without neighbours (1 is the median distance to the nearest spot). {cure}"
        )
    return np.r_[one, other], np.r_[other, one]


def _delaunay(place: Float[np.ndarray, "n 2"], max_edge: float | None, name: str) -> Pairs:
    """The sides of Delaunay's triangles, both ways, without the longest."""
    try:
        indptr, sources = Delaunay(place).vertex_neighbor_vertices
    except (QhullError, ValueError) as error:
        raise InputError(
            f"The {_spots(len(place))} of section {name!r} span no triangle. Use kind=knn, or "
            "leave that section out with --params=where=COLUMN."
        ) from error
    targets = np.repeat(np.arange(len(place)), np.diff(indptr))
    if max_edge is None:
        return targets, sources
    length = np.linalg.norm(place[targets] - place[sources], axis=1)
    length /= np.median(length)
    short = length <= _up_to(max_edge)
    shortest = np.full(len(place), np.inf)
    np.minimum.at(shortest, targets, length)
    alone = shortest > _up_to(max_edge)
    if alone.any():
        raise InputError(
            f"max_edge={max_edge:g} leaves {alone.sum():,} of {_spots(len(place))} of section "
            f"{name!r} without neighbours (1 is the median edge). Use "
            f"max_edge={_rounded_up(shortest.max())} or more, or kind=knn."
        )
    return targets[short], sources[short]


def _up_to(length: float) -> float:
    """``length`` and what rounding adds, so that a radius of 1 has all that are 1 away."""
    return length + 10.0**-DISTANCE_DECIMALS


def _rounded_up(length: float) -> str:
    return f"{np.ceil(100 * length) / 100:.2f}"


def _spots(number: int) -> str:
    return "1 spot" if number == 1 else f"{number:,} spots"
