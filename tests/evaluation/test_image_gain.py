"""What an image gives beyond the best wrong one."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from synthome.evaluation.image_gain import blocked_accuracy, image_gain


def table(real, turned, none, labelled=True):
    rows = []
    for arm, values in {"real": real, "rotated": turned, "none": none}.items():
        for seed, value in enumerate(values):
            score = value if labelled else np.nan
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "section": "S1",
                    "ari": score,
                    "balanced_accuracy": score,
                    "prior_balanced_accuracy": score,
                    "nll": 100.0 - value,
                    "kl": 1.0,
                }
            )
    return pd.DataFrame(rows)


def test_the_gain_is_over_the_best_control_in_pairs():
    real, turned, none = [0.8, 0.9, 0.85, 0.82], [0.6, 0.72, 0.7, 0.61], [0.5, 0.5, 0.5, 0.5]
    found = image_gain(table(real, turned, none))
    score = found["scores"]["balanced_accuracy"]
    d = np.array(real) - np.array(turned)
    assert score["best_control"] == "rotated"
    assert score["n_pairs"] == 4
    np.testing.assert_allclose(score["gain"], d.mean())
    low, high = stats.t.interval(0.95, 3, d.mean(), stats.sem(d))
    np.testing.assert_allclose([score["low"], score["high"]], [low, high])
    assert score["p_value"] == 1 / 16
    assert found["verdict"] == "helps"
    np.testing.assert_allclose(found["scores"]["elbo"]["gain"], d.mean())


def test_an_image_that_is_no_better_than_a_turned_one_does_not_help():
    found = image_gain(table([0.8, 0.81, 0.79], [0.8, 0.8, 0.8], [0.5, 0.5, 0.5]))
    assert found["verdict"] == "does not help"


def test_an_image_that_is_worse_than_none_does_not_help():
    found = image_gain(table([0.8, 0.81, 0.8], [0.6, 0.6, 0.61], [0.9, 0.9, 0.91]))
    assert found["scores"]["ari"]["best_control"] == "none"
    assert found["verdict"] == "does not help"


def test_what_was_not_trained_is_no_control():
    some = table([0.8, 0.9, 0.85], [0.6, 0.7, 0.65], [0.5, 0.5, 0.5])
    untrained = some[some["arm"] == "none"].assign(arm="components", balanced_accuracy=0.99)
    assert image_gain(pd.concat([some, untrained])) == image_gain(some)


def test_two_pairs_tell_nothing():
    assert image_gain(table([0.8, 0.8], [0.1, 0.1], [0.1, 0.1]))["verdict"] == "cannot be told"


def test_without_labels_the_likelihood_decides():
    found = image_gain(table([0.8, 0.9, 0.85], [0.6, 0.7, 0.65], [0.5, 0.5, 0.5], labelled=False))
    assert list(found["scores"]) == ["elbo"]
    assert found["verdict"] == "helps"


@pytest.mark.parametrize("arms", [["none"], ["real"]])
def test_without_an_image_or_a_control_nothing_is_tested(arms):
    some = table([0.8] * 3, [0.6] * 3, [0.5] * 3)
    found = image_gain(some[some["arm"].isin(arms)])
    assert not found["tested"]
    assert found["verdict"] == "not tested"


def test_labels_are_read_in_blocks_that_were_not_learnt_from():
    """A latent that only tells the block is worth nothing in other blocks."""
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(20), 20)
    label = np.where(rng.random(20) < 0.5, "a", "b")[block]
    one_hot = np.eye(20)[block]
    plain, balanced = blocked_accuracy(one_hot, label, block, 5, 0)
    assert balanced < 0.65
    assert plain < 0.75
    truth = (label == "a").astype(float)[:, None] + 0.1 * rng.normal(size=(400, 1))
    assert blocked_accuracy(truth, label, block, 5, 0) == (1.0, 1.0)


def test_unlabelled_spots_are_left_out():
    block = np.repeat(np.arange(10), 10)
    label = np.array(["a", "b"])[block % 2]
    z = (label == "a").astype(float)[:, None]
    some = np.where(np.arange(100) % 3 == 0, "", label)
    assert blocked_accuracy(z, some, block, 5, 0) == (1.0, 1.0)
    nothing = blocked_accuracy(z, np.full(100, ""), block, 5, 0)
    assert np.isnan(nothing).all()
