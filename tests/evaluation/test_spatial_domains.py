"""Scores of spatial domains against loops, scikit-learn and what they must be at their ends."""

from collections import Counter

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from synthome.evaluation import spatial_domains
from synthome.evaluation.spatial_domains import (
    REFINE_NEIGHBOURS,
    ari,
    davies_bouldin,
    nmi,
    refine,
    section_mixing,
    silhouette,
    spatial_coherence,
)
from synthome.graph import Graph
from synthome.preprocessing.spatial_graph import SpatialGraphConfig, spatial_graph
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue


@pytest.fixture(scope="module")
def tissue() -> AnnData:
    return simulate_tissue(TissueSliceConfig(n_obs=600, n_vars=50, n_sections=2, image_width=0))


@pytest.fixture(scope="module")
def graph(tissue) -> Graph:
    return spatial_graph(tissue, SpatialGraphConfig(k=6))


@pytest.fixture(scope="module")
def truth(tissue) -> np.ndarray:
    return tissue.obs["layer"].to_numpy().astype(str)


@pytest.fixture(scope="module")
def noisy(truth) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random(len(truth)) < 0.3, rng.permutation(truth), truth)


def path(n: int) -> Graph:
    """Spots in a row, each reading those beside it."""
    return Graph.of(sparse.diags_array([np.ones(n - 1)] * 2, offsets=[-1, 1]))


def test_refining_takes_the_domain_that_most_have(noisy, graph):
    expected = noisy.copy()
    for spot in range(len(noisy)):
        near = graph.indices[graph.indptr[spot] : graph.indptr[spot + 1]].tolist()
        votes = Counter(noisy[[spot, *near]].tolist())
        first = sorted(name for name, n in votes.items() if n == max(votes.values()))
        if noisy[spot] not in first:
            expected[spot] = first[0]
    np.testing.assert_array_equal(refine(noisy, graph), expected)


def test_refining_keeps_a_domain_that_ties_and_else_takes_the_first_by_name():
    assert refine(np.array(["b", "a"]), path(2)).tolist() == ["b", "a"]
    star = np.zeros((5, 5))
    star[0, 1:] = 1
    tied = np.array(["c", "d", "d", "b", "b"])
    assert refine(tied, Graph.of(sparse.csr_matrix(star))).tolist() == ["b", "d", "d", "b", "b"]


def test_refining_mends_spots_that_stand_alone(tissue, truth, noisy):
    near = spatial_graph(tissue, SpatialGraphConfig(k=REFINE_NEIGHBOURS))
    assert ari(truth, refine(noisy, near)) > ari(truth, noisy) + 0.2
    assert ari(truth, refine(truth, near)) > 0.85


def test_domains_of_numbers_can_be_refined_too(truth, noisy, graph):
    names, code = np.unique(noisy, return_inverse=True)
    np.testing.assert_array_equal(names[refine(code, graph)], refine(noisy, graph))


def test_coherence_is_1_within_one_domain_and_0_on_average_for_shuffled_ones(
    tissue, truth, noisy, graph
):
    section = tissue.obs["section"].to_numpy()
    assert spatial_coherence(np.full(len(truth), "one"), graph) == 1.0
    assert spatial_coherence(section, graph) == 1.0
    assert 0.6 < spatial_coherence(truth, graph, section) < 1
    assert spatial_coherence(noisy, graph) < spatial_coherence(truth, graph) - 0.2
    rng = np.random.default_rng(0)
    shuffled = [spatial_coherence(rng.permutation(truth), graph) for _ in range(200)]
    error = np.std(shuffled) / np.sqrt(200)
    assert abs(np.mean(shuffled)) < 4 * error < 0.01


def test_what_is_expected_by_chance_is_the_mean_of_shuffles_within_sections():
    """Of x, x, y, y a third of the pairs are alike, of z, z, z all, of all seven 5 of 21."""
    graph = Graph.of(sparse.block_diag([path(4).matrix(), path(3).matrix()]))
    section = np.array(["A"] * 4 + ["B"] * 3)
    domains = np.array(["x", "x", "y", "y", "z", "z", "z"])
    chance = (6 * 1 / 3 + 4 * 1) / 10
    same = (4 + 4) / 10
    expected = (same - chance) / (1 - chance)
    assert spatial_coherence(domains, graph, section) == pytest.approx(expected)
    whole = 5 / 21
    assert spatial_coherence(domains, graph) == pytest.approx((same - whole) / (1 - whole))


def test_without_edges_there_is_no_coherence():
    nobody = Graph.of(sparse.csr_matrix((3, 3)))
    assert np.isnan(spatial_coherence(np.array(["a", "a", "b"]), nobody))


def test_neighbours_that_avoid_each_other_are_below_chance():
    assert spatial_coherence(np.array([0, 1] * 5), path(10)) < -0.5


