"""An experiment on every fold, one after the other or several at a time."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.fold import PreparedFold, folds_of, labelled_rows
from synthome.preprocessing.transform import TransformConfig
from synthome.progress import progress

T = TypeVar("T")
Make = Callable[[int], Any]  # an unfitted generator from a seed


def on_each_fold(
    run: Callable[[PreparedFold], T],
    adata: AnnData,
    transform: TransformConfig,
    config: EvaluationConfig,
    description: str,
    n_repeats: int | None = None,
) -> list[T]:
    """What ``run`` returns for each fold of the first ``n_repeats`` (all) repeats, in order.

    Rows without a label are left out. With ``config.n_jobs`` other than 1, folds run in processes
    of their own.
    """
    adata, _ = labelled_rows(adata)
    tasks = [task for task in folds_of(adata) if n_repeats is None or task[0] < n_repeats]

    def one(repeat: int, fold: int) -> T:
        return run(PreparedFold.of(adata, transform, config, repeat, fold))

    return in_order(one, tasks, config.n_jobs, description)


def in_order(
    run: Callable[..., T], tasks: list[tuple[Any, ...]], n_jobs: int, description: str
) -> list[T]:
    """Results of all tasks, in their order, with a word on how far they are."""
    with progress(range(len(tasks)), description) as counted:
        return [r for _, r in zip(counted, in_parallel(run, tasks, n_jobs), strict=True)]


def in_parallel(
    run: Callable[..., T], tasks: Iterable[tuple[Any, ...]], n_jobs: int
) -> Iterable[T]:
    """Tasks one after the other, or in processes of their own; in order either way."""
    if n_jobs == 1:
        return (run(*task) for task in tasks)
    from joblib import Parallel, delayed

    return Parallel(n_jobs=n_jobs, return_as="generator")(delayed(run)(*task) for task in tasks)


def fitted(fold: PreparedFold, make: Make, all_genes: bool = True) -> Any:
    """A generator with the seed that the strict protocol gives to this fold, fitted to it."""
    return make(fold.generator_seed).fit(fold.train if all_genes else fold.variable)


def named(fold: PreparedFold, table: pd.DataFrame) -> pd.DataFrame:
    """``table`` with the number of the fold and the sizes of its parts."""
    n_train, n_test = fold.sizes
    return table.assign(repeat=fold.repeat, fold=fold.fold, n_train=n_train, n_test=n_test)


def balanced_rows(generator: Any, n_rows: int, like: np.ndarray, rng: np.random.Generator) -> Any:
    """``n_rows`` drawn rows of the classes in ``like``, as many of each class up to one."""
    return generator.sample(n_rows, np.resize(np.unique(like), n_rows).tolist(), rng)
