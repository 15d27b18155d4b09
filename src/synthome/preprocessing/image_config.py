"""The choices of what is read of an image; importing this needs neither PyTorch nor an image."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from synthome.config import Config

PREFIXES = ("local-dir:", "hf-hub:")  # as timm writes them; they are not needed


class ImageEncoderConfig(Config):
    """Which encoder, and what it is shown.

    Attributes
    ----------
    checkpoint
        A folder, or a name on the hub such as ``MahmoodLab/UNI``.
    patch
        Side of the patch, in diameters of a spot.
    batch_size
        Patches that are encoded at a time.
    local_files_only
        The hub is not asked: a name must have been fetched before.
    """

    checkpoint: str
    patch: PositiveFloat = 2.0
    batch_size: PositiveInt = 32
    local_files_only: bool = False

    @property
    def name(self) -> str:
        """The folder, or the name on the hub."""
        name = self.checkpoint
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        return name

    @property
    def is_local(self) -> bool:
        """Whether the checkpoint is a folder on this machine."""
        return Path(self.name).expanduser().is_dir()


class ImageFeatureConfig(Config):
    """Where the image features come from.

    Attributes
    ----------
    kind
        ``statistics``: colour, stain, texture and nuclei of patches. ``encoder``: a pretrained
        network. ``precomputed``: those that the file brings. ``none``: none. ``auto``: those of the
        file, else statistics where every section has an image, else none.
    scales
        Sides of the patches of ``statistics``, in diameters of a spot.
    neighbours
        So many nearest spots of the section and the spot itself are averaged, and the averages
        stand beside the features; 0 adds none. For statistics and encoders.
    resolution
        Which image of a section is read; ``auto`` takes ``hires`` where there is one.
    encoder
        Which network, for ``kind: encoder``.
    """

    kind: Literal["auto", "statistics", "encoder", "precomputed", "none"] = "auto"
    scales: tuple[PositiveFloat, ...] = Field(default=(1.0, 2.0, 4.0), min_length=1)
    neighbours: NonNegativeInt = 0
    resolution: Literal["auto", "hires", "lowres"] = "auto"
    encoder: ImageEncoderConfig | None = None

    @model_validator(mode="after")
    def _encoder_with_its_kind(self) -> Self:
        named = self.encoder is not None and self.encoder.checkpoint not in ("", "none")
        if self.kind == "encoder" and not named:
            raise ValueError(
                "image=encoder needs a checkpoint: a folder or a name on the hub, as "
                "--params=image=encoder,checkpoint=FOLDER"
            )
        return self
