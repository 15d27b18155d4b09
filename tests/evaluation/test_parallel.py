"""Experiments on folds: every fold once, in order, whatever runs them."""

import os
import time

import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.evaluation.cluster import ClusterConfig
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.parallel import balanced_rows, fitted, in_parallel, named, on_each_fold
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.controls import Copies

TRANSFORM = TransformConfig(n_top_genes=40)


def where(fold):
    return fold.repeat, fold.fold, sorted(fold.real.test.names), fold.train.obs_names.tolist()


def test_each_fold_of_the_wanted_repeats_is_seen_once_in_order(cohort, small_forests):
    cohort.obs["fold_1"] = np.arange(40) % 2
    cohort.obs.loc["sample_3", "condition"] = None
    config = EvaluationConfig(n_coexpression_genes=10)
    found = on_each_fold(where, cohort, TRANSFORM, config, "test", n_repeats=1)
    assert [(repeat, fold) for repeat, fold, *_ in found] == [(0, 0), (0, 1)]
    for _, fold, test, train in found:
        inside = cohort.obs_names[(cohort.obs["fold_0"] == fold) & cohort.obs["condition"].notna()]
        assert test == sorted(inside)
        assert "sample_3" not in train
        assert not set(test) & set(train)
    everything = on_each_fold(where, cohort, TRANSFORM, config, "test")
    assert [(r, f) for r, f, *_ in everything] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_processes_give_what_one_gives_in_the_same_order():
    tasks = [(3, 1), (2, 2), (1, 5)]
    one, two = (list(in_parallel(pow, tasks, n_jobs)) for n_jobs in (1, 2))
    assert one == two == [3, 4, 1]


@pytest.mark.slow
def test_a_cluster_gives_what_one_process_gives_in_the_same_order(cluster):
    """The first task ends last; tables of folds are joined by their place."""
    cluster.scale(2)
    cluster.wait_for_workers(2)
    at = ClusterConfig(scheduler=cluster.scheduler_address)

    def run(number):
        time.sleep(0.5 if number == 0 else 0)
        return number, os.getpid()

    found = list(in_parallel(run, [(i,) for i in range(4)], n_jobs=1, cluster=at))
    assert [number for number, _ in found] == [0, 1, 2, 3]
    assert os.getpid() not in {process for _, process in found}
    with pytest.raises(InputError, match="worker of task 2 is gone.*memory or its time"):
        list(in_parallel(lambda i: i and os._exit(9), [(0,), (1,)], n_jobs=1, cluster=at))


@pytest.mark.slow
def test_folds_on_a_cluster_are_those_of_this_process(cluster, cohort, small_forests):
    """``evaluation.cluster`` reaches the workers from every experiment on folds."""
    config = EvaluationConfig(n_coexpression_genes=10)
    there = config.model_copy(
        update={"cluster": ClusterConfig(scheduler=cluster.scheduler_address)}
    )

    def place(fold):
        return os.getpid(), fold.fold, fold.real.test.names.tolist(), fold.train.X.tolist()

    found = on_each_fold(place, cohort, TRANSFORM, there, "test")
    assert os.getpid() not in {process for process, *_ in found}
    here = on_each_fold(place, cohort, TRANSFORM, config, "test")
    assert [rest for _, *rest in found] == [rest for _, *rest in here]


def test_a_cohort_without_folds_is_refused(cohort):
    cohort.obs = cohort.obs.drop(columns="fold_0")
    with pytest.raises(InputError, match="no test folds"):
        on_each_fold(where, cohort, TRANSFORM, EvaluationConfig(), "test")


def test_a_generator_has_the_seed_of_the_fold_and_the_genes_that_were_asked(cohort, small_forests):
    seeds = []

    def make(seed):
        seeds.append(seed)
        return Copies()

    def sizes(fold):
        rng = np.random.default_rng(0)
        drawn = [fitted(fold, make, every).sample(2, None, rng).n_vars for every in (True, False)]
        return drawn, named(fold, pd.DataFrame({"value": [1.0]})).iloc[0].to_dict()

    config = EvaluationConfig(n_coexpression_genes=10, seed=7)
    found = on_each_fold(sizes, cohort, TRANSFORM, config, "test")
    assert seeds == [7, 7, 8, 8]
    assert [of for of, _ in found] == [[60, 40], [60, 40]]
    assert found[1][1] == {"value": 1.0, "repeat": 0, "fold": 1, "n_train": 20, "n_test": 20}


def test_balanced_rows_have_all_classes_alike(cohort):
    like = np.array(["disease"] * 9 + ["healthy"])
    drawn = balanced_rows(Copies().fit(cohort), 7, like, np.random.default_rng(0))
    assert drawn.obs["condition"].value_counts().to_dict() == {"disease": 4, "healthy": 3}
