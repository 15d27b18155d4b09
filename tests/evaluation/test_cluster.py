"""Jobs of SLURM, on a machine that has none: what is asked for, what runs, and what is said."""

import os
import sys
import time
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import slurm_stand_in
from pydantic import ValidationError

from synthome.errors import InputError
from synthome.evaluation import cluster as module
from synthome.evaluation.board import run_board
from synthome.evaluation.cluster import ClusterConfig, SlurmConfig, slurm_cluster
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.curves import published_seeds
from synthome.evaluation.parallel import on_each_fold
from synthome.evaluation.protocol import cross_validate
from synthome.evaluation.published import PublishedConfig
from synthome.evaluation.workers import Work, finished
from synthome.models.registry import Architecture
from synthome.preprocessing.transform import TransformConfig

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def stand_in(monkeypatch):
    """A dask-jobqueue that is small."""
    stand_in = ModuleType("dask_jobqueue")
    stand_in.SLURMCluster = slurm_stand_in.SLURMCluster
    monkeypatch.setitem(sys.modules, "dask_jobqueue", stand_in)


@pytest.fixture(params=["stand-in", "dask_jobqueue"])
def jobqueue(request):
    """The stand-in, and the real one where it is installed."""
    if request.param == "stand-in":
        request.getfixturevalue("stand_in")
    else:
        pytest.importorskip(request.param)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """The folder of the jobs of a SLURM on this machine; what it leaves running is ended."""
    commands, queue = tmp_path / "bin", tmp_path / "queue"
    for folder in (commands, queue):
        folder.mkdir()
    slurm_stand_in.install_commands(commands)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(queue))
    monkeypatch.chdir(tmp_path)
    yield queue
    for path in queue.glob("*.pid"):
        os.killpg(int(path.read_text()), 15)


def scripts(queue):
    return [path.read_text() for path in sorted(queue.glob("*.sh"))]


def until(what, seconds=10.0):
    """Whether it comes true."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def work(run, tasks):
    return Work(
        prepare=lambda shared, key: shared * key,
        run=run,
        lost=lambda task, error: (task, type(error).__name__),
        shared=10,
        keys={task: task % 2 for task in tasks},
        arguments=dict.fromkeys(tasks),
    )


def slurm(**given):
    return ClusterConfig(kind="slurm", slurm=SlurmConfig(**given))


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": "8"},
        {"memory": 8},
        {"walltime": 7200},  # what YAML makes of 02:00:00 without quotes
        {"walltime": "120"},
        {"queue": "short queue"},
        {"account": "me\nrm -r ."},
        {"interface": "ib0;ls"},
        {"directives": "--qos=short\nls"},
        {"workers": 0},
        {"partition": "short"},
    ],
)
def test_what_would_break_a_batch_script_is_refused(wrong):
    """These become lines of a script that a shell runs; SLURM would tell hours later, or never."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SlurmConfig(**wrong)


def test_what_comes_from_the_command_line_is_read():
    """Kedro makes numbers of accounts that look like one, and splits --params at commas."""
    config = SlurmConfig(account=1234, directives="--qos=short+--exclusive", walltime="1-02:00:00")
    assert config.account == "1234"
    assert config.directives == ("--qos=short", "--exclusive")


def test_an_address_does_the_work_whatever_the_kind():
    """scheduler=ADDRESS is the same parameter in every environment."""
    assert ClusterConfig().is_local
    assert not ClusterConfig(scheduler="tcp://host:8786").is_local
    assert not slurm().is_local


def test_where_folds_run_is_not_part_of_what_is_recorded():
    """No score depends on it: fingerprints of finished tasks, reports and MLflow leave it out."""
    local, elsewhere = EvaluationConfig(), EvaluationConfig(cluster=slurm(account="lab"))
    assert local.model_dump() == elsewhere.model_dump()
    assert elsewhere.cluster.slurm.account == "lab"


def test_without_the_extra_the_message_says_how_to_install_it(queue, monkeypatch):
    """Even where there is a SLURM."""
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(InputError, match=r'pip install -e ".\[slurm\]"'):
        list(finished(work(max, [1]), [1], cluster=slurm()))


@pytest.mark.parametrize("experiment", ["leaderboard", "cross-validation", "study", "published"])
def test_every_experiment_goes_where_it_is_told(experiment, cohort, queue, monkeypatch, tmp_path):
    """Nothing falls back in silence to this machine, which would be the login node."""
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    config = EvaluationConfig(cluster=slurm())
    transform, made = TransformConfig(n_top_genes=40), Architecture(generator="copies")
    run = {
        "leaderboard": lambda: run_board(cohort, {"copies": made}, transform, config, tmp_path),
        "cross-validation": lambda: cross_validate(cohort, made.build, transform, config),
        "study": lambda: on_each_fold(print, cohort, transform, config, "test"),
        "published": lambda: published_seeds(
            cohort, {"copies": made.build}, PublishedConfig(), config.n_jobs, config.cluster
        ),
    }[experiment]
    with pytest.raises(InputError, match=r"\.\[slurm\]"):
        run()


