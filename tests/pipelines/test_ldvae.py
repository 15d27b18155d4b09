"""The whole pipeline on cells of seconds: what a user finds afterwards."""

import json
import re
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from project_copy import run
from scipy import sparse

from synthome.anndata_schema import COUNTS, expression, labels, provenance
from synthome.cli import run as kedro_run
from synthome.datasets import SimulatedCortexDataset
from synthome.evaluation.metrics import METRICS
from synthome.ingestion.cell_source import CellSource
from synthome.models.registry import load_generator
from synthome.pipelines import ldvae
from synthome.pipelines.evaluation.nodes import FIGURES
from synthome.simulate.cortex import CortexConfig, simulate_cortex
from synthome.state_file import read_state

pytestmark = pytest.mark.slow
WEIGHTS = "data/06_models/ldvae/weights.safetensors"
TABLES = (
    "three_class_scores", "confusion", "power", "smallest_doses", "false_alarms", "cell_map",
    "planted_scores", "loadings", "factor_responses", "enrichment", "conditional_scores",
)  # fmt: skip
DESIGN_KEYS = {
    "ldvae/elbo",
    "ldvae/nll",
    "ldvae/three_class_accuracy",
    "ldvae/smallest_detectable_dose",
    "ldvae/planted_auprc",
    "ldvae/planted_auprc_down",
    "ldvae/planted_auprc_up",
    "counterfactual/pearson_delta_top50",
    "counterfactual/weighted_delta_r2",
    "fidelity/std_slope",
    "utility/tstr_auc",
    "biology/lfc_slope",
    "privacy/worst_auc",
}
NOT_REACHED = {"ldvae/smallest_detectable_dose"}  # at so few cells it may be beyond all doses


@pytest.fixture
def trained(finished_ldvae, project) -> Path:
    shutil.copytree(finished_ldvae / "data", project / "data")
    return project


def reporting(project: Path) -> Path:
    return project / "data/08_reporting/ldvae"


