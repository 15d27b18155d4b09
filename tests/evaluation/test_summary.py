"""From folds to JSON: means, corrected intervals, pooled attacks, and who wins."""

import json

import numpy as np
import pandas as pd
import pytest

from synthome.evaluation.metrics import METRICS
from synthome.evaluation.rates import auc, auc_interval, binomial_interval, resampled_interval
from synthome.evaluation.summary import summarise


def folds_of(metric, n_train=80, n_test=20, **arms):
    rows = [
        (0, fold, arm, metric, value, n_train, n_test)
        for arm, values in arms.items()
        for fold, value in enumerate(values)
    ]
    columns = ["repeat", "fold", "arm", "metric", "value", "n_train", "n_test"]
    return pd.DataFrame(rows, columns=columns)


def attacks_of(lift, arms=("model", "floor", "ceiling", "cheat"), n=20, n_folds=5, seed=0):
    """Two attacks on n patients, each a member in four folds; ``lift`` by arm and attack."""
    rng = np.random.default_rng(seed)
    rows = []
    for arm in arms:
        for fold in range(n_folds):
            for attack in ("nearest", "subspace"):
                for i in range(n):
                    member = i % n_folds != fold
                    score = rng.standard_normal() + lift.get((arm, attack), 0.0) * member
                    rows.append((0, fold, arm, attack, f"p{i}", "a", member, score))
    columns = ["repeat", "fold", "arm", "attack", "sample", "label", "member", "score"]
    return pd.DataFrame(rows, columns=columns)


NO_ATTACKS = attacks_of({}).iloc[:0]


def test_values_are_means_over_folds_with_the_corrected_interval():
    """Of the model; the other arms give a mean each."""
    values = [0.9, 0.7, 0.8, 0.85, 0.95]
    table = folds_of(
        "utility/tstr_auc", model=values, floor=[0.6] * 5, ceiling=[0.9] * 5, cheat=[0.5] * 5
    )
    entry = summarise(table, NO_ATTACKS)["utility/tstr_auc"]
    assert entry["value"] == pytest.approx(np.mean(values))
    expected = resampled_interval(np.array(values), 80, 20)
    assert entry["interval"] == pytest.approx([expected[0], min(expected[1], 1.0)])
    assert (entry["floor"], entry["ceiling"], entry["cheat"]) == pytest.approx((0.6, 0.9, 0.5))
    assert (entry["n"], entry["n_folds"], entry["best"]) == (100, 5, 1.0)
    assert entry["cheat_wins"] is False
    assert "held-out" in entry["protocol"]


@pytest.mark.parametrize(
    ("metric", "model", "cheat", "wins"),
    [
        ("utility/tstr_auc", 0.9, 0.9, True),  # a tie is a win of the cheat
        ("utility/tstr_auc", 0.91, 0.9, False),
        ("fidelity/std_slope", 1.2, 0.95, True),
        ("fidelity/std_slope", 0.99, 0.95, False),
        ("fidelity/c2st_auc", 0.6, 0.3, True),
        ("fidelity/c2st_auc", 0.4, 0.3, True),  # both show no signal
        ("fidelity/mmd2", 0.01, 0.02, False),
        ("utility/augmentation_gain", 0.02, 0.03, True),
        ("utility/augmentation_gain", 0.02, -0.03, False),
    ],
)
def test_the_cheat_wins_where_it_is_at_least_as_close_to_the_best(metric, model, cheat, wins):
    """In the direction of the metric."""
    table = folds_of(metric, model=[model] * 3, cheat=[cheat] * 3)
    assert summarise(table, NO_ATTACKS)[metric]["cheat_wins"] is wins


def test_folds_without_a_value_are_left_out_and_none_leaves_null():
    """A test fold of one class has no AUC."""
    table = folds_of("utility/tstr_auc", model=[0.9, np.nan, 0.7], cheat=[np.nan] * 3)
    entry = summarise(table, NO_ATTACKS)["utility/tstr_auc"]
    assert entry["value"] == pytest.approx(0.8)
    assert (entry["n"], entry["n_folds"]) == (40, 2)
    assert entry["cheat"] is None
    assert entry["cheat_wins"] is False
    nothing = summarise(folds_of("utility/tstr_auc", model=[np.nan] * 3), NO_ATTACKS)
    assert nothing["utility/tstr_auc"]["value"] is None
    assert nothing["utility/tstr_auc"]["interval"] is None


