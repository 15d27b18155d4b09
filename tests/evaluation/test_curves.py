"""Augment or not: what the generator is shown, what it is asked for, and which genes are stable."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.curves import augmentation_study, biomarker_summary, published_seeds
from synthome.evaluation.published import PublishedConfig, published_check
from synthome.evaluation.study import StudyConfig
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.controls import Copies, IndependentNoise

TRANSFORM = TransformConfig(n_top_genes=40)
STUDY = StudyConfig(
    doses=(0, 1, 2), sizes=(8, 16, 50), n_biomarkers=5, n_shortlist=8, n_permutations=2
)


class Watched(Copies):
    """Copies that note what they were shown and asked for."""

    log: ClassVar[list[tuple[str, list[str]]]] = []

    def fit(self, train):
        Watched.log.append(("fit", train.obs_names.tolist()))
        return super().fit(train)

    def sample(self, n_obs, labels, rng):
        Watched.log.append(("sample", labels))
        return super().sample(n_obs, labels, rng)


@pytest.fixture
def study(cohort, small_forests):
    Watched.log = []
    config = EvaluationConfig(n_coexpression_genes=10)
    tables = augmentation_study(cohort, lambda _seed: Watched(), TRANSFORM, config, STUDY)
    return cohort, tables


def test_every_dose_and_size_is_scored_on_every_fold(study):
    _, (dose, few_shot, markers) = study
    assert set(dose["dose"]) == {0, 1, 2}
    assert {"tuned_logistic", "balanced_forest"} < set(dose["kind"])
    assert sorted(set(few_shot["n_real"])) == [8, 16]  # 50 is more than the 20 training rows
    for table in (dose, few_shot, markers):
        assert sorted(set(table["fold"])) == [0, 1]
        assert set(table["n_train"]) == set(table["n_test"]) == {20}
        assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    assert set(markers["arm"]) == {"real", "synthetic"}
    assert markers.groupby(["arm", "fold"])["rank"].apply(list).iloc[0] == list(range(1, 9))


def test_a_generator_sees_training_rows_alone_and_fewer_for_the_few_shot_curve(study):
    cohort, _ = study
    fits = [rows for what, rows in Watched.log if what == "fit"]
    assert [len(rows) for rows in fits] == [20, 8, 16] * 2
    for fold, of in ((0, fits[:3]), (1, fits[3:])):
        held = set(cohort.obs_names[cohort.obs["fold_0"] == fold])
        assert not any(held & set(rows) for rows in of)
        assert set(of[1]) < set(of[2]) < set(of[0])


def test_classes_are_alike_in_what_is_asked_for(study):
    asked = [labels for what, labels in Watched.log if what == "sample"]
    assert [len(labels) for labels in asked] == [40, 16, 32] * 2  # the largest dose is 2
    assert all(labels.count("disease") == labels.count("healthy") for labels in asked)


def marked(arm, *folds):
    rows = [
        (arm, 0, fold, gene, rank, 50)
        for fold, genes in enumerate(folds)
        for rank, gene in enumerate(genes, 1)
    ]
    return pd.DataFrame(rows, columns=["arm", "repeat", "fold", "gene", "rank", "n_genes"])


def test_biomarkers_are_compared_over_folds_and_between_arms():
    table = pd.concat(
        [marked("real", "abx", "aby", "abz"), marked("synthetic", "acx", "dey", "fgz")]
    )
    found = biomarker_summary(table, k=2)
    assert found["agreement"] == pytest.approx(1 / 6)  # a, in the first of three folds
    assert found["real"]["stability"] == pytest.approx(1.0)
    assert found["real"]["genes"] == {"a": 1.0, "b": 1.0}
    # Six genes named once each in three folds of two: less than what chance gives of 50.
    assert found["synthetic"]["stability"] == pytest.approx(
        1 - (6 * 1.5 * 2 / 9 / 50) / (0.04 * 0.96)
    )
    assert found["synthetic"]["stability"] < 0


def test_seeds_in_tasks_of_their_own_are_the_same_check(cohort):
    config = PublishedConfig(seeds=(1, 2), n_synthetic=20, n_trees=3)
    makers = {"noise": lambda _seed: IndependentNoise()}
    together = published_check(cohort, makers, config)
    pd.testing.assert_frame_equal(published_seeds(cohort, makers, config, n_jobs=1), together)


def test_doses_hold_real_rows_alone_and_something_more():
    with pytest.raises(ValueError, match="at least one above"):
        StudyConfig(doses=(0,))
    with pytest.raises(ValueError, match="must hold 0"):
        StudyConfig(doses=(1, 2))