def table(project: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(reporting(project) / f"answers/{name}.parquet")


def document(project: Path, name: str) -> dict:
    return json.loads((reporting(project) / f"{name}.json").read_text())


def prepared_of(project: Path) -> ad.AnnData:
    return ad.read_h5ad(project / "data/04_feature/single_cell/prepared.h5ad")


def synthetic_of(project: Path) -> ad.AnnData:
    return ad.read_h5ad(project / "data/07_model_output/ldvae/synthetic.h5ad")


def page_of(project: Path) -> str:
    """The report without its pictures."""
    page = (reporting(project) / "report.html").read_text()
    return re.sub(r"data:[a-z/+-]+;base64,[A-Za-z0-9+/=]+", "", page)


def test_outputs_lie_where_the_design_says(finished_ldvae):
    for path in (
        "data/07_model_output/ldvae/synthetic.h5ad",
        WEIGHTS,
        "data/08_reporting/ldvae/metrics.json",
        "data/08_reporting/ldvae/report.html",
        "data/08_reporting/single_cell/validation_report.json",
        "data/08_reporting/single_cell/gene_set_report.json",
    ):
        assert (finished_ldvae / path).is_file(), path
    assert not (finished_ldvae / "data/06_models/ldvae/checkpoint.pt").exists()
    for name in TABLES:
        assert len(table(finished_ldvae, name)), name
    for name in (*FIGURES, *ldvae.FIGURES):
        png = reporting(finished_ldvae) / f"figures/{name}.png"
        assert png.stat().st_size > 5_000, name


def test_every_score_is_complete(finished_ldvae):
    """Copies answer none of the questions of ldvae, and its likelihood has no ceiling."""
    metrics = document(finished_ldvae, "metrics")
    assert set(metrics) >= DESIGN_KEYS
    for key, entry in metrics.items():
        assert key in METRICS
        assert set(entry) >= {"value", "interval", "floor", "ceiling", "cheat", "n"}, key
        own = key.startswith(("ldvae/", "counterfactual/"))
        needed = ("value", "floor") if own else ("value", "floor", "ceiling", "cheat")
        missing = [part for part in needed if entry[part] is None]
        assert not missing or key in NOT_REACHED, f"{key} lacks {missing}"
        assert not own or entry["protocol"], key


def test_an_interval_holds_its_value_and_has_a_width(finished_ldvae):
    """A bootstrap over the one donor that is held out would have none."""
    for key, entry in document(finished_ldvae, "metrics").items():
        if entry["interval"] is not None and entry["value"] is not None:
            low, high = entry["interval"]
            assert low <= entry["value"] <= high, key
            assert low < high, key


def test_donors_and_twins_are_on_one_side(finished_ldvae):
    prepared = prepared_of(finished_ldvae)
    is_train = prepared.obs["split"] == "train"
    donors = [set(prepared.obs.loc[part, "donor"]) for part in (is_train, ~is_train)]
    assert all(donors)
    assert not donors[0] & donors[1]
    n_train, n_test = is_train.sum(), (~is_train).sum()
    scores = table(finished_ldvae, "three_class_scores")
    strict = scores[scores["protocol"] == "strict"]
    assert set(strict["n_train"]) == {3 * n_train}
    assert set(strict["n_test"]) == {3 * n_test}
    assert set(table(finished_ldvae, "cell_map")["condition"]) == {"base", "down", "up"}
    assert len(table(finished_ldvae, "cell_map")) == 3 * n_test


def test_the_published_experiment_stands_beside_the_strict_one(finished_ldvae):
    """Rows at random, 70/30, twins on both sides; which one flatters is a number."""
    scores = table(finished_ldvae, "three_class_scores")
    assert set(scores["protocol"]) == {"strict", "published"}
    assert scores["accuracy"].between(0, 1).all()
    views = {"latents", "latents+contrast", "pca", "signature", "all_genes"}
    for _, of in scores.groupby("protocol"):
        assert set(of["representation"]) >= views
        assert {"logistic", "network", "ridge"} <= set(of["classifier"])
    published = scores[scores["protocol"] == "published"].iloc[0]
    n_rows = published["n_train"] + published["n_test"]
    assert n_rows == 3 * prepared_of(finished_ldvae).n_obs
    assert published["n_test"] == pytest.approx(0.3 * n_rows, abs=3)
    confusion = table(finished_ldvae, "confusion").query("protocol == 'published'")
    assert set(confusion.groupby(["representation", "classifier"])["n"].sum()) == {
        published["n_test"]
    }


def test_power_covers_the_grid_and_the_null_dose_is_one_of_them(finished_ldvae):
    power = table(finished_ldvae, "power")
    assert set(power["dose"]) == {1.0, 2.0, 5.0}
    assert set(power["gene_set"]) == {"down", "up"}
    assert (power["low"] <= power["power"]).all()
    assert (power["power"] <= power["high"]).all()
    keys = ["cell_type", "gene_set", "representation"]
    assert len(table(finished_ldvae, "smallest_doses")) == len(power[keys].drop_duplicates())
    alarms = table(finished_ldvae, "false_alarms")
    assert (alarms["low"] <= 0.05).all()  # no more alarms than were allowed


def test_planted_genes_are_found_again_and_a_t_test_stands_beside(finished_ldvae):
    scores = table(finished_ldvae, "planted_scores").set_index(["direction", "method"])["auprc"]
    for direction in ("down", "up"):
        assert scores[direction, "mean_shift"] > 0.5  # a tenth of the genes were changed
        assert 0 < scores[direction, "t_test"] <= 1


def test_loadings_are_those_of_the_weights(finished_ldvae):
    genes = prepared_of(finished_ldvae).var_names
    expected = pd.DataFrame(load_generator(finished_ldvae / WEIGHTS).loadings, index=genes)
    found = table(finished_ldvae, "loadings")
    assert found["factor_stability"].between(0, 1).all()
    for row in found.groupby("factor").head(3).itertuples():
        assert row.loading == pytest.approx(expected.at[row.gene, row.factor])
        assert expected[row.factor].abs().gt(abs(row.loading) + 1e-9).sum() == row.rank - 1
    planted = set(prepared_of(finished_ldvae).uns["gene_sets"]["disease_up"])
    marked = set(found.loc[found["gene_sets"].str.contains("disease_up"), "gene"])
    assert marked == planted & set(found["gene"])


def test_the_report_holds_all_answers_and_every_figure(finished_ldvae):
    page = (reporting(finished_ldvae) / "report.html").read_text()
    assert page.count("data:image/png") == len(FIGURES) + len(ldvae.FIGURES)
    assert "What ldvae sees of a change in single cells" in page
    for section in document(finished_ldvae, "answers/answers")["sections"]:
        assert section["title"] in page
    assert not re.search(r"\bnan\b|\binf\b", page_of(finished_ldvae))


def test_no_cell_and_no_donor_is_named_in_any_output(finished_ldvae, trained):
    """Neither reaches what is meant to leave."""
    run(trained, "export")
    obs = ad.read_h5ad(finished_ldvae / "data/02_intermediate/single_cell/cohort.h5ad").obs
    names = re.compile(rf"\b({'|'.join([*obs.index, *obs['donor'].unique()])})\b")
    assert names.search("the cell C000001 of D1")
    texts = {path: path.read_text() for path in reporting(trained).rglob("*.json")}
    texts |= {path: path.read_text() for path in (trained / "data/07_model_output").rglob("*.csv")}
    texts["report"] = page_of(trained)
    single_cell = reporting(trained).with_name("single_cell")
    texts |= {path: path.read_text() for path in single_cell.glob("*.json")}
    for path in reporting(trained).rglob("*.parquet"):
        found = pd.read_parquet(path).select_dtypes(["object", "category"]).astype(str)
        texts[path] = "\n".join(found.to_numpy().ravel())
    adata = synthetic_of(trained)
    texts["synthetic"] = "\n".join([*adata.obs_names, *adata.obs.astype(str).to_numpy().ravel()])
    for where, text in texts.items():
        assert not names.search(text), where


def test_changing_the_held_out_cells_changes_no_bit_of_what_was_fitted(
    finished_ldvae, project, monkeypatch
):
    """Genes, transform, weights, loadings over seeds: a leak would show in one of them."""
    monkeypatch.setattr(
        SimulatedCortexDataset, "load", lambda of: others(of._config, finished_ldvae)
    )
    fitted = ["weights", "planted_scores", "loadings"]
    outputs = [f"ldvae.{name}" for name in fitted]
    run(project, "ldvae", only={"to_outputs": [*outputs, "single_cell.transform"]})
    before, after = prepared_of(finished_ldvae), prepared_of(project)
    is_test = (before.obs["split"] == "test").to_numpy()
    assert after.obs["split"].equals(before.obs["split"])
    assert (after.layers[COUNTS] != before.layers[COUNTS])[is_test].nnz > 0
    assert (after.layers[COUNTS] != before.layers[COUNTS])[~is_test].nnz == 0
    pd.testing.assert_frame_equal(after.var, before.var)
    for path in (WEIGHTS, "data/04_feature/single_cell/transform.safetensors"):
        (arrays, facts), (their_arrays, their_facts) = (
            read_state(folder / path) for folder in (finished_ldvae, project)
        )
        assert without_digest(facts) == without_digest(their_facts)
        assert set(arrays) == set(their_arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, their_arrays[name], err_msg=name)
    for name in ("planted_scores", "loadings"):
        pd.testing.assert_frame_equal(table(project, name), table(finished_ldvae, name))


def test_the_same_seed_gives_the_same_answers(finished_ldvae, trained):
    """Of the nodes that cost little; that training repeats itself is seen above."""
    nodes = ("carry_over", "detect", "find_planted", "tell_apart", "measure", "sample")
    shutil.rmtree(trained / "data/07_model_output")
    shutil.rmtree(reporting(trained))
    run(trained, "ldvae", only={"node_names": [f"ldvae.{name}" for name in nodes]})
    again = sorted((reporting(trained) / "answers").iterdir())
    assert len(again) == 8
    for path in again:
        first = reporting(finished_ldvae) / "answers" / path.name
        if path.suffix == ".parquet":
            pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(first))
        else:
            assert path.read_text() == first.read_text()
    before, after = synthetic_of(finished_ldvae), synthetic_of(trained)
    np.testing.assert_array_equal(expression(before), expression(after))
    assert before.obs.equals(after.obs)


