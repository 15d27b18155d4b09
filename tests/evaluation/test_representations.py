"""Residuals are standardised when the model is right, and contrasts point at what has changed."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.errors import InputError
from synthome.evaluation.representations import (
    Embedded,
    Views,
    contrast_features,
    learnt_contrasts,
    log_expression,
    residual_projection,
    residuals,
)


def cells(n=400, n_vars=60, seed=0, fold=None):
    """Counts of a known model: two states along one latent."""
    genes = np.random.default_rng(99)
    loadings, rate = genes.normal(0, 0.4, n_vars), genes.gamma(1.0, 1.5, n_vars) + 0.05
    theta = genes.gamma(4.0, 1.0, n_vars)
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 1))
    mu = rng.lognormal(0.0, 0.3, (n, 1)) * rate * np.exp(z * loadings)
    times = 1.0 if fold is None else fold
    counts = rng.poisson(times * mu * rng.gamma(theta, 1 / theta, mu.shape)).astype(np.float64)
    return sparse.csr_matrix(counts), Embedded(z, mu, theta)


def as_adata(counts) -> AnnData:
    n, p = counts.shape
    obs = pd.DataFrame(
        {"library_size": np.asarray(counts.sum(axis=1)).ravel()}, index=[f"c{i}" for i in range(n)]
    )
    return AnnData(
        counts, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(p)]),
        layers={"counts": counts},
    )  # fmt: skip


SETS = {"down": [f"g{j}" for j in range(8)], "up": [f"g{j}" for j in range(8, 16)]}


def test_residuals_have_mean_zero_and_variance_one_when_the_model_is_right():
    counts, embedded = cells(n=20_000)
    e = residuals(counts, embedded)
    np.testing.assert_allclose(e.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(e.var(axis=0), 1.0, atol=0.15)


def test_a_gene_that_is_not_expected_and_not_there_has_no_residual():
    e = residuals(np.zeros((1, 2)), Embedded(np.zeros((1, 1)), np.array([[0.0, 4.0]]), np.ones(2)))
    np.testing.assert_allclose(e, [[0.0, -4.0 / np.sqrt(20.0)]])


def test_a_projection_in_blocks_is_the_product(monkeypatch):
    counts, embedded = cells(n=50)
    weights = np.random.default_rng(1).standard_normal((60, 3))
    expected = residuals(counts, embedded) @ weights
    monkeypatch.setattr("synthome.evaluation.representations.BLOCK", 60 * 7)
    np.testing.assert_allclose(residual_projection(counts, embedded, weights), expected)


def test_the_contrast_of_a_set_has_unit_variance_and_moves_with_its_genes_alone():
    counts, embedded = cells(n=5000)
    views = Views.fit(as_adata(counts), embedded, SETS, n_components=4)
    before = views(as_adata(counts), embedded)["latents+sets"][:, 1:]
    np.testing.assert_allclose(before.std(axis=0), 1.0, atol=0.1)
    fold = np.ones(60)
    fold[8:16] = 2.0
    boosted, embedded = cells(n=5000, seed=1, fold=fold)
    after = views(as_adata(boosted), embedded)["latents+sets"][:, 1:]
    np.testing.assert_allclose(before.mean(axis=0), 0.0, atol=0.05)
    assert after[:, 0].mean() == pytest.approx(0.0, abs=0.05)
    assert after[:, 1].mean() > 1.0


def test_the_contrast_of_a_set_adds_up_scores_in_units_of_their_spread():
    """Where all cells have the same mu: the sum of the NB scores of the set over its sd."""
    rng = np.random.default_rng(3)
    mu, theta = np.tile(rng.gamma(1.0, 2.0, 60), (50, 1)), rng.gamma(2.0, 1.0, 60)
    counts = sparse.csr_matrix(rng.poisson(mu).astype(np.float64))
    embedded = Embedded(np.zeros((50, 1)), mu, theta)
    views = Views.fit(as_adata(counts), embedded, SETS, n_components=4)
    found = views(as_adata(counts), embedded)["latents+sets"][:, 2]
    score = ((counts.toarray() - mu) / (1 + mu / theta))[:, 8:16].sum(axis=1)
    information = (mu / (1 + mu / theta))[0, 8:16].sum()
    np.testing.assert_allclose(found, score / np.sqrt(information))


def test_views_are_fitted_on_training_rows_alone():
    """Other rows change nothing for a row."""
    counts, embedded = cells(n=60)
    views = Views.fit(as_adata(counts), embedded, SETS, n_components=4)
    few = Embedded(embedded.z[:5], embedded.mu[:5], embedded.theta)
    all_rows, first = views(as_adata(counts), embedded), views(as_adata(counts[:5]), few)
    for name, x in first.items():
        np.testing.assert_allclose(x, all_rows[name][:5], atol=1e-9)
    x = log_expression(counts, np.asarray(counts.sum(axis=1)).ravel()).toarray()
    z = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    np.testing.assert_allclose(all_rows["all_genes"], z, atol=1e-9)
    np.testing.assert_allclose(all_rows["signature"][:, 1], z[:, 8:16].mean(axis=1), atol=1e-9)
    assert all_rows["pca"].shape == (60, 4)


def test_a_learnt_contrast_points_at_the_genes_that_were_changed():
    fold = np.ones(60)
    fold[:8], fold[8:16] = 0.4, 2.5
    base, changed = cells(n=800), cells(n=800, seed=1, fold=fold)
    counts = sparse.csr_matrix(sparse.vstack([base[0], changed[0]]))
    both = Embedded(
        np.vstack([base[1].z, changed[1].z]), np.vstack([base[1].mu, changed[1].mu]), base[1].theta
    )
    weights = learnt_contrasts(counts, both, np.repeat(["base", "sick"], 800), "base")
    assert weights.shape == (60, 1)
    order = np.argsort(weights[:, 0])
    assert set(order[-8:]) == set(range(8, 16))
    assert (weights[:8, 0] < 0).all()
    assert (weights[16:, 0] == 0).mean() > 0.5  # what chance explains is shrunk away


def test_training_rows_are_projected_as_if_they_were_new():
    """Without cross-fitting, conditions that do not differ would look apart in training."""
    counts, embedded = cells(n=300)
    conditions = np.random.default_rng(0).permutation(np.repeat(["base", "sick"], 150))
    test = cells(n=300, seed=2)
    train_x, test_x = contrast_features(
        (counts, test[0]), (embedded, test[1]), conditions, "base", np.arange(300) % 5
    )
    sick = conditions == "sick"
    in_sample = residual_projection(
        counts, embedded, learnt_contrasts(counts, embedded, conditions, "base")
    )[:, 0]
    gaps = [c[sick].mean() - c[~sick].mean() for c in (train_x[:, 1], in_sample)]
    assert gaps[0] < 0.5 * gaps[1]
    assert train_x.shape == test_x.shape == (300, 2)
    np.testing.assert_array_equal(train_x[:, :1], embedded.z)


def test_log_expression_is_sparse_and_per_ten_thousand():
    counts = np.array([[0.0, 3.0], [5.0, 1.0]])
    found = log_expression(counts, np.array([30.0, 6.0]))
    assert sparse.issparse(found)
    expected = np.log1p(1e4 * counts / np.array([[30.0], [6.0]]))
    np.testing.assert_allclose(found.toarray(), expected)


def test_a_set_without_a_gene_in_the_data_is_refused():
    counts, embedded = cells(n=20)
    with pytest.raises(InputError, match="None of the 1 genes of the set 'hd'"):
        Views.fit(as_adata(counts), embedded, {"hd": ["HTT"]})
