"""The attack with a public cohort: copies are found, and who took no part is not."""

import numpy as np
import pytest

from synthome.errors import InputError
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.metrics import METRICS
from synthome.evaluation.reference import public_half, reference_attack
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.controls import Copies, IndependentNoise

CONFIG = EvaluationConfig(n_coexpression_genes=10, n_synthetic=60)


@pytest.fixture
def external(make_cohort, make_expression):
    x, labels = make_expression(np.random.default_rng(5), 30)
    names = [f"outside_{i}" for i in range(30)]
    return make_cohort(x, np.where(np.arange(30) < 24, labels, "other"), names=names)


def attack(cohort, external, make):
    return reference_attack(cohort, external, make, TransformConfig(n_top_genes=40), CONFIG)


def test_entries_are_those_of_one_attack_with_all_arms(cohort, external, small_forests):
    found = attack(cohort, external, lambda _seed: IndependentNoise())
    ends = ("auc", "tpr_at_fpr10", "tpr_at_fpr1")
    assert list(found) == [f"privacy/likelihood_ratio_{end}" for end in ends]
    assert set(found) < set(METRICS)
    entry = found["privacy/likelihood_ratio_auc"]
    assert entry["value"] == pytest.approx(entry["floor"], abs=0.12)  # both are noise
    assert entry["cheat"] > max(0.7, entry["ceiling"])
    assert abs(entry["ceiling"] - 0.5) < 0.25
    assert entry["interval"][0] <= entry["value"] <= entry["interval"][1]
    assert "reference: 12 patients, half of the external cohort, on 40" in entry["protocol"]
    assert entry["n"] == 80


def test_copies_are_found(cohort, external, small_forests):
    entry = attack(cohort, external, lambda _seed: Copies())["privacy/likelihood_ratio_auc"]
    assert entry["value"] > 0.7
    assert entry["cheat_wins"]


def test_the_reference_is_half_of_each_shared_class(external):
    half = public_half(external, np.array(["disease", "healthy"]), seed=0)
    assert half.obs["condition"].value_counts().to_dict() == {"disease": 6, "healthy": 6}
    other = public_half(external, np.array(["disease", "healthy"]), seed=1)
    assert set(half.obs_names) != set(other.obs_names)


def test_a_cohort_that_cannot_be_a_reference_is_refused(cohort, external, small_forests):
    with pytest.raises(InputError, match="no sample of the classes absent"):
        public_half(external, np.array(["absent"]), seed=0)
    few = external[:, :10].copy()
    with pytest.raises(InputError, match="at least 20"):
        attack(cohort, few, lambda _seed: Copies())
