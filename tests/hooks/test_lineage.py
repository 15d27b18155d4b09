"""Kedro-Viz shows the status of any slice, which its own hook does for whole runs only."""

import json

import pytest
from kedro.runner import ThreadRunner

EVENTS = ".viz/kedro_pipeline_events.json"


def events(project):
    return json.loads((project.path / EVENTS).read_text())


@pytest.mark.parametrize(
    ("pipelines", "only", "nodes"),
    [
        (["alpha"], {}, ["prepare", "alpha.train", "alpha.score"]),
        (["both"], {"namespaces": ["alpha"]}, ["alpha.train", "alpha.score"]),
        (["alpha"], {"from_nodes": ["alpha.score"]}, ["alpha.score"]),
        ([], {"to_nodes": ["prepare"]}, ["prepare"]),
    ],
)
def test_any_slice_has_a_run_status(tiny_project, pipelines, only, nodes):
    tiny_project.run("alpha")
    tiny_project.run(*pipelines, only=only)
    found = events(tiny_project)
    assert [e["node"] for e in found if e["event"] == "after_node_run"] == nodes
    assert {e["status"] for e in found if e["event"] == "after_node_run"} == {"success"}
    assert found[0]["event"] == "before_pipeline_run"
    assert found[-1]["event"] == "after_pipeline_run"


def test_threads_have_a_run_status_too(tiny_project):
    tiny_project.run("both", runner=ThreadRunner())
    assert sum(e["event"] == "after_node_run" for e in events(tiny_project)) == 5


def test_a_failed_run_shows_where(tiny_project):
    with pytest.raises(KeyError):
        tiny_project.run("alpha", mode="bug")
    last = events(tiny_project)[-1]
    assert last["event"] == "on_pipeline_error"
    assert last["node"] == "alpha.train"


def test_the_files_land_in_the_project_wherever_the_command_was_typed(
    tiny_project, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    tiny_project.run("alpha")
    assert events(tiny_project)
    assert not (tmp_path / ".viz").exists()


@pytest.mark.filterwarnings("ignore:ORJSONResponse")  # of its web framework
def test_kedro_viz_reads_what_we_wrote(tiny_project):
    """The contract with Kedro-Viz: its own server answers with the status of a slice."""
    from kedro_viz.api.rest.responses.run_events import get_run_status_response

    tiny_project.run("alpha", only={"to_nodes": ["alpha.train"]})
    answer = get_run_status_response()
    assert [node.status.value for node in answer.nodes.values()] == ["success", "success"]
    assert answer.pipeline.status.value == "success"
    assert len(answer.datasets) == 6  # raw, cohort, two parameters, weights, history


@pytest.mark.parametrize("broken", ["import", "call"])
def test_a_kedro_viz_that_has_changed_does_not_stop_a_run(tiny_project, monkeypatch, broken):
    import kedro_viz.integrations.kedro.run_hooks as theirs

    if broken == "import":
        monkeypatch.delattr(theirs, "PipelineRunStatusHook")
    else:
        monkeypatch.delattr(theirs.PipelineRunStatusHook, "before_node_run")
    tiny_project.run("alpha")
    assert (tiny_project.path / "data/alpha/report.html").exists()
    assert not (tiny_project.path / EVENTS).exists()


def test_shapes_of_anndata_and_tables_are_kept_beside_those_of_other_runs(tiny_project):
    tiny_project.run("alpha")
    tiny_project.run("alpha", only={"from_nodes": ["alpha.score"]})
    stats = json.loads((tiny_project.path / ".viz/stats.json").read_text())
    assert stats["raw"] == {"rows": 6, "columns": 4}  # an AnnData: n_obs and n_vars
    assert stats["alpha.history"]["rows"] == 3
    size = (tiny_project.path / "data/alpha/history.csv").stat().st_size
    assert stats["alpha.history"]["file_size"] == size
    assert "alpha.metrics" not in stats  # a dict has no shape