def test_augmentation_samples_again_without_training(trained):
    before = (trained / WEIGHTS).stat().st_mtime_ns
    cold = synthetic_of(trained)
    run(trained, "augmentation", temperature=3.0)
    hot = synthetic_of(trained)
    assert hot.obs["cell_type"].value_counts().equals(cold.obs["cell_type"].value_counts())
    assert spread(hot) > 1.05 * spread(cold)
    assert (trained / WEIGHTS).stat().st_mtime_ns == before


def test_class_sizes_are_kept(trained):
    run(trained, "augmentation", class_sizes="Exc L2-3=7+Oligo=3")
    assert sorted(labels(synthetic_of(trained))) == ["Exc L2-3"] * 7 + ["Oligo"] * 3


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_writes_a_table(trained, suffix):
    run(trained, "export", format=suffix)
    path = trained / f"data/07_model_output/ldvae/synthetic.{suffix}"
    found = pd.read_csv(path, index_col=0) if suffix == "csv" else pd.read_parquet(path)
    adata = synthetic_of(trained)
    counts = sparse.csr_matrix(adata.layers[COUNTS]).toarray()
    np.testing.assert_array_equal(found[adata.var_names].to_numpy(), counts)
    assert found["cell_type"].tolist() == labels(adata).tolist()


