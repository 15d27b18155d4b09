import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from synthome.errors import InputError
from synthome.preprocessing.splits import SplitConfig, assign_folds
from synthome.simulate.perturbation import expected_counts, moment_theta, perturb, twins

GENES = [f"g{j}" for j in range(12)]


def cells(n_obs=60, seed=0, dense=False, rate=2.0, donors=None, library=True) -> AnnData:
    """Two types that differ in their genes; the source has more genes than these twelve."""
    rng = np.random.default_rng(seed)
    types = np.where(np.arange(n_obs) % 3 == 0, "glia", "neuron")
    profile = rng.gamma(2.0, rate / 2.0, (2, len(GENES)))
    counts = rng.poisson(profile[(types == "glia").astype(int)]).astype(np.float32)
    obs = pd.DataFrame({"cell_type": types}, index=[f"AAAC{i}" for i in range(n_obs)])
    if library:
        obs["library_size"] = counts.sum(axis=1) + rng.integers(20, 60, n_obs)
    if donors is not None:
        obs["donor"] = donors
    x = counts if dense else sparse.csr_matrix(counts)
    return AnnData(
        x,
        obs=obs,
        var=pd.DataFrame(index=GENES),
        layers={"counts": x},
        uns={
            "synthome": {
                "label_key": "cell_type",
                "group_key": "donor" if donors is not None else "",
                "scale": "counts",
            }
        },
    )


def alike(n_obs, value, library_size=100.0) -> AnnData:
    """Cells that all hold ``value`` molecules of each gene."""
    adata = cells(n_obs)
    adata.layers["counts"] = sparse.csr_matrix(np.full(adata.shape, value, dtype=np.float32))
    adata.obs["library_size"] = library_size
    return adata


def counts_of(adata) -> np.ndarray:
    return np.asarray(sparse.csr_matrix(adata.layers["counts"]).todense())


def test_thinned_counts_follow_the_binomial_law():
    """Chi-squared against scipy.stats.binom, at a size that sees a wrong probability of 2 %."""
    thinned = counts_of(perturb(alike(4000, 6), GENES, "down", 1.5, np.random.default_rng(1)))
    seen = np.bincount(thinned.astype(int).ravel(), minlength=7)
    expected = thinned.size * stats.binom.pmf(np.arange(7), 6, 1 / 1.5)
    assert stats.chisquare(seen, expected).pvalue > 0.01


def test_boosted_counts_are_the_old_ones_and_a_poisson():
    """All cells hold 3 of each gene at one library size, so that mu is 3 in each of them."""
    boosted = counts_of(perturb(alike(4000, 3), GENES, "up", 2.5, np.random.default_rng(0)))
    added = (boosted - 3).astype(int).ravel()
    top = 14
    seen = np.bincount(np.minimum(added, top), minlength=top + 1)
    law = stats.poisson(1.5 * 3)
    expected = added.size * np.append(law.pmf(np.arange(top)), law.sf(top - 1))
    assert stats.chisquare(seen, expected).pvalue > 0.01


def test_a_gene_turned_up_has_f_times_the_mean_of_its_type_and_the_variance_of_the_law():
    """Var x' = Var x + (f - 1) mu; zeros rise as well as other counts."""
    rng = np.random.default_rng(1)
    adata = cells(30_000, rate=1.0)
    adata.obs["library_size"] = 50.0
    boosted = counts_of(perturb(adata, GENES, "up", 3.0, rng))
    before, glia = counts_of(adata), (adata.obs["cell_type"] == "glia").to_numpy()
    for part in (glia, ~glia):
        x, new = before[part], boosted[part]
        np.testing.assert_allclose(new.mean(axis=0), 3.0 * x.mean(axis=0), rtol=0.06)
        law = x.var(axis=0) + 2.0 * x.mean(axis=0)
        np.testing.assert_allclose(new.var(axis=0), law, rtol=0.12)
    assert (boosted[before == 0] > 0).mean() > 0.2