def test_spots_without_a_label_are_left_out_of_what_is_compared(truth, noisy):
    partly = truth.copy()
    partly[::3] = ""
    rows = partly != ""
    assert ari(partly, noisy) == adjusted_rand_score(truth[rows], noisy[rows])
    assert nmi(partly, noisy) == normalized_mutual_info_score(truth[rows], noisy[rows])
    renamed = np.char.add("domain ", truth)
    assert ari(partly, renamed) == pytest.approx(1)
    assert nmi(partly, renamed) == pytest.approx(1)
    assert np.isnan([ari(np.full(3, ""), truth[:3]), nmi(np.full(3, ""), truth[:3])]).all()


def test_silhouette_is_that_of_rousseeuw():
    rng = np.random.default_rng(0)
    domains = rng.integers(0, 3, 60)
    z = rng.normal(size=(60, 4)) + domains[:, None]
    d = cdist(z, z)
    widths = []
    for i in range(60):
        mean = [d[i, domains == name].sum() / (domains == name).sum() for name in range(3)]
        own = d[i, domains == domains[i]].sum() / ((domains == domains[i]).sum() - 1)
        other = min(value for name, value in enumerate(mean) if name != domains[i])
        widths.append((other - own) / max(other, own))
    assert silhouette(z, domains) == pytest.approx(np.mean(widths))


def test_davies_bouldin_is_the_mean_over_domains_of_their_worst_pair():
    rng = np.random.default_rng(0)
    domains = rng.integers(0, 3, 60)
    z = rng.normal(size=(60, 4)) + domains[:, None]
    centre = np.array([z[domains == name].mean(axis=0) for name in range(3)])
    spread = [np.linalg.norm(z[domains == n] - centre[n], axis=1).mean() for n in range(3)]
    apart = cdist(centre, centre) + np.diag([np.inf] * 3)
    worst = (np.add.outer(spread, spread) / apart).max(axis=1)
    assert davies_bouldin(z, domains) == pytest.approx(np.mean(worst))


def test_one_domain_or_as_many_as_spots_have_no_inner_score():
    z = np.arange(8.0)[:, None]
    for domains in (np.zeros(8), np.arange(8)):
        assert np.isnan([silhouette(z, domains), davies_bouldin(z, domains)]).all()


def test_of_many_spots_some_are_scored_the_same_for_the_same_seed(monkeypatch):
    rng = np.random.default_rng(0)
    domains = rng.integers(0, 3, 900)
    z = rng.normal(size=(900, 2)) + 3 * domains[:, None]
    whole = silhouette(z, domains), section_mixing(z, domains)
    monkeypatch.setattr(spatial_domains, "MAX_OBS", 300)
    for score, of_all in zip((silhouette, section_mixing), whole, strict=True):
        assert score(z, domains, seed=1) == score(z, domains, seed=1)
        assert score(z, domains, seed=1) != score(z, domains, seed=2)
        assert score(z, domains, seed=1) == pytest.approx(of_all, abs=0.05)


def test_mixing_is_the_share_of_foreign_neighbours_over_that_of_a_random_spot():
    rng = np.random.default_rng(0)
    section = rng.choice(["A", "B", "C"], 90, p=[0.6, 0.3, 0.1])
    z = rng.normal(size=(90, 3)) + 0.8 * (section == "A")[:, None]
    d = cdist(z, z)
    np.fill_diagonal(d, np.inf)
    near = d.argsort(axis=1)[:, :10]
    foreign = (section[near] != section[:, None]).mean()
    random = (section[:, None] != section[None]).sum() / (90 * 89)
    assert section_mixing(z, section, n_neighbours=10) == pytest.approx(foreign / random)


def test_sections_apart_do_not_mix_and_sections_that_cannot_be_told_do_however_unequal():
    rng = np.random.default_rng(0)
    section = np.repeat(["A", "B"], [1100, 100])
    z = rng.normal(size=(1200, 3))
    assert section_mixing(z + 50.0 * (section == "A")[:, None], section) == 0
    assert section_mixing(z, section) == pytest.approx(1, abs=0.1)
    corrected = [section_mixing(z + shift * (section == "A")[:, None], section) for shift in (3, 1)]
    assert corrected[0] < corrected[1] - 0.1
    assert np.isnan(section_mixing(z, np.full(1200, "A")))


def test_mixing_is_at_most_1_and_spots_in_one_place_are_no_trouble():
    z = np.repeat(np.arange(20.0), 2)[:, None]  # each spot beside one of the other section
    assert section_mixing(z, np.array(["A", "B"] * 20), n_neighbours=1) == 1
    assert 0 <= section_mixing(np.zeros((50, 2)), np.array(["A", "B"] * 25), n_neighbours=5) <= 1
