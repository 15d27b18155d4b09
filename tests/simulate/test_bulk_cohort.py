import hashlib
import time

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from pydantic import ValidationError

from synthome.preprocessing.splits import SplitConfig, assign_folds, fold_parts
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.simulate.bulk_cohort import BulkCohortConfig, simulate_bulk_cohort

# Nothing but counting and dispersion: the mean of each gene is known in closed form.
PLAIN = BulkCohortConfig(
    n_obs=1500, n_vars=200, n_disease_genes=0, module_fraction=0, batch_effect=0, library_spread=0
)
# All effects, and so many patients that estimates are precise.
LARGE = BulkCohortConfig(n_obs=1500, n_vars=600, n_disease_genes=100, batch_tilt=0, seed=3)


@pytest.fixture(scope="module")
def main() -> AnnData:
    return simulate_bulk_cohort(BulkCohortConfig())


@pytest.fixture(scope="module")
def external() -> AnnData:
    return simulate_bulk_cohort(BulkCohortConfig(), "external")


@pytest.fixture(scope="module")
def large() -> AnnData:
    return simulate_bulk_cohort(LARGE)


def log_cpm(adata: AnnData) -> np.ndarray:
    return np.log1p(adata.X / adata.X.sum(axis=1, keepdims=True) * 1e6)


def test_the_demo_cohort_is_what_the_issue_asks_for(main):
    truth = main.uns["truth"]
    assert main.shape == (96, 6000)
    assert main.obs["condition"].value_counts().to_dict() == {"disease": 58, "healthy": 38}
    assert set(truth["module"]) == set(range(-1, 12))
    assert len(truth["disease_genes"]) == (truth["log_fold_change"] != 0).sum() == 150
    assert (pd.crosstab(main.obs["batch"], main.obs["condition"]) >= 5).all(axis=None)
    assert main.obs["batch"].nunique() == 2
    assert main.obs["patient_id"].is_unique
    assert list(truth["gene"]) == list(main.var_names)
    assert list(truth["sample"]) == list(main.obs_names)


def test_counts_are_whole_and_the_provenance_names_their_digest(main):
    counts = main.layers["counts"]
    assert np.issubdtype(counts.dtype, np.integer)
    assert counts.min() == 0
    np.testing.assert_array_equal(main.X, counts)
    facts = main.uns["synthome"]
    assert facts["sha256"] == hashlib.sha256(counts.tobytes()).hexdigest()
    assert facts["source"] == "simulated bulk cohort (main, seed 0)"
    assert (facts["scale"], facts["label_key"], facts["group_key"]) == ("counts", "condition", "")


def test_depth_and_zeros_look_like_a_sequenced_cohort(main):
    library = main.X.sum(axis=1)
    assert np.median(library) == pytest.approx(4e7, rel=0.1)
    assert ((library > 1.5e7) & (library < 8e7)).all()
    assert 0.03 < (main.X == 0).mean() < 0.15
    cpm = np.median(main.X / library[:, None] * 1e6, axis=0)
    assert 0.15 < (cpm < 1).mean() < 0.35  # nearly silent genes, which a filter must drop


def test_counts_have_the_mean_and_variance_of_equation_4():
    """Pearson residuals under the stated mean and dispersion have mean 0 and variance 1."""
    adata = simulate_bulk_cohort(PLAIN)
    truth = adata.uns["truth"]
    mu = np.exp(truth["log_mean"]) * PLAIN.library_size / 1e6
    assert np.exp(truth["log_mean"]).sum() == pytest.approx(1e6)
    residual = (adata.X - mu) / np.sqrt(mu + mu**2 / truth["theta"])
    often = mu > 5  # below, four moments of a skew law need more samples than these
    assert np.abs(residual.mean(axis=0)[often]).max() < 5 / np.sqrt(PLAIN.n_obs)
    assert residual.var(axis=0)[often].mean() == pytest.approx(1, abs=0.03)


def test_dispersion_falls_with_the_mean_as_in_equation_5():
    truth = simulate_bulk_cohort(PLAIN).uns["truth"]
    mu = np.exp(truth["log_mean"]) * PLAIN.library_size / 1e6
    trend = PLAIN.dispersion + PLAIN.extra_poisson / mu
    ratio = np.log(1 / truth["theta"] / trend)
    assert np.median(ratio) == pytest.approx(0, abs=0.1)
    assert abs(np.corrcoef(ratio, np.log(mu))[0, 1]) < 0.2


