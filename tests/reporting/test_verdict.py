import math

import pytest

from synthome.reporting.facts import CohortFacts
from synthome.reporting.rules import VerdictConfig
from synthome.reporting.verdict import combine, verdict


def test_good_scores_get_yes_everywhere(good, facts):
    found = verdict(good, facts)
    answers = [found.faithful.answer, found.useful.answer, found.safe.answer]
    assert answers == ["yes", "yes", "yes"]
    assert found.augmentation.advice == "augment"


def test_nothing_measured_is_nothing_told(facts):
    found = verdict({}, facts)
    answers = [found.faithful.answer, found.useful.answer, found.safe.answer]
    assert answers == ["cannot tell"] * 3
    assert found.augmentation.advice == "cannot tell"
    assert "do not augment" in found.augmentation.sentence
    assert found.external == ""


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_scores_that_failed_do_not_count_for_or_against(nothing, good, facts):
    for value in good.values():
        value |= {"value": nothing, "interval": [nothing, nothing]}
    assert verdict(good, facts) == verdict({}, facts).model_copy(
        update={"copies_win": verdict(good, facts).copies_win}
        | {"copies_sentence": verdict(good, facts).copies_sentence}
    )


@pytest.mark.parametrize(
    ("findings", "word"),
    [
        (["holds"] * 4, "yes"),
        (["fails"] * 4, "no"),
        (["fails", "unclear"], "no"),
        (["fails", "holds"], "partly"),
        (["fails", "holds", "unclear"], "partly"),
        (["holds", "unclear"], "partly"),
        (["unclear"] * 4, "cannot tell"),
        (["missing"] * 4, "cannot tell"),
        ([], "cannot tell"),
        (["holds", "holds", "missing", "missing"], "yes"),
        (["holds", "missing", "missing", "missing"], "partly"),  # too little for a yes
    ],
)
def test_findings_are_combined_by_one_rule(findings, word):
    assert combine(findings) == word


def test_halved_spread_is_named_with_its_numbers(good, facts, make_entry):
    good["fidelity/std_slope"] = make_entry(0.40, 0.36, 0.45, 1.0, 0.98)
    found = verdict(good, facts)
    assert found.faithful.answer == "partly"
    assert found.faithful.sentence.startswith(
        "Partly: genes vary too little (slope 0.40 [0.36, 0.45]; floor 1.00, ceiling 0.98)"
    )
    assert "genes vary too little" in found.headline


def test_the_worst_finding_comes_first(good, facts, make_entry):
    good["fidelity/std_slope"] = make_entry(1.0, 0.8, 1.2)  # unclear
    good["biology/lfc_slope"] = make_entry(0.1, 0.05, 0.2)  # fails
    sentence = verdict(good, facts).faithful.sentence
    assert sentence.index("too small") < sentence.index("unclear") < sentence.index("move together")


def test_utility_is_not_judged_where_real_data_predict_nothing(good, facts, make_entry):
    """On the second FSHD cohort a classifier trained on real data is near chance."""
    good["utility/tstr_auc"] = make_entry(0.55, 0.50, 0.58, 0.5, 0.53)
    good["utility/tstr_balanced_accuracy"] = make_entry(0.55, 0.50, 0.58, 0.5, 0.52)
    found = verdict(good, facts).useful
    assert found.answer == "cannot tell"
    assert "even real patients" in found.sentence


def test_noise_that_does_as_well_is_told(good, facts, make_entry):
    assert verdict(good, facts).useful.note == ""
    good["utility/tstr_auc"] = make_entry(0.95, 0.93, 0.97, 0.93, 0.95)
    note = verdict(good, facts).useful.note
    assert note.startswith("Noise without any structure does as well")
    assert "0.93 against 0.95" in note


def test_noise_that_does_better_is_told_whatever_the_finding(good, facts, make_entry):
    """On the FSHD cohort noise ranks patients at 0.93."""
    good["utility/tstr_auc"] = make_entry(0.86, 0.40, 1.0, 0.93, 0.90)
    assert "0.93 against 0.86" in verdict(good, facts).useful.note
    good["fidelity/c2st_auc"] = make_entry(0.70, 0.62, 0.78, 0.65, 0.5)
    assert "0.65 against 0.70" in verdict(good, facts).faithful.note


def test_noise_is_allowed_to_have_the_right_spread(good, facts):
    """By construction it has: that is no warning."""
    assert verdict(good, facts).faithful.note == ""


AUC = "privacy/subspace_auc"
TPR = "privacy/nearest_tpr_at_fpr10"


@pytest.mark.parametrize(
    ("key", "low", "high", "answer"),
    [
        (AUC, 0.50, 0.60, "yes"),
        (AUC, 0.50, 0.61, "partly"),
        (AUC, 0.55, 0.70, "partly"),
        (AUC, 0.60, 0.70, "partly"),
        (AUC, 0.50, 0.71, "cannot tell"),
        (AUC, 0.40, 0.90, "cannot tell"),
        (AUC, 0.61, 0.65, "no"),
        (AUC, 0.97, 1.00, "no"),
        (AUC, 0.30, 0.39, "partly"),  # an attack that is wrong too often works in reverse
        (TPR, 0.05, 0.25, "yes"),
        (TPR, 0.05, 0.40, "partly"),
        (TPR, 0.05, 0.60, "cannot tell"),
        (TPR, 0.26, 0.60, "no"),
    ],
)
def test_safety_follows_the_interval_of_the_worst_attack(
    key, low, high, answer, good, facts, make_entry
):
    good[key] = make_entry((low + high) / 2, low, high, 0.55, 0.5, 1.0)
    assert verdict(good, facts).safe.answer == answer


