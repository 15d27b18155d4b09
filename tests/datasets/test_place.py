"""A place in the catalog is a path of the project."""

import pytest
from kedro.io import DatasetError

from synthome.datasets import PlaceDataset


def test_loads_as_an_absolute_path_whose_folder_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = PlaceDataset("models/a/checkpoint.pt").load()
    assert path == tmp_path / "models/a/checkpoint.pt"
    assert path.parent.is_dir()
    assert not path.exists()


def test_nothing_is_saved_to_it(tmp_path):
    with pytest.raises(DatasetError, match="looked after"):
        PlaceDataset(str(tmp_path / "x")).save("anything")
