"""One file holds arrays and facts, and says so when it does not."""

import numpy as np
import pytest

from synthome.errors import InputError
from synthome.state_file import read_state, write_state


def test_a_state_comes_back_as_it_was(tmp_path):
    """Order in memory, types and numbers without a shape are kept; NumPy numbers become JSON's."""
    arrays = {
        "f32": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.array(2.5),
        "whole": np.array([1, 2], dtype=np.int64),
    }
    write_state(tmp_path / "x.safetensors", (arrays, {"n": np.int64(3), "names": ["a", "é"]}))
    read, facts = read_state(tmp_path / "x.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
    assert facts == {"n": 3, "names": ["a", "é"]}


def test_facts_that_are_not_json_are_a_bug(tmp_path):
    with pytest.raises(TypeError, match="must be JSON"):
        write_state(tmp_path / "x.safetensors", ({}, {"f": object()}))


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match=r"no file .*kedro run"):
        read_state(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"not a state", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "]
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x.safetensors is not a state file"):
        read_state(path)
