"""An experiment on every fold, one after the other or several at a time."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.errors import InputError
from synthome.evaluation.cluster import LOCAL, ClusterConfig
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.fold import PreparedFold, folds_of, labelled_rows
from synthome.evaluation.workers import Work, finished
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
    of their own; with ``config.cluster``, on its workers.
    """
    adata, _ = labelled_rows(adata)
    tasks = [task for task in folds_of(adata) if n_repeats is None or task[0] < n_repeats]
    one = partial(_one_fold, run, adata, transform, config)
    return in_order(one, tasks, config.n_jobs, description, config.cluster)


def _one_fold(
    run: Callable[[PreparedFold], T],
    adata: AnnData,
    transform: TransformConfig,
    config: EvaluationConfig,
    repeat: int,
    fold: int,
) -> T:
    return run(PreparedFold.of(adata, transform, config, repeat, fold))


def in_order(
    run: Callable[..., T],
    tasks: list[tuple[Any, ...]],
    n_jobs: int,
    description: str,
    cluster: ClusterConfig = LOCAL,
) -> list[T]:
    """Results of all tasks, in their order, with a word on how far they are."""
    with progress(range(len(tasks)), description) as counted:
        found = in_parallel(run, tasks, n_jobs, cluster)
        return [result for _, result in zip(counted, found, strict=True)]


def in_parallel(
    run: Callable[..., T],
    tasks: Iterable[tuple[Any, ...]],
    n_jobs: int,
    cluster: ClusterConfig = LOCAL,
) -> Iterable[T]:
    """Tasks one after the other, in processes of their own, or on a cluster; in order always."""
    if not cluster.is_local:
        return _on_workers(run, list(tasks), cluster)
    if n_jobs == 1:
        return (run(*task) for task in tasks)
    from joblib import Parallel, delayed

    return Parallel(n_jobs=n_jobs, return_as="generator")(delayed(run)(*task) for task in tasks)


def _on_workers(
    run: Callable[..., T], tasks: list[tuple[Any, ...]], cluster: ClusterConfig
) -> Iterator[T]:
    """Results in order, each as soon as those before it are there."""
    work = Work(
        prepare=_as_it_is,
        run=_numbered,
        lost=_lost,
        shared=run,
        keys=dict.fromkeys(range(len(tasks)), 0),
        arguments=dict(enumerate(tasks)),
    )
    early: dict[int, T] = {}
    next_one = 0
    with closing(finished(work, range(len(tasks)), cluster=cluster)) as results:
        for number, result in results:
            early[number] = result
            while next_one in early:
                yield early.pop(next_one)
                next_one += 1


def _as_it_is(shared: Callable[..., T], _: int) -> Callable[..., T]:
    return shared


def _numbered(number: int, run: Callable[..., T], task: tuple[Any, ...]) -> tuple[int, T]:
    return number, run(*task)


def _lost(number: int, error: BaseException) -> None:
    raise InputError(
        f"The worker of task {number + 1} is gone ({type(error).__name__}): its memory or its time "
        "was used up. Ask for more of either (memory=16GB, walltime=08:00:00) and run this again."
    ) from error


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
