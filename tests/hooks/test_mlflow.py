"""One MLflow run for each run of Kedro, that holds what the catalog asks for."""

import json
import os
import socket
import sqlite3
import subprocess
import sys

import pytest
from kedro.runner import ParallelRunner, ThreadRunner
from mlflow import MlflowClient

from synthome.errors import InputError

SCORES = {
    "fidelity/std_slope": 0.9,
    "fidelity/std_slope.low": 0.8,
    "fidelity/std_slope.high": 1.0,
    "fidelity/std_slope.floor": 0.1,
    "fidelity/std_slope.ceiling": 1.0,
    "fidelity/std_slope.cheat": 1.0,
    "utility/tstr_auc": 0.7,
    "training/train_loss": 1.0,  # the last epoch
}


@pytest.fixture
def client(tracked_project):
    return MlflowClient(tracked_project.tracking)


def runs(client):
    experiment = client.get_experiment_by_name("synthome")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def artifacts(client, run, folder=None):
    found = []
    for item in client.list_artifacts(run.info.run_id, folder):
        found += artifacts(client, run, item.path) if item.is_dir else [item.path]
    return sorted(found)


def test_a_run_holds_metrics_history_parameters_and_files(tracked_project, client):
    lines = tracked_project.run("alpha", mode="ok")
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "alpha seed=7"
    assert "Tracked in MLflow: experiment 'synthome', run 'alpha seed=7'." in lines
    assert run.data.metrics == SCORES
    history = client.get_metric_history(run.info.run_id, "training/train_loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert run.data.params == {
        "alpha.model.n_latent": "4",
        "alpha.model.learning_rate": "0.001",  # the default of the class, in no file
        "alpha.model.seed": "7",
        "mode": "ok",
        "runtime.mode": "ok",
    }
    assert artifacts(client, run) == [
        "environment/packages.txt",
        "models/weights.json",
        "report/report.html",
        "scores/metrics.json",
    ]


