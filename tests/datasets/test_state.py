import numpy as np
import pytest
from kedro.io import DatasetError

from synthome.datasets.state import StateDataset
from synthome.errors import InputError


@pytest.fixture
def dataset(tmp_path):
    return StateDataset(str(tmp_path / "weights.safetensors"))


def test_arrays_and_facts_come_back(dataset):
    arrays = {
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "integers": np.array([1, 2], dtype=np.int64),
        "truth": np.array([True, False]),
        "empty": np.zeros((0, 4)),
    }
    facts = {"genes": ["A", "größer"], "config": {"n": 3, "x": None}}
    dataset.save((arrays, facts))
    loaded, found = dataset.load()
    assert found == facts
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


def test_the_preview_names_the_arrays(dataset):
    dataset.save(({"b": np.zeros((2, 3)), "a": np.zeros(4, np.float32)}, {}))
    assert dataset.preview()["data"] == [["a", "F32", "4"], ["b", "F64", "2 x 3"]]


def test_what_is_no_state_is_told(dataset, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(DatasetError) as error:
        dataset.load()
    assert isinstance(error.value.__cause__, InputError)
