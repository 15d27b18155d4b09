"""Utility scores against scikit-learn, and each odd fold with the answer that is promised."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
)
from sklearn.preprocessing import label_binarize

from synthome.evaluation import utility
from synthome.evaluation.classifiers import Constant, train_classifier


def labelled(n, k=2, seed=0, p=15, signal=1.5):
    rng = np.random.default_rng(seed)
    y = np.array([f"class_{i % k}" for i in range(n)])
    x = rng.standard_normal((n, p))
    for i in range(k):
        x[y == f"class_{i}", i] += signal
    return x, y


def probabilities(n, k, seed=0, ties=False):
    p = np.random.default_rng(seed).dirichlet(np.ones(k), size=n)
    return np.round(p, 1) if ties else p


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_macro_scores_agree_with_scikit_learn(k, ties):
    """One against the rest, classes counting the same."""
    classes = np.array([f"class_{i}" for i in range(k)])
    y = np.random.default_rng(1).choice(classes, size=60)
    p = probabilities(60, k, ties=ties)
    truth = np.stack([y == c for c in classes], axis=1)
    aucs = [roc_auc_score(truth[:, i], p[:, i]) for i in range(k)]
    aps = [average_precision_score(truth[:, i], p[:, i]) for i in range(k)]
    assert utility.macro_auc(y, p, classes) == pytest.approx(np.mean(aucs))
    assert utility.macro_aupr(y, p, classes) == pytest.approx(np.mean(aps))
    predicted = classes[p.argmax(axis=1)]
    assert utility.balanced_accuracy(y, predicted) == pytest.approx(
        balanced_accuracy_score(y, predicted)
    )
    if k > 2 and not ties:
        expected = roc_auc_score(label_binarize(y, classes=classes), p, average="macro")
        assert utility.macro_auc(y, p, classes) == pytest.approx(expected)


def test_two_classes_have_one_auc():
    """Both one-vs-rest curves are the same curve."""
    y, p = np.array(["a", "b"] * 10), probabilities(20, 2)
    expected = roc_auc_score(y == "b", p[:, 1])
    assert utility.macro_auc(y, p, np.array(["a", "b"])) == pytest.approx(expected)


def test_a_class_absent_from_the_test_part_is_left_out():
    """Its recall is 0 / 0."""
    classes = np.array(["a", "b", "c"])
    y, p = np.array(["a", "b"] * 6), probabilities(12, 3)
    expected = np.mean([roc_auc_score(y == c, p[:, i]) for i, c in enumerate("ab")])
    assert utility.macro_auc(y, p, classes) == pytest.approx(expected)
    assert utility.balanced_accuracy(y, np.full(12, "a")) == 0.5


def test_a_class_that_the_training_arm_lacks_is_never_found():
    """A generator that forgot a class: AUC 0.5 and recall 0 there."""
    train = labelled(40, k=2)
    test = labelled(30, k=3, seed=1)
    model = train_classifier("logistic", *train, n_train=40, seed=0)
    found = utility.classification_scores(model, *test)
    assert found["balanced_accuracy"] <= 2 / 3
    p = model.probabilities(test[0])
    known = [roc_auc_score(test[1] == f"class_{i}", p[:, i]) for i in range(2)]
    assert found["auc"] == pytest.approx((sum(known) + 0.5) / 3)


def test_a_test_part_of_one_class_has_no_auc():
    """NaN, and the recall of that class."""
    x, _ = labelled(5)
    found = utility.classification_scores(Constant(np.array(["a"])), x, np.full(5, "a"))
    assert np.isnan(found["auc"])
    assert np.isnan(found["aupr"])
    assert found["balanced_accuracy"] == 1.0


def test_a_generator_of_one_class_is_a_constant_classifier(small_forests):
    """Half of two balanced classes, at chance level of ranking."""
    only = labelled(40, k=1)
    found = utility.train_and_test(only, labelled(30, k=2, seed=1), 40, seed=0, prefix="tstr")
    assert found["tstr_balanced_accuracy"] == found["tstr_balanced_accuracy_forest"] == 0.5
    assert found["tstr_auc"] == 0.5


def test_average_precision_takes_tied_scores_together():
    """A constant score has the share of positives."""
    positive = np.array([True, False, False, False])
    assert utility.average_precision(positive, np.ones(4)) == 0.25
    assert np.isnan(utility.average_precision(np.zeros(4, dtype=bool), np.ones(4)))


def test_gains_are_differences_of_the_named_scores():
    """Forest by default, as the headline says."""
    after = {f"trtr_{s}{e}": 0.9 for s in utility.SCORES for e in ("", "_forest")}
    before = after | {"trtr_balanced_accuracy_forest": 0.7, "trtr_auc": 0.95}
    found = utility.gains(after, before, "trtr")
    assert found["augmentation_gain"] == pytest.approx(0.2)
    assert found["augmentation_gain_auc_logistic"] == pytest.approx(-0.05)
    assert found["augmentation_gain_logistic"] == 0.0


def test_the_first_of_each_class_are_nested_and_none_is_lost():
    """Doses contain smaller doses; a class never vanishes."""
    y = np.array(["a"] * 30 + ["b"] * 3)
    kept = [set(utility.first_per_class(y, share)) for share in (0.05, 0.5, 1.0)]
    assert kept[0] <= kept[1] <= kept[2] == set(range(33))
    assert all({y[i] for i in part} == {"a", "b"} for part in kept)


def test_dose_zero_is_real_rows_alone_and_more_rows_of_the_truth_help(small_forests):
    """Fresh rows of the same patients are the best synthetic rows there are."""
    train, test = labelled(16, signal=0.7), labelled(400, seed=1, signal=0.7)
    table = utility.dose_curve(train, test, labelled(160, seed=2, signal=0.7))
    none = table[table["dose"] == 0]
    assert set(none["kind"]) == {"logistic", "forest", "tuned_logistic", "balanced_forest"}
    np.testing.assert_array_equal(none["gain"], 0.0)
    alone = utility.classification_scores(
        train_classifier("logistic", *train, n_train=16, seed=0), *test
    )
    row = none[(none["kind"] == "logistic") & (none["metric"] == "auc")]
    assert row["value"].item() == pytest.approx(alone["auc"])
    most = table[(table["dose"] == 10) & (table["kind"] == "logistic")].set_index("metric")
    assert most.loc["auc", "gain"] > 0.05


def test_a_dose_needs_its_rows():
    """And says how many."""
    with pytest.raises(ValueError, match="160 synthetic rows, but there are 40"):
        utility.dose_curve(labelled(16), labelled(10), labelled(40))


def test_few_shot_curve_shows_the_generator_its_rows_and_no_others(small_forests):
    """The generator at n = 10 must not know the other rows."""
    train, test = labelled(40), labelled(60, seed=1)
    seen = []

    def augment(rows):
        seen.append(train[0][rows])
        return train[0][rows], train[1][rows]

    table = utility.few_shot_curve(train, test, augment, sizes=(10, 20, 50))
    assert sorted(set(table["n_real"])) == [10, 20]  # 50 is more than there are
    assert [len(x) for x in seen] == [10, 20]
    assert {tuple(row) for row in seen[0]} <= {tuple(row) for row in seen[1]}
    assert set(table["arm"]) == {"real", "augmented"}


def test_few_rows_hold_two_of_a_rare_class(small_forests):
    """One row has no spread, and a generator could learn none from it."""
    x, y = labelled(40)
    y = np.where(np.arange(40) < 36, "common", "rare")
    seen = []

    def augment(rows):
        seen.append(y[rows].tolist())
        return x[rows], y[rows]

    utility.few_shot_curve((x, y), labelled(20), augment, sizes=(10,))
    assert seen[0].count("rare") == 2
    assert seen[0].count("common") == 9


def test_classes_count_the_same_in_a_balanced_forest():
    """With 5 of 100 rows, a plain forest hardly ever names the rare class."""
    x, y = labelled(400, signal=0.6)
    few = (y == "class_0") | (np.arange(400) < 20)
    test = labelled(400, seed=1, signal=0.6)
    plain = train_classifier("forest", x[few], y[few], n_train=int(few.sum()), seed=0)
    balanced = utility.balanced_forest(x[few], y[few])
    rare = [model.probabilities(test[0])[:, 1].mean() for model in (plain, balanced)]
    assert rare[1] != pytest.approx(rare[0], abs=1e-3)
    only = utility.balanced_forest(x[y == "class_0"], y[y == "class_0"])
    assert isinstance(only, Constant)


def test_a_tuned_penalty_is_strong_when_there_is_nothing_to_learn():
    """Ties and noise go to the strongest of the best, and the table's C = 1 is one choice."""
    x, y = labelled(30, signal=0.0, p=200)
    model = utility.tuned_logistic(x, y)
    assert np.isfinite(model.probabilities(x)).all()
    strong = utility.tuned_logistic(x, y, grid=(1e-4,))
    assert np.abs(strong.weights).max() < 0.05
