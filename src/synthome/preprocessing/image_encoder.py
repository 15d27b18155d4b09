"""Features of tissue spots from a pretrained image encoder: ResNet, UNI, Virchow and their like.

A checkpoint is a folder, or a name on the hub, with ``config.json`` and weights in
``*.safetensors``. One that names its ``model_type`` is of transformers, one that names its
``architecture`` is of timm, and each is built by that library. Pickled weights are never read, and
code that comes with a checkpoint is never run.

Around each spot a square patch is cut, enlarged or reduced to what the encoder expects, and
normalised by the encoder's own mean and spread p of each colour:

    patch' = (patch / 255 - mean_p) / sd_p                                                    (1)

Beyond the edge of the image, the nearest pixels are repeated. What comes out is one vector a spot:
the class token of a transformer where there is one, else the mean over places of the last layer.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from synthome.errors import InputError
from synthome.preprocessing.image_config import ImageEncoderConfig

EXTRA = "pip install 'synthome[image]'"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # where a checkpoint does not say
SIZE = 224
TOKENS, PLACES = 3, 4  # axes of what transformers and convolutions give


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """An encoder that is ready: patches in, features out."""

    network: Callable[[Tensor], Tensor]
    size: tuple[int, int]
    mean: Float[Tensor, " 3"]
    sd: Float[Tensor, " 3"]

    @torch.no_grad()
    def __call__(
        self, patches: UInt8[Tensor, "n side side 3"], device: torch.device
    ) -> Float[Tensor, "n n_features"]:
        """Eq. 1, and the vector of each patch."""
        x = patches.to(device).movedim(-1, 1).float() / 255  # (n, 3, side, side)
        x = nn.functional.interpolate(x, self.size, mode="bicubic", antialias=True).clamp(0, 1)
        mean, sd = (values.to(device)[:, None, None] for values in (self.mean, self.sd))
        return self.network((x - mean) / sd).float().cpu()


def load_encoder(config: ImageEncoderConfig, device: torch.device) -> ImageEncoder:
    """The encoder of a checkpoint, on ``device``.

    Raises
    ------
    InputError
        If a library is missing, or the checkpoint is absent, damaged or pickled.
    """
    folder = encoder_folder(config)
    facts = _json(folder / "config.json")
    if not any(folder.glob("*.safetensors")):
        pickled = any(path.suffix in (".bin", ".pt", ".pth") for path in folder.iterdir())
        raise InputError(
            f"The image encoder {folder} has no weights in *.safetensors. "
            + (
                "Pickled ones are never loaded, since they can run programs: convert them, or take "
                "an encoder that has safetensors."
                if pickled
                else "Fetch the whole checkpoint."
            )
        )
    if "model_type" in facts:
        return _of_transformers(folder, facts, device)
    if "architecture" in facts:
        return _of_timm(folder, device)
    raise InputError(
        f"{folder / 'config.json'} names neither a model_type (transformers) nor an architecture "
        "(timm), so that nothing says which encoder this is. Fetch the whole checkpoint."
    )


def encode_spots(
    encoder: ImageEncoder,
    image: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "n_obs 2"],
    side: int,
    batch_size: int,
    device: torch.device,
) -> Float[np.ndarray, "n_obs n_features"]:
    """Features of the patch of ``side`` pixels around each spot, float32.

    Parameters
    ----------
    xy
        Column and row of each spot, in pixels of ``image``.
    """
    parts = [
        encoder(torch.from_numpy(patches_around(image, xy[at : at + batch_size], side)), device)
        for at in range(0, len(xy), batch_size)
    ]
    return torch.cat(parts).numpy()


def patches_around(
    image: UInt8[np.ndarray, "height width 3"], xy: Float[np.ndarray, "n 2"], side: int
) -> UInt8[np.ndarray, "n side side 3"]:
    """The square around each place; beyond the edge the nearest pixel is repeated."""
    first = np.floor(xy + 0.5 - side / 2).astype(np.int64)  # (n, 2): column, row
    at = first[:, :, None] + np.arange(side)  # (n, 2, side)
    columns = np.clip(at[:, 0], 0, image.shape[1] - 1)
    rows = np.clip(at[:, 1], 0, image.shape[0] - 1)
    return image[rows[:, :, None], columns[:, None, :]]


def encoder_folder(config: ImageEncoderConfig) -> Path:
    """Where the checkpoint is on this machine; a name on the hub is fetched, without pickles."""
    name = config.name
    if config.is_local:
        return Path(name).expanduser()
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(
            f"There is no folder {name} with an image encoder. Give a folder with config.json and "
            "*.safetensors, or a name on the hub such as MahmoodLab/UNI."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(f"An image encoder from the hub needs: {EXTRA}.") from error
    try:
        return Path(
            snapshot_download(
                name,
                allow_patterns=["*.json", "*.safetensors"],
                local_files_only=config.local_files_only,
            )
        )
    except Exception as error:
        raise InputError(
            f"The image encoder {name} could not be had from the hub ({type(error).__name__}). "
            "Some ask you to accept their terms and to log in first (hf auth login). Without a "
            "connection, fetch it elsewhere (hf download NAME --local-dir FOLDER) and give the "
            "folder."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not there or is damaged; an image encoder is a folder with config.json and "
            "*.safetensors. Fetch the whole checkpoint."
        ) from error
    return found


def _of_transformers(folder: Path, facts: dict[str, Any], device: torch.device) -> ImageEncoder:
    """An encoder that transformers knows by its ``model_type``."""
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise InputError(f"The image encoder {folder} needs transformers: {EXTRA}.") from error
    try:
        network, said = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except Exception as error:
        raise InputError(
            f"transformers cannot load the image encoder {folder} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}). Fetch it again, or take another."
        ) from error
    missing = sorted(key for key in said["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise InputError(
            f"{len(missing)} weights are not in the *.safetensors of {folder}, such as "
            f"{missing[0]}. Fetch the whole checkpoint."
        )
    network = network.to(device).eval()
    path = folder / "preprocessor_config.json"
    shown = _json(path) if path.exists() else {}
    return ImageEncoder(
        lambda x: _one_vector(network(pixel_values=x).last_hidden_state),
        _size(shown.get("crop_size") or shown.get("size") or facts.get("image_size")),
        torch.tensor(shown.get("image_mean", IMAGENET[0])),
        torch.tensor(shown.get("image_std", IMAGENET[1])),
    )


def _one_vector(last: Tensor) -> Float[Tensor, "n n_features"]:
    """The class token, or the mean over places where the tokens are a square of them."""
    if last.ndim == PLACES:
        return last.mean(dim=(2, 3))
    assert last.ndim == TOKENS
    is_square = round(last.shape[1] ** 0.5) ** 2 == last.shape[1]
    return last.mean(dim=1) if is_square else last[:, 0]


def _size(given: Any) -> tuple[int, int]:
    """Height and width, of a number or one of the forms of a preprocessor's ``size``."""
    if isinstance(given, dict):
        edge: int = given.get("shortest_edge", SIZE)
        height: int = given.get("height", edge)
        width: int = given.get("width", edge)
        return height, width
    if isinstance(given, list | tuple):
        return int(given[0]), int(given[-1])
    side = SIZE if given is None else int(given)
    return side, side


def _of_timm(folder: Path, device: torch.device) -> ImageEncoder:
    """An encoder that timm knows by its ``architecture``."""
    try:
        import timm
        from timm.data import resolve_model_data_config
    except (ImportError, RuntimeError) as error:  # torchvision of another build than torch
        raise InputError(f"The image encoder {folder} needs timm: {EXTRA}.") from error
    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    except Exception as error:
        raise InputError(
            f"timm cannot load the image encoder {folder} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}). Fetch it again, or take another."
        ) from error
    shown = resolve_model_data_config(network)
    return ImageEncoder(
        network.to(device).eval(),
        _size(shown["input_size"][1:]),
        torch.tensor(shown["mean"]),
        torch.tensor(shown["std"]),
    )