def test_without_sbatch_the_message_says_where_to_run(stand_in, monkeypatch, tmp_path):
    """The usual mistake: a laptop, or a login shell without the module."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no sbatch on the PATH.*login node"):
        list(finished(work(max, [1]), [1], cluster=slurm()))


def test_jobs_ask_for_what_is_configured_and_are_no_more_than_the_tasks(jobqueue, queue):
    """Two jobs of two cores are enough for three tasks; they leave the queue with the block."""
    (queue / "held").touch()
    asked = {"memory": "3GiB", "walltime": "00:10:00", "queue": "short", "account": 77}
    config = SlurmConfig(workers=5, cores=2, directives="--qos=low", **asked)
    with slurm_cluster(config, n_tasks=3) as cluster:
        assert until(lambda: len(list(queue.glob("*.pid"))) == 2)
        assert cluster.scheduler.address.startswith("tls://")
    assert until(lambda: not list(queue.glob("*.pid")))
    assert len(scripts(queue)) == 2
    for script in scripts(queue):
        lines = script.splitlines()
        for line in ("-p short", "-A 77", "--cpus-per-task=2", "-t 00:10:00", "--qos=low"):
            assert f"#SBATCH {line}" in lines
        assert "#SBATCH --mem=3G" in script
        assert "--nthreads 1" in script
        assert "--nworkers 2" in script
        assert "--tls-key" in script
        assert f"{sys.executable} -m distributed.cli.dask_worker" in script


@pytest.mark.slow
def test_tasks_run_in_jobs_and_the_jobs_end_with_them(jobqueue, queue):
    """The whole way: a script, workers in processes of their own, TLS, and results."""

    def tell(task, prepared, argument):
        return task, prepared, os.getpid()

    tasks = [0, 1, 2, 3]
    found = sorted(finished(work(tell, tasks), tasks, cluster=slurm(workers=1, cores=2)))
    assert [item[:2] for item in found] == [(0, 0), (1, 10), (2, 0), (3, 10)]
    assert os.getpid() not in {item[2] for item in found}
    assert len(scripts(queue)) == 1
    assert until(lambda: not list(queue.glob("*.pid")))


def test_a_job_that_slurm_refuses_is_told_in_the_words_of_slurm(stand_in, queue):
    """Dask submits in the background: without a first look, this would wait for ever."""
    with pytest.raises(InputError, match=r"failed: Invalid account. Change queue, account"):
        list(finished(work(max, [1]), [1], cluster=slurm(account="nobody")))
    assert not scripts(queue)


@pytest.mark.parametrize("why", ["broken", "full"])
def test_jobs_that_never_become_workers_are_not_waited_for(why, stand_in, queue, monkeypatch):
    """They ended at once, or there were too many of them for the site."""
    monkeypatch.setattr(module, "WORKER_SECONDS", 1.0)
    (queue / why).touch()
    with pytest.raises(InputError, match=r"No job of this run is left.*logs/slurm/\*\.err"):
        list(finished(work(max, [1]), [1], cluster=slurm()))


def test_jobs_in_the_queue_are_waited_for(stand_in, queue, monkeypatch):
    """A queue of hours is nothing unusual, and not a worker that failed to come."""
    monkeypatch.setattr(module, "WORKER_SECONDS", 0.3)
    (queue / "held").touch()

    class Enough(Exception):
        pass

    def watch(message, *arguments):
        if message.startswith("      waiting"):
            raise Enough(message % arguments)

    monkeypatch.setattr(module.LOGGER, "info", watch)
    with pytest.raises(Enough, match="waiting for SLURM to start one of the jobs 1"):
        list(finished(work(max, [1]), [1], cluster=slurm()))


def test_a_queue_that_does_not_answer_is_not_an_empty_one(queue):
    """The controller of SLURM is restarted now and then, and jobs survive it."""
    assert not module._queued(["1"])
    assert not module._queued([])
    (queue.parent / "bin/squeue").write_text("#!/bin/sh\necho 'Socket timed out' >&2\nexit 1\n")
    assert module._queued(["1"])


def test_the_extra_that_the_message_names_brings_dask_jobqueue():
    """A message that sends people to an extra that is not there helps nobody."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["slurm"] == ["dask-jobqueue>=0.9,<0.10"]
