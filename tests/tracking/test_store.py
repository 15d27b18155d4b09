"""A real MLflow server on this machine, and what happens when it goes away."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow import MlflowClient

from synthome.tracking.records import Artifact, Input, Metrics, Params, Point, Tags, Text
from synthome.tracking.store import open_run


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_database):
    """MLflow as a team runs it: a database, and artifacts that go through the server."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1",
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        cwd=folder,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait_for(uri, process)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(uri, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the MLflow server did not start")


@pytest.mark.slow
@pytest.mark.network
def test_a_server_receives_every_kind_of_record(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figure = tmp_path / "pca.png"
    figure.write_bytes(b"png")
    folder = tmp_path / "store.zarr"
    folder.mkdir()
    (folder / "part").write_text("1")
    run = open_run(server, "synthome", tmp_path / "mlruns", "rare_vae", {"git.commit": "ab"})
    run.write(
        [
            Params({f"p{i}": str(i) for i in range(150)}),  # more than one request may carry
            Tags({"kind": "test"}),
            Metrics([Point("training/loss", 1 / (i + 1), i) for i in range(1500)]),
            Metrics([Point("fidelity/std_slope", 0.9)], "rare_vae"),
            Artifact(str(figure), "figures"),
            Artifact(str(folder), "data"),
            Text("hello", "environment/packages.txt"),
            Input("bulk.raw", "0" * 32, "GSE1", {"age": "double"}, {"n_obs": 3}),
        ]
    )
    run.close("FINISHED")
    client = MlflowClient(server)
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "rare_vae"
    assert len(found.data.params) == 150
    assert found.data.tags["kind"] == "test"
    assert found.data.metrics["fidelity/std_slope"] == 0.9
    assert len(client.get_metric_history(run.run_id, "training/loss")) == 1500
    assert found.inputs.dataset_inputs[0].dataset.name == "bulk.raw"
    files = [item.path for name in ("figures", "data/store.zarr", "environment")
             for item in client.list_artifacts(run.run_id, name)]  # fmt: skip
    assert files == ["figures/pca.png", "data/store.zarr/part", "environment/packages.txt"]
    assert not (tmp_path / "mlruns").exists()  # the server keeps the files


@pytest.mark.slow
@pytest.mark.network
def test_a_project_tracks_on_a_server(server, tiny_project, monkeypatch):
    monkeypatch.delenv("SYNTHOME_TRACKING")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "project")
    lines = tiny_project.run("alpha")
    assert not [line for line in lines if line.startswith("warning")]
    client = MlflowClient(server)
    (run,) = client.search_runs([client.get_experiment_by_name("project").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["fidelity/std_slope"] == 0.9
    assert not (tiny_project.path / "mlruns").exists()


def test_two_runs_may_make_the_experiment_at_once(tmp_path, empty_database, monkeypatch):
    """The one that comes second finds it made."""
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    uri = f"sqlite:///{database}"
    MlflowClient(uri).create_experiment("synthome")
    look, answers = MlflowClient.get_experiment_by_name, iter([None])
    monkeypatch.setattr(
        MlflowClient, "get_experiment_by_name", lambda self, name: next(answers, look(self, name))
    )
    assert open_run(uri, "synthome", tmp_path / "mlruns", "x", {}).run_id
