"""Where training starts: shrunken class means, and modules."""

import numpy as np
import pytest

from synthome.models.linear_decoder import Decoder, cross_penalty, explained, left_over

N_OBS, N_VARS = 90, 200
CLASSES = np.array(["a"] * 50 + ["b"] * 40)
C = (CLASSES[:, None] == np.array(["a", "b"])).astype(float)


def standardised() -> np.ndarray:
    """Two factors, a class effect in a third of the genes, noise of its own for each gene."""
    rng = np.random.default_rng(2)
    effect = rng.normal(0, 1, N_VARS) * (rng.random(N_VARS) < 0.3)
    x = (CLASSES == "b")[:, None] * effect + rng.normal(size=(N_OBS, 2)) @ rng.normal(
        size=(2, N_VARS)
    )
    x += rng.normal(size=(N_OBS, N_VARS)) * np.linspace(0.3, 2.0, N_VARS)
    return (x - x.mean(0)) / x.std(0)


def test_effects_start_at_the_shrunken_class_means():
    """Least squares per class, times t / (t + d se²), with se² and t by hand."""
    x = standardised()
    decoder = Decoder.fit(x, C, 2, np.arange(N_VARS), 2, privacy=0.0)
    means = np.stack([x[CLASSES == k].mean(0) for k in ("a", "b")])
    residual = x - means[(CLASSES == "b").astype(int)]
    variance = np.square(residual).sum(0) / (N_OBS - 2)
    for k, n in ((0, 50), (1, 40)):
        sampling = variance * (1 / n - 1 / N_OBS)
        true = (means[k] ** 2 - sampling).mean()
        expected = means[k] * true / (true + 0.6 * sampling)
        np.testing.assert_allclose(decoder.effects[k], expected, atol=1e-6)


def test_privacy_shrinks_effects_and_loadings():
    x = standardised()
    open_, closed = (Decoder.fit(x, C, 2, np.arange(N_VARS), 2, privacy=p) for p in (0.0, 0.9))
    assert np.abs(closed.effects).sum() < 0.98 * np.abs(open_.effects).sum()
    cross = np.ones((N_VARS, 2), dtype=bool)
    cross[np.arange(N_VARS), open_.structure.own] = False
    sizes = [np.abs(d.structure.loadings[cross]).sum() for d in (open_, closed)]
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize(("n_obs", "expected"), [(50, 16.0), (100, 4.0), (200, 1.0), (675, 1.0)])
def test_cross_loadings_are_shrunk_more_in_small_cohorts(n_obs, expected):
    assert cross_penalty(n_obs) == expected


def test_explained_is_the_diagonal_of_the_product():
    rng = np.random.default_rng(0)
    w, root = rng.normal(size=(7, 3)), rng.normal(size=(3, 3))
    s = root @ root.T
    np.testing.assert_allclose(explained(w, s), np.diag(w @ s @ w.T))
    left = left_over(np.full(7, 2.0), np.array([0.0, 1, 1.9, 2, 3, 0.5, 0]))
    np.testing.assert_allclose(left, [2.0, 1.0, 0.1, 0.1, 0.1, 1.5, 2.0])
