import numpy as np
import pandas as pd
import pytest

from synthome.evaluation.rates import resampled_interval
from synthome.reporting.dose import dose_verdict, simultaneous_interval
from synthome.reporting.rules import VerdictConfig

N_TRAIN, N_TEST = 34, 9
DOSES = (1.0, 2.0, 5.0, 10.0)


def make_table(gains, noise=0.02, n_folds=15, seed=0, bar=0.8):
    """Gains over the tuned baseline by (kind, dose); everything else does far worse."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.05, n_folds)
    rows = []
    for fold in range(n_folds):
        where = (fold // 5, fold % 5)
        rows.append((0.0, "tuned_logistic", "balanced_accuracy", bar + hard[fold], *where))
        for kind in ("logistic", "forest"):
            rows.append((0.0, kind, "balanced_accuracy", bar - 0.1 + hard[fold], *where))
            for dose in DOSES:
                gain = gains.get((kind, dose), -0.2) + rng.normal(0, noise)
                rows.append((dose, kind, "balanced_accuracy", bar + hard[fold] + gain, *where))
    names = ["dose", "kind", "metric", "value", "repeat", "fold"]
    return pd.DataFrame(rows, columns=names).assign(gain=np.nan)


def test_a_clear_gain_over_the_tuned_baseline_means_augment():
    found = dose_verdict(make_table({("forest", 5.0): 0.1}), N_TRAIN, N_TEST)
    assert (found.advice, found.kind, found.dose) == ("augment", "forest", 5.0)
    assert found.baseline == "tuned_logistic"
    assert found.n_choices == 8
    assert found.interval[0] > 0
    assert found.gain == pytest.approx(0.1, abs=0.02)
    assert found.sentence.startswith("Augment: a random forest with 5 × as many synthetic rows")
    assert "tuned logistic regression" in found.sentence
    assert "8 choices" in found.sentence


def test_a_gain_over_an_untuned_classifier_alone_is_none():
    """The forest gains 0.1 over itself, which only brings it up to the tuned bar."""
    found = dose_verdict(make_table({("forest", 5.0): 0.0}), N_TRAIN, N_TEST)
    assert found.advice != "augment"


def test_the_bar_is_the_best_on_real_rows_even_if_it_is_a_forest():
    table = make_table({("forest", 5.0): 0.1})
    table.loc[(table["kind"] == "forest") & (table["dose"] == 0), "value"] += 0.3
    found = dose_verdict(table, N_TRAIN, N_TEST)
    assert found.baseline == "forest"
    assert found.advice == "do not augment"


def test_choosing_among_doses_is_paid_for():
    """A gain whose own interval excludes 0 is no gain as the best of eight."""
    values = make_table({("forest", 5.0): 0.03}, noise=0.03, seed=3)
    tried = values[(values["kind"] == "forest") & (values["dose"] == 5.0)]
    bar = values[values["kind"] == "tuned_logistic"]
    alone = tried["value"].to_numpy() - bar["value"].to_numpy()
    assert resampled_interval(alone, N_TRAIN, N_TEST)[0] > 0
    assert dose_verdict(values, N_TRAIN, N_TEST).advice == "cannot tell"
    only = values[(values["dose"] == 0) | ((values["dose"] == 5.0) & (values["kind"] == "forest"))]
    single = dose_verdict(only, N_TRAIN, N_TEST)
    assert single.advice == "augment"
    assert "one choice tried" in single.sentence


def test_nothing_to_gain_is_rarely_called_a_gain():
    """Under no gain at all, the best of eight is called a gain in at most 5 of 100 cohorts."""
    null = {(kind, dose): 0.0 for kind in ("logistic", "forest") for dose in DOSES}
    said = [dose_verdict(make_table(null, seed=s), N_TRAIN, N_TEST).advice for s in range(40)]
    assert said.count("augment") <= 2


def test_shown_to_gain_nothing_means_do_not_augment():
    found = dose_verdict(make_table({("logistic", 1.0): -0.05}), N_TRAIN, N_TEST)
    assert found.advice == "do not augment"
    assert (found.kind, found.dose) == ("logistic", 1.0)
    assert found.interval[1] < VerdictConfig().worthwhile_gain
    assert "none of 8 choices" in found.sentence
    strict = VerdictConfig(worthwhile_gain=0.0)
    small = make_table({("logistic", 1.0): 0.0}, noise=0.004)
    assert dose_verdict(small, N_TRAIN, N_TEST).advice == "do not augment"
    assert dose_verdict(small, N_TRAIN, N_TEST, config=strict).advice == "cannot tell"


def test_one_dose_that_may_help_keeps_the_question_open():
    found = dose_verdict(make_table({("forest", 2.0): 0.02}), N_TRAIN, N_TEST)
    assert found.advice == "cannot tell"
    assert found.sentence.endswith("the default stands: do not augment.")


def test_of_equal_gains_the_smaller_dose_is_advised():
    table = make_table({("forest", 2.0): 0.1, ("forest", 10.0): 0.1}, noise=0.0)
    found = dose_verdict(table, N_TRAIN, N_TEST)
    assert (found.advice, found.dose) == ("augment", 2.0)


def test_without_folds_doses_or_a_baseline_nothing_is_claimed():
    table = make_table({("forest", 5.0): 0.1})
    one = dose_verdict(table[(table["repeat"] == 0) & (table["fold"] == 0)], N_TRAIN, N_TEST)
    assert (one.advice, one.interval) == ("cannot tell", None)
    assert "no interval" in one.sentence
    none = dose_verdict(table[table["dose"] == 0], N_TRAIN, N_TEST)
    assert (none.advice, none.gain) == ("cannot tell", None)
    assert "no dose" in none.sentence
    alone = dose_verdict(table[table["dose"] > 0], N_TRAIN, N_TEST)
    assert alone.advice == "cannot tell"
    assert "real rows alone" in alone.sentence
    assert dose_verdict(table, N_TRAIN, N_TEST, metric="auc").advice == "cannot tell"


def test_the_interval_is_wider_for_more_choices_even_where_folds_agree():
    varied = np.array([0.1, 0.12, 0.08, 0.11, 0.09])
    for gains in (varied, np.full(5, 0.1)):
        np.testing.assert_allclose(
            simultaneous_interval(gains, N_TRAIN, N_TEST, 1),
            resampled_interval(gains, N_TRAIN, N_TEST),
        )
        one, ten = (simultaneous_interval(gains, N_TRAIN, N_TEST, m) for m in (1, 10))
        assert ten[0] < one[0] < one[1] < ten[1]
    low, high = simultaneous_interval(np.full(5, 0.1), N_TRAIN, N_TEST, 10)
    reach = 3 / 45 * np.log(0.005) / np.log(0.05)
    assert (low, high) == pytest.approx((0.1 - reach, 0.1 + reach))
