"""Spatial domains from the latent of a tissue, without a label and without luck.

One mixture of normals, fitted twice to the same latent, gives domains whose adjusted Rand index
against anatomy differs by up to 0.16. So many mixtures vote:

1. the posterior means, of one training or of several, are averaged 0, 1 and 2 times over each spot
   and its neighbours;
2. of each, the first ``dims`` principal components are described by mixtures of k normals with one
   covariance (tied), from several starts;
3. each mixture says in which of its k components a spot is, one-hot; k-means of these columns, one
   beside the other, is the consensus.

Which settings vote is fixed here, for every tissue. The votes do not depend on the random numbers
of a run: the same latents give the same domains. Trainings from other seeds agree better on domains
that are there than on those that are not, so that the map is by the latents of several.

Strehl & Ghosh (2002), JMLR 3, 583-617 (consensus of clusterings).
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from pydantic import PositiveInt
from scipy import sparse

from synthome.config import Config
from synthome.errors import InputError
from synthome.models.tissue_inputs import average
from synthome.rng import generator

STARTS_OF_CONSENSUS = 20


class DomainConfig(Config):
    """Which clusterings vote."""

    hops: tuple[int, ...] = (0, 1, 2)
    dims: tuple[PositiveInt, ...] = (15, 20, 30)
    n_starts: PositiveInt = 4
    max_obs: PositiveInt = 20_000  # spots that mixtures are fitted to; all are assigned
    seed: int = 0


def find_domains(
    latents: Sequence[Float[np.ndarray, "n_obs n_latent"]],
    graph: sparse.csr_matrix,
    k: int,
    config: DomainConfig,
) -> Int[np.ndarray, " n_obs"]:
    """Domain of each spot, 1 to k, the largest first.

    Parameters
    ----------
    latents
        Posterior means, of each training that votes.
    graph
        Neighbours of each spot, without itself, (n_obs, n_obs).

    Raises
    ------
    InputError
        If there are no more spots than domains.
    """
    from sklearn.cluster import KMeans

    n_obs = graph.shape[0]
    if k >= n_obs:
        raise InputError(f"{k} domains were asked for, but there are {n_obs} spots. Lower k.")
    if k == 1:
        return np.ones(n_obs, dtype=np.int64)
    votes = [
        np.eye(k, dtype=np.float32)[own] for z in latents for own in _votes(z, graph, k, config)
    ]
    every = np.concatenate(votes, axis=1)
    some = _some(n_obs, config)
    means = KMeans(k, n_init=STARTS_OF_CONSENSUS, random_state=config.seed).fit(every[some])
    return _by_size(means.predict(every))


def smoothed(
    z: Float[np.ndarray, "n_obs n_latent"], graph: sparse.csr_matrix, hops: int
) -> Float[np.ndarray, "n_obs n_latent"]:
    """The mean over a spot and its neighbours, ``hops`` times."""
    mean = average(graph)
    for _ in range(hops):
        z = mean @ z
    return z


def _votes(
    z: Float[np.ndarray, "n_obs n_latent"], graph: sparse.csr_matrix, k: int, config: DomainConfig
) -> Iterator[Int[np.ndarray, " n_obs"]]:
    """The component of each spot in each mixture."""
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    some = _some(len(z), config)
    widest = min(max(config.dims), *z.shape, len(some) - 1)
    axes = PCA(widest, svd_solver="full").fit(z[some])
    scores, done = axes.transform(z), 0
    for hops in sorted(config.hops):
        scores = smoothed(scores, graph, hops - done)
        done = hops
        for d in sorted({min(d, widest) for d in config.dims}):
            for start in range(config.n_starts):
                mixture = GaussianMixture(
                    k,
                    covariance_type="tied",
                    reg_covar=1e-6,
                    random_state=config.seed * config.n_starts + start,
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    mixture.fit(scores[some, :d])
                yield mixture.predict(scores[:, :d])


def _some(n_obs: int, config: DomainConfig) -> Int[np.ndarray, " n_some"]:
    if n_obs <= config.max_obs:
        return np.arange(n_obs)
    return np.sort(generator(config.seed, "domains").permutation(n_obs)[: config.max_obs])


def _by_size(found: Int[np.ndarray, " n_obs"]) -> Int[np.ndarray, " n_obs"]:
    """Numbered from 1, the largest first."""
    names, sizes = np.unique(found, return_counts=True)
    rank = np.empty(found.max() + 1, dtype=np.int64)
    rank[names[np.argsort(-sizes, kind="stable")]] = np.arange(1, len(names) + 1)
    return rank[found]
