"""Tasks that share prepared data: the same results here and on workers, and a worker that dies."""

import os
import time

import pytest

from synthome.errors import InputError
from synthome.evaluation.cluster import ClusterConfig
from synthome.evaluation.workers import Work, finished

NOBODY = ClusterConfig(scheduler="tcp://127.0.0.1:1")
TASKS = ["a0", "b1", "c0", "d1"]


def work(run, prepared):
    """``prepared`` counts what ``prepare`` was asked for, in this process."""

    def prepare(shared, key):
        prepared.append(key)
        return shared * key

    return Work(
        prepare=prepare,
        run=run,
        lost=lambda task, error: (task, type(error).__name__),
        shared=10,
        keys={task: int(task[1]) for task in TASKS},
        arguments={task: f"<{task}>" for task in TASKS},
    )


def tell(task, prepared, argument):
    return task, prepared, argument, os.getpid()


def test_each_task_meets_what_was_prepared_for_its_key_once():
    prepared: list[int] = []
    found = list(finished(work(tell, prepared), TASKS))
    own = os.getpid()
    assert found == [
        ("a0", 0, "<a0>", own), ("b1", 10, "<b1>", own), ("c0", 0, "<c0>", own),
        ("d1", 10, "<d1>", own),
    ]  # fmt: skip
    assert prepared == [0, 1]


def test_nothing_to_do_starts_nothing():
    assert list(finished(work(tell, []), [], n_jobs=2, cluster=NOBODY)) == []


def test_a_scheduler_that_does_not_answer_is_told_as_such(monkeypatch):
    monkeypatch.setattr("synthome.evaluation.workers.CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"scheduler tcp://127.0.0.1:1 does not answer"):
        list(finished(work(tell, []), TASKS, cluster=NOBODY))


@pytest.mark.slow
def test_workers_give_the_same_as_this_process_and_say_nothing(capfd):
    """In processes of their own, whose lines would run into those of the page."""

    def loud(task, prepared, argument):
        import sys

        print("a bar", file=sys.stderr)
        return task, prepared, argument, os.getpid()

    found = sorted(finished(work(loud, []), TASKS, n_jobs=2))
    assert [item[:3] for item in found] == [
        ("a0", 0, "<a0>"), ("b1", 10, "<b1>"), ("c0", 0, "<c0>"), ("d1", 10, "<d1>"),
    ]  # fmt: skip
    processes = {item[3] for item in found}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_worker_that_dies_takes_one_task_with_it():
    """As when the memory of the machine is used up; the others go on, on a new process."""

    def run(task, prepared, argument):
        if task == "b1":
            os._exit(9)
        time.sleep(0.1)
        return task, prepared

    found = dict(finished(work(run, []), TASKS, n_jobs=2))
    assert found.pop("b1") == "KilledWorker"
    assert found == {"a0": 0, "c0": 0, "d1": 10}


@pytest.mark.slow
def test_workers_that_come_late_get_work(cluster):
    """Jobs leave the queue of a cluster one by one; a lone first one must not do it all."""
    tasks = [f"{letter}0" for letter in "abcdef"]

    def run(task, prepared, argument):
        time.sleep(0.3)
        return os.getpid()

    made = Work(lambda shared, key: key, run, lambda *_: None, 0, dict.fromkeys(tasks, 0),
                dict.fromkeys(tasks))  # fmt: skip
    results = finished(made, tasks, cluster=ClusterConfig(scheduler=cluster.scheduler_address))
    first = next(results)
    cluster.scale(2)
    cluster.wait_for_workers(2)
    later = list(results)
    assert len(later) == 5
    assert len({first, *later}) == 2
