"""Attacks must break what is broken, and must not break what is not."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from synthome.evaluation import privacy
from synthome.evaluation.privacy import RowSpace
from synthome.evaluation.rates import auc

PEOPLE = {"a": 14, "b": 8}


def population(n, rng, p=150, classes=PEOPLE):
    """Patients of one population, ``n`` times the sizes of the classes."""
    mix = np.random.default_rng(7).standard_normal((6, p))
    y = np.concatenate([np.repeat(c, n * size) for c, size in classes.items()])
    x = 2 * rng.standard_normal((len(y), 6)) @ mix + 2 * rng.standard_normal((len(y), p))
    x[y == "b", :20] += 2.0
    return x, y


def class_covariance(x, y, n, rng, noise=0.0):
    """N(class mean, class covariance), times 1 + noise: the multivariate baseline."""
    rows, labels = [], []
    for c in np.unique(y):
        own = x[y == c]
        factor = (own - own.mean(axis=0)) * np.sqrt((1 + noise) / (len(own) - 1))
        k = round(n * len(own) / len(x))
        rows.append(own.mean(axis=0) + rng.standard_normal((k, len(own))) @ factor)
        labels.append(np.repeat(c, k))
    return np.concatenate(rows), np.concatenate(labels)


def attacked(members, others, synthetic):
    """AUC of each attack."""
    x = np.concatenate([members[0], others[0]])
    y = np.concatenate([members[1], others[1]])
    sizes = {c: int((members[1] == c).sum()) for c in np.unique(members[1])}
    found = privacy.attack_scores(x, y, *synthetic, sizes)
    n = len(members[0])
    centred = {name: privacy.centred(score, y) for name, score in found.items()}
    return {name: auc(score[:n], score[n:]) for name, score in centred.items()}


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("n_synthetic", [22, 300])
def test_class_covariance_with_fewer_patients_than_genes_is_broken(n_synthetic, noise):
    """Members lie in the span, which distances see less of."""
    rng = np.random.default_rng(0)
    members, others = population(1, rng), population(1, rng)
    synthetic = class_covariance(*members, n_synthetic, rng, noise)
    found = attacked(members, others, synthetic)
    assert found["subspace"] >= 0.99
    assert found["mahalanobis"] >= 0.99
    assert found["nearest"] < found["subspace"]
    assert found["block_match"] == 0.5


def test_copies_are_broken_by_every_attack():
    """Whatever an attack measures, a copy has it."""
    rng = np.random.default_rng(0)
    members, others = population(1, rng), population(1, rng)
    copies = np.tile(members[0], (4, 1)), np.tile(members[1], 4)
    assert attacked(members, others, copies) == dict.fromkeys(privacy.ATTACKS, 1.0)


def test_rows_that_nobody_shaped_give_one_half():
    """Members, non-members and released rows are exchangeable: 40 cohorts, s.e. about 0.015."""
    rng = np.random.default_rng(1)
    found = [
        attacked(population(1, rng), population(1, rng), population(4, rng)) for _ in range(40)
    ]
    for name in privacy.ATTACKS:
        values = [f[name] for f in found]
        assert np.mean(values) == pytest.approx(0.5, abs=0.05), name


def noise_like(x, y, times, rng):
    """Independent normal noise with the mean and sd of each class."""
    labels = np.repeat(y, times)
    mean, std = np.empty((len(labels), x.shape[1])), np.empty((len(labels), x.shape[1]))
    for c in np.unique(y):
        mean[labels == c] = x[y == c].mean(axis=0)
        std[labels == c] = x[y == c].std(axis=0, ddof=1)
    return mean + std * rng.standard_normal(mean.shape), labels


def test_means_alone_leak_a_little():
    """Independent noise is the floor: well below what a broken generator gives."""
    rng = np.random.default_rng(2)
    worst = []
    for _ in range(10):
        members, others = population(1, rng), population(1, rng)
        worst.append(max(attacked(members, others, noise_like(*members, 10, rng)).values()))
    assert 0.5 < np.mean(worst) < 0.8


@pytest.mark.parametrize(("n", "p"), [(15, 60), (200, 12)])
def test_mahalanobis_agrees_with_an_explicit_inverse(n, p):
    """Eq. 1 against (S + lambda I)^-1 for both shapes of the rows."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, p)) @ (np.eye(p) + 0.2 * rng.standard_normal((p, p)))
    z = (z - z.mean(axis=0)) / np.sqrt(n - 1)
    d = rng.standard_normal((5, p))
    covariance = z.T @ z
    ridge = 0.05 * np.trace(covariance) / p
    expected = np.einsum("ij,jk,ik->i", d, np.linalg.inv(covariance + ridge * np.eye(p)), d)
    np.testing.assert_allclose(RowSpace.of(z).mahalanobis(d), expected, rtol=1e-8)


