"""Loadings up to what a model leaves free: constants, order, signs, rotation."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from synthome.evaluation.loadings import (
    centred,
    factor_response,
    loading_table,
    paired,
    rotated,
    set_enrichment,
    stability,
)


def loadings(n_vars=200, k=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n_vars, k)) * np.arange(1, k + 1)


def shuffled(w, seed=1):
    """The same model to a softmax: other order, other signs, constants on each column."""
    rng = np.random.default_rng(seed)
    k = w.shape[1]
    order, signs = rng.permutation(k), rng.choice([-1.0, 1.0], k)
    return w[:, order] * signs + rng.normal(0, 5, k)


@given(seed=st.integers(0, 200))
@settings(deadline=None, max_examples=25)
def test_a_model_in_other_order_signs_and_constants_is_the_same_model(seed):
    w = loadings(seed=seed)
    aligned, r = paired(w, shuffled(w, seed + 1))
    np.testing.assert_allclose(aligned, centred(w), atol=1e-9)
    np.testing.assert_allclose(r, 1.0)
    np.testing.assert_allclose(rotated(w, shuffled(w, seed + 1)), centred(w), atol=1e-9)


def test_the_pairing_is_the_best_of_all():
    """Brute force over the 120 orders of five factors."""
    a, b = loadings(k=5, seed=1), loadings(k=5, seed=2)
    r = np.abs(np.corrcoef(a.T, b.T)[:5, 5:])
    best = max(sum(r[i, order[i]] for i in range(5)) for order in permutations(range(5)))
    assert paired(a, b)[1].sum() == pytest.approx(best)


def test_a_rotation_is_undone_and_agrees_with_scipy():
    from scipy.linalg import orthogonal_procrustes

    w = centred(loadings())
    turn = stats.ortho_group.rvs(4, random_state=0)
    np.testing.assert_allclose(rotated(w, w @ turn), w, atol=1e-9)
    other = centred(loadings(seed=5))
    reference, _ = orthogonal_procrustes(other, w)
    np.testing.assert_allclose(rotated(w, other), other @ reference, atol=1e-9)


def test_equal_fits_are_stable_and_noise_is_not():
    w = loadings()
    same = stability([w, shuffled(w, 1), shuffled(w, 2)])
    for part in (same.factor, same.rotated, same.gene, same.loading):
        np.testing.assert_allclose(part, 1.0)
    noise = stability([loadings(seed=s) for s in range(6)])
    assert noise.factor.mean() < 0.3
    assert noise.loading.mean() < 0.7
    alone = stability([w])
    assert alone.factor.tolist() == [1.0] * 4


def test_a_rotated_fit_is_stable_as_a_space_and_not_factor_by_factor():
    w = loadings(k=3)
    turn = stats.ortho_group.rvs(3, random_state=1)
    found = stability([w, w @ turn])
    np.testing.assert_allclose(found.rotated, 1.0)
    np.testing.assert_allclose(found.gene, 1.0)
    assert found.factor.min() < 0.95


def test_one_loading_that_changes_its_sign_is_unstable_alone():
    w = loadings(n_vars=2000)
    other = w.copy()
    other[7, 2] *= -1
    found = stability([w, other]).loading
    assert found[7, 2] < 0.1
    assert np.delete(found[:, 2], 7).min() > 0.5


def test_the_factor_that_was_moved_answers():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((200, 5))
    moved = z + 0.05 * rng.standard_normal((200, 5))
    moved[:, 3] += 0.5
    both, condition = np.concatenate([z, moved]), np.repeat(["base", "up"], 200)
    for twin in (None, np.tile(np.arange(200), 2)):
        table = factor_response(both, condition, "base", rng, twin, n_permutations=999)
        assert table.loc[table["q"] < 0.05, "factor"].tolist() == [3]
        expected = 0.5 / z[:, 3].std(ddof=1)
        assert table.loc[3, "effect"] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("n", "m", "kind"), [(7, 7, "samples"), (12, 3, "independent")])
def test_p_values_agree_with_scipy(n, m, kind):
    """Exact enumeration where few exchanges are possible: 2^7 signs, 455 labellings."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((n, 1)), rng.standard_normal((m, 1)) + 0.8
    reference = stats.permutation_test(
        (b[:, 0], a[:, 0]), lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type=kind, vectorized=True, n_resamples=np.inf,
    ).pvalue  # fmt: skip
    twin = np.tile(np.arange(7), 2) if kind == "samples" else None
    condition = np.repeat(["base", "up"], [n, m])
    found = factor_response(np.concatenate([a, b]), condition, "base", rng, twin, 19_999)
    assert found["p"][0] == pytest.approx(reference, abs=0.012)


