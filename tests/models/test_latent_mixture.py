import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from synthome.models import latent_mixture
from synthome.models.latent_mixture import ROWS_PER_COMPONENT, LatentMixture

CENTRES = {"a": [(-4.0, 0.0), (4.0, 2.0)], "b": [(0.0, -5.0)]}


def posteriors(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and variances of n cells of a class with two parts, 3 : 1, and of one with one."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(["a", "b"], n)
    loc = rng.normal(0, 0.7, (2 * n, 2))
    loc[:n] += np.repeat(CENTRES["a"], [3 * n // 4, n // 4], axis=0)
    loc[n:] = rng.multivariate_normal(CENTRES["b"][0], [[1.0, 0.8], [0.8, 1.0]], n)
    order = rng.permutation(2 * n)
    variance = np.full((2 * n, 2), [0.2, 0.05])
    return loc[order], variance, labels[order]


@pytest.fixture(scope="module")
def mixture() -> LatentMixture:
    return LatentMixture.fit(*posteriors(), max_components=3, seed=0)


def test_the_parts_of_a_class_are_found(mixture):
    assert mixture.classes == ("a", "b")
    own = mixture.of_class == 0
    order = np.argsort(mixture.loc[own, 0])
    np.testing.assert_allclose(mixture.loc[own][order], CENTRES["a"], atol=0.15)
    np.testing.assert_allclose(mixture.weight[own][order], [0.75, 0.25], atol=0.02)
    for y in range(2):
        assert mixture.weight[mixture.of_class == y].sum() == pytest.approx(1.0)


def test_a_component_has_the_spread_of_its_means_and_of_its_posteriors():
    """Eq. 1 by hand, with the law of total variance in place of a sum over pairs."""
    loc, variance, labels = posteriors()
    mixture = LatentMixture.fit(loc, variance, labels, max_components=1, seed=0)
    assert mixture.of_class.tolist() == [0, 1]
    own = {name: loc[labels == name] for name in ("a", "b")}
    squares = {name: len(x) * np.cov(x.T, ddof=0) for name, x in own.items()}
    pooled = (squares["a"] + squares["b"]) / (len(loc) - 2)
    for c, name in enumerate(("a", "b")):
        expected = (squares[name] + 2 * pooled) / (len(own[name]) + 2) + np.diag(variance[0])
        np.testing.assert_allclose(mixture.covariance[c], expected)
        np.testing.assert_allclose(mixture.loc[c], own[name].mean(axis=0))


def test_draws_follow_the_mixture_of_their_class(mixture):
    """Moments of eq. 1, and each class where it was."""
    labels = np.repeat(["b", "a"], 20_000)
    z = mixture.draw(labels, 1.0, np.random.default_rng(3))
    for name, part in (("b", z[:20_000]), ("a", z[20_000:])):
        own = mixture.of_class == mixture.classes.index(name)
        weight, loc = mixture.weight[own], mixture.loc[own]
        mean = weight @ loc
        within = np.einsum("c,cij->ij", weight, mixture.covariance[own])
        expected = within + (loc - mean).T @ np.diag(weight) @ (loc - mean)
        np.testing.assert_allclose(part.mean(axis=0), mean, atol=0.08)
        np.testing.assert_allclose(np.cov(part.T), expected, rtol=0.05, atol=0.05)


def test_components_of_many_rows_are_found_in_some_and_measured_in_all(monkeypatch):
    loc, variance, labels = posteriors()
    seen, own = [], GaussianMixture.fit
    monkeypatch.setattr(GaussianMixture, "fit", lambda self, x: seen.append(len(x)) or own(self, x))
    whole = LatentMixture.fit(loc, variance, labels, max_components=3, seed=0)
    monkeypatch.setattr(latent_mixture, "MOST_ROWS", 300)
    some = LatentMixture.fit(loc, variance, labels, max_components=3, seed=0)
    assert set(seen) == {400, 300}
    np.testing.assert_array_equal(some.of_class, whole.of_class)
    for k in whole.loc:  # the same components, in any order
        assert np.abs(some.loc - k).max(axis=1).min() < 0.1


def test_temperature_multiplies_the_spread_of_a_component():
    mixture = LatentMixture.fit(*posteriors(), max_components=1, seed=0)
    labels = ["b"] * 4000
    cold, hot = (mixture.draw(labels, t, np.random.default_rng(0)) for t in (0.5, 2.0))
    centre = mixture.loc[mixture.of_class == 1][0]
    np.testing.assert_allclose(hot - centre, 4.0 * (cold - centre))
    none = mixture.draw(labels[:3], 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(none, np.tile(centre, (3, 1)))


@pytest.mark.parametrize("n", [1, 3, 2 * ROWS_PER_COMPONENT - 1])
def test_a_class_of_few_rows_is_one_component_with_a_proper_covariance(n):
    """A single cell has no covariance of its own: it leans on the pooled one."""
    loc, variance, labels = posteriors()
    labels = np.append(["few"] * n, labels[n:])
    mixture = LatentMixture.fit(loc, variance, labels, max_components=5, seed=0)
    own = mixture.of_class == mixture.classes.index("few")
    assert own.sum() == 1
    np.linalg.cholesky(mixture.covariance[own][0])
    drawn = mixture.draw(["few"] * 5, 1.0, np.random.default_rng(0))
    assert len(np.unique(drawn, axis=0)) == 5


def test_same_seed_same_mixture_and_a_state_rebuilds_it(mixture):
    second = LatentMixture.fit(*posteriors(), max_components=3, seed=0)
    for name, part in mixture.state().items():
        np.testing.assert_array_equal(part, second.state()[name])
    again = LatentMixture.from_state(mixture.classes, mixture.state())
    labels = ["a", "b", "a"]
    draws = [m.draw(labels, 1.0, np.random.default_rng(5)) for m in (mixture, again)]
    np.testing.assert_array_equal(*draws)


def test_draws_are_distributed_as_the_posteriors_are(mixture):
    """Draws against means plus posterior noise: what a cell of the class looks like."""
    loc, variance, labels = (np.tile(part.T, 10).T for part in posteriors())
    z = mixture.draw(labels, 1.0, np.random.default_rng(0))
    noisy = loc + np.random.default_rng(1).normal(size=loc.shape) * np.sqrt(variance)
    for k in range(2):
        assert stats.ks_2samp(z[:, k], noisy[:, k]).statistic < 0.05
