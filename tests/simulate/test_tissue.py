import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse
from scipy.spatial import cKDTree
from simulate.law import deviations
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from synthome.simulate.tissue import LAYERS, PITCH, WIDTHS, TissueSliceConfig, simulate_tissue

BARE = TissueSliceConfig(image_width=0)
# Nothing but counting and dispersion: the law of each count is known in closed form.
PLAIN = TissueSliceConfig(
    n_vars=80, layer_effect=0, programme_loading=0, section_effect=0, image_width=0
)


@pytest.fixture(scope="module")
def tissue() -> AnnData:
    return simulate_tissue()


@pytest.fixture(scope="module")
def plain() -> AnnData:
    return simulate_tissue(PLAIN)


def neighbours(adata: AnnData, k: int) -> np.ndarray:
    return cKDTree(adata.obsm["spatial"]).query(adata.obsm["spatial"], k + 1)[1]


def log_pcs(adata: AnnData) -> np.ndarray:
    counts = adata.X.toarray()
    totals = counts.sum(axis=1, keepdims=True)
    return PCA(15, random_state=0).fit_transform(np.log1p(counts * np.median(totals) / totals))


def ari(adata: AnnData, z: np.ndarray) -> float:
    mixture = GaussianMixture(len(LAYERS), covariance_type="tied", n_init=2, random_state=0)
    return adjusted_rand_score(adata.obs["molecular_layer"], mixture.fit_predict(z))


def test_the_default_slice_is_what_a_slice_looks_like(tissue):
    assert tissue.shape == (1500, 600)
    assert isinstance(tissue.X, sparse.csr_matrix)
    assert tissue.X.dtype == np.float32
    assert (tissue.X.data == np.rint(tissue.X.data)).all()
    assert 0.2 < tissue.X.nnz / np.prod(tissue.shape) < 0.5
    assert 500 < np.median(tissue.X.sum(axis=1).A1) < 700
    shares = tissue.obs["layer"].value_counts(normalize=True)[list(LAYERS)]
    np.testing.assert_allclose(shares, WIDTHS, atol=1e-3)
    facts = tissue.uns["synthome"]
    keys = ("label_key", "discordant_key", "section_key", "group_key", "scale")
    assert [facts[k] for k in keys] == ["molecular_layer", "discordant", "section", "", "counts"]
    assert len(facts["sha256"]) == 64


def test_spots_lie_on_a_hexagonal_grid_within_the_image(tissue):
    xy = tissue.obsm["spatial"]
    distance = cKDTree(xy).query(xy, 7)[0]
    np.testing.assert_allclose(distance[:, 1], PITCH)
    assert (np.isclose(distance[:, 6], PITCH)).mean() > 0.85  # all but those at the outline
    section = tissue.uns["spatial"]["S1"]
    height, width, _ = section["images"]["hires"].shape
    assert width == 1200
    reach = xy.max(axis=0) * section["scalefactors"]["tissue_hires_scalef"]
    assert (reach < [width, height]).all()
    assert (xy.min(axis=0) > 0).all()


def test_layers_are_bands_of_which_neighbours_share_one(tissue):
    layer = tissue.obs["layer"].to_numpy()
    number = pd.Series(range(5), index=LAYERS)[layer].to_numpy()
    nearest = neighbours(tissue, 6)[:, 1:]
    assert (layer[nearest] == layer[:, None]).mean() > 0.8
    jump = np.abs(number[nearest] - number[:, None])
    close = cKDTree(tissue.obsm["spatial"]).query(tissue.obsm["spatial"], 7)[0][:, 1:] < 1.1 * PITCH
    assert jump[close].max() == 1  # a layer is next to the one before and the one after


def test_patches_have_the_molecules_of_a_layer_that_is_not_next_to_theirs(tissue):
    obs = tissue.obs
    planted = obs["discordant"].to_numpy()
    assert planted.sum() == 90
    assert (planted == (obs["layer"] != obs["molecular_layer"]).to_numpy()).all()
    number = pd.Series(range(5), index=LAYERS)
    jump = np.abs(number[obs["layer"]].to_numpy() - number[obs["molecular_layer"]].to_numpy())
    assert jump[planted].min() == 2
    nearest = neighbours(tissue, 6)[planted][:, 1:]
    assert planted[nearest].mean() > 0.6  # compact; of spots thrown at random 0.06 would be
    assert (
        not simulate_tissue(BARE.model_copy(update={"discordant_share": 0.0}))
        .obs["discordant"]
        .any()
    )


def test_molecules_follow_the_molecular_layer_and_the_image_the_place(tissue):
    """Planted profiles explain the counts of patches better by the layer that was drawn."""
    truth, obs = tissue.uns["truth"], tissue.obs
    number = pd.Series(range(5), index=LAYERS)
    planted = obs["discordant"].to_numpy()
    log_rho = truth["log_mean"] + truth["layer_profile"]
    log_rho -= np.log(np.exp(log_rho).sum(axis=1, keepdims=True))
    fit = tissue.X @ log_rho.T  # multinomial log-likelihood of each layer, (n_obs, 5)
    best = fit.argmax(axis=1)
    assert (best == number[obs["molecular_layer"]].to_numpy())[planted].mean() > 0.8
    assert (best == number[obs["layer"]].to_numpy())[planted].mean() < 0.1

    section = tissue.uns["spatial"]["S1"]
    image, factor = section["images"]["hires"], section["scalefactors"]["tissue_hires_scalef"]
    column, row = np.rint(tissue.obsm["spatial"] * factor).astype(int).T
    half = 13
    seen = np.array(
        [
            image[r - half : r + half, c - half : c + half].mean()
            for r, c in zip(row, column, strict=True)
        ]
    )
    layers = list(LAYERS)
    by_place = pd.Series(seen[~planted]).groupby(obs["layer"].to_numpy()[~planted]).mean()[layers]
    error = np.abs(seen[planted] - by_place[obs["layer"][planted]].to_numpy())
    other = np.abs(seen[planted] - by_place[obs["molecular_layer"][planted]].to_numpy())
    assert error.mean() < other.mean()