def test_the_content_is_json_without_nan():
    """What a browser and MLflow can read."""
    table = pd.concat(
        [
            folds_of("fidelity/std_slope", model=[np.nan, 1.0], floor=[np.nan] * 2),
            folds_of("utility/tstr_auc", model=[np.float64(0.5)]),
        ]
    )
    text = json.dumps(summarise(table, attacks_of({("model", "nearest"): 9.0})), allow_nan=False)
    assert json.loads(text)["privacy/nearest_auc"]["value"] == 1.0


def test_repeats_narrow_the_interval_less_than_their_number_suggests():
    """Ten repeats of five folds still share the patients: the n_test / n_train term stays."""
    rng = np.random.default_rng(0)
    one = folds_of("utility/tstr_auc", model=rng.normal(0.8, 0.05, 5))
    many = pd.concat(
        [
            folds_of("utility/tstr_auc", model=rng.normal(0.8, 0.05, 5)).assign(repeat=r)
            for r in range(10)
        ]
    )
    widths = []
    for table in (one, many):
        entry = summarise(table, NO_ATTACKS)["utility/tstr_auc"]
        low, high = entry["interval"]
        widths.append(high - low)
        assert entry["n"] == 100  # patients, not patients times repeats
    assert widths[1] > 0.05 * 2 * 1.96 * np.sqrt(0.25) * 0.8


def test_attacks_are_pooled_over_folds_and_count_patients():
    """80 member rows of 20 patients are 20 members."""
    table = attacks_of({("model", "nearest"): 1.0, ("cheat", "nearest"): 50.0})
    entry = summarise(pd.DataFrame(columns=NO_FOLDS), table)["privacy/nearest_auc"]
    rows = table[(table["arm"] == "model") & (table["attack"] == "nearest")]
    pooled = auc(
        rows.loc[rows["member"], "score"].to_numpy(), rows.loc[~rows["member"], "score"].to_numpy()
    )
    assert entry["value"] == pytest.approx(pooled)
    assert entry["interval"] == pytest.approx(list(auc_interval(pooled, 20, 20)))
    assert entry["cheat"] == 1.0
    assert entry["cheat_wins"] is False
    assert entry["n"] == 40


def test_detection_rates_carry_exact_binomial_intervals():
    """Clopper-Pearson on patients."""
    found = summarise(pd.DataFrame(columns=NO_FOLDS), attacks_of({("model", "subspace"): 1.5}))
    for percent in (10, 1):
        entry = found[f"privacy/subspace_tpr_at_fpr{percent}"]
        assert entry["interval"] == pytest.approx(list(binomial_interval(entry["value"], 20)))
        assert entry["best"] == percent / 100


def test_the_strongest_attack_is_the_highest_with_the_highest_limits():
    """In every arm for itself."""
    table = attacks_of({("model", "subspace"): 3.0, ("floor", "nearest"): 2.0})
    found = summarise(pd.DataFrame(columns=NO_FOLDS), table)
    worst, nearest = found["privacy/worst_auc"], found["privacy/nearest_auc"]
    subspace = found["privacy/subspace_auc"]
    assert worst["value"] == subspace["value"] > nearest["value"]
    assert worst["floor"] == nearest["floor"]
    assert worst["interval"] == subspace["interval"]


def test_entries_come_in_the_order_of_the_registry():
    """Reports show them in that order."""
    table = pd.concat(
        [folds_of(key, model=[1.0, 1.0]) for key in reversed(METRICS) if key[0] in "fub"]
    )
    found = list(summarise(table, attacks_of({})))
    assert found == [key for key in METRICS if key in found]


NO_FOLDS = ["repeat", "fold", "arm", "metric", "value", "n_train", "n_test"]