@pytest.mark.parametrize(("n", "p"), [(10, 40), (60, 25)])
def test_residual_agrees_with_least_squares(n, p):
    """What lstsq on the rows cannot explain, as a share of the length."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, p))
    z[:, 20:] = 0.0  # the rows span 10 or 20 dimensions
    d = rng.standard_normal((4, p))
    fit = z.T @ np.linalg.lstsq(z.T, d.T, rcond=None)[0]
    expected = np.linalg.norm(d - fit.T, axis=1) / np.linalg.norm(d, axis=1)
    space = RowSpace.of(z)
    assert len(space.variances) == min(n, 20)
    np.testing.assert_allclose(space.residual(d, len(space.variances)), expected, atol=1e-8)
    np.testing.assert_allclose(space.residual(d, 0), 1.0)
    np.testing.assert_array_equal(space.residual(np.zeros((1, p)), 3), 0.0)


def test_linear_attacks_agree_with_textbook_formulas():
    """Class by class: scaled by the synthetic sd, centred on the class, ridge on the covariance."""
    rng = np.random.default_rng(4)
    (candidates, y), synthetic = population(1, rng, p=30), population(3, rng, p=30)
    found = privacy.linear_attacks(candidates, y, *synthetic, PEOPLE)
    std = synthetic[0].std(axis=0)
    for c, size in PEOPLE.items():
        own = synthetic[0][synthetic[1] == c] / std
        d = candidates[y == c] / std - own.mean(axis=0)
        covariance = np.cov(own.T)
        ridge = 0.05 * np.trace(covariance) / 30
        inverse = np.linalg.inv(covariance + ridge * np.eye(30))
        np.testing.assert_allclose(
            found["mahalanobis"][y == c], -np.einsum("ij,jk,ik->i", d, inverse, d), rtol=1e-6
        )
        directions = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)[2]
        if len(own) > 30:  # the span is full: 95 % of the variance
            share = np.cumsum(np.linalg.eigvalsh(covariance)[::-1]) / np.trace(covariance)
            kept = directions[: int((share < 0.95).sum()) + 1]
        else:
            kept = directions[: size - 1]
        outside = np.linalg.norm(d - d @ kept.T @ kept, axis=1) / np.linalg.norm(d, axis=1)
        np.testing.assert_allclose(found["subspace"][y == c], -outside, rtol=1e-6)


def test_rows_without_variance_span_nothing():
    """A generator of one point: plain distances, no division by zero."""
    space = RowSpace.of(np.zeros((4, 9)))
    assert len(space.variances) == 0
    np.testing.assert_allclose(space.mahalanobis(np.ones((1, 9))), 9.0)


def test_the_rank_follows_the_fixed_rule():
    """min(numeric rank, published size - 1); 95 % of the variance where the span is full."""
    assert privacy.fixed_rank(np.ones(30), n_vars=100, class_size=8) == 7
    assert privacy.fixed_rank(np.ones(5), n_vars=100, class_size=8) == 5
    assert privacy.fixed_rank(np.ones(5), n_vars=100, class_size=1) == 0
    assert privacy.fixed_rank(np.ones(100), n_vars=100, class_size=8) == 95
    steep = np.array([90.0, 4.0, 3.0, 2.0, 1.0])
    assert privacy.fixed_rank(steep, n_vars=5, class_size=100) == 3


def test_monte_carlo_counts_rows_within_the_median_nearest_distance():
    """Candidates at 0, 1 and 10 from a crowd: eps is 1, its edge included."""
    distance = np.array([[0.0, 0.5, 3.0], [1.0, 1.0, 2.0], [10.0, 12.0, 11.0]])
    np.testing.assert_allclose(privacy.monte_carlo(distance), [2 / 3, 2 / 3, 0])


def test_block_match_finds_a_crossover_and_ignores_shared_zeros():
    """A row made of two patients repeats 70 % and 30 % of them; zeros are everybody's."""
    rng = np.random.default_rng(0)
    people = rng.random((4, 100)) + 1
    people[:, :20] = 0.0
    child = np.where(np.arange(100) < 76, people[0], people[1])  # 56 and 24 of 80 own values
    synthetic = np.concatenate([child[None], rng.random((5, 100)) + 1])
    np.testing.assert_allclose(privacy.block_match(people, synthetic), [0.7, 0.3, 0, 0])


