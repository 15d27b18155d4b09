import itertools

import numpy as np
import pytest

from synthome.encoding.lookup_table import LookupTable, LookupTableConfig
from synthome.errors import InputError
from synthome.evaluation.distances import (
    expression_distances,
    mantel,
    published_correlation,
    published_of_independent,
    text_agreement,
    text_distances,
    text_similarities,
)


def symmetric(n: int, seed: int, variation: float = 0.25) -> np.ndarray:
    """Distances of mean 1 that have nothing to do with those of another seed."""
    upper = np.triu(np.random.default_rng(seed).normal(1.0, variation, (n, n)), k=1)
    return upper + upper.T


def edits(a: str, b: str, replacement: int) -> int:
    """The textbook table of edit distances, where a replacement has a price of its own."""
    above = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            change = above[j - 1] + (replacement if letter != other else 0)
            row.append(min(above[j] + 1, row[-1] + 1, change))
        above = row
    return above[-1]


def test_distances_of_texts_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abé漢 "), size=n)) for n in (0, 1, 7, 12, 12, 15)]
    found, similar = text_distances(texts), text_similarities(texts)
    for (i, a), (j, b) in itertools.product(enumerate(texts), repeat=2):
        assert found[i, j] == edits(a, b, replacement=1)
        share = edits(a, b, replacement=2) / max(len(a) + len(b), 1)
        assert similar[i, j] == pytest.approx(1 - share)


def test_distances_of_expression_are_euclidean():
    x = np.random.default_rng(0).normal(size=(5, 4))
    expected = [[np.sqrt(((a - b) ** 2).sum()) for b in x] for a in x]
    np.testing.assert_allclose(expression_distances(x), expected)


def test_mantel_agrees_with_a_loop_over_pairs_and_all_permutations():
    """Of five samples all 120 permutations can be counted; random ones come near their share."""
    b = symmetric(5, seed=0)
    a = 0.5 * b + symmetric(5, seed=2)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]

    def correlation(order):
        moved = [b[order[i], order[j]] for i, j in pairs]
        return np.corrcoef([a[i, j] for i, j in pairs], moved)[0, 1]

    expected = correlation(range(5))
    every = [correlation(order) for order in itertools.permutations(range(5))]
    share = np.mean([value >= expected - 1e-9 for value in every])
    r, p = mantel(a, b, 4000, np.random.default_rng(0))
    assert r == pytest.approx(expected)
    assert 0.02 < share < 0.5
    assert p == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))


def test_permutations_that_change_nothing_count_as_reaching_the_value():
    """Turning or mirroring a ring, in 12 of 720 orders, sums the same products in another order."""
    steps = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    ring = np.array([0.0, 0.1, 0.7, 1.3])[np.minimum(steps, 6 - steps)]
    near = ring + 0.05 * symmetric(6, seed=0)
    _, p = mantel(ring, near, 6000, np.random.default_rng(0))
    assert p == pytest.approx(1 / 60, abs=0.005)


def test_p_values_of_independent_matrices_are_uniform():
    p = np.array(
        [
            mantel(symmetric(8, 2 * i), symmetric(8, 2 * i + 1), 39, np.random.default_rng(i))[1]
            for i in range(300)
        ]
    )
    for level in (0.05, 0.25, 0.5, 0.75):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level / 4 / 300) + 0.01)
    assert p.min() == pytest.approx(1 / 40)


def test_equal_matrices_agree_wholly_and_opposite_ones_not_at_all():
    a = symmetric(20, seed=0)
    rng = np.random.default_rng(0)
    r, p = mantel(a, a, 99, rng)
    assert (r, p) == (pytest.approx(1.0), 0.01)
    r, p = mantel(a, -a, 99, rng)
    assert (r, p) == (pytest.approx(-1.0), 1.0)


def test_the_published_score_is_high_for_matrices_that_have_nothing_in_common():
    """Eq. 5, to which the zeros of the diagonal add next to nothing."""
    a, b = symmetric(200, seed=0), symmetric(200, seed=1)
    assert published_correlation(a, b) == pytest.approx(1 / (1 + 2 * 0.25**2), abs=0.01)
    assert published_correlation(a, b) == pytest.approx(0.89, abs=0.01)
    r, p = mantel(a, b, 99, np.random.default_rng(0))
    assert abs(r) < 0.03
    assert p > 0.05


def test_the_published_score_is_as_high_when_the_samples_are_permuted():
    a = symmetric(60, seed=0)
    null = published_of_independent(a, a, 10, np.random.default_rng(0))
    assert published_correlation(a, a) == pytest.approx(1.0)
    assert null == pytest.approx(1 / (1 + 2 * 0.25**2), abs=0.02)


def test_texts_of_similar_samples_are_similar():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(6, 80)), 5, axis=0) + 0.02 * rng.normal(size=(30, 80))
    table = LookupTable.fit(x, LookupTableConfig(float_precision=3))
    found = text_agreement(x, table.encode(x), 199, np.random.default_rng(1))
    assert found["mantel_r"] > 0.8
    assert found["mantel_p"] == 1 / 200
    mixed = text_agreement(x, table.encode(rng.permuted(x)), 199, np.random.default_rng(1))
    assert mixed["mantel_p"] > 0.05
    assert mixed["published_r"] > 0.5
    assert mixed["published_r"] == pytest.approx(mixed["published_r_independent"], abs=0.05)


def test_the_same_generator_gives_the_same_p_value():
    a, b = symmetric(12, seed=0), symmetric(12, seed=1)
    first, second = (mantel(a, b, 50, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_what_cannot_be_correlated_is_an_error():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="Distances of 2 samples"):
        mantel(symmetric(2, 0), symmetric(2, 1), 9, rng)
    with pytest.raises(InputError, match="second matrix are 0, .* copies"):
        mantel(symmetric(4, 0), np.zeros((4, 4)), 9, rng)
