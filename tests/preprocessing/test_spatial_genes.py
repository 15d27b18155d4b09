"""Moran's I and its moments against books, scanpy and shuffled tissue."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse, stats

from synthome.graph import Graph
from synthome.preprocessing.spatial_genes import (
    log_normalised,
    moran_test,
    morans_i,
    select_spatial_genes,
    spatially_variable,
)
from synthome.preprocessing.spatial_graph import SpatialGraphConfig, spatial_graph, subgraph
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue


@pytest.fixture(scope="module")
def tissue() -> AnnData:
    adata = simulate_tissue(TissueSliceConfig(n_obs=220, n_vars=60, n_sections=2, image_width=0))
    adata.layers["counts"] = adata.X
    # More was counted than these genes, as when genes are chosen later.
    adata.obs["library_size"] = adata.X.sum(axis=1).A1 * np.random.default_rng(0).uniform(1, 3, 440)
    return adata


@pytest.fixture(scope="module")
def graph(tissue) -> Graph:
    return spatial_graph(tissue, SpatialGraphConfig(k=5))


@pytest.fixture(scope="module")
def section(tissue) -> np.ndarray:
    return tissue.obs["section"].to_numpy()


def some_graph(n: int, seed: int = 0) -> Graph:
    """Edges one way and both ways, and a spot that reads none."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((n, n)) < 0.15
    np.fill_diagonal(matrix, False)
    matrix[3] = False
    return Graph.of(sparse.csr_matrix(matrix.astype(float)))


