"""Tasks that share prepared data, in this process or on Dask workers, one result at a time.

A task goes to a worker only when that worker is free, so that the order given is the order of work
and the end is not spent waiting for one queue. Dask is imported when it is needed.
"""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from synthome.errors import InputError
from synthome.evaluation.cluster import LOCAL, ClusterConfig, slurm_cluster, wait_for_worker

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10.0
SETTINGS = {
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",  # of the workers
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.allowed-failures": 0,  # what killed one worker would kill the next
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.admin.large-graph-warning-threshold": "1GiB",
}


@dataclass(frozen=True, eq=False)
class Work:
    """``run(task, prepare(shared, keys[task]), arguments[task])`` for each task.

    ``prepare`` is called once for each key. ``lost`` says what becomes of a task whose worker is
    gone; an exception of ``run`` or ``prepare`` itself ends everything.
    """

    prepare: Callable[[Any, Any], Any]
    run: Callable[[Any, Any, Any], Any]
    lost: Callable[[Any, BaseException], Any]
    shared: Any
    keys: Mapping[Any, Hashable]
    arguments: Mapping[Any, Any]


def finished(
    work: Work, tasks: Sequence[Any], n_jobs: int = 1, cluster: ClusterConfig = LOCAL
) -> Generator[Any, None, None]:
    """Results as they come: in order in this process, else in the order in which tasks end.

    ``n_jobs`` are processes of this machine, where ``cluster`` says that they do the work.
    """
    n_jobs = min((os.cpu_count() or 1) if n_jobs == -1 else max(n_jobs, 1), max(len(tasks), 1))
    if not tasks:
        return
    if cluster.is_local and n_jobs == 1:
        yield from _here(work, tasks)
        return
    with _client(cluster, n_jobs, len(tasks)) as client:
        yield from _on(client, work, tasks)


def _here(work: Work, tasks: Sequence[Any]) -> Iterator[Any]:
    prepared: dict[Hashable, Any] = {}
    for task in tasks:
        key = work.keys[task]
        if key not in prepared:
            prepared[key] = work.prepare(work.shared, key)
        yield work.run(task, prepared[key], work.arguments[task])


def _on(client: "Client", work: Work, tasks: Sequence[Any]) -> Iterator[Any]:
    from distributed import as_completed

    shared = _everywhere(client, work.shared)
    prepared: dict[Hashable, Future] = {}
    waiting, flying = deque(tasks), dict[Any, tuple[Any, str]]()
    results = as_completed(loop=client.loop)

    def send(worker: str) -> None:
        task = waiting.popleft()
        key = work.keys[task]
        where: dict[str, Any] = {"workers": [worker], "allow_other_workers": True, "pure": False}
        if key not in prepared:
            prepared[key] = client.submit(quietly, work.prepare, shared, key, **where)
        given = (task, prepared[key], work.arguments[task])
        future = client.submit(quietly, work.run, *given, **where)
        flying[future] = (task, worker)
        results.add(future)

    for address, threads in _workers(client).items():
        for _ in range(min(threads, len(waiting))):
            send(address)
    for future in results:
        task, worker = flying.pop(future)
        try:
            result = future.result()
        except Exception as error:
            if not _is_lost(error):
                raise
            shared = _everywhere(client, work.shared)  # all may have gone with the worker
            prepared.clear()
            result = work.lost(task, error)
        future.release()
        if waiting:
            busy = [address for _, address in flying.values()]
            free = [
                name
                for name, threads in _workers(client).items()
                for _ in range(threads - busy.count(name))
            ]
            # All of them, for some may have come late; first the one whose data are prepared.
            for name in sorted(free, key=lambda name: name != worker)[: len(waiting)]:
                send(name)
        yield result


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` on a worker, whose lines and bars would run into those of the page."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(StringIO()):
            return function(*arguments)
    finally:
        logging.disable(logging.NOTSET)


def _everywhere(client: "Client", data: Any) -> "Future":
    _workers(client)
    return client.scatter(data, broadcast=True, hash=False)


def _workers(client: "Client") -> dict[str, int]:
    """Threads by address; waits for a worker that is queued, or being started again."""
    wait_for_worker(client)
    return dict(client.nthreads())


def _is_lost(error: Exception) -> bool:
    from distributed import CancelledError, KilledWorker
    from distributed.client import FutureCancelledError

    return isinstance(error, (KilledWorker, CancelledError, FutureCancelledError))


@contextmanager
def _client(cluster: ClusterConfig, n_jobs: int, n_tasks: int) -> Iterator["Client"]:
    """A client of a scheduler, or of jobs or processes that live as long as the block."""
    import dask
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        stack.enter_context(_silent(logging.getLogger("distributed")))
        address: Any = cluster.scheduler
        if cluster.is_local:
            folder = stack.enter_context(TemporaryDirectory(prefix="synthome-"))
            with _interrupts_ignored():
                processes = LocalCluster(
                    n_workers=n_jobs,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,  # no limit: the tasks are few and known
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    local_directory=folder,
                    silence_logs=False,
                )
            address = stack.enter_context(processes)
        elif address is None:
            address = stack.enter_context(slurm_cluster(cluster.slurm, n_tasks))
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"The Dask scheduler {cluster.scheduler} does not answer ({_first_line(error)}). "
                "Start it (`dask scheduler`, then `dask worker` for each machine), or leave out "
                "scheduler to use the cores of this machine."
            ) from error
        stack.enter_context(client)
        yield client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start now never hear of Ctrl-C: this one does, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """What Dask has to say of itself is not for the page; what goes wrong is raised."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
