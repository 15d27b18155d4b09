"""The whole comparison on a cohort of seconds: what a user finds afterwards, and in MLflow."""

import json
import re
import shutil

import anndata as ad
import pandas as pd
import pytest
from mlflow import MlflowClient
from project_copy import copy_project, run

from synthome.errors import PartlyFailed

pytestmark = pytest.mark.slow
CHOSEN = "published_vae_t1+class_normal_noise+wgan_gp"
NAMES = ["real", "independent_noise", "copies", "published_vae_t1", "wgan_gp", "class_normal_noise"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory, empty_database):
    """A tracked project in which some generators were compared, one of which fails."""
    project = copy_project(tmp_path_factory.mktemp("leaderboard"))
    shutil.copy(empty_database, project / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "SYNTHOME_TRACKING"):
            patch.delenv(name, raising=False)
        patch.setattr("synthome.evaluation.classifiers.N_TREES", 4)
        patch.setattr("synthome.models.wgan_gp.WGANGPGenerator.fit", _diverge)
        with pytest.raises(PartlyFailed, match="One of those compared failed: wgan_gp"):
            run(project, "leaderboard", generators=CHOSEN)
    return project


def _diverge(self, train, **_):
    raise FloatingPointError(f"The loss became NaN with {train.obs_names[0]}.")


def board_of(project):
    return project / "data/08_reporting/leaderboard"


def test_one_table_holds_every_generator(compared):
    table = pd.read_parquet(board_of(compared) / "table.parquet").set_index("generator")
    assert table.index.tolist() == NAMES
    assert table["status"].tolist() == ["ok"] * 4 + ["failed", "ok"]
    ok = table[table["status"] == "ok"]
    assert ok["utility/tstr_auc"].between(0, 1).all()
    assert (ok["privacy/worst_auc.low"] <= ok["privacy/worst_auc"]).all()
    assert (ok["n_folds"] == 3).all()
    summaries = json.loads((board_of(compared) / "summaries.json").read_text())
    assert summaries["published_vae_t1"]["options"]["temperature"] == 1.0
    assert summaries["class_normal_noise"]["options"]["noise"] == 0.5


def test_the_page_shows_all_of_it_and_names_nobody(compared):
    page = (board_of(compared) / "report.html").read_text()
    assert "100 most variable genes" in page
    assert "FloatingPointError: The loss became NaN" in page
    assert re.search(r"failed and is not ranked: <?[^.]*wgan_gp", page)
    assert (board_of(compared) / "figures/pareto.png").is_file()
    cohort = ad.read_h5ad(compared / "data/02_intermediate/bulk/cohort.h5ad")
    names = [*map(str, cohort.obs_names), *cohort.obs["patient_id"].astype(str)]
    for path in [p for p in board_of(compared).rglob("*") if p.suffix in (".json", ".html")]:
        assert not [name for name in names if name in path.read_text()], path
    for path in board_of(compared).rglob("*.parquet"):
        text = pd.read_parquet(path).select_dtypes("object").astype(str).to_numpy().ravel()
        assert not [n for n in names if any(n in t for t in set(text))], path


def test_each_generator_is_a_child_of_the_one_run(compared):
    client = MlflowClient(f"sqlite:///{compared}/mlflow.db")
    experiment = client.get_experiment_by_name("synthome").experiment_id
    runs = {found.info.run_name: found for found in client.search_runs([experiment])}
    (parent,) = [found for name, found in runs.items() if name not in NAMES]
    assert "mlflow.parentRunId" not in parent.data.tags
    assert parent.info.status == "FINISHED"
    children = {name: runs[name] for name in NAMES}
    assert {c.data.tags["mlflow.parentRunId"] for c in children.values()} == {parent.info.run_id}
    assert children["wgan_gp"].info.status == "FAILED"
    assert "became NaN" in children["wgan_gp"].data.tags["reason"]
    vae = children["published_vae_t1"]
    assert vae.info.status == "FINISHED"
    assert vae.data.params["options.temperature"] == "1.0"
    assert vae.data.params["generator"] == "published_vae"
    assert vae.data.tags["status"] == "ok"
    summaries = json.loads((board_of(compared) / "summaries.json").read_text())
    entry = summaries["published_vae_t1"]["metrics"]["utility/tstr_auc"]
    assert vae.data.metrics["utility/tstr_auc"] == entry["value"]
    assert vae.data.metrics["utility/tstr_auc.low"] == entry["interval"][0]
    assert vae.data.metrics["seconds"] > 0
