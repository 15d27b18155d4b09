"""Labels of the rows to draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.errors import InputError
from synthome.generator import class_labels

TRAIN = np.array(["a"] * 7 + ["b"] * 2 + ["c"])


@given(n_obs=st.integers(1, 500))
def test_shares_add_up_and_are_within_one_row(n_obs):
    """Largest remainder: no class is off its exact share by a whole row."""
    drawn = class_labels(n_obs, None, TRAIN, np.random.default_rng(0))
    assert len(drawn) == n_obs
    for name, share in (("a", 0.7), ("b", 0.2), ("c", 0.1)):
        assert abs((drawn == name).sum() - share * n_obs) < 1


def test_order_is_random_and_seeded():
    first, again, other = (
        class_labels(50, None, TRAIN, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_wrong_number_of_labels_is_refused():
    with pytest.raises(InputError, match="3 samples but gave 2 labels"):
        class_labels(3, ["a", "b"], TRAIN, np.random.default_rng(0))
