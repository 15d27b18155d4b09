import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.evaluation.rates import resampled_interval
from synthome.plotting.dose import (
    KINDS,
    best_baseline,
    dose_figure,
    few_shot_figure,
    paired_gains,
)
from synthome.plotting.style import INK, REAL, SYNTHETIC, png_bytes


def make_table(lift=0.1, n_folds=5, seed=0):
    """Folds differ much from one another, and a dose lifts the forest in each by the same."""
    rng = np.random.default_rng(seed)
    rows = []
    for fold in range(n_folds):
        hard = rng.normal(0, 0.1)
        for metric in ("auc", "balanced_accuracy"):
            rows.append((0.0, "tuned_logistic", metric, 0.8 + hard, 0.0, 0, fold))
            for kind, base in (("logistic", 0.75), ("forest", 0.7)):
                for dose in (0.0, 1.0, 5.0):
                    gain = (lift if kind == "forest" else 0.0) * (dose > 0) + 0.001 * fold * dose
                    rows.append((dose, kind, metric, base + hard + gain, gain, 0, fold))
    return pd.DataFrame(rows, columns=["dose", "kind", "metric", "value", "gain", "repeat", "fold"])


@pytest.fixture
def table():
    return make_table()


def test_the_curve_has_means_intervals_and_the_bar_of_real_rows(table):
    figure = dose_figure(table, n_train=34, n_test=9)
    ax = figure.axes[0]
    assert ax.get_title(loc="left") == "Balanced accuracy"
    forest = table[(table["kind"] == "forest") & (table["metric"] == "balanced_accuracy")]
    (line,) = [line for line in ax.lines if line.get_color() == SYNTHETIC]
    np.testing.assert_allclose(line.get_ydata(), forest.groupby("dose")["value"].mean())
    assert np.round(line.get_xdata()).tolist() == [0, 1, 2]
    bars = dict(zip(KINDS, ax.collections, strict=False))
    expected = np.clip([resampled_interval(v.to_numpy(), 34, 9)
                        for _, v in forest.groupby("dose")["value"]], 0, 1)  # fmt: skip
    drawn = [segment[:, 1] for segment in bars["forest"].get_segments()]
    np.testing.assert_allclose(drawn, expected)
    (bar,) = [line for line in ax.lines if line.get_color() == INK]
    tuned = table[(table["kind"] == "tuned_logistic") & (table["metric"] == "balanced_accuracy")]
    assert bar.get_ydata()[0] == pytest.approx(tuned["value"].mean())


def test_the_last_panel_is_the_gain_of_each_fold_over_the_best_on_real_rows(table):
    ax = dose_figure(table, n_train=34, n_test=9).axes[-1]
    assert "tuned logistic regression" in ax.get_title(loc="left")
    (line,) = [line for line in ax.lines if line.get_color() == SYNTHETIC]
    np.testing.assert_allclose(line.get_ydata(), [0.7 + 0.1 + 0.002 - 0.8, 0.7 + 0.1 + 0.01 - 0.8],
                               atol=1e-9)  # fmt: skip


def test_gains_are_paired_by_fold_whatever_the_order_of_the_rows(table):
    shuffled = table.sample(frac=1.0, random_state=1)
    gains = paired_gains(shuffled, "auc", "tuned_logistic")
    forest = gains[(gains["kind"] == "forest") & (gains["dose"] == 5.0)].sort_values("fold")
    assert forest["gain"].tolist() == pytest.approx([0.005 * fold for fold in range(5)])
    assert set(gains["dose"]) == {1.0, 5.0}


def test_equal_folds_have_equal_gains_to_the_last_digit():
    """0.85 - 0.8 and 0.75 - 0.7 differ in floating point; a spread of 1e-17 is no spread."""
    bars = np.array([0.8, 0.7, 0.6])
    values = np.concatenate([bars, np.array([0.85, 0.75, 0.65])])
    assert np.ptp(values[3:] - bars) > 0
    kinds = ["tuned_logistic"] * 3 + ["forest"] * 3
    table = pd.DataFrame({"kind": kinds, "dose": [0.0] * 3 + [1.0] * 3, "metric": "auc"})
    table = table.assign(value=values, repeat=0, fold=[0, 1, 2] * 2)
    assert paired_gains(table, "auc", "tuned_logistic")["gain"].tolist() == [0.05] * 3


def test_a_fold_that_was_not_scored_has_no_gain_and_seeds_are_averaged(table):
    table.loc[(table["fold"] == 2) & (table["kind"] == "tuned_logistic"), "value"] = np.nan
    assert 2 not in set(paired_gains(table, "auc", "tuned_logistic")["fold"])
    twice = pd.concat([table, table.assign(value=table["value"] + 0.02)])
    pd.testing.assert_frame_equal(
        paired_gains(table, "auc", "tuned_logistic"), paired_gains(twice, "auc", "tuned_logistic")
    )


def test_the_baseline_is_the_best_on_real_rows_and_the_tuned_one_when_equal(table):
    assert best_baseline(table, "auc") == "tuned_logistic"
    table.loc[table["kind"] == "forest", "value"] += 0.3
    assert best_baseline(table, "auc") == "forest"
    table["value"] = 0.5
    assert best_baseline(table, "auc") == "tuned_logistic"
    with pytest.raises(InputError, match="dose 0"):
        best_baseline(table[table["dose"] > 0], "auc")


def make_few_shot():
    rows = [
        (n, arm, kind, metric, 0.5 + 0.01 * n + 0.1 * (arm == "augmented") + 0.02 * fold)
        for fold in range(3)
        for n in (10, 20)
        for arm in ("real", "augmented")
        for kind in ("logistic", "forest")
        for metric in ("auc", "aupr")
    ]
    return pd.DataFrame(rows, columns=["n_real", "arm", "kind", "metric", "value"])


def test_few_shot_has_both_arms_with_their_folds():
    figure = few_shot_figure(make_few_shot())
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "AUC, random forest",
        "AUPR, random forest",
        "AUC, logistic regression",
        "AUPR, logistic regression",
    ]
    for colour, lift in ((REAL, 0.0), (SYNTHETIC, 0.1)):
        folds, means = [line for line in figure.axes[0].lines if line.get_color() == colour]
        assert means.get_xdata().tolist() == [10, 20]
        np.testing.assert_allclose(means.get_ydata(), [0.62 + lift, 0.72 + lift])
        assert len(folds.get_xdata()) == 6
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_table_without_a_known_score_is_an_error(table):
    for draw in (few_shot_figure, lambda t: dose_figure(t, 34, 9)):
        with pytest.raises(InputError, match="no curve"):
            draw(table.assign(metric="accuracy"))