def by_the_book(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """n / S0 * sum_ij w_ij z_i z_j / sum_i z_i^2, x of shape (n, n_vars)."""
    w = edges / np.maximum(edges.sum(axis=1, keepdims=True), 1)
    z = x - x.mean(axis=0)
    return len(x) / w.sum() * np.einsum("ij,ig,jg->g", w, z, z) / (z**2).sum(axis=0)


def sparse_values(n: int, n_vars: int, seed: int = 1) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    return sparse.random(n, n_vars, density=0.3, random_state=rng, format="csr")


def test_morans_i_is_what_the_dense_formula_says():
    graph, values = some_graph(60), sparse_values(60, 7)
    expected = by_the_book(values.toarray(), graph.matrix().toarray())
    np.testing.assert_allclose(morans_i(values, graph), expected, rtol=1e-9, atol=1e-12)


def test_blocks_of_rows_add_up(monkeypatch):
    graph, values = some_graph(60), sparse_values(60, 7)
    expected = morans_i(values, graph)
    monkeypatch.setattr("synthome.preprocessing.spatial_genes.ROWS", 7)
    np.testing.assert_allclose(morans_i(values, graph), expected, rtol=1e-12)


def test_morans_i_agrees_with_scanpy(tissue, graph):
    values = log_normalised(tissue)
    weights = graph.matrix().multiply(1 / graph.degrees.numpy()[:, None]).tocsr()
    expected = sc.metrics.morans_i(weights, values.T.toarray())
    np.testing.assert_allclose(morans_i(values, graph), expected, rtol=1e-6, atol=1e-9)


def test_sections_are_centred_each_for_itself(tissue, graph, section):
    """A shift of a whole section is no pattern in space; alone, each section has its own I."""
    values = log_normalised(tissue)
    actual = morans_i(values, graph, section)
    shifted = values.toarray() + 3.0 * (section == "S2")[:, None]
    np.testing.assert_allclose(morans_i(sparse.csr_matrix(shifted), graph, section), actual)
    parts, weight = [], []
    for name in ("S1", "S2"):
        rows = section == name
        x = values[rows].toarray()
        parts.append(by_the_book(x, subgraph(graph, rows).matrix().toarray()))
        weight.append(x.var(axis=0))
    np.testing.assert_allclose(actual, np.average(parts, axis=0, weights=weight), rtol=1e-9)


def test_log_normalised_values_are_scaled_to_the_median_library_size(tissue):
    size = tissue.obs["library_size"].to_numpy()
    expected = np.log1p(tissue.X.toarray() / size[:, None] * np.median(size))
    np.testing.assert_allclose(log_normalised(tissue).toarray(), expected, rtol=1e-6)


def test_a_gene_that_does_not_vary_has_no_i_and_the_others_keep_theirs():
    graph, values = some_graph(60), sparse_values(60, 3).toarray()
    values[:, 1] = 0.1
    moran = moran_test(sparse.csr_matrix(values), graph)
    assert np.isnan(moran.value).tolist() == [False, True, False]
    assert np.isnan(moran.p_value).tolist() == [False, True, False]
    np.testing.assert_allclose(
        morans_i(sparse.csr_matrix(values[:, [0, 2]]), graph), moran.value[[0, 2]]
    )


def test_the_moments_are_those_of_all_shuffles_of_a_small_tissue():
    """All 720 orders of six spots, and sections shuffled each by itself: exact, no tolerance."""
    from itertools import permutations

    rng = np.random.default_rng(2)
    edges = np.zeros((10, 10))
    edges[:6, :6] = rng.random((6, 6)) < 0.4
    edges[6:, 6:] = rng.random((4, 4)) < 0.5
    np.fill_diagonal(edges, 0)
    graph = Graph.of(sparse.csr_matrix(edges))
    x = rng.gamma(0.5, size=10)
    section = np.array(["A"] * 6 + ["B"] * 4)
    first, second = (np.array(list(permutations(part))).T for part in (x[:6], x[6:]))
    for name, shuffles in (("A", first), ("B", second)):
        rows = section == name
        every = by_the_book(shuffles, edges[np.ix_(rows, rows)])
        moran = moran_test(sparse.csr_matrix(x[rows, None]), subgraph(graph, rows))
        np.testing.assert_allclose(moran.mean, every.mean())
        np.testing.assert_allclose(moran.sd, every.std())
        np.testing.assert_allclose(moran.skewness, stats.skew(every))
    both = np.concatenate(
        [first[:, np.repeat(np.arange(720), 24)], second[:, np.tile(np.arange(24), 720)]]
    )
    every = morans_i(sparse.csr_matrix(both), graph, section)
    moran = moran_test(sparse.csr_matrix(x[:, None]), graph, section)
    np.testing.assert_allclose(moran.mean, every.mean())
    np.testing.assert_allclose(moran.sd, every.std())
    np.testing.assert_allclose(moran.skewness, stats.skew(every))


def test_for_normal_values_the_moments_are_those_of_cliff_and_ord():
    graph, values = some_graph(40), sparse_values(40, 2)
    moran = moran_test(values, graph, law="normal")
    w = graph.matrix().toarray() / np.maximum(graph.degrees.numpy()[:, None], 1)
    n, s0 = 40, w.sum()
    s1 = ((w + w.T) ** 2).sum() / 2
    s2 = ((w.sum(axis=0) + w.sum(axis=1)) ** 2).sum()
    variance = (n**2 * s1 - n * s2 + 3 * s0**2) / ((n**2 - 1) * s0**2) - 1 / (n - 1) ** 2
    np.testing.assert_allclose(moran.mean, -1 / (n - 1))
    np.testing.assert_allclose(moran.sd, np.sqrt(variance))
    centring = np.eye(n) - 1 / n
    form = n / s0 * centring @ (w + w.T) / 2 @ centring
    t1, t2, t3 = (np.trace(np.linalg.matrix_power(form, k)) for k in (1, 2, 3))
    third = (t1**3 + 6 * t1 * t2 + 8 * t3) / ((n - 1) * (n + 1) * (n + 3))  # of a quadratic form
    mean = -1 / (n - 1)
    skewness = (third - 3 * mean * variance - mean**3) / variance**1.5
    np.testing.assert_allclose(moran.skewness, skewness)


def test_p_values_agree_with_shuffling(tissue, graph, section):
    values = log_normalised(tissue)[:, :20]
    moran = moran_test(values, graph, section)
    rng = np.random.default_rng(0)
    spots = [np.flatnonzero(section == name) for name in ("S1", "S2")]
    order = np.empty(tissue.n_obs, dtype=int)
    n_as_large = np.zeros(20)
    for _ in range(400):
        order[np.concatenate(spots)] = np.concatenate([rng.permutation(part) for part in spots])
        n_as_large += morans_i(values[order], graph, section) >= moran.value
    np.testing.assert_allclose(moran.p_value, n_as_large / 400, atol=4 * np.sqrt(0.25 / 400))


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_small_p_values_are_as_rare_as_they_say_also_for_rare_genes(rate):
    """By the normal law they would be 15 and 2.7 times too often below 0.001."""
    adata = simulate_tissue(TissueSliceConfig(n_obs=1000, n_vars=50, image_width=0))
    graph = spatial_graph(adata, SpatialGraphConfig())
    counts = np.random.default_rng(0).poisson(rate, (1000, 20_000))
    p = moran_test(sparse.csr_matrix(np.log1p(counts)), graph).p_value
    for level in (0.05, 0.01, 0.001):
        share = (p <= level).mean()
        assert share < 1.25 * level + 3 * np.sqrt(level / 20_000)
        assert share > 0.4 * level - 3 * np.sqrt(level / 20_000)


def test_the_planted_genes_come_first_and_q_values_are_those_of_benjamini_and_hochberg():
    config = TissueSliceConfig(n_obs=500, n_vars=80, layer_share=0.1, layer_effect=1.5)
    adata = simulate_tissue(config.model_copy(update={"image_width": 0, "programme_loading": 0}))
    adata.layers["counts"] = adata.X
    adata.obs["library_size"] = adata.X.sum(axis=1).A1
    table = spatially_variable(adata, spatial_graph(adata, SpatialGraphConfig()))
    assert list(table.columns) == ["gene", "morans_i", "p_value", "q_value"]
    assert sorted(table["gene"]) == sorted(adata.var_names)
    assert table["morans_i"].is_monotonic_decreasing
    planted = np.abs(adata.uns["truth"]["layer_profile"]).max(axis=0) > 0
    strength = pd.Series(planted, adata.var_names)[table["gene"]].to_numpy()
    assert strength[:15].all()
    found = (table["q_value"] < 0.05).to_numpy()
    assert found[strength].mean() > 0.6
    assert found[~strength].mean() < 0.1
    p = table["p_value"].to_numpy()
    rank = stats.rankdata(p, method="max")
    expected = [min((p * 80 / rank)[p >= value].min(), 1) for value in p]
    np.testing.assert_allclose(table["q_value"], expected)


def test_each_domain_is_looked_at_by_itself(tissue, graph):
    domain = tissue.obs["molecular_layer"].astype(str).to_numpy()
    domain[:5] = ""
    domain[np.flatnonzero(domain == "L1")[:-5]] = ""  # five are left, which say nothing
    table = spatially_variable(tissue, graph, domain)
    assert table["domain"].unique().tolist() == ["L2", "L3", "L4", "WM"]
    rows = domain == "L3"
    part = subgraph(graph, rows)
    alone = spatially_variable(tissue[rows].copy(), part)
    ours = table[table["domain"] == "L3"].drop(columns="domain").reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, alone)
    section = tissue.obs["section"].to_numpy()[rows]
    expected = np.sort(morans_i(log_normalised(tissue[rows]), part, section))[::-1]
    np.testing.assert_allclose(ours["morans_i"], expected)
    nothing = spatially_variable(tissue, graph, np.full(tissue.n_obs, ""))
    assert nothing.empty
    assert list(nothing.columns) == list(table.columns)


