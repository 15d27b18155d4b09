"""MLflow in a process of its own: nothing waits for it, nothing is lost with it."""

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import asdict
from textwrap import dedent

import pytest
from mlflow import MlflowClient

from synthome.errors import InputError
from synthome.tracking.helper import serve
from synthome.tracking.launch import Helper, Opening, RemoteRun, start_run
from synthome.tracking.records import Metrics, Point, Tags, dumps
from synthome.tracking.store import TrackedRun


@pytest.fixture
def opening(tmp_path, empty_database):
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return Opening(uri, "synthome", str(tmp_path / "mlruns"), "run", {"host": "x"})


def runs(opening):
    client = MlflowClient(opening.uri)
    found = client.get_experiment_by_name("synthome")
    return client.search_runs([found.experiment_id]) if found else []


def talk(*messages):
    answers = []
    serve([json.dumps(message) for message in messages], answers.append)
    return answers


def test_the_helper_writes_what_it_is_told(opening):
    records = [dumps(Metrics([Point("a/b", 0.5)])), dumps(Tags({"c": "d"}))]
    answers = talk(["open", asdict(opening)], ["write", records], ["close", "FINISHED"])
    (run,) = runs(opening)
    assert answers == [{"run": run.info.run_id}, {"problems": []}]
    assert (run.info.status, run.data.metrics, run.data.tags["c"]) == (
        "FINISHED", {"a/b": 0.5}, "d",
    )  # fmt: skip


def test_the_helper_takes_one_run_after_another(opening):
    one = [["open", asdict(opening)], ["close", "FINISHED"]]
    assert len(talk(*one, *one)) == 4
    assert len(runs(opening)) == 2


def test_input_that_ends_without_a_close_is_a_killed_run(opening):
    """The process that was computing is gone, for instance because memory ran out."""
    talk(["open", asdict(opening)], ["write", [dumps(Tags({"c": "d"}))]])
    (run,) = runs(opening)
    assert (run.info.status, run.data.tags["c"]) == ("KILLED", "d")


def test_a_store_that_cannot_be_used_is_answered_and_the_rest_is_dropped(opening):
    wrong = {**asdict(opening), "uri": "file:///nowhere"}
    answers = talk(["open", wrong], ["write", [dumps(Tags({"c": "d"}))]], ["close", "FAILED"])
    assert "cannot be used" in answers[0]["error"]
    assert answers[1] == {"problems": []}


def test_what_could_not_be_written_is_told_when_the_run_closes(opening, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(TrackedRun, "_write_one", fail)
    answers = talk(["open", asdict(opening)], ["write", [dumps(Tags({}))]], ["close", "FINISHED"])
    (problem,) = answers[1]["problems"]
    assert "disk full" in problem


class Told:
    """A helper that answers from a script."""

    def __init__(self, *answers):
        self.answers, self.sent, self.retired = list(answers), [], False

    def send(self, verb, content):
        self.sent.append(verb)

    def answer(self):
        return self.answers.pop(0)

    def retire(self):
        self.retired = True


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING, logger="synthome")
    return lambda: [record.getMessage() for record in caplog.records]


def remote(opening, *answers):
    helper = Told(*answers)
    run = RemoteRun.__new__(RemoteRun)
    run._helper, run._opened = helper, None
    return run, helper


def test_opening_and_writing_wait_for_nothing(opening):
    """There is no answer to wait for yet."""
    run, helper = remote(opening)
    run.write([Tags({"a": "b"})])
    assert helper.sent == ["write"]


def test_closing_tells_what_went_wrong(opening, warned):
    run, _ = remote(opening, {"run": "1"}, {"problems": ["a figure is missing"]})
    assert run.close("FINISHED")
    assert warned() == ["a figure is missing"]


def test_a_run_that_was_never_opened_is_told_at_its_end(opening, warned):
    run, _ = remote(opening, {"error": "the experiment was deleted"})
    assert not run.close("FINISHED")
    assert warned() == ["This run is not tracked. the experiment was deleted"]


def test_bad_news_do_not_wait(opening):
    """The error page appears at once; the helper finishes alone and takes no other run."""
    run, helper = remote(opening)
    assert not run.close("FAILED", wait=False)
    assert (helper.sent, helper.retired) == (["close"], True)


@pytest.fixture
def helper(monkeypatch):
    """A real process, with a stand-in for the module that it runs."""
    started = []

    def start(code):
        real = subprocess.Popen
        monkeypatch.setattr(
            "synthome.tracking.launch.subprocess.Popen",
            lambda args, **kwargs: real([sys.executable, "-c", dedent(code)], **kwargs),
        )
        started.append(Helper())
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_a_helper_that_dies_is_told_with_its_last_words(helper, opening, warned):
    dying = helper("import sys; sys.exit('no module named mlflow')")
    run = RemoteRun(dying, opening)
    dying._process.wait()
    run.write([Tags({"a": "b"})] * 1000)
    assert not run.close("FINISHED")
    (warning,) = warned()
    assert "ended before its time (no module named mlflow)" in warning
    assert not dying.is_free


def test_a_named_store_is_waited_for(helper, opening):
    code = """
        import sys, time
        sys.stdin.readline(); time.sleep(0.3); print('{"error": "no such store"}', flush=True)
        sys.stdin.readline(); print('{"problems": []}', flush=True)
    """
    with pytest.raises(InputError, match="no such store"):
        start_run(opening, helper(code), required=True)


def test_a_slow_helper_holds_nothing_up(helper, opening):
    """Two seconds of import happen beside the run; a large history fits into the pipe's reader."""
    from synthome.tracking import helper as module

    slow = helper(
        f"""
        import runpy, sys, time
        sys.argv = [{module.__file__!r}]
        import synthome.tracking.helper as helper
        def serve(lines, answer):
            time.sleep(1.0)
            answer({{"run": "1"}})
            n = 0
            for line in lines:
                n += len(line)
                if line.startswith('["close"'):
                    answer({{"problems": [str(n)]}})
        helper.serve = serve
        helper.main()
        """
    )
    start = time.monotonic()
    run = RemoteRun(slow, opening)
    run.write([Metrics([Point("loss", 0.5, i) for i in range(20_000)])])
    sent = time.monotonic() - start
    assert run.close("FINISHED")
    assert time.monotonic() - start > 1.0
    assert sent < 1.0 or os.getloadavg()[0] > 2


def test_the_helper_answers_through_a_line_of_its_own(opening):
    """Whatever a library prints cannot get between the answers."""
    code = """
        import synthome.tracking.helper as helper
        def serve(lines, answer):
            for line in lines:
                print("noise")
                answer({"run": "1"})
        helper.serve = serve
        helper.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        input='["open", 1]\n',
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == '{"run": "1"}\n'
    assert done.stderr == "noise\n"