def test_planted_log_fold_changes_are_found_in_the_counts(large):
    truth = large.uns["truth"]
    sick = (large.obs["condition"] == "disease").to_numpy()
    x = log_cpm(large)
    seen = x.mean(axis=0) > 2.5  # log(1 + CPM) shrinks changes of lower genes
    found = (x[sick].mean(axis=0) - x[~sick].mean(axis=0))[seen]
    planted = truth["total_log_fold_change"][seen]
    slope, _ = np.polyfit(planted, found, 1)
    assert slope == pytest.approx(1, abs=0.1)
    assert np.corrcoef(planted, found)[0, 1] > 0.97
    direct = np.abs(truth["log_fold_change"][truth["log_fold_change"] != 0])
    assert np.median(direct[direct < 0.45]) == pytest.approx(LARGE.subtle_effect, rel=0.2)
    assert np.median(direct[direct >= 0.45]) == pytest.approx(LARGE.strong_effect, rel=0.2)


def test_genes_of_a_module_go_together_with_the_sign_of_their_loadings(large):
    truth = large.uns["truth"]
    x = log_cpm(large)
    for module in range(LARGE.n_modules):
        mine = (truth["module"] == module) & (x.mean(axis=0) > 2.5)
        r = np.corrcoef(np.c_[truth["module_activity"][:, module], x[:, mine]].T)[0, 1:]
        assert (np.sign(r) == np.sign(truth["loading"][mine])).mean() > 0.95
        assert np.median(np.abs(r)) > 0.4
    lonely = (truth["module"] < 0) & (truth["log_fold_change"] == 0) & (x.mean(axis=0) > 2.5)
    batch = large.obs["batch"].astype("category").cat.codes.to_numpy()
    centred = (
        x[:, lonely] - np.stack([x[batch == b][:, lonely].mean(axis=0) for b in (0, 1)])[batch]
    )
    r = np.corrcoef(centred.T)[np.triu_indices(lonely.sum(), 1)]
    assert np.median(np.abs(r)) < 0.1  # not quite 0: all share one library


def test_disease_shifts_as_many_modules_as_planted(large):
    truth = large.uns["truth"]
    sick = (large.obs["condition"] == "disease").to_numpy()
    activity = truth["module_activity"]
    shift = activity[sick].mean(axis=0) - activity[~sick].mean(axis=0)
    assert (truth["module_shift"] != 0).sum() == LARGE.n_shifted_modules
    np.testing.assert_allclose(shift, truth["module_shift"], atol=0.25)


def test_severity_differs_between_patients_and_is_zero_in_health(main):
    severity = main.uns["truth"]["severity"]
    sick = (main.obs["condition"] == "disease").to_numpy()
    assert (severity[~sick] == 0).all()
    assert severity[sick].mean() == pytest.approx(1)
    assert severity[sick].min() < 0.4 < 1.8 < severity[sick].max()


def test_batches_move_genes_as_planted(large):
    truth = large.uns["truth"]
    x = log_cpm(large)
    first = (large.obs["batch"] == "M1").to_numpy()
    seen = x.mean(axis=0) > 2.5
    found = (x[~first].mean(axis=0) - x[first].mean(axis=0))[seen]
    planted = np.diff(truth["batch_effect"], axis=0)[0][seen]
    assert np.corrcoef(planted, found)[0, 1] > 0.95


def test_the_external_cohort_shares_the_genes_and_nothing_of_the_patients(main, external):
    truth, other = main.uns["truth"], external.uns["truth"]
    assert external.n_obs == 48
    assert external.n_vars == 6000 * 0.96
    there = np.isin(truth["gene"], other["gene"])
    for name in ("module", "loading", "log_fold_change", "total_log_fold_change", "theta"):
        np.testing.assert_array_equal(truth[name][there], other[name])
    assert set(other["disease_genes"]) < set(truth["disease_genes"])
    assert not set(main.obs_names) & set(external.obs_names)
    assert not set(main.obs["patient_id"]) & set(external.obs["patient_id"])
    assert not set(main.obs["batch"]) & set(external.obs["batch"])
    assert np.median(external.X.sum(axis=1)) == pytest.approx(2e7, rel=0.2)


def test_the_site_moves_each_gene_of_the_external_cohort(main, external):
    shared = external.var_names
    x, y = log_cpm(main[:, shared].copy()), log_cpm(external)
    healthy = [(a.obs["condition"] == "healthy").to_numpy() for a in (main, external)]
    seen = x.mean(axis=0) > 2.5
    moved = (y[healthy[1]].mean(axis=0) - x[healthy[0]].mean(axis=0))[seen]
    assert np.corrcoef(moved, external.uns["truth"]["site_effect"][seen])[0, 1] > 0.6
    assert (main.uns["truth"]["site_effect"] == 0).all()