def test_genes_are_chosen_on_training_spots_alone(tissue, graph):
    train = np.random.default_rng(0).random(tissue.n_obs) < 0.4
    chosen = select_spatial_genes(tissue, graph, 60, train)
    values = log_normalised(tissue[train])
    section = tissue.obs["section"].to_numpy()[train]
    value = morans_i(values, subgraph(graph, train), section)
    assert chosen.tolist() == tissue.var_names[np.argsort(-value)].tolist()
    other = tissue.copy()
    noise = np.random.default_rng(1).poisson(3.0, (int((~train).sum()), tissue.n_vars))
    counts = other.layers["counts"].toarray()
    counts[~train] = noise
    other.layers["counts"] = sparse.csr_matrix(counts)
    other.obs.loc[~train, "library_size"] = 0.01
    assert select_spatial_genes(other, graph, 60, train).tolist() == chosen.tolist()


def test_equal_genes_are_taken_by_name_and_those_that_do_not_vary_last(tissue, graph):
    counts = tissue.layers["counts"].toarray()
    adata = tissue.copy()
    order = np.argsort(-morans_i(log_normalised(tissue), graph, tissue.obs["section"].to_numpy()))
    counts[:, order[1]] = counts[:, order[0]]
    counts[:, order[2]] = 0.0
    adata.layers["counts"] = sparse.csr_matrix(counts)
    everyone = np.ones(tissue.n_obs, dtype=bool)
    names = select_spatial_genes(adata, graph, 60, everyone)
    assert names[:2].tolist() == sorted(tissue.var_names[order[:2]])
    assert names[-1] == tissue.var_names[order[2]]
    flipped = adata[:, ::-1].copy()
    assert select_spatial_genes(flipped, graph, 60, everyone).tolist() == names.tolist()