def test_a_gamma_poisson_boost_and_thinning_keep_the_negative_binomial_and_its_theta():
    """A cell drawn at mu is, boosted by f, a cell drawn at f mu: Kolmogorov-Smirnov on both."""
    rng = np.random.default_rng(2)
    n, theta, mu = 20_000, 1.5, 4.0
    adata = alike(n, 1)
    drawn = rng.poisson(mu * rng.gamma(theta, 1 / theta, (n, len(GENES))))
    adata.layers["counts"] = sparse.csr_matrix(drawn.astype(np.float32))
    adata.obs["cell_type"] = "one"
    up = counts_of(perturb(adata, GENES[:1], "up", 2.0, rng, method="gamma_poisson"))[:, 0]
    down = counts_of(perturb(adata, GENES[:1], "down", 2.0, rng))[:, 0]
    for found, mean in ((up, 2.0 * mu), (down, 0.5 * mu)):
        law = stats.nbinom(theta, theta / (theta + mean))
        grid = np.arange(60)
        gap = np.abs(np.searchsorted(np.sort(found), grid, side="right") / n - law.cdf(grid))
        assert gap.max() < 0.02
    plain = counts_of(perturb(adata, GENES[:1], "up", 2.0, rng))[:, 0]
    assert plain.var() < 0.8 * up.var()  # a Poisson boost lacks the activity of the cell


def test_theta_by_moments_is_that_of_the_law():
    rng = np.random.default_rng(3)
    theta = np.array([0.5, 2.0, 10.0])
    mu = np.full((40_000, 3), 5.0)
    found = moment_theta(rng.poisson(mu * rng.gamma(theta, 1 / theta, mu.shape)).astype(float), mu)
    np.testing.assert_allclose(found, theta, rtol=0.1)
    assert moment_theta(np.ones((5, 1)), np.ones((5, 1)))[0] == np.inf


def test_expected_counts_agree_with_a_loop_over_types():
    adata = cells()
    size, types = adata.obs["library_size"].to_numpy(float), adata.obs["cell_type"].to_numpy(str)
    found = expected_counts(adata.layers["counts"], size, types)
    dense = counts_of(adata)
    for i in range(adata.n_obs):
        own = types == types[i]
        np.testing.assert_allclose(found[i], size[i] * dense[own].sum(0) / size[own].sum())


@given(
    factor=st.floats(1.0, 20.0),
    direction=st.sampled_from(["down", "up"]),
    method=st.sampled_from(["counts", "gamma_poisson"]),
    dense=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=30)
def test_integers_stay_integers_and_nothing_else_moves(factor, direction, method, dense, seed):
    adata = cells(dense=dense, seed=seed % 7)
    before = counts_of(adata).copy()
    new = perturb(
        adata, GENES[3:7], direction, factor, np.random.default_rng(seed), ["glia"], method
    )
    after, glia = counts_of(new), (adata.obs["cell_type"] == "glia").to_numpy()
    assert (after == np.round(after)).all()
    assert (after >= 0).all()
    assert (after <= before).all() if direction == "down" else (after >= before).all()
    np.testing.assert_array_equal(after[~glia], before[~glia])
    others = [0, 1, 2, *range(7, 12)]
    np.testing.assert_array_equal(after[:, others], before[:, others])
    gained = (after - before).sum(axis=1)
    np.testing.assert_allclose(new.obs["library_size"], adata.obs["library_size"] + gained)
    np.testing.assert_array_equal(counts_of(adata), before)  # the input is left alone
    assert sparse.issparse(new.X) != dense


@pytest.mark.parametrize("method", ["counts", "gamma_poisson", "multiply"])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_factor_of_one_changes_nothing(method, direction):
    adata = cells()
    new = perturb(adata, GENES[:4], direction, 1.0, np.random.default_rng(0), method=method)
    np.testing.assert_array_equal(counts_of(new), counts_of(adata))
    np.testing.assert_array_equal(new.obs["library_size"], adata.obs["library_size"])


