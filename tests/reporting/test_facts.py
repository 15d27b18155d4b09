import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.errors import InputError
from synthome.reporting.facts import cohort_facts
from synthome.reporting.views import fact_rows


@pytest.fixture
def cohort() -> AnnData:
    obs = pd.DataFrame(
        {
            "condition": ["case"] * 4 + ["control"] * 2,
            "split": ["train", "train", "train", "test", "train", "test"],
            "fold_0": [1, 2, 1, 0, 2, 0],
            "fold_1": [0, 1, 2, 0, 1, 2],
        },
        index=[f"patient_{i}" for i in range(6)],
    )
    var = pd.DataFrame(index=["a", "b", "c"])
    uns = {"synthome": {"label_key": "condition", "group_key": "donor", "scale": "counts"}}
    uns["synthome"]["source"] = "folder"
    return AnnData(np.ones((6, 3)), obs=obs, var=var, uns=uns)


def test_facts_are_read_off_the_cohort(cohort):
    other = cohort[:3, ["c", "a"]].copy()
    facts = cohort_facts(cohort, external=other, synthetic=cohort, name="X", n_genes_scored=2)
    assert facts.class_sizes == {"case": 4, "control": 2}
    assert (facts.n_samples, facts.n_train, facts.n_test) == (6, 4, 2)
    assert (facts.n_folds, facts.n_repeats, facts.n_synthetic) == (3, 2, 6)
    assert (facts.label, facts.group, facts.scale) == ("condition", "donor", "counts")
    assert facts.external_class_sizes == {"case": 3}
    assert (facts.n_external, facts.external_shared_genes) == (3, 2)


def test_rows_that_are_never_tested_are_no_fold(cohort):
    """Of five parts of many cells, one is tested; the others are in fold -1."""
    assert cohort_facts(cohort).n_never_tested == 0
    cohort.obs["fold_0"] = [-1, -1, 0, 0, -1, -1]
    facts = cohort_facts(cohort)
    assert (facts.n_folds, facts.n_never_tested) == (1, 4)
    splits = dict(fact_rows(facts))["Splits"]
    assert "scores from one held-out part; 4 samples are never held out" in splits
    cohort.obs["fold_0"] = [-1, -1, 0, 1, -1, -1]
    assert "from 2 held-out parts" in dict(fact_rows(cohort_facts(cohort)))["Splits"]


def test_cells_are_told_by_their_row_in_the_source(cohort):
    assert cohort_facts(cohort).unit == "patient"
    cohort.obs["source_row"] = range(6)
    assert cohort_facts(cohort).unit == "cell"


def test_spots_are_told_by_their_place(cohort):
    cohort.obsm["spatial"] = np.zeros((6, 2))
    assert cohort_facts(cohort).unit == "spot"


def test_samples_without_a_label_are_counted_and_are_no_class(cohort):
    """No smallest group without a name, and no chance of one class too many."""
    cohort.obs["condition"] = ["case"] * 3 + ["", "control", ""]
    facts = cohort_facts(cohort)
    assert facts.class_sizes == {"case": 3, "control": 1}
    assert (facts.n_unlabelled, facts.n_samples) == (2, 6)
    said = dict(fact_rows(facts))
    assert said["Without a label"].startswith("2, left out")
    assert said["Real samples"] == "6"


NOBODY = pd.DataFrame(index=pd.Index([], dtype=str))
ABSENT = AnnData(np.zeros((0, 0)), obs=NOBODY, var=NOBODY)


@pytest.mark.parametrize("external", [None, ABSENT])
def test_an_external_cohort_may_be_absent(cohort, external):
    facts = cohort_facts(cohort, external=external)
    assert facts.n_external == 0
    assert facts.external_shared_genes is None


def test_facts_hold_no_sample(cohort):
    assert "patient_" not in cohort_facts(cohort).model_dump_json()


def test_a_cohort_without_labels_is_refused(cohort):
    del cohort.obs["condition"]
    with pytest.raises(InputError, match="label"):
        cohort_facts(cohort)