def test_a_run_says_of_which_code_and_how(tracked_project, client, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    tracked_project.write(".gitignore", "data\nmlflow.db\nmlruns\n.viz\nsrc/**/__pycache__\n")
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    monkeypatch.setattr(sys, "argv", ["/bin/kedro", "run", "--params=mode=ok", "--env=local"])
    tracked_project.run("alpha", only={"from_nodes": ["prepare"]})
    (run,) = runs(client)
    tags = run.data.tags
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == commit
    assert tags["git.dirty"] == "false"
    assert tags["command"] == tags["mlflow.source.name"] == "kedro run --params=mode=ok --env=local"
    assert tags["kedro.pipelines"] == "alpha"
    assert tags["kedro.runner"] == "SequentialRunner"
    assert tags["kedro.slice"] == "from_nodes=prepare"
    assert tags["version.kedro"]
    assert run.info.run_name == "alpha seed=7 (part)"
    version = json.loads(
        next((tracked_project.path / "data/alpha/weights.json").glob("*/*")).read_text()
    )
    assert version == {"latent": 4}
    saved = next((tracked_project.path / "data/alpha/weights.json").iterdir()).name
    assert tags["kedro.session_id"] == saved


def test_input_data_have_a_digest_that_names_their_content(tracked_project, client):
    tracked_project.run("alpha")
    tracked_project.run("alpha")
    inputs = [run.inputs.dataset_inputs[0].dataset for run in runs(client)]
    assert {dataset.name for dataset in inputs} == {"raw"}
    assert len({dataset.digest for dataset in inputs}) == 1
    profile = json.loads(inputs[0].profile)
    assert (profile["n_obs"], profile["n_vars"]) == (6, 4)
    assert profile["classes"] == {"healthy": 3, "sick": 3}
    assert json.loads(inputs[0].source) == {"uri": "made up"}
    columns = json.loads(inputs[0].schema)["mlflow_colspec"]
    assert {"name": "age", "type": "long"} in columns


def test_the_version_that_was_read_is_a_tag(tracked_project, client):
    tracked_project.run("alpha")
    version = next((tracked_project.path / "data/alpha/weights.json").iterdir()).name
    tracked_project.run("scoring")
    run = runs(client)[0]
    assert run.data.tags["loaded.alpha.weights"] == version
    assert artifacts(client, run) == [
        "environment/packages.txt", "report/report.html", "scores/metrics.json",
    ]  # fmt: skip


@pytest.mark.parametrize("runner", [ThreadRunner, ParallelRunner])
def test_every_runner_is_tracked_and_two_systems_are_kept_apart(tracked_project, client, runner):
    """Worker processes hand their records to the process that opened the run."""
    tracked_project.run("both", runner=runner(max_workers=2))
    (run,) = runs(client)
    assert run.data.tags["kedro.runner"] == runner.__name__
    expected = {f"{name}/{key}" for name in ("alpha", "beta") for key in SCORES}
    assert set(run.data.metrics) == expected
    assert artifacts(client, run) == sorted(
        ["environment/packages.txt"]
        + [f"{name}/{file}" for name in ("alpha", "beta")
           for file in ("models/weights.json", "report/report.html", "scores/metrics.json")]
    )  # fmt: skip
    assert len(run.inputs.dataset_inputs) == 1


def test_a_failed_run_is_failed_and_says_why(tracked_project, client):
    with pytest.raises(RuntimeError):
        tracked_project.run("alpha", mode="input_error")
    (run,) = runs(client)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "The column 'x' is not there. Name one that is."


def test_ctrl_c_in_a_notebook_leaves_no_run_that_seems_to_go_on(tracked_project, client):
    """The next session of the process closes it."""
    with pytest.raises(KeyboardInterrupt):
        tracked_project.run("alpha", mode="sigint")
    tracked_project.run("alpha")
    assert [run.info.status for run in runs(client)] == ["FINISHED", "KILLED"]


# The command of a user has not imported MLflow: a helper process writes the run.


def test_a_command_is_tracked_by_a_helper(tracked_project, client):
    done = tracked_project.command("run", "--pipeline=alpha")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Tracked in MLflow: experiment 'synthome', run 'alpha seed=7'." in done.stdout
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == SCORES
    assert len(artifacts(client, run)) == 4
    assert len(run.inputs.dataset_inputs) == 1


def test_an_interrupted_command_is_killed(tracked_project, client):
    done = tracked_project.command("run", "--pipeline=alpha", "--params=mode=sigint")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    (run,) = runs(client)
    assert run.info.status == "KILLED"


def test_a_run_whose_process_was_killed_is_closed_by_the_next_one(tracked_project, client):
    """Nothing runs in a process that the kernel ends; a living process is left alone."""
    tracked_project.run("alpha")
    gone = subprocess.Popen(["true"])
    gone.wait()
    experiment = client.get_experiment_by_name("synthome").experiment_id
    tags = {"host": socket.gethostname()}
    for name, process in {"dead": gone.pid, "alive": os.getpid()}.items():
        client.create_run(experiment, run_name=name, tags={**tags, "process": str(process)})
    client.create_run(experiment, run_name="elsewhere", tags={"host": "x", "process": "1"})
    tracked_project.run("alpha")
    statuses = {run.info.run_name: run.info.status for run in runs(client)}
    assert statuses["dead"] == "KILLED"
    assert statuses["alive"] == statuses["elsewhere"] == "RUNNING"


def test_tracking_can_be_switched_off_by_the_environment_or_the_file(tracked_project, monkeypatch):
    database = tracked_project.path / "mlflow.db"
    database.unlink()
    monkeypatch.setenv("SYNTHOME_TRACKING", "off")
    tracked_project.run("alpha")
    assert not database.exists()
    monkeypatch.delenv("SYNTHOME_TRACKING")
    tracked_project.write("conf/base/mlflow.yml", "enabled: false\n")
    tracked_project.run("alpha")
    assert not database.exists()


def test_the_file_chooses_the_store_and_the_experiment(tracked_project, monkeypatch, tmp_path):
    """A relative path counts from the project, wherever the command was typed."""
    tracked_project.write(
        "conf/base/mlflow.yml", "{tracking_uri: 'sqlite:///runs.db', experiment: mine}\n"
    )
    (tracked_project.path / "mlflow.db").rename(tracked_project.path / "runs.db")
    monkeypatch.chdir(tmp_path)
    tracked_project.run("alpha")
    client = MlflowClient(f"sqlite:///{tracked_project.path}/runs.db")
    experiment = client.get_experiment_by_name("mine")
    assert experiment.artifact_location.startswith(f"file://{tracked_project.path}/mlruns")
    assert len(client.search_runs([experiment.experiment_id])) == 1
    assert list(tmp_path.iterdir()) == [tracked_project.path]


def test_a_misspelt_key_of_the_file_is_told(tracked_project):
    tracked_project.write("conf/base/mlflow.yml", "tracking_url: x\n")
    with pytest.raises(InputError, match=r"mlflow\.tracking_url.*Did you mean 'tracking_uri'"):
        tracked_project.run("alpha")


def test_a_misspelt_kind_in_the_catalog_is_told_before_any_node(tracked_project):
    path = tracked_project.path / "conf/base/catalog.yml"
    path.write_text(path.read_text().replace("kind: history", "kind: histroy"))
    with pytest.raises(InputError, match=r"'alpha\.history'.*'histroy'"):
        tracked_project.run("alpha")
    assert not (tracked_project.path / "data").exists()


def test_a_file_that_is_not_one_cannot_be_asked_for(tracked_project):
    path = tracked_project.path / "conf/base/catalog.yml"
    path.write_text(path.read_text().replace("kind: input", "kind: artifact"))
    with pytest.raises(InputError, match=r"'raw' asks MLflow for the artifact"):
        tracked_project.run("alpha")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://user:secret@127.0.0.1:9"])
def test_a_dead_server_is_told_at_once_before_any_node(tracked_project, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match="does not answer.*SYNTHOME_TRACKING=off") as caught:
        tracked_project.run("alpha")
    assert "secret" not in str(caught.value)
    assert not (tracked_project.path / "data").exists()


def test_a_store_that_refuses_is_told_before_any_node(tracked_project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///nowhere")
    with pytest.raises(InputError, match="cannot be used"):
        tracked_project.run("alpha")


def test_the_default_store_costs_a_warning_when_it_cannot_be_used(tracked_project, client):
    """Nobody has asked for it; the run is worth more than its record."""
    tracked_project.run("alpha")
    client.delete_experiment(client.get_experiment_by_name("synthome").experiment_id)
    lines = tracked_project.run("alpha")
    assert "warning: This run is not tracked. The MLflow experiment 'synthome' was" in lines[0]
    assert "mlflow experiments restore" in lines[0]
    assert not [line for line in lines if line.startswith("Tracked")]
    assert lines[-1].startswith("Done")


def test_a_named_store_that_cannot_be_used_stops_the_run(tracked_project, client, monkeypatch):
    tracked_project.run("alpha")
    client.delete_experiment(client.get_experiment_by_name("synthome").experiment_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked_project.tracking)
    with pytest.raises(InputError, match="was deleted.*mlflow experiments restore"):
        tracked_project.run("alpha")


def test_a_store_that_breaks_on_the_way_costs_a_warning_not_the_run(tracked_project, monkeypatch):
    """Hours of training are worth more than their record."""
    monkeypatch.setattr(
        MlflowClient, "log_artifact", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full"))
    )
    lines = tracked_project.run("alpha")
    told = [line for line in lines if line.startswith("warning:")]
    assert len(told) == 1  # once, though four files could not be stored
    assert "could not be tracked in MLflow" in told[0]
    assert "disk full" in told[0]
    assert (tracked_project.path / "data/alpha/report.html").exists()


def test_a_parent_run_of_a_sweep_is_honoured(tracked_project, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", json.dumps({"mlflow.parentRunId": "abc"}))
    tracked_project.run("alpha")
    assert runs(client)[0].data.tags["mlflow.parentRunId"] == "abc"


def test_a_long_parameter_becomes_an_artifact(tracked_project, client):
    tracked_project.run("alpha", mode="x" * 6001)
    run = runs(client)[0]
    assert run.data.params["mode"] == "see artifact parameters/mode.txt"
    assert "parameters/mode.txt" in artifacts(client, run)


def test_nothing_is_left_in_the_temporary_folder(tracked_project, monkeypatch, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    tracked_project.run("alpha")
    assert [path for path in folder.iterdir() if path.name.startswith("synthome-")] == []


def test_mlflow_sends_no_telemetry(monkeypatch):
    """Importing our store is enough; that a test runs would be another reason, taken away here."""
    from mlflow.telemetry import utils

    import synthome.tracking.store  # noqa: F401

    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    assert utils.is_telemetry_disabled()


def test_the_database_is_whole_after_a_run(tracked_project):
    tracked_project.run("alpha")
    with sqlite3.connect(tracked_project.path / "mlflow.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
