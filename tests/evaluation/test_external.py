"""Another cohort: what transfers, what is dropped, and what is refused."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from synthome.errors import InputError
from synthome.evaluation.classifiers import standardised_logistic
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.external import score_external
from synthome.evaluation.metrics import METRICS
from synthome.samplers.controls import ShuffledGenes

pytestmark = pytest.mark.usefixtures("small_forests")
CONFIG = EvaluationConfig(n_bootstrap=100)


@pytest.fixture
def external(make_expression, make_cohort):
    """30 samples of the same disease, another draw."""
    return make_cohort(*make_expression(np.random.default_rng(5), 30))


@pytest.fixture
def synthetic(cohort):
    """Rows with the right marginal distributions."""
    return ShuffledGenes().fit(cohort).sample(80, None, np.random.default_rng(0))


def test_entries_say_what_real_and_synthetic_rows_teach(cohort, external, synthetic):
    """The ceiling of tstr is trtr, and both have intervals."""
    found = score_external(cohort, external, synthetic, CONFIG)
    assert set(found) == {key for key in METRICS if key.startswith("external/")}
    for score in ("auc", "balanced_accuracy", "aupr"):
        for end in ("", "_forest"):
            tstr, trtr = found[f"external/tstr_{score}{end}"], found[f"external/trtr_{score}{end}"]
            assert tstr["ceiling"] == trtr["value"]
            assert trtr["floor"] == tstr["floor"]
            assert trtr["cheat"] == tstr["cheat"]
            assert tstr["n"] == trtr["n"] == 30
            low, high = tstr["interval"]
            assert 0 <= low <= tstr["value"] <= high <= 1
    model = standardised_logistic(cohort.X, cohort.obs["condition"].to_numpy())
    truth = (external.obs["condition"] == model.classes[1]).to_numpy()
    expected = roc_auc_score(truth, model.probabilities(external.X)[:, 1])
    assert found["external/trtr_auc"]["value"] == pytest.approx(expected, abs=1e-6)
    assert found["external/tstr_auc"]["value"] > 0.8


def test_only_shared_genes_and_known_classes_are_used(cohort, external, synthetic):
    """And the protocol says how many."""
    external.obs.loc["sample_0", "condition"] = "unknown"
    found = score_external(cohort, external[:, 10:].copy(), synthetic, CONFIG)
    assert found["external/tstr_auc"]["n"] == 29
    assert "50 shared genes" in found["external/tstr_auc"]["protocol"]


def test_the_same_seed_gives_the_same_entries(cohort, external, synthetic):
    """Bootstrap included."""
    first, again = (score_external(cohort, external, synthetic, CONFIG) for _ in range(2))
    assert first == again


def test_too_few_shared_genes_are_refused(cohort, external, synthetic):
    """With both numbers."""
    with pytest.raises(InputError, match="has 12 of the 60 genes"):
        score_external(cohort, external[:, :12].copy(), synthetic, CONFIG)


def test_labels_that_do_not_match_are_shown(cohort, external, synthetic):
    """Both lists, so that they can be made to match."""
    external.obs["condition"] = external.obs["condition"].str.upper()
    with pytest.raises(InputError, match=r"disease, healthy.*DISEASE, HEALTHY"):
        score_external(cohort, external, synthetic, CONFIG)
