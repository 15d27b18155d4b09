"""Where the spots of a tissue are, and whether its images are of the same place.

Coordinates are x, y in pixels of the full-resolution image; an image that is stored smaller says
by its scale factor where a spot is in it:

    (column, row) = scale factor * (x, y)                                          (1)

as scanpy and squidpy have it: ``uns["spatial"][SECTION]["images"]["hires"]`` goes with
``["scalefactors"]["tissue_hires_scalef"]``. Where there is no image, any unit will do.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, UInt8
from scipy import sparse

from synthome.anndata_schema import IMAGE_FEATURES, SPATIAL
from synthome.errors import InputError
from synthome.ingestion.journal import Journal, count, some

BEYOND = 1.0  # pixels that a spot may lie outside of its image: rounding
AXES = 2
COLOURS = 3

Section = dict[str, Any]


def coordinates(adata: AnnData, kept: Bool[np.ndarray, " n_obs"]) -> Float[np.ndarray, "n_obs 2"]:
    """Read x and y of each spot, as float64; those of the spots kept are finite.

    Raises
    ------
    InputError
        If there are none, or other than two numbers for each spot.
    """
    if SPATIAL not in adata.obsm:
        held = f"obsm holds {some(list(adata.obsm), 8)}" if len(adata.obsm) else "obsm is empty"
        raise InputError(
            f"There are no coordinates: {held}. Store x and y of each spot in pixels of the "
            f"full-resolution image as obsm['{SPATIAL}'], (spots, 2)."
        )
    xy = _numbers(adata.obsm[SPATIAL], SPATIAL, np.float64)
    if xy.ndim != AXES or xy.shape[1] != AXES:
        raise InputError(
            f"obsm['{SPATIAL}'] must hold x and y, (spots, 2), but its shape is {xy.shape}. Keep "
            "the two columns of the plane of the section."
        )
    cure = "Leave out the spots that have no place, with --params=where=COLUMN."
    _refuse_not_finite(xy, kept, SPATIAL, cure)
    return xy


def image_features(
    adata: AnnData, kept: Bool[np.ndarray, " n_obs"]
) -> Float[np.ndarray, "n_obs n_features"] | None:
    """The features of the image around each spot that the file brings, as float32; or None."""
    if IMAGE_FEATURES not in adata.obsm:
        return None
    features = _numbers(adata.obsm[IMAGE_FEATURES], IMAGE_FEATURES, np.float32)
    if features.ndim != AXES or not features.shape[1]:  # AnnData sees to the number of rows
        raise InputError(
            f"obsm['{IMAGE_FEATURES}'] must be (spots, features) with {adata.n_obs:,} rows, but "
            f"its shape is {features.shape}. Compute it for the spots of this file, or remove it."
        )
    cure = "Compute them again, or remove them from the file."
    _refuse_not_finite(features, kept, IMAGE_FEATURES, cure)
    return features


def refuse_same_place(xy: Float[np.ndarray, "n_obs 2"], sections: np.ndarray) -> None:
    """Stop when spots of one section are in the same place."""
    place = pd.DataFrame({"section": sections, "x": xy[:, 0], "y": xy[:, 1]})
    shared = place.duplicated(keep=False).to_numpy()
    if not shared.any():
        return
    x, y = xy[np.flatnonzero(shared)[0]]
    raise InputError(
        f"{count(int(shared.sum()), 'spot')} are in the same place as another spot of their "
        f"section; the first are at x = {x:g}, y = {y:g}. If they are of different sections, name "
        "the column that tells with --params=section=COLUMN; else keep one spot of each place."
    )


def section_images(
    given: Mapping[str, Any],
    sections: np.ndarray,
    xy: Float[np.ndarray, "n_obs 2"],
    journal: Journal,
) -> dict[str, Section]:
    """The images of the sections that have some, each checked against the spots of its section.

    Parameters
    ----------
    given
        ``uns["spatial"]`` of the file.
    sections, xy
        Section and place of each spot that is kept.
    journal
        Is told which sections have an image, and what was left aside.

    Returns
    -------
    By section: ``images`` (uint8, (height, width, 3)) and ``scalefactors``, and ``metadata`` where
    the file has some.

    Raises
    ------
    InputError
        If an image has no scale factor, or is smaller than its spots say.
    """
    names = list(pd.unique(sections))
    by_name = {str(key).replace("/", "_"): value for key, value in given.items()}
    if len(names) == 1 and len(by_name) == 1 and names[0] not in by_name:
        only = next(iter(by_name))
        journal.step("images", f"the image of {only!r} is taken as that of section {names[0]!r}")
        by_name = {names[0]: by_name[only]}
    others = [name for name in by_name if name not in names]
    if others and len(others) == len(by_name):
        raise InputError(
            f"uns['{SPATIAL}'] has images of {some(others, 6)}, but the sections of the spots are "
            f"{some(names, 6)}. Use the same names in both (the section column is named with "
            "--params=section=COLUMN)."
        )
    if others:
        told = f"left aside, since no spot kept is of these sections: {some(others, 6)}"
        journal.step("images", told)
    kept = {
        name: _checked(name, by_name[name], xy[sections == name], journal)
        for name in names
        if name in by_name
    }
    _tell_images(kept, names, journal)
    return kept


def _tell_images(kept: Mapping[str, Section], names: list[str], journal: Journal) -> None:
    """Which sections have an image, in one step."""
    seen = [
        f"{name} {resolution} {image.shape[1]:,} x {image.shape[0]:,}"
        for name, section in kept.items()
        for resolution, image in section["images"].items()
    ]
    without = [name for name in names if not (name in kept and kept[name]["images"])]
    if not seen:
        journal.step("images", "there is no image: coordinates and molecules alone are used")
        return
    told = f"images (pixels): {some(seen, 8)}"
    if without:
        told += f"; no image of {count(len(without), 'section')}: {some(without, 6)}"
    journal.step("images", told, warning=bool(without))


def _checked(name: str, given: Any, xy: Float[np.ndarray, "n_obs 2"], journal: Journal) -> Section:
    """One entry of ``uns["spatial"]``: its images in eight bits, that hold all spots."""
    if not isinstance(given, Mapping):
        raise InputError(
            f"uns['{SPATIAL}'][{name!r}] must hold 'images' and 'scalefactors', as scanpy writes "
            "them, but it is no group. Write the file again with both, or without the entry."
        )
    factors = {str(k): float(v) for k, v in dict(given.get("scalefactors", {})).items()}
    images = {}
    for resolution, image in dict(given.get("images", {})).items():
        images[str(resolution)] = _eight_bits(image, f"{name!r} {resolution}", journal)
        key = f"tissue_{resolution}_scalef"
        factor = factors.get(key, np.nan)
        if not (np.isfinite(factor) and factor > 0):
            held = some(list(factors), 6) or "none at all"
            raise InputError(
                f"Section {name!r} has an image {resolution!r}, but no scale factor above 0 that "
                f"says where a spot is in it: uns['{SPATIAL}'][{name!r}]['scalefactors'] needs "
                f"{key!r}, and holds {held}. Add it (pixels of this image for each pixel of the "
                "coordinates), or remove the image."
            )
        _refuse_too_small(name, str(resolution), images[str(resolution)], xy, factors)
    section: Section = {"images": images, "scalefactors": factors}
    return section | ({"metadata": given["metadata"]} if "metadata" in given else {})


def _refuse_too_small(
    name: str,
    resolution: str,
    image: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "n_obs 2"],
    factors: Mapping[str, float],
) -> None:
    """Stop when eq. 1 puts a spot outside of the image."""
    size = np.array(image.shape[1::-1], dtype=np.float64)  # width, height
    key = f"tissue_{resolution}_scalef"
    low, high = xy.min(axis=0), xy.max(axis=0)

    def fits(factor: float, reach: Float[np.ndarray, " 2"] = high) -> bool:
        return bool((reach * factor <= size + BEYOND).all())

    if (low * factors[key] < -BEYOND).any():
        raise InputError(
            f"Section {name!r}: spots lie left of or above the image {resolution!r}: the "
            f"coordinates begin at x = {low[0]:g}, y = {low[1]:g}, and the image at 0. Give pixels "
            "of the full-resolution image, or remove the image."
        )
    if fits(factors[key]):
        return
    reach = high * factors[key]
    said = {other: f for other, f in factors.items() if other.endswith("_scalef") and fits(f)}
    best = max(said, key=lambda other: said[other], default="")
    advice = f"A factor of at most {float((size / high).min()):.4g} would fit"
    if best:
        advice = f"{best}, {said[best]:.4g}, would fit"
    elif fits(factors[key], high[::-1]):
        advice = "With x and y exchanged they would fit"
    raise InputError(
        f"Section {name!r}: the image {resolution!r} is {size[0]:,.0f} x {size[1]:,.0f} pixels "
        f"(width x height), but the spots reach to {reach[0]:,.0f} x {reach[1]:,.0f}: x and y "
        f"up to {high[0]:,.0f} and {high[1]:,.0f}, times {key} = {factors[key]:.4g}. {advice}. "
        "Correct the scale factor or the coordinates."
    )


def _eight_bits(image: Any, what: str, journal: Journal) -> UInt8[np.ndarray, "height width 3"]:
    """An image as red, green and blue in eight bits; one that is so already is kept as it is."""
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == COLOURS and array.shape[2] == COLOURS:
        return array
    if array.ndim == AXES:
        array = np.repeat(array[:, :, None], COLOURS, axis=2)
    if array.ndim != COLOURS or array.shape[2] not in (COLOURS, COLOURS + 1) or not array.size:
        raise InputError(
            f"The image of {what} must be (height, width, 3), but its shape is {array.shape}. "
            "Store red, green and blue, or remove the image."
        )
    array = array[:, :, :COLOURS]
    if array.dtype.kind == "f":  # as matplotlib reads a PNG: 0 to 1
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"The image of {what} has decimals from {low:g} to {high:g}; 0 to 1 is expected. "
                "Store it as uint8, 0 to 255."
            )
        array = np.rint(array * 255)
    elif array.dtype == np.uint16:
        array = array >> 8
    elif array.dtype != np.uint8:
        raise InputError(
            f"The image of {what} holds {array.dtype}. Store it as uint8, 0 to 255, or remove it."
        )
    journal.step("images", f"the image of {what} is taken as red, green and blue in eight bits")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _numbers(values: Any, key: str, dtype: Any) -> np.ndarray:
    """An entry of ``obsm`` as an array."""
    values = values.to_numpy() if isinstance(values, pd.DataFrame) else values
    values = values.toarray() if sparse.issparse(values) else values
    try:
        return np.array(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"obsm['{key}'] holds something else than numbers.") from error


def _refuse_not_finite(
    values: Float[np.ndarray, "n_obs n"], kept: Bool[np.ndarray, " n_obs"], key: str, cure: str
) -> None:
    """Stop at NaN and infinity in the spots kept."""
    wrong = kept & ~np.isfinite(values).all(axis=1)
    if wrong.any():
        raise InputError(
            f"obsm['{key}'] is missing or infinite in {int(wrong.sum()):,} of "
            f"{count(int(kept.sum()), 'spot')}, the first being spot number "
            f"{int(wrong.argmax()) + 1:,}. {cure}"
        )
