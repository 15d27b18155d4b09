"""How many rows of which class."""

import numpy as np
import pytest

from synthome.augmentation import SamplingConfig, new_rows, published_new_rows, wanted_labels
from synthome.errors import InputError

CLASSES = np.array(["FSHD", "control"])


def test_class_sizes_replace_the_number_of_rows():
    labels = wanted_labels(SamplingConfig(n_obs=9, class_sizes="FSHD=3 + control=2"), CLASSES)
    assert labels == ["FSHD"] * 3 + ["control"] * 2


def test_balanced_gives_every_class_as_many():
    labels = wanted_labels(SamplingConfig(n_obs=10, balanced=True), CLASSES)
    assert labels.count("FSHD") == labels.count("control") == 5


def test_by_default_the_training_proportions_decide():
    assert wanted_labels(SamplingConfig(), CLASSES) is None


@pytest.mark.parametrize("text", ["FSHD", "FSHD=x", "FSHD=0", "", "FSHD=-2"])
def test_sizes_that_cannot_be_read_show_how(text):
    with pytest.raises(InputError, match="CLASS=NUMBER"):
        wanted_labels(SamplingConfig(class_sizes=text), CLASSES)


def test_an_unknown_class_names_those_that_are():
    with pytest.raises(InputError, match=r"names SMA.*FSHD, control"):
        wanted_labels(SamplingConfig(class_sizes="SMA=3"), CLASSES)


def test_a_number_or_max_means_new_rows_of_every_class():
    train = np.repeat(CLASSES, [3, 5])
    for given, each in ((4, 4), ("4", 4), ("max", 5)):
        labels = wanted_labels(SamplingConfig(class_sizes=given), train)
        assert labels == ["FSHD"] * each + ["control"] * each
    assert new_rows("FSHD=2", train) == {"FSHD": 2}


def test_the_published_meaning_counts_real_rows_in():
    """So that its crossover adds 1 row where its gamma-Poisson adds 4."""
    assert published_new_rows(4, np.repeat(CLASSES, [3, 5])) == {"FSHD": 1, "control": 0}
