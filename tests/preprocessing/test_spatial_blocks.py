"""Folds of compact blocks, the buffer around them, and the order along a Hilbert curve."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import shortest_path

from synthome.anndata_schema import folds_to_test
from synthome.errors import InputError
from synthome.graph import Graph
from synthome.preprocessing.spatial_blocks import (
    SpatialBlocksConfig,
    assign_blocks,
    hilbert_order,
    within_reach,
)
from synthome.preprocessing.spatial_graph import SpatialGraphConfig, spatial_graph
from synthome.preprocessing.splits import fold_parts
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue

COLUMNS = ["block", "fold_0", "split"]


@pytest.fixture(scope="module")
def tissue() -> AnnData:
    return simulate_tissue(TissueSliceConfig(n_obs=703, n_vars=50, n_sections=2, image_width=0))


def within_block_distance(xy: np.ndarray, block: np.ndarray) -> float:
    """Mean distance of two spots of one block."""
    distances = []
    for number in np.unique(block):
        own = xy[block == number]
        distances.append(np.linalg.norm(own[:, None] - own[None], axis=-1).mean())
    return float(np.mean(distances))


@given(
    n_obs=st.integers(40, 300),
    n_folds=st.integers(2, 6),
    blocks_per_fold=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_blocks_of_a_section_differ_by_one_in_size_and_each_fold_has_as_many(
    n_obs, n_folds, blocks_per_fold, seed
):
    xy = np.random.default_rng(seed).normal(size=(n_obs, 2))
    adata = AnnData(np.zeros((n_obs, 1)), obsm={"spatial": xy})
    config = SpatialBlocksConfig(n_folds=n_folds, blocks_per_fold=blocks_per_fold, seed=seed)
    obs = assign_blocks(adata, config).obs
    sizes = obs["block"].value_counts()
    assert sorted(sizes.index) == list(range(n_folds * blocks_per_fold))
    assert sizes.max() - sizes.min() <= 1
    assert (obs.groupby("block")["fold_0"].nunique() == 1).all()
    blocks = obs.groupby("fold_0")["block"].nunique()
    assert blocks.to_dict() == dict.fromkeys(range(n_folds), blocks_per_fold)
    assert ((obs["split"] == "test") == (obs["fold_0"] == 0)).all()
    assert set(obs["split"]) == {"train", "test"}


def test_each_section_has_its_own_blocks_and_gives_to_each_fold(tissue):
    obs = assign_blocks(tissue, SpatialBlocksConfig()).obs
    assert (obs.groupby("block")["section"].nunique() == 1).all()
    table = pd.crosstab(obs["section"], obs["fold_0"])
    assert table.shape == (2, 5)
    assert table.min(axis=None) >= 4 * (703 // 20)


def test_blocks_are_as_compact_as_squares(tissue):
    """Two places in a square of area a are 0.5214 sqrt(a) apart on average."""
    obs = assign_blocks(tissue, SpatialBlocksConfig()).obs
    for section in ("S1", "S2"):
        rows = (obs["section"] == section).to_numpy()
        xy, block = tissue.obsm["spatial"][rows], obs["block"].to_numpy()[rows]
        area = np.sqrt(0.75) * 100.0**2 * rows.sum() / 20
        assert within_block_distance(xy, block) < 1.2 * 0.5214 * np.sqrt(area)
        shuffled = np.random.default_rng(0).permutation(block)
        assert within_block_distance(xy, block) < 0.3 * within_block_distance(xy, shuffled)


def test_neither_the_order_of_rows_nor_expression_nor_labels_change_the_folds(tissue):
    expected = assign_blocks(tissue, SpatialBlocksConfig(seed=3)).obs[COLUMNS]
    order = np.random.default_rng(1).permutation(tissue.n_obs)
    other = tissue[order].copy()
    other.X = sparse.csr_matrix(other.shape)
    other.obs["molecular_layer"] = "one"
    actual = assign_blocks(other, SpatialBlocksConfig(seed=3)).obs[COLUMNS]
    pd.testing.assert_frame_equal(actual.loc[expected.index], expected)


def test_the_seed_deals_the_same_blocks_anew(tissue):
    first, second = (assign_blocks(tissue, SpatialBlocksConfig(seed=s)).obs for s in (0, 1))
    assert (first["block"] == second["block"]).all()
    assert (first["fold_0"] != second["fold_0"]).any()
    blocks = first.drop_duplicates("block").sort_values("block")
    by_section = blocks.groupby("section")["fold_0"].agg(list)
    assert by_section["S1"] != by_section["S2"]


def test_the_input_is_left_alone_and_older_folds_are_replaced(tissue):
    before = tissue.copy()
    old = assign_blocks(tissue, SpatialBlocksConfig())
    pd.testing.assert_frame_equal(tissue.obs, before.obs)
    old.obs["fold_1"] = 0
    new = assign_blocks(old, SpatialBlocksConfig(n_folds=3))
    assert "fold_1" not in new.obs
    assert folds_to_test(new, 0) == [0, 1, 2]
    train, test = fold_parts(new, 1)
    assert train.n_obs + test.n_obs == tissue.n_obs


def test_only_some_folds_are_tested_when_asked_so(tissue):
    new = assign_blocks(tissue, SpatialBlocksConfig(n_tested_folds=2))
    assert folds_to_test(new, 0) == [0, 1]
    assert (new.obs["fold_0"] == -1).mean() == pytest.approx(0.6, abs=0.02)


def test_a_section_with_fewer_spots_than_blocks_is_named(tissue):
    part = tissue[: 703 + 12].copy()
    with pytest.raises(InputError, match=r"Section 'S2' has 12 of the 20 spots.*Lower these"):
        assign_blocks(part, SpatialBlocksConfig())


def test_what_is_within_reach_is_within_some_hops(tissue):
    adata = assign_blocks(tissue, SpatialBlocksConfig())
    graph = spatial_graph(adata, SpatialGraphConfig(k=4))
    hops = shortest_path(graph.matrix(), directed=False, unweighted=True)
    for fold in (0, 3):
        is_train = (adata.obs["fold_0"] != fold).to_numpy()
        nearest = hops[:, is_train].min(axis=1)
        for n in range(4):
            expected = (nearest > 0) & (nearest <= n)
            np.testing.assert_array_equal(within_reach(is_train, graph, n), expected)


def test_an_edge_counts_whichever_spot_reads():
    graph = Graph.of(sparse.csr_matrix(([1.0, 1.0], ([0, 1], [1, 2])), shape=(3, 3)))
    middle = np.array([False, True, False])
    assert within_reach(middle, graph, 1).tolist() == [True, False, True]


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_a_hilbert_curve_visits_a_grid_in_unit_steps(bits):
    side = 2**bits
    xy = np.random.default_rng(0).permutation(np.indices((side, side)).reshape(2, -1).T)
    order = hilbert_order(70.0 * xy + [1e4, -3.0])
    assert sorted(order) == list(range(side**2))
    np.testing.assert_array_equal(np.abs(np.diff(xy[order], axis=0)).sum(axis=1), 1)


def test_each_run_of_a_hilbert_curve_is_a_square_of_the_grid():
    xy = np.indices((16, 16)).reshape(2, -1).T.astype(float)
    tiles = xy[hilbert_order(xy)].reshape(16, 16, 2)
    np.testing.assert_array_equal(np.ptp(tiles, axis=1), 3)


def test_sections_follow_each_other_and_the_order_of_rows_does_not_matter(tissue):
    xy, section = tissue.obsm["spatial"], tissue.obs["section"].to_numpy()
    order = hilbert_order(xy, section)
    assert section[order].tolist() == ["S1"] * 703 + ["S2"] * 703
    np.testing.assert_array_equal(order[:703], hilbert_order(xy[:703]))
    rows = np.random.default_rng(0).permutation(tissue.n_obs)
    np.testing.assert_array_equal(rows[hilbert_order(xy[rows], section[rows])], order)
    steps = np.linalg.norm(np.diff(xy[order[:703]], axis=0), axis=1)
    assert np.median(steps) == pytest.approx(100)
