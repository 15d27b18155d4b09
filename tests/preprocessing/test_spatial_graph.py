"""Neighbours in a tissue against brute force, and what must not change them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial import Delaunay

from synthome.errors import InputError
from synthome.preprocessing.spatial_graph import SpatialGraphConfig, spatial_graph, subgraph

CONFIGS = [
    SpatialGraphConfig(k=6),
    SpatialGraphConfig(kind="radius", radius=6.0),
    SpatialGraphConfig(kind="delaunay"),
]
relaxed = settings(deadline=None, max_examples=25)


def tissue(xy, section=None) -> AnnData:
    xy = np.asarray(xy, dtype=np.float64)
    obs = pd.DataFrame(index=[f"s{i}" for i in range(len(xy))])
    if section is not None:
        obs["section"] = section
    return AnnData(np.zeros((len(xy), 1)), obs=obs, obsm={"spatial": xy})


def hexagons(side: int, pitch: float = 1.0) -> np.ndarray:
    row, column = np.divmod(np.arange(side**2), side)
    return pitch * np.column_stack([column + 0.5 * (row % 2), row * np.sqrt(0.75)])


def dense(adata: AnnData, config: SpatialGraphConfig) -> np.ndarray:
    return spatial_graph(adata, config).matrix().toarray() != 0


def distances(xy: np.ndarray) -> np.ndarray:
    d = np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(d, np.inf)
    return d


@pytest.fixture
def two_sections():
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.uniform(0, 900, (120, 2)), rng.uniform(0, 90, (80, 2))])
    order = rng.permutation(200)
    return tissue(xy[order], np.repeat(["B", "A"], [120, 80])[order])


def test_each_spot_reads_the_k_nearest_of_its_section(two_sections):
    section = two_sections.obs["section"].to_numpy()
    d = distances(two_sections.obsm["spatial"])
    d[section[:, None] != section] = np.inf
    expected = np.zeros(d.shape, dtype=bool)
    np.put_along_axis(expected, d.argsort(axis=1)[:, :5], True, axis=1)
    np.testing.assert_array_equal(dense(two_sections, SpatialGraphConfig(k=5)), expected)


def test_a_radius_is_in_units_of_the_median_nearest_neighbour_distance_of_the_section(two_sections):
    section = two_sections.obs["section"].to_numpy()
    d = distances(two_sections.obsm["spatial"])
    expected = np.zeros(d.shape, dtype=bool)
    for name in ("A", "B"):
        own = np.ix_(section == name, section == name)
        expected[own] = d[own] <= 6.0 * np.median(d[own].min(axis=1))
    np.testing.assert_array_equal(dense(two_sections, CONFIGS[1]), expected)


def test_delaunay_joins_the_corners_of_its_triangles_but_not_along_the_longest(two_sections):
    section = two_sections.obs["section"].to_numpy()
    xy = two_sections.obsm["spatial"]
    expected = np.zeros((200, 200), dtype=bool)
    for name in ("A", "B"):
        rows = np.flatnonzero(section == name)
        edges = {
            tuple(sorted(rows[[a, b]]))
            for corners in Delaunay(xy[rows]).simplices
            for a, b in zip(corners, np.roll(corners, 1), strict=True)
        }
        one, other = np.array(sorted(edges)).T
        length = np.linalg.norm(xy[one] - xy[other], axis=1)
        kept = length <= 2 * np.median(length)
        expected[one[kept], other[kept]] = expected[other[kept], one[kept]] = True
    np.testing.assert_array_equal(dense(two_sections, CONFIGS[2]), expected)
    every = dense(two_sections, SpatialGraphConfig(kind="delaunay", max_edge=None))
    assert every.sum() > expected.sum()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.kind)
def test_no_spot_reads_itself_and_sources_ascend(two_sections, config):
    graph = spatial_graph(two_sections, config)
    assert not graph.matrix().diagonal().any()
    for target in range(200):
        sources = graph.indices[graph.indptr[target] : graph.indptr[target + 1]]
        assert (sources.diff() > 0).all()
        assert len(sources)


@given(
    side=st.integers(4, 9),
    k=st.integers(1, 12),
    shift=st.floats(-1e5, 1e5),
    pitch=st.sampled_from([0.37, 1.0, 55.0, 137.0]),
    square=st.booleans(),
    seed=st.integers(0, 99),
)
@relaxed
def test_on_a_grid_full_of_ties_rows_place_and_unit_do_not_matter(
    side, k, shift, pitch, square, seed
):
    """On grids many spots are equally near, and rounding must not choose among them."""
    xy = np.indices((side, side)).reshape(2, -1).T if square else hexagons(side)
    rng = np.random.default_rng(seed)
    moved = pitch * (xy + rng.uniform(-1e-11, 1e-11, xy.shape)) + shift * np.array([1.0, -0.3])
    order = rng.permutation(len(xy))
    for config in (SpatialGraphConfig(k=k), *CONFIGS[1:]):
        expected = dense(tissue(xy), config)
        np.testing.assert_array_equal(dense(tissue(moved), config), expected)
        actual = dense(tissue(moved[order]), config)
        np.testing.assert_array_equal(actual, expected[np.ix_(order, order)])


def test_equally_near_spots_are_taken_by_place_even_where_more_of_them_are_than_looked_up():
    angle = 2 * np.pi * np.arange(40) / 40
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    adata = tissue(np.concatenate([[[0.0, 0.0]], 10 * ring]))
    read = spatial_graph(adata, SpatialGraphConfig(k=3)).indices[:3]
    assert set(read.tolist()) == {21, 20, 22}  # the leftmost three


def test_a_radius_of_one_reaches_the_six_around_a_spot_and_two_the_eighteen():
    adata = tissue(hexagons(9, pitch=137.0))
    middle = 4 * 9 + 4
    for radius, n in ((1, 6), (2, 18)):
        graph = spatial_graph(adata, SpatialGraphConfig(kind="radius", radius=radius))
        assert graph.degrees[middle] == n


def test_a_subgraph_keeps_the_edges_among_its_spots(two_sections):
    graph = spatial_graph(two_sections, CONFIGS[0])
    kept = np.arange(200) % 3 > 0
    expected = graph.matrix().toarray()[np.ix_(kept, kept)]
    np.testing.assert_array_equal(subgraph(graph, kept).matrix().toarray(), expected)


def test_without_a_column_of_sections_all_spots_are_of_one():
    graph = spatial_graph(tissue(hexagons(4)), SpatialGraphConfig(k=2))
    assert graph.n_edges == 32


def test_a_section_too_small_for_k_is_named_with_the_k_that_fits():
    adata = tissue(hexagons(5), ["big"] * 20 + ["small"] * 5)
    with pytest.raises(InputError, match=r"'small' has 5 spots.*k=6.*Use k=4 or fewer"):
        spatial_graph(adata, SpatialGraphConfig(k=6))
    assert spatial_graph(adata, SpatialGraphConfig(k=4)).n_edges == 100
    alone = tissue(hexagons(5), ["big"] * 24 + ["one"])
    with pytest.raises(InputError, match=r"'one' has a single spot.*Leave it out"):
        spatial_graph(alone, SpatialGraphConfig(k=1))
    with pytest.raises(InputError, match=r"leaves 1 of 1 spot of section 'one'.*Leave it out"):
        spatial_graph(alone, SpatialGraphConfig(kind="radius", radius=9))


def test_spots_beyond_the_radius_are_counted_and_the_radius_it_names_joins_them():
    xy = np.concatenate([hexagons(4), [[10.0, 0.0], [0.0, 9.123]]])
    with pytest.raises(InputError, match=r"leaves 2 of 18 spots of section 'tissue'.*=6\.56 or"):
        spatial_graph(tissue(xy), SpatialGraphConfig(kind="radius", radius=1))
    graph = spatial_graph(tissue(xy), SpatialGraphConfig(kind="radius", radius=6.56))
    assert graph.degrees.min() == 1


def test_spots_that_delaunay_would_leave_alone_are_counted_and_the_length_it_names_joins_them():
    xy = np.concatenate([hexagons(4), [[10.0, 0.0]]])
    with pytest.raises(InputError, match=r"max_edge=2 leaves 1 of 17 spots.*=6\.56 or"):
        spatial_graph(tissue(xy), SpatialGraphConfig(kind="delaunay"))
    graph = spatial_graph(tissue(xy), SpatialGraphConfig(kind="delaunay", max_edge=6.56))
    assert graph.degrees.min() >= 1


@pytest.mark.parametrize("n", [1, 2, 9])
def test_spots_on_one_line_have_no_triangles(n):
    line = tissue(np.column_stack([np.arange(n), np.arange(n)]))
    with pytest.raises(InputError, match=r"section 'tissue' span no triangle. Use kind=knn"):
        spatial_graph(line, SpatialGraphConfig(kind="delaunay"))


def test_places_that_are_no_numbers_are_counted():
    xy = hexagons(4)
    xy[3, 1], xy[5, 0] = np.nan, np.inf
    with pytest.raises(InputError, match="2 spots of section 'tissue' have no finite place"):
        spatial_graph(tissue(xy), SpatialGraphConfig())


@pytest.mark.parametrize("choice", [{"kind": "radius"}, {"radius": 2.0}])
def test_a_radius_belongs_to_its_kind(choice):
    with pytest.raises(ValidationError, match="give a radius for kind=radius"):
        SpatialGraphConfig(**choice)
