"""A run in which a part failed ends with one line and exit code 1, after everything is written."""

import pytest

from synthome.errors import InputError, PartlyFailed

NODES = """
import pandas as pd
from kedro.pipeline import Node, Pipeline

def compare(statuses):
    rows = list(zip(["gan", "smote", "vae"], statuses.split("+")))
    return pd.DataFrame(rows, columns=["id", "status"])

def report(table):
    return "<p>page</p>"

def register_pipelines():
    return {"board": Pipeline([
        Node(compare, "params:statuses", "table"), Node(report, "table", "page"),
    ])}
"""
CATALOG = """
table:
  type: pandas.CSVDataset
  filepath: table.csv
  metadata: {outcome: {column: status, bad: failed, name: id}}
page: {type: text.TextDataset, filepath: page.html, metadata: {kedro-viz: {layer: reporting}}}
"""
LINE = (
    "2 of those compared failed: gan, vae. All outputs were written; the page has the reasons, and "
    "another run tries again what failed."
)


@pytest.fixture
def board(tiny_project):
    tiny_project.write(f"src/{tiny_project.package}/pipeline_registry.py", NODES)
    tiny_project.write("conf/base/catalog.yml", CATALOG)
    tiny_project.write("conf/base/parameters.yml", "statuses: ${runtime_params:statuses,ok+ok+ok}")
    return tiny_project


def test_nothing_is_said_when_all_went_well(board):
    assert board.run("board", statuses="ok+not applicable+ok")[-1].startswith("Done in")


def test_what_failed_is_named_when_everything_is_written(board):
    with pytest.raises(PartlyFailed, match=LINE):
        board.run("board", statuses="failed+ok+failed")
    assert (board.path / "page.html").read_text() == "<p>page</p>"
    assert any(line.startswith("Done in") for line in board.pages[-1])
    assert board.run("board")[-1].startswith("Done in")  # nothing is left of it


def test_one_line_and_an_exit_code(board):
    done = board.command("run", "--pipeline=board", "--params=statuses=failed+ok+failed")
    assert done.returncode == 1
    assert done.stderr.strip() == LINE
    assert "page.html" in done.stdout
    assert "error" not in done.stdout.lower()


def test_it_is_an_error_that_people_can_mend():
    assert issubclass(PartlyFailed, InputError)
