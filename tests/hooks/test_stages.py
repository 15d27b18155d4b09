"""A shared stage serves the systems that have been run, and asks nothing of the others."""

import shutil

import pytest
from kedro.io import DatasetError

SHARED = """
def register_pipelines():
    prepare_all = Pipeline([Node(prepare, "raw", "cohort", name="prepare")])
    stage = Pipeline([])
    for name in ("alpha", "beta"):
        stage += system(name).only_nodes(f"{name}.score")
    return {
        "alpha": prepare_all + system("alpha"),
        "beta": prepare_all + system("beta").only_nodes("beta.train"),
        "evaluation": stage,
        "__default__": prepare_all + system("alpha"),
    }
"""


@pytest.fixture
def project(tiny_project):
    """A tiny project with a stage ``evaluation`` of two systems, in which alpha was run."""
    path = tiny_project.path / f"src/{tiny_project.package}/pipeline_registry.py"
    path.write_text(path.read_text() + SHARED)
    tiny_project.run("alpha")
    return tiny_project


def nodes(page):
    return [line.split()[1] for line in page if line.startswith("[")]


def test_a_system_that_was_not_run_is_left_out_and_that_is_told(project):
    page = project.run("evaluation")
    assert nodes(page) == ["alpha.score"]
    assert "evaluation: beta is left out, for beta.weights is not there yet." in page


def test_a_system_that_was_run_since_is_served_too(project):
    project.run("evaluation")
    project.run("beta")
    page = project.run("evaluation")
    assert sorted(nodes(page)) == ["alpha.score", "beta.score"]
    assert not any("left out" in line for line in page)


def test_what_the_same_run_makes_need_not_be_there(project):
    assert sorted(nodes(project.run("beta", "evaluation"))) == [
        "alpha.score",
        "beta.score",
        "beta.train",
        "prepare",
    ]


def test_without_any_system_the_error_says_what_is_missing(project):
    shutil.rmtree(project.path / "data/alpha/weights.json")
    with pytest.raises(DatasetError, match="weights"):
        project.run("evaluation")
