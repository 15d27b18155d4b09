"""One line for each node, whatever the runner; and the place of a failure."""

import re

import pytest
from kedro.pipeline import Node, Pipeline
from kedro.runner import ThreadRunner

from synthome.hooks.lines import PLACE, RESUME, LineHooks

LINE = re.compile(r"^(\[\d/\d\] \S+) \.\.\. \d+\.\d s$")


def numbered(lines):
    return [found.group(1) for line in lines if (found := LINE.match(line))]


def test_each_node_gets_one_line_with_its_time_and_the_results_are_named(tiny_project):
    lines = tiny_project.run("alpha")
    assert numbered(lines) == ["[1/3] prepare", "[2/3] alpha.train", "[3/3] alpha.score"]
    assert lines[3:5] == ["Written: data/alpha/metrics.json", "Written: data/alpha/report.html"]
    assert re.fullmatch(r"Done in \d+\.\d s\.", lines[5])
    assert len(lines) == 6


def test_a_second_run_in_the_same_process_counts_from_one(tiny_project):
    tiny_project.run("alpha")
    assert numbered(tiny_project.run("alpha"))[0] == "[1/3] prepare"


def test_nodes_are_not_numbered_when_the_runner_leaves_some_out(tiny_project):
    tiny_project.run("alpha")
    (tiny_project.path / "data/alpha/metrics.json").unlink()
    lines = tiny_project.run("alpha", only={"only_missing_outputs": True})
    assert lines[0].startswith("alpha.score ... ")


def test_a_node_that_saves_in_pieces_gets_one_line(caplog):
    """A generator function saves each output more than once."""
    caplog.set_level("INFO", logger="synthome.run")
    node = Node(iter, "source", ["part", "rest"], name="pieces")
    hooks = LineHooks()
    hooks.before_pipeline_run({}, Pipeline([node]))
    hooks.before_node_run(node)
    for name in ["part", "rest"] * 3:
        hooks.before_dataset_saved(name, node)
        hooks.after_dataset_saved(name, node)
    assert [record.getMessage()[:12] for record in caplog.records] == ["[1/1] pieces"]


def test_threads_count_together(tiny_project):
    lines = numbered(tiny_project.run("both", runner=ThreadRunner()))
    assert [line.split("]")[0] for line in lines] == [f"[{i}/5" for i in range(1, 6)]
    assert {line.split()[1] for line in lines} == {
        "prepare", "alpha.train", "beta.train", "alpha.score", "beta.score",
    }  # fmt: skip


def test_a_failing_node_is_named_on_the_error_with_the_way_to_go_on(tiny_project):
    with pytest.raises(KeyError) as caught:
        tiny_project.run("alpha", mode="bug")
    assert caught.value.__notes__ == [f"{PLACE}in node alpha.train.", f"{RESUME}alpha.train"]


def test_a_failing_thread_is_named(tiny_project):
    with pytest.raises(KeyError) as caught:
        tiny_project.run("alpha", mode="bug", runner=ThreadRunner())
    assert caught.value.__notes__[0] == f"{PLACE}in node alpha.train."


def test_a_failing_load_names_the_dataset_and_the_node(tiny_project):
    with pytest.raises(Exception, match="alpha") as caught:
        tiny_project.run("scoring")
    place = f"{PLACE}while loading alpha.weights (node alpha.score)."
    assert caught.value.__notes__ == [place]  # nothing was done yet: no way to go on


def test_a_terminal_sees_the_running_node_below_the_lines(tiny_project, monkeypatch):
    """The status line is overwritten by the line of the finished node."""
    seen = []
    monkeypatch.setattr("synthome.hooks.lines.show_status", seen.append)
    tiny_project.run("alpha")
    assert [text for text in seen if text] == [
        "[1/3] prepare ...", "[2/3] alpha.train ...", "[3/3] alpha.score ...",
    ]  # fmt: skip
    assert seen[-1] == ""