def test_the_same_seed_gives_the_same_cohort_and_another_seed_another(main):
    again = simulate_bulk_cohort(BulkCohortConfig())
    other = simulate_bulk_cohort(BulkCohortConfig(seed=1))
    np.testing.assert_array_equal(main.X, again.X)
    pd.testing.assert_frame_equal(main.obs, again.obs)
    assert (main.uns["truth"]["log_fold_change"] != other.uns["truth"]["log_fold_change"]).any()
    assert main.uns["synthome"]["sha256"] != other.uns["synthome"]["sha256"]


def test_more_patients_do_not_change_the_truth_about_genes(main):
    more = simulate_bulk_cohort(BulkCohortConfig(n_obs=120))
    for name in ("module", "loading", "log_fold_change", "theta"):
        np.testing.assert_array_equal(main.uns["truth"][name], more.uns["truth"][name])


def test_patients_who_give_two_samples_are_named_as_the_group_and_resemble_themselves():
    config = BulkCohortConfig(n_repeated_patients=20)
    adata = simulate_bulk_cohort(config)
    assert adata.uns["synthome"]["group_key"] == "patient_id"
    assert adata.n_obs == 96
    assert (adata.obs["patient_id"].value_counts() == 2).sum() == 20
    assert (adata.obs.groupby("patient_id")["condition"].nunique() == 1).all()
    x = log_cpm(adata)
    x = x[:, x.mean(axis=0) > 2.5]
    r = np.corrcoef(x - x.mean(axis=0))
    patient = adata.obs["patient_id"].to_numpy()
    same = (patient[:, None] == patient) & ~np.eye(96, dtype=bool)
    assert r[same].mean() > r[~same & ~np.eye(96, dtype=bool)].mean() + 0.2


def test_the_truth_survives_a_file(main, tmp_path):
    main.write_h5ad(tmp_path / "cohort.h5ad")
    back = read_h5ad(tmp_path / "cohort.h5ad")
    for name, values in main.uns["truth"].items():
        np.testing.assert_array_equal(back.uns["truth"][name], values)
    assert back.uns["synthome"] == main.uns["synthome"]
    np.testing.assert_array_equal(back.layers["counts"], main.layers["counts"])


def test_a_classifier_is_good_and_not_perfect(main):
    """Where every classifier is perfect, a score can tell no generator from another."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    adata = assign_folds(main, SplitConfig())
    auc = []
    for fold in range(5):
        train, test = fold_parts(adata, fold)
        transform = ExpressionTransform.fit(train, TransformConfig())
        use = transform.genes["highly_variable"].to_numpy()
        mean, std = (transform.genes[name].to_numpy() for name in ("mean", "std"))
        x, y = (((transform.apply(a).X - mean) / std)[:, use] for a in (train, test))
        model = LogisticRegression(max_iter=1000).fit(x, train.obs["condition"])
        sick = test.obs["condition"] == "disease"
        auc.append(roc_auc_score(sick, -model.decision_function(y)))  # classes by name
    assert 0.88 < np.mean(auc) < 0.97
    assert np.std(auc) > 0.01


def test_the_demo_cohort_takes_well_under_two_seconds():
    """0.1 s on one idle core; the bound leaves room for a busy machine."""
    start = time.perf_counter()
    simulate_bulk_cohort(BulkCohortConfig())
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"n_disease_genes": 5000}, "at most 2250 disease genes"),
        ({"n_shifted_modules": 13}, "more than n_modules"),
        ({"n_repeated_patients": 40}, "at most a third"),
        ({"n_obs": 4}, "greater than or equal to 12"),
        ({"n_gene": 4}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_cohorts_are_refused_in_words(items, message):
    with pytest.raises(ValidationError, match=message):
        BulkCohortConfig(**items)


@pytest.mark.parametrize(
    "items",
    [
        {"n_obs": 12, "n_vars": 100, "n_disease_genes": 10},
        {"n_modules": 1, "n_shifted_modules": 1, "n_batches": 1},
        {"n_batches": 5, "batch_tilt": 1.0},
        {"disease_fraction": 0.01, "silent_fraction": 0.0, "missing_fraction": 0.0},
        {"n_disease_genes": 0, "n_shifted_modules": 0, "module_fraction": 0.0},
    ],
)
@pytest.mark.parametrize("cohort", ["main", "external"])
def test_corners_of_the_configuration_give_valid_cohorts(items, cohort):
    adata = simulate_bulk_cohort(BulkCohortConfig(**items), cohort)
    assert np.isfinite(adata.X).all()
    assert (adata.X.sum(axis=1) > 0).all()
    assert adata.obs["condition"].nunique() == 2
    assert all(np.isfinite(v).all() for v in adata.uns["truth"].values() if v.dtype.kind == "f")
