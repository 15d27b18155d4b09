"""Modules and loadings against planted truth and against plain regressions."""

import numpy as np
import pytest

from synthome.models.gene_modules import (
    cluster_genes,
    fit_structure,
    reproducible_axes,
    within,
)

N_OBS, SIZES = 120, (40, 30, 20)
PLANTED = np.repeat(np.arange(3), SIZES)
SIGN = np.random.default_rng(99).choice([-1.0, 1.0], len(PLANTED))


def rows(n_obs: int = N_OBS, noise: float = 0.6, seed: int = 0) -> np.ndarray:
    """Three correlated modules, loadings of both signs, and noise of each gene's own."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.cholesky(np.array([[1, 0.4, 0], [0.4, 1, 0], [0, 0, 1.0]]))
    z = rng.normal(size=(n_obs, 3)) @ mix.T
    return z[:, PLANTED] * SIGN + noise * rng.normal(size=(n_obs, len(PLANTED)))


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def test_planted_modules_are_found_whatever_the_sign():
    assert same_partition(cluster_genes(rows(), 3), PLANTED)


def test_no_module_is_empty():
    module = cluster_genes(rows(), 12)
    assert set(module.tolist()) == set(range(module.max() + 1))


def test_constant_genes_do_no_harm():
    x = rows()
    x[:, 5] = 0.0
    structure = fit_structure(x - x.mean(0), np.arange(90), 3, N_OBS - 1, penalty=1.0)
    assert np.isfinite(structure.loadings).all()
    assert not structure.loadings[5].any()


def test_own_loading_leaves_the_gene_out():
    """Eq. 2 by a loop: the regression on the mean of the other genes of the module."""
    x = rows() - rows().mean(0)
    structure = fit_structure(x, np.arange(90), 3, N_OBS - 1, penalty=1e9)
    for g in (0, 45, 80):
        others = np.flatnonzero((structure.own == structure.own[g]) & (np.arange(90) != g))
        signed = x[:, others] * np.sign(x[:, others].T @ structure.scores[:, structure.own[g]])
        score = signed.sum(axis=1)
        score /= np.sqrt(np.square(score).sum() / (N_OBS - 1))
        expected = score @ x[:, g] / (N_OBS - 1)
        assert structure.loadings[g, structure.own[g]] == pytest.approx(expected, abs=1e-5)


def test_loadings_are_the_planted_ones():
    """Unit loadings on the own module; what is left for others is nothing."""
    x = rows(4000)
    structure = fit_structure(x - x.mean(0), np.arange(90), 3, 3999, penalty=1.0)
    each = np.arange(90)
    np.testing.assert_allclose(np.abs(structure.loadings[each, structure.own]), 1.0, atol=0.06)
    cross = structure.loadings.copy()
    cross[each, structure.own] = 0.0
    assert np.abs(cross).max() < 0.06
    r = np.abs(structure.correlation[np.triu_indices(3, 1)])
    assert sorted(np.round(r, 1)) == [0.0, 0.0, 0.4]


def test_true_cross_loadings_are_kept_and_false_ones_shrunk():
    x = rows(400, seed=3)
    third = (x[:, 70:] * SIGN[70:]).mean(axis=1, keepdims=True)
    mixed = x.copy()
    mixed[:, :10] += 0.8 * third  # on two modules
    mixed -= mixed.mean(0)
    sizes = {}
    for penalty in (1.0, 1e6):
        structure = fit_structure(mixed, np.arange(90), 3, 399, penalty=penalty)
        cross = structure.loadings.copy()
        cross[np.arange(90), structure.own] = 0.0
        sizes[penalty] = np.abs(cross).max(axis=1)
    assert sizes[1.0][:10].mean() > 5 * sizes[1.0][20:].mean()
    assert sizes[1e6].max() < 0.01


def test_genes_that_are_not_read_join_the_module_they_follow():
    x = rows()
    x -= x.mean(0)
    read = np.concatenate([np.arange(20), np.arange(40, 60), np.arange(70, 85)])
    structure = fit_structure(x, read, 3, N_OBS - 1, penalty=1.0)
    assert same_partition(structure.own, PLANTED)


def test_a_gene_never_explains_more_than_its_variance():
    x = rows(noise=0.0)
    x -= x.mean(0)
    structure = fit_structure(x, np.arange(90), 3, N_OBS - 1, penalty=1.0)
    explained = np.einsum(
        "gi,ij,gj->g", structure.loadings, structure.correlation, structure.loadings
    )
    assert (explained <= 0.95 * np.square(x).sum(0) / (N_OBS - 1) + 1e-9).all()


@pytest.mark.parametrize(("noise", "expected"), [(0.3, 3), (30.0, 1)])
def test_axes_that_held_out_rows_do_not_show_are_not_counted(noise, expected):
    fold, classes = np.arange(N_OBS) % 5, np.zeros(N_OBS, dtype=int)
    found = reproducible_axes(rows(noise=noise), fold, classes, 3, ratio=0.65)
    assert found == expected


def test_deviations_of_held_out_rows_have_the_variance_of_one_row():
    rng = np.random.default_rng(0)
    total = []
    for _ in range(200):
        x = rng.normal(size=(8, 50))
        classes = np.array([0, 0, 0, 1, 1, 1, 0, 1])
        _, deviations = within(x[:6], classes[:6], x[6:], classes[6:])
        total.append(np.square(deviations).mean())
    assert np.mean(total) == pytest.approx(1.0, abs=0.03)


def test_a_held_out_class_without_rows_is_left_out():
    x = rows()[:6]
    centred, deviations = within(x[:4], np.array([0, 0, 1, 1]), x[4:], np.array([1, 2]))
    assert deviations.shape == (1, 90)
    np.testing.assert_allclose(centred[:2].sum(axis=0), 0.0, atol=1e-9)
