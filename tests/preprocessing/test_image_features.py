"""Features of each spot come from its own image, and the key of a cache knows what decides them."""

import numpy as np
import pytest
from anndata import AnnData
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from synthome.errors import InputError
from synthome.preprocessing import image_features as module
from synthome.preprocessing.image_encoder import ImageEncoder
from synthome.preprocessing.image_features import (
    ImageFeatureConfig,
    cache_key,
    image_digest,
    image_features,
)
from synthome.preprocessing.patch_statistics import patch_statistics, statistic_names
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue

SMALL = TissueSliceConfig(n_obs=150, n_vars=50, n_sections=2, n_patches=1, image_width=300)
AUTO = ImageFeatureConfig()


@pytest.fixture(scope="module")
def simulated() -> AnnData:
    return simulate_tissue(SMALL)


@pytest.fixture
def tissue(simulated) -> AnnData:
    return simulated.copy()


def of_section(adata, name):
    """Image, places in it, and diameter of a spot in it."""
    section = adata.uns["spatial"][name]
    factor = section["scalefactors"]["tissue_hires_scalef"]
    xy = adata.obsm["spatial"][adata.obs["section"] == name] * factor
    return section["images"]["hires"], xy, section["scalefactors"]["spot_diameter_fullres"] * factor


def test_each_section_is_read_from_its_own_image_whatever_the_order_of_the_spots(tissue):
    shuffled = tissue[np.random.default_rng(0).permutation(tissue.n_obs)].copy()
    features, report = image_features(shuffled, AUTO)
    assert report["kind"] == "statistics"
    assert report["names"] == statistic_names(AUTO.scales)
    assert features.dtype == np.float32
    for name in tissue.uns["spatial"]:
        expected, _ = patch_statistics(*of_section(shuffled, name))
        np.testing.assert_array_equal(features[shuffled.obs["section"] == name], expected)
        assert report["sections"][name]["resolution"] == "hires"


def test_the_image_tells_the_layers_that_it_shows():
    """The planted anatomy, of which the image is drawn, is there to be read."""
    one = simulate_tissue(TissueSliceConfig(n_obs=800, n_vars=50, image_width=800))
    features = StandardScaler().fit_transform(image_features(one, AUTO)[0])
    layer = one.obs["layer"].astype(str).to_numpy()
    left = one.obsm["spatial"][:, 0] < np.median(one.obsm["spatial"][:, 0])
    model = LogisticRegression(C=0.01, max_iter=300).fit(features[left], layer[left])
    assert balanced_accuracy_score(layer[~left], model.predict(features[~left])) > 0.75


def test_auto_takes_what_the_file_brings_then_the_image_then_nothing(tissue):
    own = np.arange(2 * tissue.n_obs, dtype=np.float64).reshape(-1, 2)
    tissue.obsm["image_features"] = own
    features, report = image_features(tissue, AUTO)
    assert report["kind"] == "precomputed"
    np.testing.assert_array_equal(features, own.astype(np.float32))
    assert image_features(tissue, ImageFeatureConfig(kind="statistics"))[1]["kind"] == "statistics"
    del tissue.obsm["image_features"]
    del tissue.uns["spatial"][next(iter(tissue.uns["spatial"]))]
    features, report = image_features(tissue, AUTO)
    assert (report["kind"], features.shape) == ("none", (tissue.n_obs, 0))
    assert report["reason"] == "1 of 2 sections have no image"
    assert image_features(tissue, ImageFeatureConfig(kind="none"))[0].shape[1] == 0


def test_what_is_asked_for_and_not_there_is_told(tissue):
    with pytest.raises(InputError, match="kind=precomputed needs"):
        image_features(tissue, ImageFeatureConfig(kind="precomputed"))
    with pytest.raises(InputError, match="finds no image .*held: hires"):
        image_features(tissue, ImageFeatureConfig(kind="statistics", resolution="lowres"))
    assert image_features(tissue, ImageFeatureConfig(resolution="lowres"))[1]["kind"] == "none"
    with pytest.raises(ValidationError, match="image=encoder needs a checkpoint"):
        ImageFeatureConfig(kind="encoder")


def test_features_images_and_places_that_do_not_fit_are_refused(tissue):
    name = next(iter(tissue.uns["spatial"]))
    factors = tissue.uns["spatial"][name]["scalefactors"]
    given = factors["tissue_hires_scalef"]
    factors["tissue_hires_scalef"] = 1.5 * given
    with pytest.raises(InputError, match="but the spots lie in the box"):
        image_features(tissue, AUTO)
    del factors["tissue_hires_scalef"]
    with pytest.raises(InputError, match=f"Section '{name}': .*no scale factor"):
        image_features(tissue, AUTO)
    tissue.obsm["image_features"] = np.full((tissue.n_obs, 2), np.nan)
    with pytest.raises(InputError, match="300 values are missing|600 values are missing"):
        image_features(tissue, AUTO)


