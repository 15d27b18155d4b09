"""Domains by a vote of mixtures."""

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from synthome.errors import InputError
from synthome.evaluation.domains import DomainConfig, find_domains, smoothed

CONFIG = DomainConfig(dims=(3, 5), n_starts=2)


def bands(n=400, k=4, noise=1.5, seed=0):
    """Spots of a square in k bands, latents around the mean of each band, and neighbours."""
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2))
    band = np.minimum((xy[:, 0] ** 2 * k).astype(int), k - 1)
    z = 2.0 * rng.normal(size=(k, 5))[band] + noise * rng.normal(size=(n, 5))
    near = cKDTree(xy).query(xy, k=7)[1][:, 1:]
    edges = (np.ones(6 * n), (np.repeat(np.arange(n), 6), near.ravel()))
    return z, sparse.csr_matrix(edges, shape=(n, n)), band


def test_bands_are_found_and_named_by_size():
    z, graph, band = bands()
    found = find_domains([z], graph, 4, CONFIG)
    assert adjusted_rand_score(band, found) > 0.8
    sizes = np.bincount(found)[1:]
    assert len(sizes) == 4
    assert (np.diff(sizes) <= 0).all()


def test_the_same_latent_gives_the_same_domains():
    z, graph, _ = bands()
    np.testing.assert_array_equal(
        find_domains([z], graph, 4, CONFIG), find_domains([z.copy()], graph.copy(), 4, CONFIG)
    )


def test_other_random_numbers_hardly_move_the_domains():
    z, graph, band = bands(noise=2.0)
    scores = [
        adjusted_rand_score(band, find_domains([z], graph, 4, DomainConfig(dims=(3, 5), seed=s)))
        for s in range(4)
    ]
    assert np.ptp(scores) < 0.03


def test_several_trainings_agree_on_what_is_there():
    """Each adds noise of its own to what a spot is: together they err less."""
    z, graph, band = bands(noise=1.5)
    rng = np.random.default_rng(1)
    trainings = [z + 3.0 * rng.normal(size=z.shape) for _ in range(4)]
    single = [
        adjusted_rand_score(band, find_domains([each], graph, 4, CONFIG)) for each in trainings
    ]
    together = adjusted_rand_score(band, find_domains(trainings, graph, 4, CONFIG))
    assert together > np.mean(single) + 0.05


def test_spots_beyond_those_that_mixtures_see_are_assigned():
    z, graph, band = bands()
    found = find_domains([z], graph, 4, CONFIG.model_copy(update={"max_obs": 200}))
    assert len(found) == len(z)
    assert adjusted_rand_score(band, found) > 0.7


def test_one_domain_is_everything_and_too_many_are_refused():
    z, graph, _ = bands(40)
    assert (find_domains([z], graph, 1, CONFIG) == 1).all()
    with pytest.raises(InputError, match="40 spots"):
        find_domains([z], graph, 40, CONFIG)


def test_smoothing_is_the_mean_over_a_spot_and_its_neighbours():
    graph = sparse.csr_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    z = np.array([[0.0], [3.0], [6.0]])
    np.testing.assert_allclose(smoothed(z, graph, 1), [[1.5], [3.0], [4.5]])
    np.testing.assert_allclose(smoothed(z, graph, 2), smoothed(smoothed(z, graph, 1), graph, 1))