def test_the_published_product_multiplies_and_leaves_the_integers():
    adata = cells()
    for direction, times in (("up", 1.5), ("down", 1 / 1.5)):
        new = perturb(adata, GENES[:2], direction, 1.5, np.random.default_rng(0), method="multiply")
        expected = counts_of(adata)
        expected[:, :2] *= times
        np.testing.assert_allclose(counts_of(new), expected, rtol=1e-6)
        assert (counts_of(new) % 1 != 0).any()


def test_a_sparse_cohort_gives_what_the_same_dense_one_gives():
    """Storage is no science."""
    results = [
        counts_of(perturb(cells(dense=dense), GENES[:5], "up", 2.0, np.random.default_rng(4)))
        for dense in (False, True)
    ]
    np.testing.assert_array_equal(*results)


def test_without_a_library_size_it_is_the_sum_of_the_counts():
    adata = cells(library=False)
    new = perturb(adata, GENES, "down", 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(new.obs["library_size"], counts_of(new).sum(axis=1))
    tripled = twins(adata, GENES[:2], GENES[2:], 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(tripled.obs["library_size"], counts_of(tripled).sum(axis=1))


@pytest.mark.parametrize("donors", [None, np.arange(60) // 5])
def test_twins_are_three_rows_of_one_cell_that_no_split_parts(donors):
    adata = cells(donors=donors)
    adata.obs["split"] = np.where(np.arange(60) < 20, "test", "train")
    tripled = twins(adata, GENES[:3], GENES[5:], 4.0, np.random.default_rng(0))
    assert tripled.n_obs == 3 * adata.n_obs
    assert (tripled.obs.groupby("twin")["condition"].agg(set) == {"base", "down", "up"}).all()
    for name, touched in (("base", []), ("down", range(3)), ("up", range(5, 12))):
        part = tripled[tripled.obs["condition"] == name]
        np.testing.assert_array_equal(part.obs["twin"], np.arange(adata.n_obs))
        same = [j for j in range(12) if j not in touched]
        np.testing.assert_array_equal(counts_of(part)[:, same], counts_of(adata)[:, same])
        assert (part.obs["cell_type"].to_numpy() == adata.obs["cell_type"].to_numpy()).all()
    assert (tripled.obs["split"].to_numpy() == np.tile(adata.obs["split"], 3)).all()
    key = tripled.uns["synthome"]["group_key"]
    assert key == ("twin" if donors is None else "donor")
    split = assign_folds(tripled, SplitConfig(n_splits=4, n_repeats=2))
    for fold in ("fold_0", "fold_1"):
        assert (split.obs.groupby("twin")[fold].nunique() == 1).all()


def test_twins_do_not_carry_the_names_of_the_cells():
    tripled = twins(cells(), GENES[:3], GENES[5:], 2.0, np.random.default_rng(0))
    assert tripled.obs_names.is_unique
    assert not tripled.obs_names.str.contains("AAAC").any()


@pytest.mark.parametrize("factor", [0.5, 0.0, -2.0, np.nan, np.inf])
def test_a_factor_below_one_is_refused(factor):
    with pytest.raises(InputError, match="factor"):
        perturb(cells(), GENES[:2], "up", factor, np.random.default_rng(0))


def test_unknown_genes_and_types_and_an_empty_set_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="1 of the 2 genes to perturb are not among the 12"):
        perturb(cells(), ["g1", "SOD1"], "up", 2.0, rng)
    with pytest.raises(InputError, match="none was named"):
        perturb(cells(), [], "up", 2.0, rng)
    with pytest.raises(InputError, match="No cell is of type astrocyte"):
        perturb(cells(), ["g1"], "up", 2.0, rng, cell_types=["astrocyte"])


def test_values_that_are_no_counts_are_refused():
    adata = cells()
    adata.layers["counts"] = adata.layers["counts"] * 0.3
    with pytest.raises(InputError, match="no whole numbers"):
        perturb(adata, GENES, "down", 2.0, np.random.default_rng(0))
