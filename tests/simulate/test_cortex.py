import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse
from simulate.law import deviations

from synthome.simulate.cortex import DOWN, MODERATE, TYPES, UP, CortexConfig, simulate_cortex

# Nothing but counting and dispersion: the law of each count is known in closed form.
PLAIN = CortexConfig(
    n_obs=4000, n_vars=120, n_down=5, n_up=5, n_types=2, rarest=1, gene_spread=1, family_effect=0,
    type_effect=0, programme_loading=0, batch_effect=0, donor_effect=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def cortex() -> AnnData:
    return simulate_cortex()


@pytest.fixture(scope="module")
def plain() -> AnnData:
    return simulate_cortex(PLAIN)


def totals(adata: AnnData) -> np.ndarray:
    return np.asarray(adata.X.sum(axis=1)).ravel()


def test_the_default_tissue_is_what_cells_look_like(cortex):
    assert cortex.shape == (5000, 3000)
    assert isinstance(cortex.X, sparse.csr_matrix)
    assert cortex.X.dtype == np.float32
    assert 0.1 < cortex.X.nnz / np.prod(cortex.shape) < 0.2
    assert 3000 < np.median(totals(cortex)) < 5000
    assert (cortex.X.data == np.rint(cortex.X.data)).all()
    assert (cortex.X.data > 0).all()
    assert cortex.layers["counts"].nnz == cortex.X.nnz
    sizes = cortex.obs["cell_type"].value_counts()
    assert set(sizes.index) == {name for name, _ in TYPES}
    assert sizes.iloc[0] > 30 * sizes.iloc[-1] > 30 * 50
    assert (cortex.obs.groupby("donor")["batch"].nunique() == 1).all()
    assert cortex.obs["batch"].nunique() == 2
    assert (pd.crosstab(cortex.obs["cell_type"], cortex.obs["donor"]) >= 10).all(axis=None)


def test_provenance_names_what_later_steps_ask_for(cortex):
    facts = cortex.uns["synthome"]
    keys = ("label_key", "group_key", "batch_key", "scale")
    assert [facts[k] for k in keys] == ["cell_type", "donor", "batch", "counts"]
    assert len(facts["sha256"]) == 64


def test_mean_and_variance_of_a_gene_follow_the_law_given_the_depth_of_each_cell(plain):
    """Without effects, mu = l softmax(m), and var = mu + mu^2 / theta, cell by cell."""
    deviation = deviations(plain, PLAIN)
    n = plain.n_obs
    assert np.abs(deviation.mean(axis=0)).max() < 5 / np.sqrt(n)
    assert abs((deviation**2).mean() - 1) < 0.02
    assert np.abs((deviation**2).mean(axis=0) - 1).max() < 0.4  # heavy tails: one gene varies


def test_library_sizes_are_log_normal_around_the_median_of_the_type(plain):
    log_size = np.log(plain.uns["truth"]["library_size"])
    for _, of_type in pd.Series(log_size).groupby(plain.obs["cell_type"].to_numpy()):
        assert of_type.std() == pytest.approx(PLAIN.library_spread, rel=0.1)
        assert abs(of_type.skew()) < 0.15
    drawn = np.log(totals(plain))
    assert np.corrcoef(drawn, log_size)[0, 1] > 0.9


def test_the_planted_programmes_come_back_from_a_regression_on_the_true_activities(cortex):
    """Within the most common type, log expression against activity gives the loadings."""
    truth = cortex.uns["truth"]
    rows = (cortex.obs["cell_type"] == TYPES[0][0]).to_numpy()
    counts = cortex.X[rows].toarray()
    x = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    seen = truth["mean_counts"] > 1
    design = np.column_stack([np.ones(rows.sum()), truth["programme_activity"][rows]])
    slope = np.linalg.lstsq(design, x[:, seen], rcond=None)[0][1:]
    for planted, found in zip(truth["programme_loading"][:, seen], slope, strict=True):
        assert np.corrcoef(planted, found)[0, 1] > 0.8


def test_types_differ_by_the_genes_of_their_profile(cortex):
    truth = cortex.uns["truth"]
    seen = truth["mean_counts"] > 1
    rate = cortex.X.multiply(1 / totals(cortex)[:, None]).tocsr()
    means = [
        np.asarray(rate[(cortex.obs["cell_type"] == name).to_numpy()].mean(axis=0)).ravel()[seen]
        for name in truth["types"][:2]
    ]
    planted = (truth["type_profile"][0] - truth["type_profile"][1])[seen]
    assert np.corrcoef(np.log(means[0] / means[1]), planted)[0, 1] > 0.9


def test_two_disjoint_sets_of_moderate_genes_are_named_and_left_as_they_are(cortex):
    truth = cortex.uns["truth"]
    down, up = truth["gene_sets"][DOWN], truth["gene_sets"][UP]
    assert (len(set(down)), len(set(up))) == (40, 70)
    assert not set(down) & set(up)
    means = pd.Series(truth["mean_counts"], index=truth["gene"])
    assert means[[*down, *up]].between(*MODERATE).all()


@given(seed=st.integers(0, 50), n_types=st.integers(2, 5))
@settings(deadline=None, max_examples=5)
def test_the_same_seed_gives_the_same_cells_and_another_seed_others(seed, n_types):
    config = CortexConfig(
        n_obs=150, n_vars=120, n_types=n_types, rarest=0.3, n_down=5, n_up=5, seed=seed
    )
    first, again = simulate_cortex(config), simulate_cortex(config)
    assert (first.X != again.X).nnz == 0
    pd.testing.assert_frame_equal(first.obs, again.obs)
    other = simulate_cortex(config.model_copy(update={"seed": seed + 1}))
    assert (first.X != other.X).nnz > 0


def test_the_truth_survives_the_disk(plain, tmp_path):
    plain.write_h5ad(tmp_path / "cortex.h5ad")
    truth = read_h5ad(tmp_path / "cortex.h5ad").uns["truth"]
    np.testing.assert_array_equal(truth["gene_sets"][UP], plain.uns["truth"]["gene_sets"][UP])
    np.testing.assert_array_equal(truth["theta"], plain.uns["truth"]["theta"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"n_batches": 6}, "a donor is in one batch"), ({"n_vars": 120}, "at most a quarter")],
)
def test_choices_that_do_not_fit_together_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        CortexConfig(**wrong)
