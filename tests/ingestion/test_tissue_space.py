import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from ingestion.test_tissue import section_entry, tissue, validated

from synthome.errors import InputError


def refused(adata: AnnData, message: str, **choices) -> None:
    with pytest.raises(InputError, match=message):
        validated(adata, **choices)


def test_without_coordinates_it_is_said_where_they_belong():
    raw = tissue()
    raw.obsm["X_pca"] = raw.obsm["spatial"]
    del raw.obsm["spatial"]
    refused(raw, r"no coordinates: obsm holds X_pca. Store x and y .* obsm\['spatial'\]")
    del raw.obsm["X_pca"]
    refused(raw, "obsm is empty")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_place_that_is_not_known_is_an_error_where_the_spot_is_kept(value):
    raw = tissue()
    raw.obsm["spatial"][1, 1] = value
    refused(raw, r"obsm\['spatial'\] is missing or infinite in 1 of 40 .* spot number 2\. Leave")
    adata, _ = validated(raw, where="good")
    assert adata.n_obs == 37


def test_coordinates_are_two_numbers():
    raw = tissue()
    raw.obsm["spatial"] = np.column_stack([raw.obsm["spatial"], np.zeros(40)])
    refused(raw, r"must hold x and y, \(spots, 2\), but its shape is \(40, 3\)")
    raw.obsm["spatial"] = np.full((40, 2), "here")
    refused(raw, "something else than numbers")


def test_a_table_of_coordinates_is_taken_too():
    raw = tissue()
    xy = raw.obsm["spatial"].copy()
    raw.obsm["spatial"] = pd.DataFrame(xy, index=raw.obs_names, columns=["x", "y"])
    np.testing.assert_array_equal(validated(raw)[0].obsm["spatial"], xy)


def test_features_of_the_image_are_finite_and_one_row_for_each_spot():
    raw = tissue()
    raw.obsm["image_features"] = np.zeros((40, 3))
    raw.obsm["image_features"][7, 2] = np.nan
    refused(raw, r"obsm\['image_features'\] is missing or infinite in 1 of 40 .* number 8")
    raw.obsm["image_features"] = np.zeros((40, 3, 2))
    refused(raw, r"must be \(spots, features\) with 40 rows, but its shape is \(40, 3, 2\)")
    raw.obsm["image_features"] = np.zeros((40, 3))
    adata, report = validated(raw)
    assert adata.obsm["image_features"].dtype == np.float32
    assert report["n_image_features"] == 3


def test_an_image_needs_its_scale_factor():
    raw = tissue()
    del raw.uns["spatial"]["s2"]["scalefactors"]["tissue_hires_scalef"]
    refused(raw, r"'s2' has an image 'hires', but no scale factor.*needs 'tissue_hires_scalef'")
    del raw.uns["spatial"]["s2"]["scalefactors"]
    refused(raw, "holds none at all")


def test_an_image_smaller_than_its_spots_says_the_extents_and_what_would_fit():
    raw = tissue()
    raw.uns["spatial"]["s1"]["scalefactors"]["tissue_hires_scalef"] = 1.0
    refused(
        raw,
        r"'hires' is 80 x 60 pixels .* reach to 450 x 350: .* tissue_hires_scalef = 1\. A factor "
        r"of at most 0.1714 would fit",
    )
    raw.uns["spatial"]["s1"]["scalefactors"]["tissue_lowres_scalef"] = 0.08
    refused(raw, "tissue_lowres_scalef, 0.08, would fit")


def test_x_and_y_exchanged_are_recognised():
    raw = tissue()
    raw.obsm["spatial"] = raw.obsm["spatial"][:, ::-1] * [1.0, 1.7]  # up to 350, 765
    refused(raw, "With x and y exchanged they would fit")


def test_spots_left_of_the_image_are_refused():
    raw = tissue()
    raw.obsm["spatial"] -= 100
    refused(raw, "left of or above the image 'hires': the coordinates begin at x = -50")
    del raw.uns["spatial"]
    validated(raw)  # without an image any unit will do


def test_the_border_of_the_image_is_exact_to_a_pixel():
    raw = tissue()
    raw.obsm["spatial"][4] = [809, 350]  # 80.9 of 80 pixels
    validated(raw)
    raw.obsm["spatial"][4] = [811, 350]
    refused(raw, "smaller|reach to 81 x 35")


def test_an_image_has_to_hold_the_spots_of_its_own_section_alone():
    raw = tissue()
    raw.obsm["spatial"][20:] *= 3
    raw.uns["spatial"]["s2"]["images"]["hires"] = np.zeros((180, 240, 3), dtype=np.uint8)
    validated(raw)


def test_images_of_other_sections_are_left_aside_and_those_of_none_refused():
    raw = tissue()
    raw.uns["spatial"]["s9"] = section_entry()
    adata, report = validated(raw)
    assert set(adata.uns["spatial"]) == {"s1", "s2"}
    assert any("left aside" in s["why"] and "s9" in s["why"] for s in report["steps"])
    raw.uns["spatial"] = {"s8": section_entry(), "s9": section_entry()}
    refused(raw, "images of s8, s9, but the sections of the spots are s1, s2")


def test_the_only_image_of_the_only_section_is_taken_under_its_name():
    raw = tissue()[:20].copy()
    raw.uns["spatial"] = {"V1": section_entry()}
    adata, _ = validated(raw)
    assert set(adata.uns["spatial"]) == {"s1"}


def test_a_section_without_an_image_warns():
    raw = tissue()
    del raw.uns["spatial"]["s2"]
    _, report = validated(raw)
    assert report["warnings"] == ["images (pixels): s1 hires 80 x 60; no image of 1 section: s2"]


@pytest.mark.parametrize(
    "image",
    [
        np.full((60, 80, 3), 200 / 255, dtype=np.float32),  # as scanpy reads a PNG
        np.full((60, 80, 4), 200, dtype=np.uint8),
        np.full((60, 80), 200, dtype=np.uint8),
        np.full((60, 80, 3), 200 << 8, dtype=np.uint16),
    ],
    ids=["float", "alpha", "grey", "16 bits"],
)
def test_images_of_other_kinds_become_eight_bits(image):
    raw = tissue()
    raw.uns["spatial"]["s1"]["images"]["hires"] = image
    adata, report = validated(raw)
    stored = adata.uns["spatial"]["s1"]["images"]["hires"]
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, np.full((60, 80, 3), 200))
    assert any("eight bits" in step["why"] for step in report["steps"])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((60, 80, 2), dtype=np.uint8), r"its shape is \(60, 80, 2\)"),
        (np.full((60, 80, 3), 200.0), "decimals from 200 to 200; 0 to 1 is expected"),
        (np.zeros((60, 80, 3), dtype=np.int64), "holds int64. Store it as uint8"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    raw = tissue()
    raw.uns["spatial"]["s1"]["images"]["hires"] = image
    refused(raw, message)


def test_an_entry_that_is_no_group_is_refused():
    raw = tissue()
    raw.uns["spatial"]["s1"] = "picture.png"
    refused(raw, "must hold 'images' and 'scalefactors'")
