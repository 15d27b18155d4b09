"""Labels for draws that come without."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.anndata_schema import labels
from synthome.errors import InputError
from synthome.models.unlabelled import NearestClass, labelled_draw

MEANS = {"a": [0.0, 0.0], "b": [4.0, 0.0], "c": [0.0, 9.0]}
TRAIN_LABELS = np.array(["a", "b", "c"] * 5)


def draw(rows: list[list[float]]):
    """Endless draws: ``rows`` over and over."""
    return lambda n: np.resize(np.array(rows, dtype=float), (n, 2))


def like() -> AnnData:
    obs = pd.DataFrame({"kind": []}, index=pd.Index([], dtype=str), dtype=str)
    return AnnData(np.zeros((0, 2)), obs=obs, uns={"synthome": {"label_key": "kind"}})


def drawn(rows, n_obs, wanted):
    return labelled_draw(
        draw(rows),
        NearestClass(list(MEANS), np.array(list(MEANS.values()))),
        n_obs,
        wanted,
        np.random.default_rng(0),
        like=like(),
        train_labels=TRAIN_LABELS,
        title="The model",
    )


def test_means_are_those_of_the_classes_and_come_back():
    x = np.arange(12.0).reshape(6, 2)
    fitted = NearestClass.fit(x, np.array(list("abcabc")))
    np.testing.assert_allclose(fitted.means, [[3, 4], [5, 6], [7, 8]])
    again = NearestClass.from_state(fitted.names.tolist(), fitted.state())
    np.testing.assert_array_equal(again.means, fitted.means)
    assert again.of(np.array([[7.0, 7.0], [0.0, 0.0]])).tolist() == ["c", "a"]


def test_without_labels_each_row_has_its_nearest_class():
    result = drawn([[1.9, 0], [2.1, 0], [0, 5], [0, 4]], 4, None)
    assert labels(result).tolist() == ["a", "b", "c", "a"]


def test_labels_asked_for_get_rows_near_their_class():
    """Of four rows of a and one of b, as many of each as are wanted, in their places."""
    wanted = ["b", "a", "b", "b", "a"]
    result = drawn([[0, 0], [0, 1], [1, 0], [1, 1], [4, 1]], 5, wanted)
    assert labels(result).tolist() == wanted
    assert (result.X[[0, 2, 3]] == [4, 1]).all()
    assert (result.X[[1, 4]] == [[0, 0], [0, 1]]).all()


def test_a_class_that_never_comes_out_is_named():
    with pytest.raises(InputError, match="The model knows no labels, and 600 .* near class c"):
        drawn([[0, 0], [4, 0]], 3, ["a", "b", "c"])
