"""Membership attacks: who was in the training part, told from the synthetic rows.

The attacker holds the synthetic rows, a candidate's expression and the candidate's class. A score
is higher the more a candidate looks like a member. Candidates are the training rows (members) and
held-out rows (non-members).

================== =================================================================================
nearest            minus the distance to the nearest synthetic row (Chen et al. 2020, GAN-leaks)
monte_carlo        share of synthetic rows within eps of the candidate, eps the median over
                   candidates of the distance to their nearest row (Hilprecht et al. 2019, eq. 4)
subspace           minus the share of a candidate's deviation from the class mean that lies outside
                   the row space of the class-centred synthetic rows
mahalanobis        minus the squared Mahalanobis distance to the synthetic class, ridge 5 %
mahalanobis_pooled the same with the covariance pooled within classes
block_match        largest share of a candidate's own values found exactly in one synthetic row
================== =================================================================================

Why the subspace: n patients of p > n genes span an affine space of n - 1 dimensions. A generator
that only recombines them (class covariance, interpolation) never leaves it, so that members have
residual 0 and nobody else has; distances between rows do not see that. Its rank is a fixed rule,
and is not tuned to the answer: min(numeric rank, published class size - 1), and where the rows
span all genes, the components of 95 % of their variance.

With Z the centred rows over sqrt(n - 1) (genes scaled by their synthetic sd), Z = U S V', and
lambda = 5 % of the mean variance, the squared Mahalanobis distance of a deviation d is

    (|d|^2 - sum_i S_i^2 / (S_i^2 + lambda) (v_i . d)^2) / lambda                    (1)

so that the decomposition of the smaller of Z Z' and Z' Z is all that is needed.

Scores of different classes and folds are not on one scale: ``centred`` subtracts their median over
the candidates of each class before scores are pooled.

Chen et al. (2020), CCS, doi:10.1145/3372297.3417238. Hilprecht et al. (2019), PoPETs 2019(4),
doi:10.2478/popets-2019-0067.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

ATTACKS = (
    "nearest",
    "monte_carlo",
    "subspace",
    "mahalanobis",
    "mahalanobis_pooled",
    "block_match",
)
RIDGE = 0.05  # of the mean variance of a gene
COINCIDENCE = 0.01  # of a candidate's own values
NEAR, PAIRS = 1e-6, 4_096  # share of |a|² + |b|²; pairs computed again at a time
VARIANCE_KEPT = 0.95  # where rows span all genes
Rows = Float[np.ndarray, "n_obs n_vars"]
Candidates = Float[np.ndarray, "n_candidates n_vars"]
Scores = Float[np.ndarray, " n_candidates"]


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Orthonormal directions of centred rows, largest variance first, and their variances."""

    directions: Float[np.ndarray, "n_vars rank"]
    variances: Float[np.ndarray, " rank"]

    @classmethod
    def of(cls, z: Float[np.ndarray, "n n_vars"]) -> "RowSpace":
        """Decompose centred rows, divided by the root of their degrees of freedom."""
        n, p = z.shape
        values, vectors = np.linalg.eigh(z @ z.T if n <= p else z.T @ z)
        values, vectors = values[::-1], vectors[:, ::-1]
        # rows are stored in single precision: what lies 1e-9 below the first direction is rounding
        kept = values > 1e-9 * max(float(values[0]), 0.0) if n > 0 else np.zeros(0, dtype=bool)
        values, vectors = values[kept], vectors[:, kept]
        if n <= p:
            vectors = z.T @ (vectors / np.sqrt(values))
        return cls(np.ascontiguousarray(vectors), values)

    def residual(self, d: Candidates, rank: int) -> Scores:
        """Share (0 to 1, of the length) of each deviation outside the first ``rank`` directions."""
        length = np.square(d).sum(axis=1)
        outside = length - np.square(d @ self.directions[:, :rank]).sum(axis=1)
        return np.sqrt(np.clip(outside / np.where(length > 0, length, 1.0), 0.0, 1.0))

    def mahalanobis(self, d: Candidates) -> Scores:
        """Squared ridge-Mahalanobis length of each deviation: eq. 1."""
        ridge = RIDGE * float(self.variances.sum()) / len(self.directions)
        length = np.square(d).sum(axis=1)
        if not ridge > 0:
            return length
        weight = self.variances / (self.variances + ridge)
        return (length - np.square(d @ self.directions) @ weight) / ridge


