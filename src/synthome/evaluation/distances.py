"""Do texts of similar samples look alike? Distances between texts against those of expression.

Between samples a and b with texts s_a and s_b, and with the pairs a < b alone:

    D_ab = || x_a - x_b ||                       Euclidean                                 (1)
    L_ab = fewest insertions, deletions and replacements from s_a to s_b (Levenshtein)     (2)
    r    = Pearson correlation of D_ab and L_ab over the pairs a < b                       (3)
    p    = (1 + #{r(D, L permuted) >= r}) / (1 + n_permutations)                           (4)

Pairs that share a sample are not independent, so that the p-value of a correlation is far too
small for eq. 3. Mantel's test permutes samples instead: rows and columns of L together (eq. 4).

The published score is no measure of agreement. It correlates np.triu(D) with np.triu(S), with the
zeros of the other half left in: half of all entries are equal by construction, and two matrices
that have nothing to do with each other, with coefficients of variation v and w, score about

    1 / sqrt((1 + 2 v^2) (1 + 2 w^2))                                                      (5)

which is 0.89 where both vary by a quarter. Moreover its S is a similarity, so that agreement should
have given a negative value. It is here under its own name, beside what it gives when the samples of
one matrix are permuted.

Mantel (1967), Cancer Research 27, 209-220.
Phipson, Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9, 39 (eq. 4). doi:10.2202/1544-6115.1585
Janakarajan et al. (2025), IEEE ICDH (the published score).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import Indel, Levenshtein
from rapidfuzz.process import cdist
from scipy.spatial.distance import pdist, squareform

from synthome.errors import InputError

ROUNDING = 1e-9  # of a correlation: equal but for rounding


def expression_distances(x: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n n"]:
    """Eq. 1."""
    return squareform(pdist(x))


def text_distances(texts: Sequence[str]) -> Float[np.ndarray, "n n"]:
    """Eq. 2, in characters."""
    found = cdist(texts, texts, scorer=Levenshtein.distance, workers=1, dtype=np.int32)
    return np.asarray(found, dtype=np.float64)


def nearest_text(
    candidates: Sequence[str], others: Sequence[str]
) -> Float[np.ndarray, " n_candidates"]:
    """Eq. 2 between each candidate and the nearest of ``others``."""
    found = cdist(candidates, others, scorer=Levenshtein.distance, workers=1, dtype=np.int32)
    return np.asarray(found.min(axis=1), dtype=np.float64)


def text_similarities(texts: Sequence[str]) -> Float[np.ndarray, "n n"]:
    """The published similarity: 1 - (insertions and deletions) / (length of both), 1 if equal."""
    found = cdist(texts, texts, scorer=Indel.normalized_similarity, workers=1, dtype=np.float64)
    return np.asarray(found)


def mantel(
    a: Float[np.ndarray, "n n"],
    b: Float[np.ndarray, "n n"],
    n_permutations: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Eqs. 3 and 4 of two symmetric matrices: the correlation, and its one-sided p-value.

    Raises
    ------
    InputError
        If there are fewer than three samples, or if all distances of one matrix are equal.
    """
    pairs = _pairs(a, b)
    of_a, of_b = _standardised(a[pairs], "first"), _standardised(b[pairs], "second")
    r = float(of_a @ of_b)
    whole = np.zeros_like(b, dtype=np.float64)  # standardised once: permuting moves no moment
    whole[pairs] = of_b
    whole += whole.T
    permuted = (float(of_a @ moved[pairs]) for moved in _permuted(whole, n_permutations, rng))
    at_least = sum(value >= r - ROUNDING for value in permuted)
    return r, (1 + at_least) / (1 + n_permutations)


def published_correlation(a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"]) -> float:
    """The published score: zeros below the diagonal take part. High for unrelated matrices."""
    return float(np.corrcoef(np.triu(a).ravel(), np.triu(b).ravel())[0, 1])


def published_of_independent(
    a: Float[np.ndarray, "n n"],
    b: Float[np.ndarray, "n n"],
    n_permutations: int,
    rng: np.random.Generator,
) -> float:
    """Mean of the published score when the samples of ``b`` are permuted: its value for nothing."""
    scores = [published_correlation(a, moved) for moved in _permuted(b, n_permutations, rng)]
    return float(np.mean(scores))


def text_agreement(
    x: Float[np.ndarray, "n m"],
    texts: Sequence[str],
    n_permutations: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Eqs. 3 and 4 for expression and its texts, beside the published score and its null value."""
    distances = expression_distances(x)
    r, p = mantel(distances, text_distances(texts), n_permutations, rng)
    similarities = text_similarities(texts)
    few = min(n_permutations, 20)  # of matrices this size, one permutation is like the other
    return {
        "mantel_r": r,
        "mantel_p": p,
        "published_r": published_correlation(distances, similarities),
        "published_r_independent": published_of_independent(distances, similarities, few, rng),
    }


def _pairs(a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"]) -> tuple:
    """Indices above the diagonal."""
    if len(a) < 3:
        raise InputError(
            f"Distances of {len(a)} samples cannot be correlated; at least three are needed."
        )
    assert np.array_equal(a, a.T), "the first matrix is not symmetric"
    assert np.array_equal(b, b.T), "the second matrix is not symmetric"
    return np.triu_indices(len(a), k=1)


def _standardised(distances: Float[np.ndarray, " m"], which: str) -> Float[np.ndarray, " m"]:
    """Mean 0 and length 1, so that an inner product is a correlation."""
    if distances.min() == distances.max():
        raise InputError(
            f"All distances of the {which} matrix are {distances[0]:g}, and nothing correlates "
            "with a constant. Are its samples copies of each other?"
        )
    centred = distances - distances.mean()
    return centred / np.linalg.norm(centred)


def _permuted(
    b: Float[np.ndarray, "n n"], n_permutations: int, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "n n"]]:
    for _ in range(n_permutations):
        order = rng.permutation(len(b))
        yield b.take(order, axis=0).take(order, axis=1)