def test_the_published_architecture_runs(trained):
    """Trained, read and sampled from; its loadings have batch normalisation folded in."""
    nodes = [f"ldvae.{name}" for name in ("train", "measure", "sample", "read_loadings")]
    run(trained, "ldvae", only={"node_names": nodes}, architecture="published")
    arrays, facts = read_state(trained / WEIGHTS)
    assert facts["config"]["decoder_batch_norm"]
    assert facts["likelihood"] == "nb"
    assert not [name for name in arrays if name.endswith("logits.bias")]
    assert provenance(synthetic_of(trained))["parameters"] == json.dumps(facts["config"])
    loadings = pd.DataFrame(load_generator(trained / WEIGHTS).loadings)
    first = table(trained, "loadings").query("rank == 1")
    np.testing.assert_allclose(first["loading"].abs(), loadings.abs().max()[first["factor"]])


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """A file of cells with raw counts."""
    path = tmp_path_factory.mktemp("cells") / "mine.h5ad"
    adata = simulate_cortex(CortexConfig(n_obs=100, n_vars=100, n_types=2, n_down=5, n_up=6))
    del adata.uns["synthome"], adata.uns["truth"]
    adata.write_h5ad(path)
    return path


def truncated(path: Path) -> str:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "cell_type"


def normalised(path: Path) -> str:
    adata = ad.read_h5ad(path)
    adata.X = sparse.csr_matrix(sparse.csr_matrix(adata.layers[COUNTS]) * 0.37).log1p()
    del adata.layers[COUNTS]
    adata.write_h5ad(path)
    return "cell_type"


def without_column(_: Path) -> str:
    return "celltype"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_column, r"celltype.*cell_type"),
        (truncated, r"mine\.h5ad.*(truncated|whole|complete|damaged)"),
        (normalised, r"counts"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(
    cells, project, monkeypatch, tmp_path, spoil, message
):
    file = Path(shutil.copy(cells, tmp_path / "mine.h5ad"))
    column = spoil(file)
    monkeypatch.chdir(project)
    arguments = ["--pipeline=ldvae", "--env=cells", f"--params=h5ad={file},cell_type={column}"]
    done = CliRunner().invoke(kedro_run, arguments, obj=bootstrap_project(project))
    assert done.exit_code == 1
    heading, *lines = done.stderr.splitlines()
    assert heading.startswith("Error ")
    assert re.search(message, lines[0])
    assert "Traceback" not in done.output
    assert not [path for path in (project / "data").rglob("*") if path.is_file()]
    assert not (project / "logs").exists()


def others(config: dict, finished: Path) -> CellSource:
    """The same cells, with other counts in those that were held out."""
    adata = simulate_cortex(CortexConfig(**config))
    rows = held_out(prepared_of(finished)).obs["source_row"].to_numpy()
    counts = adata.layers[COUNTS].tolil()
    counts[rows] = 3 * counts[rows][:, ::-1]
    adata.layers[COUNTS] = counts.tocsr()
    return CellSource.of(adata)


def held_out(adata: ad.AnnData) -> ad.AnnData:
    return adata[adata.obs["split"] == "test"]


def without_digest(facts: dict) -> dict:
    """What the weights say of themselves, but for the digest of all cells."""
    return facts | {"provenance": {**facts.get("provenance", {}), "sha256": ""}}


def spread(adata: ad.AnnData) -> float:
    return float(expression(adata).std(axis=0).mean())
