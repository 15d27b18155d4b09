"""A small labelled cohort with modules and a difference between classes, and fast forests."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData


def cohort_of(x, labels, folds=None, names=None):
    """Log expression with a label column and, when given, one column of test folds."""
    index = [f"sample_{i}" for i in range(len(x))] if names is None else names
    obs = pd.DataFrame({"condition": labels}, index=index)
    if folds is not None:
        obs["fold_0"] = folds
        obs["split"] = np.where(obs["fold_0"] == 0, "test", "train")
    var = pd.DataFrame(index=[f"gene_{j}" for j in range(x.shape[1])])
    uns = {"synthome": {"label_key": "condition", "group_key": "", "scale": "log"}}
    return AnnData(x, obs=obs, var=var, uns=uns)


def expression(rng, n_obs, n_vars=60, n_disease=10, n_modules=4):
    """Modules of correlated genes, and ``n_disease`` genes shifted in every other row."""
    labels = np.where(np.arange(n_obs) % 2 == 0, "disease", "healthy")
    loadings = np.zeros((n_modules, n_vars))
    for m in range(n_modules):
        loadings[m, m * 12 : (m + 1) * 12] = 1.0
    x = rng.standard_normal((n_obs, n_modules)) @ loadings + rng.standard_normal((n_obs, n_vars))
    x[labels == "disease", -n_disease:] += 2.0
    return 5.0 + x * np.linspace(0.5, 1.5, n_vars), labels


@pytest.fixture
def make_cohort():
    """Builds an AnnData from rows and labels."""
    return cohort_of


@pytest.fixture
def make_expression():
    """Draws rows and labels."""
    return expression


@pytest.fixture
def cohort():
    """40 samples x 60 genes, two folds of 10 + 10."""
    x, labels = expression(np.random.default_rng(0), 40)
    return cohort_of(x, labels, folds=np.arange(40) // 2 % 2)


@pytest.fixture
def small_forests(monkeypatch):
    """A few trees are enough to see that wiring is right."""
    monkeypatch.setattr("synthome.evaluation.classifiers.N_TREES", 4)


@pytest.fixture(scope="module")
def module_cohort():
    """The same cohort, for tables that several tests look at."""
    x, labels = expression(np.random.default_rng(0), 40)
    return cohort_of(x, labels, folds=np.arange(40) // 2 % 2)


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler with one worker, a process of its own."""
    import logging

    from distributed import LocalCluster

    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0", "allowed_failures": 0}
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        memory_limit=0,
        scheduler_kwargs=quiet,
        local_directory=str(tmp_path),
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster
