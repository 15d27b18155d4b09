"""Graphs of spots as the sources of each target."""

import numpy as np
import pytest
import torch
from scipy import sparse

from synthome.graph import Graph


@pytest.fixture
def graph():
    rng = np.random.default_rng(0)
    return Graph.of(sparse.random_array((40, 40), density=0.1, rng=rng))


def test_a_graph_has_an_edge_where_the_matrix_stores_a_value(graph):
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((40, 40), density=0.1, rng=rng).toarray() != 0
    np.testing.assert_array_equal(graph.matrix().toarray() != 0, matrix)
    targets, sources = np.nonzero(matrix)
    np.testing.assert_array_equal(graph.targets, targets)
    np.testing.assert_array_equal(graph.indices, sources)
    assert (graph.n_targets, graph.n_sources, graph.n_edges) == (40, 40, matrix.sum())


def test_reverse_lists_the_edges_of_each_source(graph):
    indptr, place = graph.reverse
    for source in range(graph.n_sources):
        edges = place[indptr[source] : indptr[source + 1]]
        assert (graph.indices[edges] == source).all()
    assert sorted(place.tolist()) == list(range(graph.n_edges))


def test_with_self_adds_each_target_to_its_own_sources_once(graph):
    expected = ((graph.matrix().toarray() + np.eye(40)) != 0).astype(float)
    np.testing.assert_array_equal(graph.with_self().matrix().toarray(), expected)
    np.testing.assert_array_equal(graph.with_self().with_self().matrix().toarray(), expected)


def test_a_part_reads_the_same_nodes_as_the_whole(graph):
    index = torch.tensor([7, 3, 30, 12])
    part, nodes = graph.part(index)
    assert nodes[:4].tolist() == index.tolist()
    assert len(set(nodes.tolist())) == len(nodes) == part.n_sources
    for row, node in enumerate(index):
        own = nodes[part.indices[part.indptr[row] : part.indptr[row + 1]]]
        whole = graph.indices[graph.indptr[node] : graph.indptr[node + 1]]
        assert sorted(own.tolist()) == sorted(whole.tolist())