def test_smoothing_over_neighbours_finds_the_domains_that_single_spots_do_not():
    """Hard enough to be honest, and learnable: 0.9 or more with 2 hops."""
    adata = simulate_tissue(BARE.model_copy(update={"seed": 1}))
    z, nearest = log_pcs(adata), neighbours(adata, 6)
    assert 0.4 < ari(adata, z) < 0.75
    assert ari(adata, z[nearest].mean(axis=1)[nearest].mean(axis=1)) > 0.9
    assert adjusted_rand_score(adata.obs["molecular_layer"], adata.obs["layer"]) < 0.9


def test_mean_and_variance_of_a_gene_follow_the_law_given_the_depth_of_each_spot(plain):
    """Without effects, mu = l softmax(m), and var = mu + mu^2 / theta, spot by spot."""
    deviation = deviations(plain, PLAIN)
    assert np.abs(deviation.mean(axis=0)).max() < 5 / np.sqrt(plain.n_obs)
    assert abs((deviation**2).mean() - 1) < 0.02


def test_activities_have_variance_1_of_which_a_part_is_shared_with_neighbours():
    """Eq. 1: the correlation of next neighbours is (1 - v) exp(-1 / (2 smoothness^2))."""
    correlations, variances = [], []
    for seed in range(8):
        small = {"n_obs": 700, "n_vars": 50, "n_programmes": 8, "seed": seed}
        config = BARE.model_copy(update=small)
        adata = simulate_tissue(config)
        a = adata.uns["truth"]["programme_activity"]
        nearest = neighbours(adata, 1)[:, 1]
        correlations.append((a * a[nearest]).mean())
        variances.append((a**2).mean())
    expected = (1 - BARE.programme_noise) * np.exp(-0.5 / BARE.smoothness**2)
    assert np.mean(correlations) == pytest.approx(expected, abs=0.06)
    assert np.mean(variances) == pytest.approx(1, abs=0.06)


def test_library_sizes_are_log_normal(plain):
    log_size = np.log(plain.uns["truth"]["library_size"])
    assert log_size.mean() == pytest.approx(np.log(PLAIN.library_size), abs=0.05)
    assert log_size.std() == pytest.approx(PLAIN.library_spread, rel=0.1)


def test_several_sections_are_of_one_tissue_and_differ_in_shape_stain_and_patches():
    config = TissueSliceConfig(n_obs=300, n_vars=60, n_sections=2, image_width=200)
    adata = simulate_tissue(config)
    assert adata.obs["section"].value_counts().to_dict() == {"S1": 300, "S2": 300}
    assert adata.obs_names.is_unique
    first, second = (adata.uns["spatial"][name]["images"]["hires"] for name in ("S1", "S2"))
    assert first.shape[1] == second.shape[1] == 200
    assert first.shape != second.shape or (first != second).any()
    assert not np.array_equal(adata.obsm["spatial"][:300], adata.obsm["spatial"][300:])
    assert adata.obs.groupby("section")["discordant"].sum().tolist() == [18, 18]
    effect = adata.uns["truth"]["section_effect"]
    np.testing.assert_allclose(effect.sum(axis=0), 0, atol=1e-12)
    one = simulate_tissue(config.model_copy(update={"n_sections": 1}))
    pd.testing.assert_frame_equal(one.obs, adata.obs[adata.obs["section"] == "S1"])


@given(seed=st.integers(0, 50), n_obs=st.integers(100, 160))
@settings(deadline=None, max_examples=5)
def test_the_same_seed_gives_the_same_slice_and_another_seed_another(seed, n_obs):
    config = TissueSliceConfig(n_obs=n_obs, n_vars=60, image_width=120, seed=seed)
    first, again = simulate_tissue(config), simulate_tissue(config)
    assert first.n_obs == n_obs
    assert (first.X != again.X).nnz == 0
    pd.testing.assert_frame_equal(first.obs, again.obs)
    images = [a.uns["spatial"]["S1"]["images"]["hires"] for a in (first, again)]
    np.testing.assert_array_equal(*images)
    other = simulate_tissue(config.model_copy(update={"seed": seed + 1}))
    assert (first.X != other.X).nnz > 0


def test_the_truth_survives_the_disk(plain, tmp_path):
    plain.write_h5ad(tmp_path / "tissue.h5ad")
    truth = read_h5ad(tmp_path / "tissue.h5ad").uns["truth"]
    np.testing.assert_array_equal(truth["theta"], plain.uns["truth"]["theta"])
    assert "spatial" not in plain.uns


def test_choices_that_do_not_fit_together_are_refused():
    with pytest.raises(ValidationError, match="plants 1 spots in n_patches=4 patches"):
        TissueSliceConfig(n_obs=100, discordant_share=0.01)
