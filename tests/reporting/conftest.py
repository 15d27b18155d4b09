"""Scores and facts of a cohort like the real one: 34 patients, 9 controls."""

from typing import Any

import pytest

from synthome.reporting.facts import CohortFacts


def entry(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    floor: float | None = 0.5,
    ceiling: float | None = 1.0,
    cheat: float | None = 1.0,
    cheat_wins: bool = False,
) -> dict[str, Any]:
    interval = None if low is None else [low, high]
    numbers = {"value": value, "interval": interval, "floor": floor, "ceiling": ceiling}
    return numbers | {"cheat": cheat, "n": 15, "cheat_wins": cheat_wins, "protocol": "5-fold"}


GOOD = {
    "fidelity/std_slope": entry(0.97, 0.94, 1.02, 1.0, 0.98, 1.0, True),
    "fidelity/coexpression_r": entry(0.70, 0.67, 0.73, 0.2, 0.71, 0.71),
    "fidelity/c2st_auc": entry(0.53, 0.48, 0.58, 0.9, 0.5, 0.5, True),
    "biology/lfc_slope": entry(0.99, 0.93, 1.06, 1.0, 1.0, 1.0, True),
    "utility/tstr_auc": entry(0.95, 0.93, 0.97, 0.7, 0.95, 0.95, True),
    "utility/tstr_balanced_accuracy": entry(0.83, 0.79, 0.87, 0.6, 0.82, 0.82),
    "utility/augmentation_gain": entry(0.06, 0.02, 0.11, 0.0, 0.08, 0.0),
    "privacy/nearest_auc": entry(0.51, 0.45, 0.57, 0.52, 0.5, 1.0),
    "privacy/subspace_auc": entry(0.52, 0.46, 0.58, 0.55, 0.5, 1.0),
    "privacy/nearest_tpr_at_fpr10": entry(0.12, 0.06, 0.21, 0.11, 0.1, 1.0),
}


@pytest.fixture
def make_entry():
    return entry


@pytest.fixture
def good() -> dict[str, dict[str, Any]]:
    """Scores with which everything is well."""
    return {key: dict(value) for key, value in GOOD.items()}


@pytest.fixture
def facts() -> CohortFacts:
    return CohortFacts(
        name="FSHD muscle biopsies",
        class_sizes={"FSHD": 34, "control": 9},
        n_genes=18342,
        n_genes_synthetic=9000,
        n_genes_scored=2000,
        n_train=34,
        n_test=9,
        n_folds=5,
        n_repeats=3,
        label="condition",
        scale="counts",
        source="expression.parquet",
        n_synthetic=1000,
    )
