"""Checkpoints that transformers writes give what transformers computes, and pickles are refused."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from synthome.errors import InputError
from synthome.preprocessing.image_encoder import (
    ImageEncoderConfig,
    encode_spots,
    load_encoder,
    patches_around,
)
from synthome.rng import seeded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of transformers
CPU = torch.device("cpu")
MEAN, SD = [0.7, 0.6, 0.65], [0.2, 0.25, 0.15]


def write_checkpoint(folder, kind="vit", size=32):
    """A tiny random encoder in the format of the hub, and its network."""
    from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

    with seeded(0):
        if kind == "vit":
            config = ViTConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                image_size=size,
                patch_size=8,
            )
            model = ViTModel(config, add_pooling_layer=False)
        else:
            model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1]))
    model.eval().save_pretrained(folder)
    shown = {"size": {"height": size, "width": size}, "image_mean": MEAN, "image_std": SD}
    (folder / "preprocessor_config.json").write_text(json.dumps(shown))
    return model


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return np.random.default_rng(1).uniform([20, 20], [80, 60], (7, 2))


@pytest.mark.parametrize(("kind", "n_features"), [("vit", 16), ("resnet", 12)])
@pytest.mark.parametrize("batch_size", [3, 32])
def test_features_are_those_of_transformers(tmp_path, image, places, kind, n_features, batch_size):
    model = write_checkpoint(tmp_path / "encoder", kind)
    encoder = load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "encoder")), CPU)
    actual = encode_spots(encoder, image, places, 32, batch_size, CPU)  # its size: not resized
    first = np.floor(places + 0.5 - 16).astype(int)
    patches = np.stack([image[v : v + 32, u : u + 32] for u, v in first]) / 255
    pixels = torch.from_numpy((patches - MEAN) / SD).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        theirs = model(pixel_values=pixels)
    expected = theirs.last_hidden_state[:, 0] if kind == "vit" else theirs.pooler_output.flatten(1)
    assert actual.shape == (7, n_features)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-5)


def test_patches_are_resized_to_what_the_encoder_expects(tmp_path, image, places):
    write_checkpoint(tmp_path / "encoder")
    encoder = load_encoder(ImageEncoderConfig(checkpoint=f"local-dir:{tmp_path / 'encoder'}"), CPU)
    assert encoder.size == (32, 32)
    twice = np.ascontiguousarray(image.repeat(2, axis=0).repeat(2, axis=1))
    shown = []
    spy = type(encoder)(
        lambda x: shown.append(x) or encoder.network(x), encoder.size, encoder.mean, encoder.sd
    )
    encode_spots(spy, twice, 2 * np.floor(places) + 0.5, 64, 32, CPU)
    assert shown[0].shape == (7, 3, 32, 32)
    patches = torch.from_numpy(patches_around(twice, 2 * np.floor(places) + 0.5, 64))
    small = nn.functional.interpolate(
        patches.permute(0, 3, 1, 2).float() / 255, (32, 32), mode="bicubic", antialias=True
    )
    actual = shown[0] * torch.tensor(SD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    torch.testing.assert_close(actual, small.clamp(0, 1), atol=1e-5, rtol=0)


def test_beyond_the_edge_the_nearest_pixels_are_repeated(image):
    patch = patches_around(image, np.array([[0.0, 0.0], [99.0, 79.0]]), 5)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    np.testing.assert_array_equal(patch, [padded[:5, :5], padded[-5:, -5:]])


def test_weights_that_are_pickled_are_refused(tmp_path):
    """They can run programs when they are read."""
    model = write_checkpoint(tmp_path / "encoder")
    (tmp_path / "encoder" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "encoder" / "pytorch_model.bin")
    with pytest.raises(InputError, match="Pickled ones are never loaded"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "encoder")), CPU)
    (tmp_path / "encoder" / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match="Fetch the whole"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "encoder")), CPU)


def test_code_of_a_checkpoint_is_never_run(tmp_path):
    write_checkpoint(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config))
    (tmp_path / "encoder" / "own.py").write_text(
        f"open({str(tmp_path / 'was_run')!r}, 'w')\nclass C: pass\nclass M: pass\n"
    )
    with pytest.raises(InputError, match="transformers cannot load"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "encoder")), CPU)
    assert not (tmp_path / "was_run").exists()


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    write_checkpoint(tmp_path / "encoder")
    file = tmp_path / "encoder" / "model.safetensors"
    weights = load_file(file)
    key = next(key for key in weights if key.endswith("weight") and "layer" in key)
    del weights[key]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(InputError, match="1 weights are not in"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "encoder")), CPU)


def test_what_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "nothing")), CPU)
    with pytest.raises(InputError, match="config.json is not there"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path)), CPU)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match="names neither"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path)), CPU)


@pytest.mark.parametrize("library", ["transformers", "timm"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, library):
    write_checkpoint(tmp_path / "encoder")
    if library == "timm":
        (tmp_path / "encoder" / "config.json").write_text('{"architecture": "resnet18"}')
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"needs {library}: pip install 'synthome\[image\]'"):
        load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path / "encoder")), CPU)


def test_features_are_those_of_timm(tmp_path, image, places):
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported here: {error}")
    from safetensors.torch import save_file

    with seeded(0):
        model = timm.create_model("resnet10t", num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    said = {"mean": MEAN, "std": SD, "input_size": [3, 32, 32], "num_classes": 0}
    facts = {"architecture": "resnet10t", "num_classes": 0, "pretrained_cfg": said}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    encoder = load_encoder(ImageEncoderConfig(checkpoint=str(tmp_path)), CPU)
    patches = patches_around(image, places, 32) / 255
    pixels = torch.from_numpy((patches - MEAN) / SD).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = model(pixels).numpy()
    actual = encode_spots(encoder, image, places, 32, 4, CPU)
    np.testing.assert_allclose(actual, expected, atol=1e-4)
