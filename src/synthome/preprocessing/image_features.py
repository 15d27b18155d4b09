"""What the image shows around each spot of a tissue, as one matrix: ``obsm["image_features"]``.

Each section is read from its own image, in which (column, row) = scale factor * (x, y). Features
are as the image gives them: whoever fits a model scales them on its training spots.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from typing import Any, Literal

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Float, UInt8
from scipy.spatial import cKDTree

from synthome.anndata_schema import IMAGE_FEATURES, SECTION, SPATIAL
from synthome.errors import InputError
from synthome.preprocessing.image_config import ImageFeatureConfig
from synthome.preprocessing.image_encoder import (
    ImageEncoder,
    encode_spots,
    encoder_folder,
    load_encoder,
)
from synthome.preprocessing.patch_statistics import LEAST, patch_statistics, statistic_names
from synthome.preprocessing.spatial_graph import sections

VERSION = 1  # of the features: a change of what they are makes other cache keys
RESOLUTIONS = ("hires", "lowres")  # which of them ``auto`` takes first
SPOT_OF_PITCH = 0.55  # diameter of a spot over the distance of spots, as in Visium

Kind = Literal["statistics", "encoder", "precomputed", "none"]
Features = Float[np.ndarray, "n_obs n_features"]


@dataclass(frozen=True, eq=False)
class _Picture:
    """The image of a section that is read, and where its spots are in it."""

    image: UInt8[np.ndarray, "height width 3"]
    xy: Float[np.ndarray, "n_obs 2"]
    diameter: float
    told: dict[str, Any]


def image_features(
    adata: AnnData, config: ImageFeatureConfig, device: torch.device | None = None
) -> tuple[Features, dict[str, Any]]:
    """Features of the image around each spot.

    Parameters
    ----------
    adata
        A tissue as ingestion hands it on: images in ``uns["spatial"]`` by section.
    device
        Where an encoder computes; None is the CPU.

    Returns
    -------
    Float32, (n_obs, 0) where there are none. And a report: ``kind`` as it was decided, ``reason``,
    ``names`` of the features, and by section what was read.

    Raises
    ------
    InputError
        If what ``kind`` asks for is not there, or features are not one finite row for each spot.
    """
    kind, reason = _decided(adata, config)
    report: dict[str, Any] = {"kind": kind, "reason": reason, "sections": {}}
    if kind == "none":
        return np.zeros((adata.n_obs, 0), dtype=np.float32), report | {"names": []}
    if kind == "precomputed":
        features = _precomputed(adata)
        names = [f"image_{k}" for k in range(features.shape[1])]
        return features, report | {"names": names}

    device = device or torch.device("cpu")
    encoder = None
    if kind == "encoder":
        assert config.encoder is not None, "the config sees to it"
        encoder = load_encoder(config.encoder, device)
    parts, order = [], []
    for name, rows in sections(adata):
        try:
            picture = _picture(adata, name, rows, config)
            part, told = _of_section(picture, config, encoder, device)
        except InputError as error:
            raise InputError(f"Section {name!r}: {error}") from error
        report["sections"][name] = picture.told | told
        parts.append(_with_neighbours(part, picture.xy, config.neighbours))
        order.append(rows)
    features = np.empty((adata.n_obs, parts[0].shape[1]), dtype=np.float32)
    for rows, part in zip(order, parts, strict=True):
        features[rows] = part
    names = (
        statistic_names(config.scales)
        if encoder is None
        else [f"encoder_{k}" for k in range(features.shape[1] // (1 + (config.neighbours > 0)))]
    )
    if config.neighbours:
        names = names + [f"{name}_around" for name in names]
    return features, report | {"names": names}


def image_digest(adata: AnnData) -> str:
    """SHA-256 over the images and scale factors of each section; of none, that of nothing."""
    digest = sha256()
    for name, section in sorted(_images(adata).items()):
        factors = {k: float(v) for k, v in section.get("scalefactors", {}).items()}
        digest.update(json.dumps([name, factors], sort_keys=True).encode())
        for resolution, image in sorted(section.get("images", {}).items()):
            digest.update(json.dumps([resolution, image.shape, str(image.dtype)]).encode())
            digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def cache_key(adata: AnnData, config: ImageFeatureConfig) -> str:
    """SHA-256 of all that decides the features: images, places, sections, settings, weights.

    Expression and labels are not among it. Of an encoder that is a folder, its files count; of one
    on the hub, its name.
    """
    kind, _ = _decided(adata, config)
    digest = sha256(json.dumps([VERSION, kind, config.model_dump(mode="json")]).encode())
    digest.update(image_digest(adata).encode())
    digest.update(np.ascontiguousarray(adata.obsm[SPATIAL], dtype=np.float64).tobytes())
    if SECTION in adata.obs:
        digest.update(json.dumps(adata.obs[SECTION].astype(str).tolist()).encode())
    if kind == "precomputed":
        digest.update(np.ascontiguousarray(adata.obsm[IMAGE_FEATURES]).tobytes())
    if kind == "encoder" and config.encoder is not None and config.encoder.is_local:
        for path in sorted(encoder_folder(config.encoder).iterdir()):
            if path.suffix in (".json", ".safetensors"):
                with path.open("rb") as file:
                    digest.update(path.name.encode() + file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _decided(adata: AnnData, config: ImageFeatureConfig) -> tuple[Kind, str]:
    """What ``auto`` comes to, and why."""
    if config.kind != "auto":
        return config.kind, "asked for"
    if IMAGE_FEATURES in adata.obsm:
        return "precomputed", f"obsm['{IMAGE_FEATURES}'] is there"
    pictures = _images(adata)
    without = [name for name, _ in sections(adata) if not _choices(pictures, name, config)]
    if not without:
        return "statistics", "every section has an image"
    asked = "image" if config.resolution == "auto" else f"{config.resolution} image"
    return "none", f"{len(without)} of {_n_sections(adata)} sections have no {asked}"


def _precomputed(adata: AnnData) -> Features:
    """The features that came with the file; ingestion checks them too, later steps may not."""
    if IMAGE_FEATURES not in adata.obsm:
        raise InputError(
            f"kind=precomputed needs obsm['{IMAGE_FEATURES}'], (spots, features), which is not "
            "there. Add it to the file, or use kind=auto."
        )
    features = np.array(adata.obsm[IMAGE_FEATURES], dtype=np.float32)
    if features.ndim != 2 or len(features) != adata.n_obs or not np.isfinite(features).all():
        raise InputError(
            f"obsm['{IMAGE_FEATURES}'] must hold finite numbers, ({adata.n_obs:,}, features), but "
            f"its shape is {features.shape} and {int((~np.isfinite(features)).sum()):,} values are "
            "missing or infinite. Compute them again for these spots, or remove them."
        )
    return features


def _images(adata: AnnData) -> Mapping[str, Any]:
    """``uns["spatial"]``: images and scale factors by section."""
    found: Mapping[str, Any] = adata.uns.get(SPATIAL, {})
    return found


def _n_sections(adata: AnnData) -> int:
    return len(list(sections(adata)))


def _choices(pictures: Mapping[str, Any], name: str, config: ImageFeatureConfig) -> list[str]:
    """The images of a section that may be read, the best first."""
    held = pictures.get(name, {}).get("images", {})
    if config.resolution != "auto":
        return [config.resolution] * (config.resolution in held)
    return [r for r in RESOLUTIONS if r in held] + sorted(set(held) - set(RESOLUTIONS))


def _picture(adata: AnnData, name: str, rows: np.ndarray, config: ImageFeatureConfig) -> _Picture:
    """The image that is read of a section, and its spots in pixels of it."""
    pictures = _images(adata)
    choices = _choices(pictures, name, config)
    if not choices:
        held = ", ".join(pictures.get(name, {}).get("images", {})) or "none"
        raise InputError(
            f"kind={config.kind} with resolution={config.resolution} finds no image in "
            f"uns['{SPATIAL}'] (held: {held}). Add one, use another resolution or kind=none, or "
            "leave this section out with --params=where=COLUMN."
        )
    resolution = choices[0]
    factors = pictures[name].get("scalefactors", {})
    key = f"tissue_{resolution}_scalef"
    if key not in factors:
        raise InputError(
            f"its image {resolution!r} has no scale factor {key!r}. Add it to "
            f"uns['{SPATIAL}'][{name!r}]['scalefactors'], or remove the image."
        )
    xy = np.asarray(adata.obsm[SPATIAL], dtype=np.float64)[rows] * float(factors[key])
    image = np.asarray(pictures[name]["images"][resolution])
    size = np.array(image.shape[1::-1])
    if (xy < -1).any() or (xy > size + 1).any():
        reach = ", ".join(f"{value:,.0f}" for value in (*xy.min(axis=0), *xy.max(axis=0)))
        raise InputError(
            f"its image {resolution!r} is {size[0]:,} x {size[1]:,} pixels, but the spots lie in "
            f"the box {reach} (left, top, right, bottom). Correct the coordinates or {key!r}."
        )
    diameter, source = _diameter(factors, xy / float(factors[key]))
    told = {"resolution": resolution, "pixels": list(image.shape[:2]), "diameter": source}
    return _Picture(image, xy, diameter * float(factors[key]), told)


def _diameter(factors: Mapping[str, Any], xy: Float[np.ndarray, "n_obs 2"]) -> tuple[float, str]:
    """Diameter of a spot in full-resolution pixels, and from where it is known."""
    given = float(factors.get("spot_diameter_fullres", np.nan))
    if np.isfinite(given) and given > 0:
        return given, "spot_diameter_fullres"
    if len(xy) == 1:
        raise InputError(
            "one spot and no spot_diameter_fullres: nothing says how large a spot is. Add it to "
            "the scale factors."
        )
    pitch = float(np.median(cKDTree(xy).query(xy, k=[2])[0]))
    return SPOT_OF_PITCH * pitch, f"{SPOT_OF_PITCH} of the distance of spots"


def _of_section(
    picture: _Picture,
    config: ImageFeatureConfig,
    encoder: ImageEncoder | None,
    device: torch.device,
) -> tuple[Features, dict[str, Any]]:
    """Features of the spots of one section, and what the report says of them."""
    if encoder is None:
        return patch_statistics(picture.image, picture.xy, picture.diameter, config.scales)
    assert config.encoder is not None
    side = max(round(config.encoder.patch * picture.diameter), LEAST)
    made = encode_spots(encoder, picture.image, picture.xy, side, config.encoder.batch_size, device)
    if not np.isfinite(made).all():
        raise InputError(
            f"the encoder {config.encoder.checkpoint} gives features that are not finite. Take "
            "another one."
        )
    return made, {"windows": {f"{config.encoder.patch:g}": side}}


def _with_neighbours(features: Features, xy: Float[np.ndarray, "n_obs 2"], k: int) -> np.ndarray:
    """The features, and beside them their means over a spot and its k nearest."""
    if not k:
        return features
    near = cKDTree(xy).query(xy, k=np.arange(1, min(k + 1, len(xy)) + 1))[1]  # (n_obs, k + 1)
    around = sum(features[near[:, j]] for j in range(near.shape[1])) / near.shape[1]
    return np.column_stack([features, around])
