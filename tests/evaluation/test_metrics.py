"""The registry: keys that others rely on, words for people, and directions that decide."""

import subprocess
import sys

import pytest

from synthome.evaluation.metrics import METRICS
from synthome.evaluation.privacy import ATTACKS

STABLE = [  # DESIGN.md
    *("fidelity/mean_r2", "fidelity/std_r2", "fidelity/std_slope", "fidelity/diversity"),
    *("fidelity/c2st_auc", "fidelity/mmd2", "fidelity/coverage", "fidelity/coexpression_r"),
    *("utility/tstr_auc", "utility/tstr_balanced_accuracy", "utility/augmentation_gain"),
    *("biology/de_recovery", "biology/lfc_slope"),
    *("privacy/nearest_auc", "privacy/subspace_auc", "privacy/mahalanobis_auc"),
    *("privacy/nearest_tpr_at_fpr10", "privacy/subspace_tpr_at_fpr10"),
    *("privacy/mahalanobis_tpr_at_fpr10", "privacy/worst_auc"),
    *("external/tstr_auc", "external/trtr_auc", "utility/tstr_auc_forest"),
    *("ldvae/elbo", "ldvae/nll", "ldvae/three_class_accuracy", "ldvae/smallest_detectable_dose"),
    *("ldvae/planted_auprc", "ldvae/planted_auprc_down", "ldvae/planted_auprc_up"),
    *("counterfactual/weighted_delta_r2", "counterfactual/pearson_delta_top50"),
    *("counterfactual/e_distance", "cycle/down_regulation_accuracy", "cycle/integration"),
    *("cycle/planted_sign_accuracy", "cycle/planted_correlation", "cycle/generated_accuracy"),
    "cycle/cycle_error",
    *(
        "spatial/ari",
        "spatial/vote_ari",
        "spatial/nmi",
        "spatial/image_gain",
        "spatial/discordance_auprc",
    ),
]


@pytest.mark.parametrize("key", STABLE)
def test_keys_that_others_rely_on_exist(key):
    """They are MLflow metrics and lines of reports."""
    assert METRICS[key].key == key


def test_every_attack_has_an_auc_and_two_rates():
    """A new attack without words would be lost in the summary."""
    for name in (*ATTACKS, "worst"):
        for ending in ("auc", "tpr_at_fpr10", "tpr_at_fpr1"):
            assert f"privacy/{name}_{ending}" in METRICS


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_speaks_to_a_reader(metric):
    """A name, a meaning in sentences, and a best value within its range."""
    assert metric.name == metric.name.strip()
    assert metric.name[0].isupper()
    assert len(metric.meaning) > 60
    assert metric.meaning[-1] in ".?"
    shared = {"fidelity", "utility", "biology", "privacy", "external"}
    own = {"ldvae", "counterfactual", "lm", "encoding", "spatial", "cycle"}
    assert metric.group in shared | own
    if metric.best is not None:
        assert metric.clipped(metric.best) == metric.best


def test_names_are_unique_within_a_group():
    """Two rows of a table must not read the same."""
    names = [(metric.group, metric.name) for metric in METRICS.values()]
    assert len(set(names)) == len(names)


def test_distance_follows_the_direction():
    """Beyond the best is no distance; a target has two sides; a gain has no best."""
    assert METRICS["fidelity/c2st_auc"].distance(0.3) == 0.0
    assert METRICS["fidelity/c2st_auc"].distance(0.8) == pytest.approx(0.3)
    assert METRICS["fidelity/std_slope"].distance(0.8) == pytest.approx(0.2)
    assert METRICS["fidelity/std_slope"].distance(1.2) == pytest.approx(0.2)
    assert METRICS["utility/tstr_auc"].distance(0.9) == pytest.approx(0.1)
    gain = METRICS["utility/augmentation_gain"]
    assert gain.distance(0.1) < gain.distance(0.0) < gain.distance(-0.1)


def test_values_are_clipped_to_what_is_possible():
    """An interval of an AUC does not reach 1.04; a slope may."""
    assert METRICS["utility/tstr_auc"].clipped(1.04) == 1.0
    assert METRICS["fidelity/std_slope"].clipped(-0.2) == -0.2
    assert METRICS["fidelity/diversity"].clipped(-0.2) == 0.0


def test_registry_and_configuration_import_nothing_heavy():
    """They are read while pipelines are listed."""
    code = (
        "import sys; import synthome.evaluation.metrics, synthome.evaluation.config; "
        "print([m for m in ('numpy', 'pandas', 'sklearn', 'scipy', 'torch', 'anndata') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_protocol_imports_without_scikit_learn_and_torch():
    """Which take seconds, and are only needed when a fold runs."""
    code = (
        "import sys; import synthome.evaluation.protocol; "
        "print([m for m in ('sklearn', 'torch', 'scanpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["coherence", "silhouette", "davies_bouldin"])
def test_scores_that_ask_no_label_are_marked_as_internal(name):
    """They judge domains by the latents that made them."""
    metric = METRICS[f"spatial/{name}"]
    assert metric.name.endswith("(internal)")
    assert "Internal" in metric.meaning


@pytest.mark.parametrize(
    ("key", "perfect", "bad"),
    [
        ("cycle/down_regulation_accuracy", 1.0, 0.5),
        ("cycle/planted_sign_accuracy", 1.0, 0.4),
        ("cycle/planted_correlation", 1.0, -0.3),
        ("cycle/generated_accuracy", 1.0, 0.3),
        ("cycle/integration", 0.0, 0.8),
        ("cycle/cycle_error", 0.0, 0.4),
    ],
)
def test_scores_of_contexts_have_the_right_side(key, perfect, bad):
    """What a state tells of contexts and what a cycle loses are faults, all else is success."""
    metric = METRICS[key]
    assert metric.distance(perfect) == 0.0
    assert metric.distance(bad) == pytest.approx(abs(perfect - bad))
    assert metric.clipped(bad) == bad


def test_a_cycle_is_no_counterfactual_score():
    """A model that changes nothing loses nothing on the way."""
    assert METRICS["cycle/cycle_error"].group == "cycle"
    assert "no counterfactual score" in METRICS["cycle/cycle_error"].meaning
