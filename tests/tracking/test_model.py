"""The trained generator leaves the project: MLflow loads it where synthome is not installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mlflow import MlflowClient
from safetensors.numpy import save_file

from synthome.tracking.model import log_generator, requirements, signature
from synthome.tracking.records import GeneratorModel, Metrics, Point
from synthome.tracking.store import current_store, open_run, quiet

GENES = ["A", "B", "C"]


class Shifted:
    """A generator whose draws say what they were asked for: A is the temperature."""

    def sample(self, n_obs, labels, rng, temperature=1.0):
        labels = rng.choice(["x", "y"], n_obs) if labels is None else np.asarray(labels)
        x = np.column_stack([np.full(n_obs, temperature), rng.normal(size=n_obs), np.arange(n_obs)])
        obs = pd.DataFrame({"condition": labels}, index=[f"s{i}" for i in range(n_obs)])
        facts = {"label_key": "condition"}
        adata = AnnData(x, obs=obs, uns={"synthome": facts})
        adata.var_names = GENES
        return adata


class Plain(Shifted):
    def sample(self, n_obs, labels, rng):
        return super().sample(n_obs, labels, rng)


@pytest.fixture
def run(tmp_path, empty_database):
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    return open_run(f"sqlite:///{database}", "synthome", tmp_path / "mlruns", "run", {})


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"w": np.ones(3, dtype=np.float32)}, path)
    return path


@pytest.fixture
def model(run, weights, monkeypatch):
    """The logged model, as anybody loads it, over a generator that is easy to check."""
    import synthome.models.registry as registry

    with quiet():
        import mlflow.pyfunc

    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setattr(registry, "load_generator", lambda path: Shifted())
    run.write([GeneratorModel(str(weights), "generator", "rare_vae")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with current_store(run.client.tracking_uri):
        return mlflow.pyfunc.load_model(f"runs:/{run.run_id}/generator")


def test_rows_ask_for_samples_of_their_class(model):
    table = model.predict(pd.DataFrame({"label": ["FSHD", "control", "FSHD"]}))
    assert list(table.columns) == ["condition", *GENES]
    assert table["condition"].tolist() == ["FSHD", "control", "FSHD"]
    assert table["A"].tolist() == [1.0] * 3


def test_each_row_may_have_its_own_temperature(model):
    asked = pd.DataFrame(
        {"label": ["a", "b", "c", "d"], "temperature": [2, 1, 2, 1]}, index=[9, 8, 7, 6]
    )
    table = model.predict(asked)
    assert table["condition"].tolist() == ["a", "b", "c", "d"]
    assert table["A"].tolist() == [2.0, 1.0, 2.0, 1.0]


def test_without_rows_parameters_say_how_many(model):
    table = model.predict(pd.DataFrame(), params={"n_obs": 7, "temperature": 1.5, "seed": 3})
    assert table.shape == (7, 4)
    assert set(table["condition"]) <= {"x", "y"}
    assert table["A"].tolist() == [1.5] * 7


def test_the_seed_decides_the_draw(model):
    def draw(seed):
        return model.predict(pd.DataFrame({"label": ["a"] * 5}), params={"seed": seed})

    pd.testing.assert_frame_equal(draw(1), draw(1))
    assert not draw(1).equals(draw(2))


def test_a_generator_without_temperature_says_so(model, monkeypatch):
    model.unwrap_python_model().generator = Plain()
    assert len(model.predict(pd.DataFrame({"label": ["a"]}))) == 1
    with pytest.raises(ValueError, match="Plain has no temperature"):
        model.predict(pd.DataFrame({"label": ["a"]}), params={"temperature": 2.0})


@pytest.mark.parametrize("wish", [None, "http://127.0.0.1:9"])
def test_logging_a_model_leaves_the_store_of_others_alone(run, weights, monkeypatch, wish):
    """MLflow sets the environment variable, which the next run would take for a wish."""
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if wish:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", wish)
    before = mlflow.get_tracking_uri()
    run.write([GeneratorModel(str(weights), "generator", "rare_vae")])
    assert mlflow.get_tracking_uri() == before
    assert os.environ.get("MLFLOW_TRACKING_URI") == wish


def test_the_model_belongs_to_the_run_and_carries_its_scores(run, weights):
    """MLflow's model page then shows them side by side."""
    run.write(
        [
            GeneratorModel(str(weights), "generator", "rare_vae"),
            Metrics([Point("fidelity/std_slope", 0.9)], "rare_vae"),
            Metrics([Point("fidelity/std_slope", 0.1)], "ldvae"),
        ]
    )
    client: MlflowClient = run.client
    (logged,) = client.search_logged_models([run.experiment_id])
    assert logged.name == "generator"
    assert logged.source_run_id == run.run_id
    assert logged.status.value == "READY"
    assert [(metric.key, metric.value) for metric in logged.metrics] == [
        ("fidelity/std_slope", 0.9)
    ]
    outputs = client.get_run(run.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [logged.model_id]


def test_the_model_holds_no_pickle_and_names_its_requirements(run, weights):
    log_generator(run.client, run.run_id, run.experiment_id, weights, "generator")
    (logged,) = run.client.search_logged_models([run.experiment_id])
    folder = Path(logged.artifact_location.removeprefix("file://"))
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pyc"))]
    assert "artifacts/weights.safetensors" in files
    assert "code/synthome/models/registry.py" in files
    assert (folder / "requirements.txt").read_text().splitlines() == [
        f"mlflow=={_mlflow()}",
        *requirements(),
    ]
    assert any(line.startswith("torch==2") and "+" not in line for line in requirements())


def test_the_signature_can_be_read_without_the_model():
    described = signature().to_dict()
    assert [c["name"] for c in json.loads(described["inputs"])] == ["label", "temperature"]
    assert [p["name"] for p in json.loads(described["params"])] == ["n_obs", "temperature", "seed"]


@pytest.mark.slow
def test_a_trained_generator_samples_where_synthome_is_not_installed(run, tmp_path):
    """Another process and folder, the source of the project out of reach."""
    from synthome.models.registry import Architecture, GeneratorSettings
    from synthome.state_file import write_state

    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"condition": ["healthy", "sick"] * 12}, index=[f"s{i}" for i in range(24)])
    train = AnnData(rng.normal(size=(24, 30)), obs=obs)
    train.uns["synthome"] = {"label_key": "condition", "scale": "log"}
    train.var_names = [f"g{i}" for i in range(30)]
    options = {"generator": "rare_vae", "options": {"training": {"max_epochs": 2}}}
    settings = GeneratorSettings(
        architecture="x", architectures={"x": Architecture.model_validate(options)}
    )
    weights = tmp_path / "weights.safetensors"
    write_state(weights, settings.build().fit(train).state())
    log_generator(run.client, run.run_id, run.experiment_id, weights, "generator")
    script = f"""
        import sys
        source = {str(Path(__file__).parents[2] / "src")!r}
        sys.path = [p for p in sys.path if p != source]
        sys.meta_path = [f for f in sys.meta_path if "__editable__" not in str(f)]
        try:
            import synthome
            sys.exit("synthome is still there: " + synthome.__file__)
        except ModuleNotFoundError:
            pass
        import mlflow, pandas as pd
        mlflow.set_tracking_uri({run.client.tracking_uri!r})
        model = mlflow.pyfunc.load_model("runs:/{run.run_id}/generator")
        table = model.predict(pd.DataFrame({{"label": ["sick", "sick", "healthy"]}}))
        more = model.predict(pd.DataFrame(), params={{"n_obs": 50, "temperature": 1.2, "seed": 1}})
        import synthome
        assert "/code/synthome/" in synthome.__file__, synthome.__file__
        import ast, importlib.metadata, pathlib
        needed = set()
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "synthome":
                for node in ast.walk(ast.parse(pathlib.Path(module.__file__).read_text())):
                    if isinstance(node, ast.Import):
                        needed |= {{alias.name.partition(".")[0] for alias in node.names}}
                    elif isinstance(node, ast.ImportFrom):
                        needed.add(node.module.partition(".")[0])
        needed -= set(sys.stdlib_module_names) | {{"synthome", "mlflow"}}
        packages = importlib.metadata.packages_distributions()
        listed = {[line.partition("==")[0] for line in requirements()]!r}
        missing = [name for name in needed if packages[name][0].lower() not in listed]
        assert not missing, f"not among the requirements of the model: {{missing}}"
        print(list(table["condition"]), table.shape, more.shape, table.isna().sum().sum())
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-c", dedent(script)],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['sick', 'sick', 'healthy'] (3, 31) (50, 31) 0"


def _mlflow():
    from mlflow.version import VERSION

    return VERSION
