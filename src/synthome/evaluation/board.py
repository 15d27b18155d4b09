"""The leaderboard: every generator on the same folds, one task for each generator and fold.

Beside the generators stand three references, made by the same code: ``real`` rows (the ceiling),
``independent_noise`` (the floor) and ``copies`` (the cheat). All generators are fitted to the
variable genes of the training rows. One that fails is a row with its reason, and the others go on.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from threadpoolctl import threadpool_limits

from synthome.errors import InputError, NotApplicable
from synthome.evaluation.arms import ATTACK_COLUMNS
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.fit_once import FitOnce
from synthome.evaluation.fold import (
    MODEL,
    PreparedFold,
    folds_of,
    labelled_rows,
    score_generator,
    score_real,
)
from synthome.evaluation.memory import peak_megabytes, reset_peak
from synthome.evaluation.parts import (
    code_digest,
    cohort_digest,
    fingerprint,
    read_part,
    write_part,
)
from synthome.evaluation.workers import Work, finished
from synthome.models.registry import Architecture
from synthome.preprocessing.transform import TransformConfig
from synthome.progress import progress

REAL = "real"
REFERENCES = {REAL: "ceiling", "independent_noise": "floor", "copies": "cheat"}
LONGEST_FIRST = ("gan", "wgan_gp", "published_vae", "rare_vae")
Status = Literal["ok", "failed", "not applicable"]
OK: Status = "ok"
FAILED: Status = "failed"
NOT_APPLICABLE: Status = "not applicable"
TIMES = ("fit_cpu", "fit_wall", "sample_cpu", "sample_wall")
RUN_COLUMNS = [
    "generator", "repeat", "fold", "status", "reason", *TIMES, "peak_megabytes", "n_genes",
]  # fmt: skip
SCORE_COLUMNS = ["generator", "repeat", "fold", "metric", "value", "n_train", "n_test"]


@dataclass(frozen=True)
class Task:
    """One generator on one fold."""

    generator: str
    repeat: int
    fold: int

    @property
    def part(self) -> str:
        """Name of its files."""
        return f"{self.generator}-{self.repeat}-{self.fold}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a task gave: scores and attacks when it is ok, else a reason."""

    task: Task
    status: Status
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    attacks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=ATTACK_COLUMNS))
    usage: dict[str, float] = field(default_factory=dict)  # seconds and megabytes
    n_train: int = 0
    n_test: int = 0
    n_genes: int = 0


@dataclass(frozen=True, eq=False)
class Board:
    """Three tables, in the order of the generators and folds.

    Attributes
    ----------
    fold_scores
        generator, repeat, fold, metric, value, n_train, n_test.
    attack_scores
        generator, repeat, fold, and ``ATTACK_COLUMNS``; ``sample`` is a row of the cohort.
    runs
        One row per task: generator, repeat, fold, status, reason, seconds, memory, genes.
    """

    fold_scores: pd.DataFrame
    attack_scores: pd.DataFrame
    runs: pd.DataFrame


def run_board(
    adata: AnnData,
    generators: Mapping[str, Architecture],
    transform: TransformConfig,
    config: EvaluationConfig,
    parts: Path,
) -> Board:
    """Fit and score every generator and the references on every fold.

    Parameters
    ----------
    adata
        The cohort on its own scale, with folds; rows without a label are left out.
    config
        ``n_jobs`` tasks run at a time, each in a process of its own; with 1, in this one. The
        workers of ``cluster``, where it is not local, take the place of these processes.
    parts
        Folder for finished tasks. Those that are there already are not computed again; a task
        that failed is tried again.
    """
    adata, rows = labelled_rows(adata)
    folds = folds_of(adata)
    references = {name: Architecture(generator=name) for name in REFERENCES if name != REAL}
    made: dict[str, Architecture | None] = {REAL: None, **references, **generators}
    tasks = [Task(name, *fold) for name in made for fold in folds]
    cohort = cohort_digest(adata)
    folders = {
        name: parts / _fingerprint(cohort, name, architecture, transform, config)
        for name, architecture in made.items()
    }
    done = {task: found for task in tasks if (found := _read(folders[task.generator], task))}
    todo = _grouped(made, [task for task in tasks if task not in done])
    work = Work(
        prepare=_prepare,
        run=run_group,
        lost=_lost,
        shared=(adata, rows, transform, config),
        keys={group: (group[0].repeat, group[0].fold) for group in todo},
        arguments={group: [made[task.generator] for task in group] for group in todo},
    )
    with (
        progress(range(len(tasks)), "leaderboard") as counted,
        closing(finished(work, todo, config.n_jobs, config.cluster)) as outcomes,
    ):
        counted.advance(len(done))
        for outcome in chain.from_iterable(outcomes):
            if outcome.status != FAILED:
                _write(folders[outcome.task.generator], outcome)
            done[outcome.task] = outcome
            counted.note(f"{outcome.task.generator}: {outcome.status}")
            counted.advance()
    return _board([done[task] for task in tasks])


@dataclass(frozen=True, eq=False)
class BoardFold:
    """A prepared fold without what generators are not fitted to, and the rows of its samples."""

    fold: PreparedFold
    config: EvaluationConfig
    row: pd.Series  # sample -> row of the cohort


def _prepare(
    shared: tuple[AnnData, np.ndarray, TransformConfig, EvaluationConfig], key: tuple[int, int]
) -> BoardFold:
    adata, rows, transform, config = shared
    with threadpool_limits(1):
        fold = PreparedFold.of(adata, transform, config, *key)
    return BoardFold(fold.without_other_genes(), config, pd.Series(rows, index=adata.obs_names))