def test_without_a_diameter_a_spot_is_as_wide_as_one_of_visium(tissue):
    expected, _ = image_features(tissue, AUTO)
    for section in tissue.uns["spatial"].values():
        del section["scalefactors"]["spot_diameter_fullres"]
    features, report = image_features(tissue, AUTO)  # 55 of 100, as the simulation has it
    np.testing.assert_allclose(features, expected, atol=1e-4)
    told = {section["diameter"] for section in report["sections"].values()}
    assert told == {"0.55 of the distance of spots"}


def test_neighbours_add_the_mean_over_a_spot_and_its_nearest_of_the_section(tissue):
    plain, _ = image_features(tissue, AUTO)
    features, report = image_features(tissue, ImageFeatureConfig(neighbours=6))
    n = plain.shape[1]
    np.testing.assert_array_equal(features[:, :n], plain)
    assert report["names"][n] == report["names"][0] + "_around"
    own = (tissue.obs["section"] == tissue.obs["section"].iloc[0]).to_numpy()
    xy = tissue.obsm["spatial"][own]
    d = np.linalg.norm(xy[:, None] - xy, axis=2)
    inner = (np.sort(d, axis=1)[:, 6] < 101).nonzero()[0]  # all six neighbours are there
    assert len(inner) > 20
    for i in inner:
        expected = plain[own][d[i] < 101].mean(axis=0)
        np.testing.assert_allclose(features[own][i, n:], expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_is_shown_patches_in_diameters_of_a_spot(tissue, monkeypatch):
    import torch

    seen = []

    def network(x):
        seen.append(x.shape)
        return x.mean(dim=(2, 3))

    encoder = ImageEncoder(network, (8, 8), torch.zeros(3), torch.ones(3))
    monkeypatch.setattr(module, "load_encoder", lambda config, device: encoder)
    config = ImageFeatureConfig(kind="encoder", encoder={"checkpoint": "a/b", "patch": 4.0})
    features, report = image_features(tissue, config)
    statistics, told = image_features(tissue, AUTO)
    assert report["names"] == ["encoder_0", "encoder_1", "encoder_2"]
    assert {shape[0] for shape in seen} <= {32, 150 % 32}
    windows = {k: v["windows"]["4"] for k, v in told["sections"].items()}
    assert {k: v["windows"]["4"] for k, v in report["sections"].items()} == windows
    means = [told["names"].index(f"{colour}_mean_x4") for colour in ("red", "green", "blue")]
    np.testing.assert_allclose(features, statistics[:, means], atol=0.02)


def test_the_key_changes_with_what_decides_the_features_and_with_nothing_else(tissue):
    key = cache_key(tissue, AUTO)
    other = tissue.copy()
    other.X = other.X * 2
    other.obs["layer"] = "x"
    assert cache_key(other, AUTO) == key
    assert image_digest(other) == image_digest(tissue)

    changed = {key}
    changed.add(cache_key(tissue, ImageFeatureConfig(scales=(1.0,))))
    changed.add(cache_key(tissue, ImageFeatureConfig(kind="none")))
    changed.add(cache_key(tissue[::-1].copy(), AUTO))
    other.obsm["spatial"] = other.obsm["spatial"] + 1e-6
    changed.add(cache_key(other, AUTO))
    other = tissue.copy()
    first, second = other.uns["spatial"]
    other.obs["section"] = other.obs["section"].astype(str).map({first: second, second: first})
    changed.add(cache_key(other, AUTO))
    other = tissue.copy()
    other.uns["spatial"][first]["images"]["hires"] = other.uns["spatial"][first]["images"][
        "hires"
    ] ^ np.uint8(1)
    changed.add(cache_key(other, AUTO))
    assert image_digest(other) != image_digest(tissue)
    other = tissue.copy()
    other.uns["spatial"][first]["scalefactors"]["spot_diameter_fullres"] = 60.0
    changed.add(cache_key(other, AUTO))
    other = tissue.copy()
    other.obsm["image_features"] = np.ones((other.n_obs, 2))
    changed.add(cache_key(other, AUTO))
    other.obsm["image_features"] = np.zeros((other.n_obs, 2))
    changed.add(cache_key(other, AUTO))
    assert len(changed) == 10


def test_the_key_knows_the_weights_of_a_local_encoder(tissue, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    config = ImageFeatureConfig(kind="encoder", encoder={"checkpoint": str(tmp_path)})
    key = cache_key(tissue, config)
    assert cache_key(tissue, config) == key
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert cache_key(tissue, config) != key
