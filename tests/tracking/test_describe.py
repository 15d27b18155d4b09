"""Facts about a run, as a person would write them down."""

import importlib.metadata
import subprocess
import sys

import pytest
from mlflow.utils.validation import _validate_param_name

from synthome.config import Config
from synthome.errors import InputError
from synthome.tracking.describe import (
    clean_name,
    command_line,
    context_tags,
    environment_tags,
    flatten,
    git_state,
    installed,
    run_name,
)


class Inner(Config):
    sizes: tuple[int, ...] = (3, 4)
    name: str | None = None


class Outer(Config):
    inner: Inner = Inner()
    rate: float = 1e-3


def test_parameters_become_flat():
    nested = {"a": {"model": Outer()}, "b": [1, {"c": 2}], "empty": {}, "on": True}
    assert flatten(nested) == {
        "a.model.inner.sizes": "[3, 4]",
        "a.model.inner.name": "None",
        "a.model.rate": "0.001",
        "b": '[1, {"c": 2}]',
        "empty": "{}",
        "on": "True",
    }
    assert flatten(3, "x") == {"x": "3"}


@pytest.mark.parametrize("name", ["a.b", "gène (raw)", "50%", "x" * 400, "a/b:c"])
def test_mlflow_accepts_every_name(name):
    _validate_param_name(clean_name(name))


@pytest.mark.parametrize(
    ("pipelines", "env", "params", "partial", "name"),
    [
        (["rare_vae"], "cohort", {"rare_vae.seed": "0"}, False, "rare_vae cohort seed=0"),
        ([], None, {}, False, "default"),
        (["__default__"], "local", {"seed": "3", "a.seed": "3"}, False, "default seed=3"),
        (["a", "b"], "base", {"a.seed": "1", "b.seed": "2"}, False, "a+b"),
        (["a"], "test", {"a.seeds": "1"}, True, "a test (part)"),
    ],
)
def test_a_run_has_a_name_for_people(pipelines, env, params, partial, name):
    assert run_name(pipelines, env, params, partial=partial) == name


def test_the_command_can_be_typed_again():
    argv = ["/venv/bin/kedro", "run", "--params=where=has rna"]
    assert command_line(argv) == "kedro run '--params=where=has rna'"
    assert command_line([]) == ""


def test_git_tells_commit_branch_and_changes(tmp_path):
    assert git_state(tmp_path / "nowhere") == {}
    assert git_state(tmp_path) == {}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    state = git_state(tmp_path)
    assert state["git.branch"] == "main"
    assert state["git.dirty"] == "false"
    assert len(state["git.commit"]) == 40
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path)["git.dirty"] == "true"


def test_a_machine_without_git_has_no_git_state(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == {}


def test_installed_packages_are_those_of_the_metadata():
    found = installed()
    for name in ("numpy", "kedro", "scikit-learn", "pydantic"):
        assert found[name] == importlib.metadata.version(name)
    assert list(found) == sorted(found)


def test_the_environment_names_python_and_the_packages_that_decide_numbers():
    tags = environment_tags({"torch": "2.0", "flask": "1"})
    assert tags["python"] == ".".join(map(str, sys.version_info[:3]))
    assert tags["version.torch"] == "2.0"
    assert "version.flask" not in tags


def test_the_context_of_a_sweep_is_read():
    assert context_tags({"MLFLOW_RUN_CONTEXT": '{"a": 1}'})["a"] == "1"
    assert set(context_tags({})) <= {"mlflow.user"}
    with pytest.raises(InputError, match="must hold JSON.*'nonsense'"):
        context_tags({"MLFLOW_RUN_CONTEXT": "nonsense"})
