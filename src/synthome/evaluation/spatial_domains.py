"""Scores of spatial domains: against the truth, in space, in a latent, and across sections.

Spots without a label in the truth, "", are left out of what is compared with it. A score that the
data leave undefined (one domain only, no label) is nan.
"""

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import (
    adjusted_rand_score,
    davies_bouldin_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.neighbors import NearestNeighbors

from synthome.graph import Graph
from synthome.rng import generator

REFINE_NEIGHBOURS = 18  # of a hexagonal grid, those at most two spots away
MAX_OBS = 5_000  # rows of scores that compare all pairs


def refine(domains: np.ndarray, graph: Graph) -> np.ndarray:
    """Give each spot the domain that most of itself and its neighbours have.

    A tie leaves a spot what it is where its own domain is among the first, and takes the first by
    name where not. The graph is usually that of the ``REFINE_NEIGHBOURS`` nearest.
    """
    names, own = np.unique(domains, return_inverse=True)
    votes = _votes(own, len(names), graph.with_self())
    rows = np.arange(len(own))
    stays = votes[rows, own] == votes.max(axis=1)
    return np.where(stays, domains, names[votes.argmax(axis=1)])


def spatial_coherence(
    domains: np.ndarray, graph: Graph, section: np.ndarray | None = None
) -> float:
    """How many edges stay within a domain, beyond chance: 1 for all, 0 for shuffled domains.

    With p the share of the edges whose ends are of one domain, and q that expected when the domains
    are shuffled over the spots of each section, (p - q) / (1 - q). Below 0, neighbours avoid being
    of one domain. A single domain holds all edges: 1.
    """
    if graph.n_edges == 0:
        return float("nan")
    same = domains[graph.targets.cpu().numpy()] == domains[graph.indices.cpu().numpy()]
    section = np.zeros(len(domains), dtype=np.int64) if section is None else section
    n_edges = np.bincount(
        np.unique(section, return_inverse=True)[1], weights=graph.degrees.cpu().numpy()
    )
    chance = [_chance_of_a_pair(domains[section == name]) for name in np.unique(section)]
    return _beyond(float(same.mean()), float(np.average(chance, weights=n_edges)))


def ari(truth: np.ndarray, domains: np.ndarray) -> float:
    """Adjusted Rand index over the spots with a label: 1 for the same domains, 0 by chance."""
    labelled = truth != ""
    if not labelled.any():
        return float("nan")
    return float(adjusted_rand_score(truth[labelled], domains[labelled]))


def nmi(truth: np.ndarray, domains: np.ndarray) -> float:
    """Mutual information over the mean of the entropies, of the spots with a label: 0 to 1."""
    labelled = truth != ""
    if not labelled.any():
        return float("nan")
    return float(normalized_mutual_info_score(truth[labelled], domains[labelled]))


def silhouette(z: Float[np.ndarray, "n_obs n_latent"], domains: np.ndarray, seed: int = 0) -> float:
    """Mean silhouette of the domains in a latent, -1 to 1, on at most ``MAX_OBS`` spots."""
    rows = _some(len(z), MAX_OBS, generator(seed, "silhouette"))
    z, domains = z[rows], domains[rows]
    if not 1 < len(np.unique(domains)) < len(domains):
        return float("nan")
    return float(silhouette_score(z, domains))


def davies_bouldin(z: Float[np.ndarray, "n_obs n_latent"], domains: np.ndarray) -> float:
    """Spread of the domains over the distance to the nearest other one: 0 is best."""
    if not 1 < len(np.unique(domains)) < len(domains):
        return float("nan")
    return float(davies_bouldin_score(z, domains))


def section_mixing(
    z: Float[np.ndarray, "n_obs n_latent"],
    section: np.ndarray,
    n_neighbours: int = 30,
    seed: int = 0,
) -> float:
    """How well sections mix in a latent: 0 when each is by itself, 1 when they cannot be told.

    The share of the nearest neighbours of a spot that are of another section, over the share of
    such spots among all others, at most 1. It is 1 in expectation wherever section and latent are
    independent, however unequal the sections; below it where sections hold other domains. On
    at most ``MAX_OBS`` spots, each with its neighbours among all.
    """
    names, code, sizes = np.unique(section, return_inverse=True, return_counts=True)
    if len(names) == 1:
        return float("nan")
    rows = _some(len(z), MAX_OBS, generator(seed, "section mixing"))
    k = min(n_neighbours, len(z) - 1)
    near = NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z[rows], return_distance=False)
    itself = near == rows[:, None]
    itself[~itself.any(axis=1), -1] = True  # among many in one place: leave out the last
    other = code[near[~itself].reshape(-1, k)] != code[rows, None]  # (n_rows, k)
    expected = (len(z) - sizes[code[rows]]) / (len(z) - 1)
    return float(min(other.mean() / expected.mean(), 1.0))


def _votes(own: Int[np.ndarray, " n_obs"], n_domains: int, graph: Graph) -> np.ndarray:
    """Sources of each target in each domain, (n_obs, n_domains)."""
    place = graph.targets.cpu().numpy() * n_domains + own[graph.indices.cpu().numpy()]
    return np.bincount(place, minlength=len(own) * n_domains).reshape(len(own), n_domains)


def _chance_of_a_pair(domains: np.ndarray) -> float:
    """Chance that two spots drawn at random are of one domain."""
    n = np.unique(domains, return_counts=True)[1]
    return float((n * (n - 1)).sum() / max(len(domains) * (len(domains) - 1), 1))


def _beyond(observed: float, chance: float) -> float:
    """``observed`` on the scale on which chance is 0 and 1 is 1."""
    return 1.0 if chance == 1.0 else (observed - chance) / (1.0 - chance)


def _some(n_obs: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """All rows, or ``most`` drawn at random, in order."""
    if n_obs <= most:
        return np.arange(n_obs)
    return np.sort(rng.choice(n_obs, most, replace=False))
