"""Gene modules: what the genes of a small cohort share, with few numbers to memorise.

Rows are residuals w (n x p): standardised log expression minus the class means, with ``free``
degrees of freedom. Genes g fall into modules by the size of their correlation with the first
principal axis of the module (spherical k-means on lines, so that two genes of opposite sign are
together). With s_j the sum of the signed genes of module j, over its standard deviation:

    K = s's / free                                      correlation of the modules             (1)
    own_g = w_g . s_(-g) / free                         s_(-g): the module without gene g      (2)
    cross_gj = t_j / (t_j + d e_gj) * estimate_gj       every other module                     (3)

The own loading (2) is free of the gene's own noise, because the gene is left out of its module. A
cross loading is estimated from what the own module leaves, jointly over modules, and shrunk: e_gj
is its sampling variance, t_j the variance of true loadings (moment estimate over genes, at least
0), and d >= 1 is a further penalty on small cohorts. So a gene has one free number where patients
are few, and as many as there are modules where they are many: with n patients and k dense axes,
k p numbers would be fitted, and members would show along each axis.

How many modules: as many as there are principal axes whose variance is found again in patients
that were held out (eq. 4); an axis that is not found again is a memory of the patients.

    ratio_k = variance of held-out rows along axis k / variance of the rows it was fitted to   (4)

Efron & Morris (1973), doi:10.1080/01621459.1973.10481350 (shrinkage by moments).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

STARTS = 4
ROUNDS = 30
RANK = 50  # rows that clustering compares genes on, at most
Residuals = Float[np.ndarray, "n_obs n_vars"]


@dataclass(frozen=True, eq=False)
class Structure:
    """Modules and loadings, in standard units of the genes.

    Attributes
    ----------
    own
        Module of each gene.
    loadings
        Of each gene on the scores of each module, eqs. 2 and 3.
    correlation
        Of the scores of the modules, K of eq. 1.
    scores
        Of the rows it was fitted to.
    cross_variance
        t of eq. 3; 0 where cross loadings are not different from noise.
    """

    own: Int[np.ndarray, " n_vars"]
    loadings: Float[np.ndarray, "n_vars n_modules"]
    correlation: Float[np.ndarray, "n_modules n_modules"]
    scores: Float[np.ndarray, "n_obs n_modules"]
    cross_variance: Float[np.ndarray, " n_modules"]


def reproducible_axes(
    rows: Residuals,
    fold: Int[np.ndarray, " n_obs"],
    class_of: Int[np.ndarray, " n_obs"],
    most: int,
    ratio: float,
) -> int:
    """Largest number of axes, up to ``most``, whose mean of eq. 4 is at least ``ratio``; 1 or more.

    Class means are those of the other folds, and the deviations of held-out rows from them are
    brought to the variance of one row; a row whose class has no other row is left out.
    """
    inside, outside = np.zeros(most), np.zeros(most)
    for f in np.unique(fold):
        train, held = fold != f, fold == f
        centred, deviations = within(rows[train], class_of[train], rows[held], class_of[held])
        free = len(centred) - len(np.unique(class_of[train]))
        if free < 1 or len(deviations) == 0:
            continue
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        axes = axes[: min(most, free)]
        inside[: len(axes)] += len(deviations) * np.square(centred @ axes.T).sum(axis=0) / free
        outside[: len(axes)] += np.square(deviations @ axes.T).sum(axis=0)
    found = np.divide(outside, inside, out=np.zeros(most), where=inside > 0)
    running = np.cumsum(found) / np.arange(1, most + 1)
    enough = np.flatnonzero(running >= ratio)
    return int(enough[-1]) + 1 if len(enough) else 1


def within(
    rows: Residuals,
    class_of: Int[np.ndarray, " n_obs"],
    held: Float[np.ndarray, "m_obs n_vars"],
    held_class: Int[np.ndarray, " m_obs"],
) -> tuple[Residuals, Float[np.ndarray, "m_kept n_vars"]]:
    """Rows minus their class means, and held-out rows minus those means.

    A deviation from a mean of n rows has 1 + 1/n times the variance of one row, and is divided by
    the root of that. Held-out rows of a class that ``rows`` lacks are left out.
    """
    known = np.isin(held_class, class_of)
    held, held_class = held[known], held_class[known]
    centred, deviations = rows.copy(), held.copy()
    for c in np.unique(class_of):
        mean, n = rows[class_of == c].mean(axis=0), int((class_of == c).sum())
        centred[class_of == c] -= mean
        deviations[held_class == c] = (held[held_class == c] - mean) / np.sqrt(1.0 + 1.0 / n)
    return centred, deviations


def cluster_genes(rows: Residuals, n_modules: int, seed: int = 0) -> Int[np.ndarray, " n_vars"]:
    """Module of each gene: the best of four starts of k-means on lines.

    Genes that do not vary are put in module 0.
    """
    length = np.linalg.norm(rows, axis=0)
    unit = rows / np.where(length > 0, length, 1.0)
    if len(unit) > RANK:
        _, size, axes = np.linalg.svd(unit, full_matrices=False)
        unit = size[:RANK, None] * axes[:RANK]
    n_modules = min(n_modules, int((length > 0).sum()))
    if n_modules <= 1:
        return np.zeros(rows.shape[1], dtype=np.int64)
    runs = [_one_start(unit, n_modules, np.random.default_rng([seed, s])) for s in range(STARTS)]
    _, module = max(runs, key=lambda run: run[0])
    return np.unique(module, return_inverse=True)[1].astype(np.int64)  # no module is empty


def _one_start(
    unit: Float[np.ndarray, "rank n_vars"], n_modules: int, rng: np.random.Generator
) -> tuple[float, Int[np.ndarray, " n_vars"]]:
    """Sum of squared correlations with the own axis, and the module of each gene."""
    first = int(rng.integers(unit.shape[1]))
    chosen, far = [first], 1.0 - np.square(unit[:, first] @ unit)
    for _ in range(n_modules - 1):  # k-means++ starts
        weight = np.clip(far, 0.0, None) + 1e-12
        chosen.append(int(rng.choice(unit.shape[1], p=weight / weight.sum())))
        far = np.minimum(far, 1.0 - np.square(unit[:, chosen[-1]] @ unit))
    axes, module = unit[:, chosen].copy(), np.full(unit.shape[1], -1)
    for _ in range(ROUNDS):
        nearest = np.abs(axes.T @ unit).argmax(axis=0)
        if (nearest == module).all():
            break
        module = nearest
        for j in range(n_modules):
            genes = unit[:, module == j]
            if genes.shape[1]:
                axes[:, j] = np.linalg.eigh(genes @ genes.T)[1][:, -1]
    return float(np.square(axes.T @ unit).max(axis=0).sum()), module


def fit_structure(
    rows: Residuals,
    read: Int[np.ndarray, " n_read"],
    n_modules: int,
    free: int,
    penalty: float,
) -> Structure:
    """Modules of the genes in ``read``, and the loadings of all genes on them: eqs. 1-3.

    Parameters
    ----------
    rows
        Residuals with ``free`` degrees of freedom.
    read
        Genes that modules are made of; the others join the module that they correlate with most.
    penalty
        d of eq. 3.
    """
    module = cluster_genes(rows[:, read], n_modules)
    k = int(module.max()) + 1
    sums, sizes, signs = _module_sums(rows[:, read], module, k)
    scale = np.sqrt(np.square(sums).sum(axis=0) / free)
    scores = sums / np.where(scale > 0, scale, 1.0)
    correlation = scores.T @ scores / free
    covariance = rows.T @ scores / free  # (n_vars, n_modules)

    own = np.abs(covariance).argmax(axis=1)
    own[read] = module
    partner = scores[:, own]  # (n_obs, n_vars): the score that eq. 2 regresses on
    alone = sums[:, module] - rows[:, read] * signs
    spread = np.sqrt(np.square(alone).sum(axis=0) / free)
    partner[:, read] = np.where(
        sizes[module] > 1, alone / np.where(spread > 1e-9, spread, 1.0), 0.0
    )
    b = np.einsum("ng,ng->g", partner, rows) / free
    cross, variance = _cross_loadings(
        rows, scores, correlation, covariance, partner, own, b, free, penalty
    )
    each = np.arange(rows.shape[1])
    loadings = cross.copy()
    shared = scores.T @ partner / free  # (n_modules, n_vars)
    loadings[each, own] = b - np.einsum("kg,gk->g", shared, cross)
    return Structure(own, _at_most_all(loadings, correlation, rows, free), correlation, scores,
                     variance)  # fmt: skip


def _module_sums(
    rows: Residuals, module: Int[np.ndarray, " n_vars"], k: int
) -> tuple[Float[np.ndarray, "n_obs k"], Int[np.ndarray, " k"], Float[np.ndarray, " n_vars"]]:
    """Sum of the signed genes of each module, its size, and the sign of each gene."""
    sums, signs = np.zeros((len(rows), k)), np.ones(rows.shape[1])
    for j in range(k):
        genes = module == j
        u, _, _ = np.linalg.svd(rows[:, genes], full_matrices=False)
        signs[genes] = np.where(u[:, 0] @ rows[:, genes] >= 0, 1.0, -1.0)
        sums[:, j] = rows[:, genes] @ signs[genes]
    return sums, np.bincount(module, minlength=k), signs


def _cross_loadings(
    rows: Residuals,
    scores: Float[np.ndarray, "n_obs k"],
    correlation: Float[np.ndarray, "k k"],
    covariance: Float[np.ndarray, "n_vars k"],
    partner: Residuals,
    own: Int[np.ndarray, " n_vars"],
    b: Float[np.ndarray, " n_vars"],
    free: int,
    penalty: float,
) -> tuple[Float[np.ndarray, "n_vars k"], Float[np.ndarray, " k"]]:
    """Eq. 3 jointly over modules, and the variance t of true cross loadings."""
    n_vars, k = covariance.shape
    if k == 1:
        return np.zeros((n_vars, 1)), np.zeros(1)
    shared = scores.T @ partner / free  # (k, n_vars)
    left = covariance.T - shared * b  # covariance with what the own module leaves
    room = 1.0 - np.square(shared)  # variance of a score that the own module leaves
    residual = np.square(rows - partner * b).sum(axis=0) / free
    usable = (room > 0.1) & (np.arange(k)[:, None] != own)
    estimate = left / np.maximum(room, 0.05)
    noise = residual / np.maximum(room, 0.05) / free
    excess = np.where(usable, np.square(estimate) - noise, 0.0).sum(axis=1)
    variance = np.maximum(excess / np.maximum(usable.sum(axis=1), 1), 0.0)
    ridge = penalty * residual[:, None] / free / np.maximum(variance, 1e-6)  # (n_vars, k)
    system = correlation - np.einsum("ig,jg->gij", shared, shared)
    system += ridge[:, :, None] * np.eye(k)
    closed = (np.arange(k) == own[:, None]) | (room.T <= 0.1)
    system += 1e6 * closed[:, :, None] * np.eye(k)
    cross = np.linalg.solve(system, left.T[:, :, None])[:, :, 0]
    return np.where(closed, 0.0, cross), variance


def _at_most_all(
    loadings: Float[np.ndarray, "n_vars k"],
    correlation: Float[np.ndarray, "k k"],
    rows: Residuals,
    free: int,
) -> Float[np.ndarray, "n_vars k"]:
    """Loadings that explain at most 95 % of the variance of a gene."""
    total = np.square(rows).sum(axis=0) / free
    explained = np.einsum("gi,ij,gj->g", loadings, correlation, loadings)
    over = np.maximum(1.0, explained / np.maximum(0.95 * total, 1e-12))
    return loadings / np.sqrt(over)[:, None]