Group = tuple[Task, ...]  # of one fold, whose generators differ by their temperature alone


def run_group(
    group: Group, board: BoardFold, architectures: Sequence[Architecture | None]
) -> list[Outcome]:
    """The tasks of a group, one after the other."""
    once = FitOnce() if len(group) > 1 else None
    return [
        run_task(task, board, architecture, once)
        for task, architecture in zip(group, architectures, strict=True)
    ]


def run_task(
    task: Task, board: BoardFold, architecture: Architecture | None, once: FitOnce | None = None
) -> Outcome:
    """Fit, draw and score; whatever goes wrong with the generator becomes a reason."""
    fold, config = board.fold, board.config
    facts: dict[str, Any] = dict(zip(("n_train", "n_test"), fold.sizes, strict=True))
    facts["n_genes"] = fold.variable.n_vars
    reset_peak()
    try:
        with threadpool_limits(1):  # the same sums, whoever computes them
            if architecture is None:
                (scores, attacks), seconds = score_real(fold, config), dict.fromkeys(TIMES, 0.0)
            else:
                # Floor and cheat draw as they do beside a single generator.
                stream = REFERENCES.get(task.generator, MODEL)
                make = architecture.build if once is None else once.maker(architecture)
                (scores, attacks), seconds = score_generator(
                    fold, fold.variable, make, config, stream
                )
                seconds = seconds if once is None else once.share(seconds)
    except NotApplicable as error:
        return Outcome(task, NOT_APPLICABLE, _reason(error), **facts)
    except Exception as error:
        return Outcome(task, FAILED, _reason(error), **facts)
    attacks = attacks.assign(sample=board.row.loc[attacks["sample"]].to_numpy())
    usage = seconds | {"peak_megabytes": peak_megabytes()}
    return Outcome(task, OK, "", scores, attacks, usage, **facts)


def _lost(group: Group, error: BaseException) -> list[Outcome]:
    """The process of a group is gone, and with it the reason."""
    reason = (
        f"Its process ended before its time ({type(error).__name__}), most likely because the "
        "memory of the machine was used up: lower n_jobs. A job of SLURM may have been at the end "
        "of its walltime or memory: ask for more, and run this again."
    )
    return [Outcome(task, FAILED, reason) for task in group]


def _grouped(made: Mapping[str, Architecture | None], tasks: Iterable[Task]) -> list[Group]:
    """Tasks that can share a fit together, the longest first."""
    groups: dict[Any, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: _rank(made, task)):
        groups.setdefault((_family(task.generator, made), task.repeat, task.fold), []).append(task)
    return [tuple(group) for group in groups.values()]


def _family(name: str, made: Mapping[str, Architecture | None]) -> str:
    """The same for generators that are one but for the temperature at which they are drawn from.

    Only a temperature in the options counts: left out, it may mean one that the fit works out.
    """
    architecture = made[name]
    if architecture is None or architecture.options.get("temperature") is None:
        return name
    others = {key: value for key, value in architecture.options.items() if key != "temperature"}
    return fingerprint(architecture.generator, others)


def _reason(error: Exception) -> str:
    """One line; the type of an error that was not written for people comes first."""
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"[:500]


def _rank(made: Mapping[str, Architecture | None], task: Task) -> tuple[int, int, int]:
    """Long tasks first, so that none is left to run alone at the end."""
    architecture = made[task.generator]
    name = architecture.generator if architecture is not None else REAL
    place = LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)
    return place, task.repeat, task.fold


def _fingerprint(
    cohort: str,
    name: str,
    architecture: Architecture | None,
    transform: TransformConfig,
    config: EvaluationConfig,
) -> str:
    """Of everything that decides the outcome of a generator; the options with their defaults."""
    options = {} if architecture is None else architecture.checked().model_dump(mode="json")
    return fingerprint(
        cohort,
        name,
        None if architecture is None else architecture.generator,
        options,
        transform.model_dump(mode="json"),
        config.model_dump(mode="json", exclude={"n_jobs", "n_bootstrap"}),
        code_digest(),
    )


def _write(folder: Path, outcome: Outcome) -> None:
    facts = {key: value for key, value in vars(outcome).items() if key != "attacks"}
    write_part(folder, outcome.task.part, facts | {"task": asdict(outcome.task)}, outcome.attacks)


def _read(folder: Path, task: Task) -> Outcome | None:
    found = read_part(folder, task.part)
    if found is None:
        return None
    facts, attacks = found
    return Outcome(attacks=attacks, **facts | {"task": task})


def _board(outcomes: Iterable[Outcome]) -> Board:
    scores, attacks, runs = [], [], []
    for outcome in outcomes:
        place = asdict(outcome.task)
        sizes = (outcome.n_train, outcome.n_test)
        scores += [(*place.values(), *item, *sizes) for item in outcome.scores.items()]
        if len(outcome.attacks):
            attacks.append(outcome.attacks.assign(**place))
        told = {"status": outcome.status, "reason": outcome.reason, "n_genes": outcome.n_genes}
        runs.append(place | told | outcome.usage)
    columns = ["generator", "repeat", "fold", *ATTACK_COLUMNS]
    attacked = pd.concat(attacks, ignore_index=True) if attacks else pd.DataFrame(columns=columns)
    return Board(
        pd.DataFrame(scores, columns=SCORE_COLUMNS),
        attacked[columns],
        pd.DataFrame(runs, columns=RUN_COLUMNS),
    )
