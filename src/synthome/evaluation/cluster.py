"""Where folds are computed: on this machine, by a Dask scheduler, or in jobs of SLURM.

A job of SLURM is a Dask worker of ``cores`` processes, whose script dask-jobqueue writes. Their
scheduler lives in this process, and the jobs end when it does. Nothing heavy is imported here,
since pipelines read the configuration at start-up.
"""

import logging
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from synthome.config import Config, split_names
from synthome.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

LOGGER = logging.getLogger(__name__)
LOGS = Path("logs/slurm")  # what jobs say, and their certificates; jobs must see this folder
WORKER_SECONDS = 60.0  # until a worker that should be there is asked for
NO_JOB = "Invalid job id"  # what squeue says when all of them are gone
NO_WORKER = (
    "No Dask worker is there, and none came within a minute. Start one on each machine (`dask "
    "worker ADDRESS`) and run this again; finished tasks of a leaderboard are kept."
)


def _text(value: Any) -> Any:
    """Text of a name that is a number, such as an account, which Kedro reads as one."""
    return str(value) if isinstance(value, int) else value


def _memory(value: Any) -> Any:
    if re.fullmatch(r"\d+(\.\d+)?[KMGT]i?B", str(value)):
        return value
    raise ValueError("must be a number with its unit, such as 8GB")


def _walltime(value: Any) -> Any:
    if re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", str(value)):
        return value
    raise ValueError("must be hours:minutes:seconds, in YAML in quotes: '02:00:00', '1-00:00:00'")


# One word each, for they become lines of a batch script.
Word = Annotated[str, BeforeValidator(_text), Field(pattern=r"^\S+$")]
Card = Annotated[str, Field(pattern=r"^[\w.-]+$")]  # a shell reads it
Memory = Annotated[str, BeforeValidator(_memory)]
Walltime = Annotated[str, BeforeValidator(_walltime)]


class SlurmConfig(Config):
    """What is asked of SLURM: at most ``workers`` jobs, each of them one node with ``cores`` tasks.

    ``memory`` and ``walltime`` (``hours:minutes:seconds``, ``days-`` before it) are of one job.
    What is null is what the site has as its default. ``interface`` names the network card that
    nodes and this machine share, such as ``ib0``. ``directives`` are other options of ``sbatch``,
    joined by ``+``. With ``tls``, only holders of the certificates of this run may give work to
    its scheduler; without, everybody on the network of the cluster may.
    """

    workers: PositiveInt = 4
    cores: PositiveInt = 1
    memory: Memory = "8GB"
    walltime: Walltime = "02:00:00"
    queue: Word | None = None
    account: Word | None = None
    interface: Card | None = None
    directives: Annotated[tuple[Word, ...], BeforeValidator(split_names)] = ()
    tls: bool = True


class ClusterConfig(Config):
    """Who computes: processes of this machine, or jobs of SLURM.

    With ``scheduler``, the address of one such as ``tcp://host:8786``, it is that Dask scheduler,
    whatever ``kind`` says.
    """

    kind: Literal["local", "slurm"] = "local"
    scheduler: Word | None = None
    slurm: SlurmConfig = SlurmConfig()

    @property
    def is_local(self) -> bool:
        """Whether processes of this machine do the work."""
        return self.kind == "local" and self.scheduler is None


LOCAL = ClusterConfig()


@contextmanager
def slurm_cluster(config: SlurmConfig, n_tasks: int) -> Iterator[Any]:
    """A Dask cluster whose jobs wait in the queue of SLURM, no more of them than have a task.

    Raises
    ------
    InputError
        If dask-jobqueue is not installed, there is no ``sbatch``, or SLURM refuses such a job.
    """
    from distributed.core import Status

    try:
        from dask_jobqueue import SLURMCluster
    except ModuleNotFoundError as error:
        if error.name != "dask_jobqueue":
            raise
        raise InputError(
            "Jobs of SLURM are made by dask-jobqueue, which is not installed: "
            'pip install -e ".[slurm]". Or leave out --env=slurm (cluster=slurm) to compute here.'
        ) from error
    if shutil.which("sbatch") is None:
        raise InputError(
            "There is no sbatch on the PATH of this machine, so that no job can be given to SLURM. "
            "Run this on a login node of the cluster (with `module load slurm` where it is a "
            "module), or leave out --env=slurm (cluster=slurm) to compute here."
        )
    logs = LOGS.absolute()
    logs.mkdir(parents=True, exist_ok=True)
    with SLURMCluster(
        cores=config.cores,
        processes=config.cores,  # a task each, which has its memory and its log to itself
        memory=config.memory,
        walltime=config.walltime,
        queue=config.queue,
        account=config.account,
        interface=config.interface,
        job_extra_directives=list(config.directives),
        job_name="synthome",
        log_directory=str(logs),
        security=config.tls or None,
        shared_temp_directory=str(logs),
        scheduler_options={"dashboard": False, "dashboard_address": ":0"},
    ) as cluster:
        _try(cluster.job_script())
        n_jobs = min(config.workers, math.ceil(n_tasks / config.cores))
        cluster.scale(jobs=n_jobs)
        LOGGER.info("      jobs given to SLURM: %d; what they say is in %s", n_jobs, LOGS)
        try:
            yield cluster
        finally:
            for job in list(cluster.workers.values()):
                job.status = Status.closing  # Dask insists, of jobs that were not taken too


def _try(script: str) -> None:
    """Let SLURM look at a script that it need not run: what Dask submits fails in silence."""
    with TemporaryDirectory(prefix="synthome-") as folder:
        path = Path(folder, "job.sh")
        path.write_text(script, encoding="utf-8")
        command = ["sbatch", "--test-only", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            f"SLURM does not take such a job: {_last_line(done.stderr)}. Change queue, account, "
            "walltime, memory, cores or directives, in --params or in conf/slurm/parameters.yml; "
            "`sinfo` lists the queues (partitions)."
        )


def wait_for_worker(client: "Client") -> None:
    """Wait until there is a worker, for as long as a job that may become one is in the queue.

    Raises
    ------
    InputError
        If nothing is left to wait for.
    """
    while True:
        with suppress(TimeoutError):
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
            return
        jobs = getattr(client.cluster, "workers", {}).values()
        ids = [str(job.job_id) for job in jobs if getattr(job, "job_id", None)]
        if not _queued(ids):
            raise InputError(_gone() if hasattr(client.cluster, "job_script") else NO_WORKER)
        LOGGER.info("      waiting for SLURM to start one of the jobs %s", ", ".join(ids))


def _queued(ids: list[str]) -> bool:
    """Whether one of these jobs waits or runs; so they do when SLURM is too busy to say."""
    if not ids:
        return False
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={','.join(ids)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) if done.returncode == 0 else NO_JOB not in done.stderr


def _gone() -> str:
    return (
        "No job of this run is left in the queue of SLURM, and no worker is there. Either the jobs "
        "were at the end of their walltime: ask for more of it and run this again; finished tasks "
        f"of a leaderboard are kept. Or they could not start: {LOGS}/*.err says why. A node must "
        f"see {sys.executable} and {LOGS.absolute()}, and must reach this machine (interface=ib0 "
        "names a network card)."
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["it gave no reason"]
    return lines[-1].rstrip(".")