def test_one_success_is_enough_for_no(good, facts, make_entry):
    good[AUC] = make_entry(0.99, 0.97, 1.0, 0.6, 0.5, 1.0)
    good["privacy/mahalanobis_auc"] = make_entry(0.5, 0.1, 0.9)
    found = verdict(good, facts)
    assert found.safe.answer == "no"
    assert "AUC 0.99 [0.97, 1.00]" in found.safe.sentence
    assert "guessing 0.50, noise 0.60, copied patients 1.00" in found.safe.sentence
    assert "Do not share" in found.headline
    assert any("copies its patients also looks faithful" in note for note in found.caveats)


def test_attacks_without_intervals_promise_nothing(good, facts):
    for key in good:
        if key.startswith("privacy/"):
            good[key]["interval"] = None
    assert verdict(good, facts).safe.answer == "cannot tell"


def test_rates_at_one_percent_do_not_decide(good, facts, make_entry):
    """With 43 non-members, 1 % false alarms is less than half a patient."""
    good["privacy/nearest_tpr_at_fpr1"] = make_entry(0.5, 0.3, 0.7)
    assert verdict(good, facts).safe.answer == "yes"


@pytest.mark.parametrize(
    ("value", "low", "high", "advice"),
    [
        (0.06, 0.01, 0.11, "augment"),
        (0.05, 0.00, 0.10, "cannot tell"),  # zero is inside
        (0.02, -0.03, 0.07, "cannot tell"),
        (0.00, -0.01, 0.019, "do not augment"),  # nothing worth having
        (0.00, -0.01, 0.02, "cannot tell"),
        (-0.05, -0.10, 0.00, "do not augment"),
        (-0.05, -0.10, -0.01, "do not augment"),
        (0.06, None, None, "cannot tell"),
        (None, None, None, "cannot tell"),
        (math.nan, 0.01, 0.1, "cannot tell"),
    ],
)
def test_augmenting_needs_a_gain_above_zero(value, low, high, advice, good, facts, make_entry):
    good["utility/augmentation_gain"] = make_entry(value, low, high)
    found = verdict(good, facts)
    assert found.augmentation.advice == advice
    assert ("do not" in found.headline) is (advice != "augment")


def test_a_gain_for_one_classifier_is_not_said_of_all(good, facts, make_entry):
    good["utility/augmentation_gain_logistic"] = make_entry(-0.04, -0.08, -0.01)
    found = verdict(good, facts)
    assert found.augmentation.advice == "augment"
    assert "−0.04 [−0.08, −0.01]" in found.augmentation.note
    assert "not every kind of classifier gained" in found.headline


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [(0.01, 0.1, "holds"), (0.0, 0.0, "unclear"), (-0.1, 0.1, "unclear"), (-0.1, -0.05, "fails")],
)
def test_each_gain_is_judged_by_its_sign(low, high, finding, good, facts, make_entry):
    good["utility/augmentation_gain"] = make_entry((low + high) / 2, low, high)
    assert verdict(good, facts).augmentation.evidence[0].finding == finding


def test_scores_that_reward_copying_are_listed(good, facts):
    found = verdict(good, facts)
    expected = ("fidelity/std_slope", "fidelity/c2st_auc", "biology/lfc_slope", "utility/tstr_auc")
    assert found.copies_win == expected
    assert found.copies_sentence.startswith("On 4 of 10 scores")
    assert "cannot be used alone" in found.copies_sentence


def test_small_groups_are_counted_in_patients(good, facts):
    notes = "\n".join(verdict(good, facts).caveats)
    assert "control, has only 9 samples" in notes
    assert "11 percentage points" in notes
    assert "43 samples" in notes
    large = facts.model_copy(update={"class_sizes": {"a": 300, "b": 200}, "group": "patient"})
    notes = "\n".join(verdict(good, large).caveats)
    assert "percentage points" not in notes
    assert "patient column" not in notes


def test_simulated_patients_are_called_so(good, facts):
    simulated = facts.model_copy(update={"simulated": True})
    assert "simulated" in verdict(good, simulated).caveats[0]
    assert not any("simulated" in note for note in verdict(good, facts).caveats)


@pytest.mark.parametrize(
    ("low", "high", "confirms"), [(0.42, 0.83, False), (0.55, 0.80, True), (0.50, 0.8, False)]
)
def test_an_external_interval_with_chance_in_it_confirms_nothing(
    low, high, confirms, good, facts, make_entry
):
    good["external/tstr_auc"] = make_entry(0.64, low, high, 0.6, 0.66)
    seen = facts.model_copy(update={"external_class_sizes": {"FSHD": 15, "control": 9}})
    sentence = verdict(good, seen).external
    assert sentence.startswith("24 samples")
    assert "training on real patients gives 0.66" in sentence
    assert ("confirms nothing" in sentence) is not confirms
    assert not any("external cohort" in note for note in verdict(good, seen).caveats)


def test_thresholds_can_be_changed(good, facts):
    strict = VerdictConfig(attack_auc=0.55)
    assert verdict(good, facts, strict).safe.answer == "partly"


def test_a_cohort_without_known_classes_is_judged_too(good):
    assert verdict(good, CohortFacts(class_sizes={})).useful.answer == "yes"