def test_a_small_shift_of_every_cell_is_seen_between_twins_alone():
    """Cells differ twenty times as much as they are moved."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((100, 1))
    both = np.concatenate([z, z + 0.05 + 0.02 * rng.standard_normal((100, 1))])
    condition, twin = np.repeat(["base", "up"], 100), np.tile(np.arange(100), 2)
    assert factor_response(both, condition, "base", rng, twin, 999)["p"][0] == 0.001
    assert factor_response(both, condition, "base", rng, None, 999)["p"][0] > 0.3


def test_twins_need_not_stand_in_the_same_order():
    rng = np.random.default_rng(0)
    z, twin = rng.standard_normal((40, 2)), np.tile(np.arange(20), 2)
    condition = np.repeat(["base", "up"], 20)
    order = rng.permutation(40)
    one = factor_response(z, condition, "base", np.random.default_rng(1), twin, 199)
    other = factor_response(
        z[order], condition[order], "base", np.random.default_rng(1), twin[order], 199
    )
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("decimals", [12, 1])
def test_enrichment_is_the_test_of_mann_and_whitney(decimals):
    """SciPy's asymptotic test, with and without ties."""
    w = np.round(loadings(n_vars=120, k=3), decimals)
    w[:20, 1] += 1.0
    genes = [f"g{j}" for j in range(120)]
    sets = {"set": genes[:20], "other": [*genes[50:60], "unknown"]}
    table = set_enrichment(w, genes, sets)
    for _, row in table.iterrows():
        inside = np.isin(genes, sets[row["gene_set"]])
        column = w[:, row["factor"]]
        reference = stats.mannwhitneyu(column[inside], column[~inside], method="asymptotic")
        assert row["p"] == pytest.approx(reference.pvalue, rel=1e-9)
        assert row["auc"] == pytest.approx(reference.statistic / (inside.sum() * (~inside).sum()))
    np.testing.assert_allclose(table["q"], stats.false_discovery_control(table["p"]))
    assert table.sort_values("p").iloc[0][["factor", "gene_set"]].tolist() == [1, "set"]
    assert table.loc[table["gene_set"] == "other", "n_genes"].tolist() == [10, 10, 10]


def test_sets_that_cannot_be_compared_are_left_out():
    genes = [f"g{j}" for j in range(10)]
    table = set_enrichment(loadings(10, 2), genes, {"none": ["x"], "all": genes})
    assert table.empty
    assert "q" in table


def test_the_table_lists_genes_of_each_factor_by_size_with_their_sets():
    w = loadings(n_vars=30, k=2)
    genes = [f"g{j}" for j in range(30)]
    sets = {"als": ["g1", "g2"], "hd": ["g2"]}
    table = loading_table(w, genes, stability([w, shuffled(w)]), sets)
    assert len(table) == 60
    for k, part in table.groupby("factor"):
        assert part["rank"].tolist() == list(range(1, 31))
        assert (part["loading"].abs().diff().dropna() <= 0).all()
        by_gene = part.set_index("gene")
        np.testing.assert_allclose(by_gene.loc[genes, "loading"], centred(w)[:, k])
        assert by_gene.loc["g2", "gene_sets"] == "als; hd"
        assert by_gene.loc["g3", "gene_sets"] == ""
    top = loading_table(w, genes, stability([w]), sets, n_top=5)
    pd.testing.assert_series_equal(top["gene"][:5], table["gene"][:5])
