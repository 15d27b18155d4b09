import json
import struct
import zlib
from base64 import b64decode

import numpy as np
import pytest
from kedro.io import DatasetError
from matplotlib import pyplot
from matplotlib.figure import Figure

from synthome.datasets.documents import FigureDataset, HTMLDataset, JSONDataset


def test_metrics_are_plain_json_whatever_numbers_they_hold(tmp_path):
    """NaN is no JSON: a browser refuses the whole file for it."""
    dataset = JSONDataset(str(tmp_path / "m.json"))
    dataset.save(
        {
            "fidelity/std_slope": {"value": np.float32(0.5), "interval": (np.float64(0.1), np.nan)},
            "n": np.int64(3),
            "wins": np.bool_(True),
            "curve": np.array([1.0, np.inf]),
            "name": "größer",
        }
    )
    text = (tmp_path / "m.json").read_text(encoding="utf-8")
    assert "größer" in text
    assert dataset.load() == json.loads(text) == {
        "fidelity/std_slope": {"value": 0.5, "interval": [0.1, None]},
        "n": 3,
        "wins": True,
        "curve": [1.0, None],
        "name": "größer",
    }  # fmt: skip
    assert json.loads(dataset.preview()) == dataset.load()


def test_damaged_json_is_told(tmp_path):
    (tmp_path / "m.json").write_text('{"a": 1')
    with pytest.raises(DatasetError, match="is not readable JSON"):
        JSONDataset(str(tmp_path / "m.json")).load()


def figure():
    fig = Figure(figsize=(2, 1))
    fig.add_subplot().plot([0, 1], [1, 0])
    return fig


def chunks(png):
    """Names of the chunks of a PNG, whose checksums must be right."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    names, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(name + body)
        names.append(name)
        at += 12 + length
    return names


def test_a_figure_becomes_a_whole_png_and_comes_back_as_bytes(tmp_path):
    dataset = FigureDataset(str(tmp_path / "f.png"))
    dataset.save(figure())
    assert chunks(dataset.load())[-1] == b"IEND"
    assert b64decode(dataset.preview()) == dataset.load()


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        FigureDataset(str(tmp_path / name)).save(figure())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_decides_the_format(tmp_path, ending, start):
    dataset = FigureDataset(str(tmp_path / f"f.{ending}"))
    dataset.save(figure())
    assert dataset.load().startswith(start)


def test_pyplot_forgets_a_figure_that_is_saved(tmp_path):
    """It would keep all of them in memory, and warn after twenty."""
    fig, _ = pyplot.subplots()
    FigureDataset(str(tmp_path / "f.png")).save(fig)
    assert not pyplot.fignum_exists(fig.number)


def test_a_page_comes_back(tmp_path):
    dataset = HTMLDataset(str(tmp_path / "r.html"))
    dataset.save("<p>größer ≥ kleiner</p>")
    assert dataset.load() == dataset.preview() == "<p>größer ≥ kleiner</p>"