def attack_scores(
    candidates: Candidates,
    candidate_labels: np.ndarray,
    synthetic: Rows,
    synthetic_labels: np.ndarray,
    class_sizes: Mapping[str, int],
) -> dict[str, Scores]:
    """Scores of all attacks, higher for likelier members, not yet centred.

    Parameters
    ----------
    class_sizes
        Published number of training patients of each class.
    """
    distance = distances(candidates, synthetic)
    scores = {
        "nearest": -distance.min(axis=1),
        "monte_carlo": monte_carlo(distance),
        "block_match": block_match(candidates, synthetic),
    }
    scores |= linear_attacks(candidates, candidate_labels, synthetic, synthetic_labels, class_sizes)
    return {name: scores[name] for name in ATTACKS}


def distances(candidates: Candidates, synthetic: Rows) -> Float[np.ndarray, "n_candidates n_obs"]:
    """Euclidean distances; a copy is at 0 exactly, not at a rounding error.

    |a - b|² = |a|² + |b|² - 2 ab is one matrix product, and loses what is small beside |a|²: pairs
    that come out near are computed again from their differences.
    """
    a, b = (np.square(rows).sum(axis=1) for rows in (candidates, synthetic))
    both = a[:, None] + b[None]
    squared = both - 2.0 * (candidates @ synthetic.T)
    near = np.nonzero(squared < NEAR * both)
    if near[0].size > squared.size // 4:  # rows that hardly differ: all of them
        from scipy.spatial.distance import cdist

        return cdist(candidates, synthetic)
    for some in np.array_split(np.arange(near[0].size), max(1, near[0].size // PAIRS)):
        i, j = near[0][some], near[1][some]
        squared[i, j] = np.square(candidates[i] - synthetic[j]).sum(axis=1)
    return np.sqrt(np.maximum(squared, 0.0))


def monte_carlo(distance: Float[np.ndarray, "n_candidates n_obs"]) -> Scores:
    """Share of synthetic rows within eps of each candidate, eps included."""
    eps = np.median(distance.min(axis=1))
    return (distance <= eps).mean(axis=1)


def block_match(candidates: Candidates, synthetic: Rows) -> Scores:
    """Largest share of a candidate's own values that one synthetic row holds exactly.

    Values that several candidates share (zeros, a detection limit) identify nobody and do not
    count. Matches of less than 1 % are coincidences of rounding, and count as none.
    """
    own = _unshared(candidates)
    columns = np.ascontiguousarray(synthetic.T)
    most = np.zeros(len(candidates))
    for i, (row, of_row) in enumerate(zip(candidates, own, strict=True)):
        genes = np.flatnonzero(of_row)  # few of a cell, most of whose values are shared zeros
        if genes.size:
            most[i] = (columns[genes] == row[genes, None]).sum(axis=0).max()
    share = most / np.maximum(own.sum(axis=1), 1)
    return np.where(share < COINCIDENCE, 0.0, share)


def linear_attacks(
    candidates: Candidates,
    candidate_labels: np.ndarray,
    synthetic: Rows,
    synthetic_labels: np.ndarray,
    class_sizes: Mapping[str, int],
) -> dict[str, Scores]:
    """Subspace residual and both ridge-Mahalanobis distances.

    A candidate whose class has no synthetic row is compared with all of them.
    """
    std = synthetic.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    x, c = synthetic / std, candidates / std
    classes = np.unique(synthetic_labels)
    mean = {k: x[synthetic_labels == k].mean(axis=0) for k in classes}
    within = x - np.stack([mean[k] for k in synthetic_labels])
    pooled = RowSpace.of(within / np.sqrt(max(len(x) - len(classes), 1)))
    scores = {name: np.empty(len(c)) for name in ("subspace", "mahalanobis", "mahalanobis_pooled")}
    for k in np.unique(candidate_labels):
        rows = candidate_labels == k
        if k in mean:
            z, centre = within[synthetic_labels == k], mean[k]
        else:
            centre = x.mean(axis=0)
            z = x - centre
        space = RowSpace.of(z / np.sqrt(max(len(z) - 1, 1)))
        d = c[rows] - centre
        rank = fixed_rank(space.variances, x.shape[1], class_sizes.get(str(k), len(z)))
        scores["subspace"][rows] = -space.residual(d, rank)
        scores["mahalanobis"][rows] = -space.mahalanobis(d)
        scores["mahalanobis_pooled"][rows] = -pooled.mahalanobis(d)
    return scores


def fixed_rank(variances: Float[np.ndarray, " rank"], n_vars: int, class_size: int) -> int:
    """Number of directions of the subspace attack, chosen without looking at any candidate."""
    if len(variances) < n_vars:
        return min(len(variances), max(class_size - 1, 0))
    share = np.cumsum(variances) / variances.sum()
    return min(int(np.searchsorted(share, VARIANCE_KEPT)) + 1, len(variances))


def likelihood_ratio(
    candidates: Candidates,
    candidate_labels: np.ndarray,
    synthetic: Rows,
    synthetic_labels: np.ndarray,
    reference: Float[np.ndarray, "n_reference n_vars"],
    reference_labels: np.ndarray,
) -> Scores:
    """Likelier under the synthetic rows than under a public cohort? Higher for members.

    Both are normal per class around their own class means, with one ridge covariance pooled over
    both and within classes (genes scaled by the public sd); the score is half the difference of
    the squared Mahalanobis distances (eq. 1). What makes a person typical of the disease, and no
    member, cancels, so that class means alone give members away: in simulated cohorts of 22
    patients, independent noise goes from 0.7 under the other attacks to above 0.9 under this one.

    References
    ----------
    van Breugel et al. (2023), AISTATS, arXiv:2302.12580 (density ratio).
    """
    std = reference.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    parts = ((synthetic / std, synthetic_labels), (reference / std, reference_labels))
    within, centres, free = [], [], 0
    for x, y in parts:
        mean = {k: x[y == k].mean(axis=0) for k in np.unique(y)}
        within.append(x - np.stack([mean[k] for k in y]))
        centres.append(np.stack([mean.get(k, x.mean(axis=0)) for k in candidate_labels]))
        free += len(x) - len(mean)
    space = RowSpace.of(np.concatenate(within) / np.sqrt(max(free, 1)))
    to_synthetic, to_public = (space.mahalanobis(candidates / std - centre) for centre in centres)
    return 0.5 * (to_public - to_synthetic)


def centred(scores: Scores, candidate_labels: np.ndarray) -> Scores:
    """Scores minus the median of all candidates of their class."""
    result = scores.copy()
    for k in np.unique(candidate_labels):
        result[candidate_labels == k] -= np.median(scores[candidate_labels == k])
    return result


def _unshared(x: Candidates) -> Bool[np.ndarray, "n_candidates n_vars"]:
    """Whether no other row holds the same value in that gene."""
    order = np.argsort(x, axis=0, kind="stable")
    ordered = np.take_along_axis(x, order, axis=0)
    same = ordered[1:] == ordered[:-1]
    shared = np.zeros(x.shape, dtype=bool)
    shared[1:] |= same
    shared[:-1] |= same
    result = np.empty(x.shape, dtype=bool)
    np.put_along_axis(result, order, ~shared, axis=0)
    return result