def test_a_coincidence_is_no_match():
    """One value in 200 to the last digit happens by rounding."""
    rng = np.random.default_rng(0)
    people, synthetic = rng.random((3, 200)), rng.random((5, 200))
    synthetic[0, 0] = people[0, 0]
    np.testing.assert_array_equal(privacy.block_match(people, synthetic), 0.0)


def test_centring_makes_classes_comparable():
    """Each class has median 0, and the order within it stays."""
    scores = np.array([1.0, 2.0, 6.0, 100.0, 300.0])
    y = np.array(["a", "a", "a", "b", "b"])
    np.testing.assert_array_equal(privacy.centred(scores, y), [-1, 0, 4, -100, 100])
    np.testing.assert_array_equal(scores, [1, 2, 6, 100, 300])


def test_a_candidate_of_a_class_that_was_not_released_still_gets_a_score():
    """Compared with all rows, instead of an index error."""
    rng = np.random.default_rng(0)
    members, others = population(1, rng), population(1, rng)
    only = members[0][members[1] == "a"]
    found = attacked(members, others, (np.tile(only, (3, 1)), np.repeat("a", 3 * len(only))))
    assert all(np.isfinite(value) for value in found.values())


def test_a_public_cohort_sharpens_the_attack():
    """Means alone leak more to an attacker who knows what a typical patient is."""
    rng = np.random.default_rng(3)
    ratio, plain = [], []
    for _ in range(6):
        members, others, public = population(1, rng), population(1, rng), population(8, rng)
        released = noise_like(*members, 10, rng)
        x, y = (np.concatenate(parts) for parts in zip(members, others, strict=True))
        score = privacy.centred(privacy.likelihood_ratio(x, y, *released, *public), y)
        ratio.append(auc(score[: len(members[1])], score[len(members[1]) :]))
        plain.append(max(attacked(members, others, released).values()))
    assert np.mean(ratio) > 0.85 > np.mean(plain)


def test_the_likelihood_ratio_of_equal_crowds_is_zero():
    """A cohort gives no hint over itself."""
    rng = np.random.default_rng(0)
    x, y = population(2, rng)
    np.testing.assert_allclose(privacy.likelihood_ratio(x, y, x, y, x, y), 0.0, atol=1e-8)


def test_distances_are_those_of_differences_and_copies_are_at_zero():
    """Far from the origin, the matrix product alone would put copies at a rounding error."""
    rng = np.random.default_rng(0)
    people = 1000.0 + rng.standard_normal((30, 50))
    synthetic = np.concatenate([1000.0 + rng.standard_normal((40, 50)), people[:5] + 1e-9, people])
    found = privacy.distances(people, synthetic)
    np.testing.assert_allclose(found, cdist(people, synthetic), rtol=1e-7, atol=1e-12)
    assert (found[np.arange(30), 45 + np.arange(30)] == 0.0).all()
    spread = rng.standard_normal((20, 50)) * 5
    mixed = np.concatenate([spread[:4], rng.standard_normal((30, 50))])
    found = privacy.distances(spread, mixed)
    np.testing.assert_allclose(found, cdist(spread, mixed), rtol=1e-9, atol=1e-12)
    assert (np.diag(found[:4, :4]) == 0.0).all()
