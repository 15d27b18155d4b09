"""The published check: the numbers of its own libraries, and the flaws that it is here to show."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from synthome.errors import InputError
from synthome.evaluation.published import (
    PseudoLabels,
    PublishedConfig,
    published_check,
    published_summary,
    resemblance,
)
from synthome.generator import as_synthetic

SMALL = PublishedConfig(seeds=(42, 10), n_synthetic=80, n_trees=10)


class Fixed:
    """Draws the rows that it was given, whatever it is fitted to; remembers what it saw."""

    def __init__(self, rows):
        self.rows = rows

    def fit(self, train):
        self.train = train
        return self

    def sample(self, n_obs, labels, rng):
        rows = self.rows(self.train.X, n_obs, rng) if callable(self.rows) else self.rows
        return as_synthetic(rows, np.repeat("disease", len(rows)), self.train)


def scores(table, generator, seed=42):
    part = table[(table["generator"] == generator) & (table["seed"] == seed)]
    return part.set_index("metric")["value"]


def check(adata, rows, config=SMALL):
    return published_check(adata, {"model": lambda seed: Fixed(rows)}, config)


def blurred(x, n_obs, rng):
    """Rows near patients, so blurred that a forest makes mistakes."""
    rows = x[rng.integers(len(x), size=n_obs)]
    return x.mean(axis=0) + 0.4 * (rows - x.mean(axis=0)) + 3.0 * rng.standard_normal(rows.shape)


def halved(x, n_obs, rng):
    rows = x[np.arange(n_obs) % len(x)]
    return x.mean(axis=0) + 0.5 * (rows - x.mean(axis=0))


def test_the_choices_are_the_published_ones():
    """src/robustness_check.py, commit 2ddc8fb."""
    assert PublishedConfig().model_dump() == {
        "seeds": (42, 10, 2024, 777, 99),
        "n_synthetic": 1000,
        "n_components": 50,
        "n_clusters": 2,
        "test_size": 0.3,
        "n_trees": 100,
    }


@pytest.mark.parametrize("seed", [42, 10])
def test_utility_agrees_with_the_libraries_of_the_publication(cohort, seed):
    """Min-max, standardised, components, clusters and forest, chained by scikit-learn itself."""
    real = cohort.X.astype(np.float32).astype(float)
    rows = blurred(real, 80, np.random.default_rng(seed)).astype(np.float32).astype(float)
    space = make_pipeline(MinMaxScaler(), StandardScaler(), PCA(39, random_state=seed)).fit(real)
    kmeans = KMeans(2, n_init=10, random_state=seed).fit(space.transform(real))
    y = kmeans.labels_
    _, x_test, _, y_test = train_test_split(
        space.transform(real), y, test_size=0.3, random_state=seed, stratify=y
    )
    forest = RandomForestClassifier(10, random_state=seed)
    forest.fit(space.transform(rows), kmeans.predict(space.transform(rows)))
    predicted = forest.predict(x_test)
    expected = {
        "tstr_accuracy": accuracy_score(y_test, predicted),
        "tstr_f1": f1_score(y_test, predicted, average="weighted"),
        "tstr_auc": roc_auc_score(y_test, forest.predict_proba(x_test)[:, 1]),
    }
    assert 0.5 < expected["tstr_accuracy"] < 1.0
    found = PseudoLabels.fit(real, SMALL, seed).utility(rows, n_trees=10, seed=seed)
    assert found == pytest.approx(expected)


def test_resemblance_agrees_with_scipy(cohort):
    real = np.asarray(cohort.X)
    rows = blurred(real, 80, np.random.default_rng(0))
    means = stats.linregress(real.mean(axis=0), rows.mean(axis=0))
    spreads = stats.linregress(real.std(axis=0, ddof=1), rows.std(axis=0, ddof=1))
    top = pd.DataFrame(real).var().nlargest(50).index
    matrices = [pd.DataFrame(x)[top].corr().to_numpy().ravel() for x in (real, rows)]
    expected = {
        "mean_r2": means.rvalue**2,
        "std_r2": spreads.rvalue**2,
        "std_slope": spreads.slope,
        "ks": np.mean([stats.ks_2samp(a, b).statistic for a, b in zip(real.T, rows.T)]),  # noqa: B905
        "diversity": pdist(rows).mean() / pdist(real).mean(),
        "coexpression_r": stats.pearsonr(*matrices).statistic,
    }
    assert resemblance(real, rows) == pytest.approx(expected)


def test_the_mean_and_the_representative_run_are_those_of_the_publication():
    """results/robustness: 0.9931 +/- 0.0154, run 1 (seed 42)."""
    seeds = PublishedConfig().seeds
    table = pd.DataFrame(
        {
            "generator": "vae",
            "seed": seeds,
            "metric": "tstr_accuracy",
            "value": [1, 1, 1, 1, 28 / 29],
        }
    )
    row = published_summary(table).iloc[0]
    assert row["mean"] == pytest.approx(0.9931, abs=5e-5)
    assert row["sd"] == pytest.approx(0.0154, abs=5e-5)
    assert row["representative_seed"] == 42


@pytest.mark.parametrize(
    ("values", "seed"),
    [([0.7, 0.9, 0.8], 99), ([0.9, 1.0, 0.9, 1.0], 42), ([1.0, 0.9], 42), ([0.4, 0.9, 0.7], 99)],
)
def test_the_closest_to_the_mean_represents_and_of_equally_close_ones_the_first(values, seed):
    """0.9 and 1.0 are equally far from 0.95, but not in binary."""
    table = pd.DataFrame({"seed": (42, 10, 99, 777)[: len(values)], "value": values})
    table = table.assign(generator="vae", metric="tstr_accuracy")
    others = table.assign(metric="ks", value=0.1)
    summary = published_summary(pd.concat([table, others]))
    assert summary["representative_seed"].tolist() == [seed, seed]
    assert summary["metric"].tolist() == ["tstr_accuracy", "ks"]


def test_a_seed_without_a_value_is_left_out_and_one_seed_has_no_sd():
    table = pd.DataFrame(
        {
            "generator": "vae",
            "seed": [1, 2, 1, 2],
            "metric": ["tstr_accuracy", "tstr_accuracy", "tstr_auc", "tstr_auc"],
            "value": [1.0, 1.0, np.nan, 0.6],
        }
    )
    auc = published_summary(table).iloc[1]
    assert auc["mean"] == 0.6
    assert np.isnan(auc["sd"])


def test_every_generator_has_one_value_per_seed_and_controls_are_always_there(cohort):
    table = check(cohort, blurred)
    assert list(table.columns) == ["generator", "seed", "metric", "value"]
    assert table["generator"].unique().tolist() == ["model", "copies", "independent_noise"]
    counts = table.groupby(["generator", "metric"])["seed"].agg(list)
    assert set(map(tuple, counts)) == {(42, 10)}
    assert len(table) == 3 * 2 * 9
    pd.testing.assert_frame_equal(table, check(cohort, blurred))


def test_nobody_else_can_be_called_copies(cohort):
    impostor = published_check(cohort, {"copies": lambda seed: Fixed(blurred)}, SMALL)
    expected = published_check(cohort, {}, SMALL)
    pd.testing.assert_frame_equal(impostor, expected)


def test_generators_get_their_seed_and_all_rows_and_genes(cohort):
    """Nothing is held out: that is the flaw. Scores are on the variable genes."""
    cohort.var["highly_variable"] = np.arange(60) < 30
    seen = []

    def make(seed):
        seen.append((seed, Fixed(blurred)))
        return seen[-1][1]

    table = published_check(cohort, {"model": make}, SMALL)
    assert [seed for seed, _ in seen] == [42, 10]
    assert all(spy.train.shape == (40, 60) for _, spy in seen)
    rows = blurred(cohort.X, 80, np.random.default_rng(0))
    table = check(cohort, rows)
    single = rows.astype(np.float32).astype(float), cohort.X.astype(np.float32).astype(float)
    expected = resemblance(single[1][:, :30], single[0][:, :30])
    assert scores(table, "model")[list(expected)].to_dict() == pytest.approx(expected)


def test_copies_of_patients_are_the_optimum(cohort):
    found = scores(check(cohort, blurred), "copies")
    for metric in ("tstr_accuracy", "tstr_f1", "tstr_auc", "mean_r2", "std_r2", "coexpression_r"):
        assert found[metric] == pytest.approx(1.0, abs=0.01)
    assert found["std_slope"] == pytest.approx(1.0, abs=0.03)
    assert found["ks"] < 0.01


def test_noise_has_perfect_r2(cohort):
    found = scores(
        check(cohort, blurred, PublishedConfig(seeds=(42,), n_trees=10)), "independent_noise"
    )
    assert found["mean_r2"] > 0.99
    assert found["std_r2"] > 0.95
    assert found["coexpression_r"] < 0.9


def test_halved_spread_passes_unnoticed_but_for_the_slope(cohort):
    found = scores(check(cohort, halved), "model")
    assert found[["mean_r2", "std_r2"]].to_numpy() == pytest.approx(1.0, abs=1e-6)
    assert found["tstr_accuracy"] > 0.8
    assert found[["std_slope", "diversity"]].to_numpy() == pytest.approx(0.5, abs=0.02)


def test_diagnoses_do_not_matter(cohort):
    """A cohort whose diagnoses are shuffled gets the same scores: no score asks for them."""
    shuffled = cohort.copy()
    shuffled.obs["condition"] = np.random.default_rng(1).permutation(cohort.obs["condition"])
    rows = blurred(cohort.X, 80, np.random.default_rng(0))
    before, after = (scores(check(c, rows), "model") for c in (cohort, shuffled))
    pd.testing.assert_series_equal(before, after)


def test_rows_on_one_side_of_the_border_get_the_share_of_that_cluster(cohort):
    real = cohort.X.astype(np.float32).astype(float)
    labels = PseudoLabels.fit(real, SMALL, 42)
    one_side = np.repeat(real[labels.cluster == 1][:1], 20, axis=0)
    found = labels.utility(one_side, n_trees=5, seed=42)
    assert found["tstr_accuracy"] == pytest.approx(np.mean(labels.cluster[labels.test] == 1))
    assert found["tstr_auc"] == 0.5


def test_components_are_at_most_rows_less_one_and_genes(make_cohort, make_expression):
    real = make_expression(np.random.default_rng(0), 40)[0]
    sizes = [(12, 60), (40, 60), (40, 7)]
    fits = [PseudoLabels.fit(real[:n, :p], SMALL, 42) for n, p in sizes]
    assert [fit.components.shape[1] for fit in fits] == [11, 39, 7]
    assert [len(fit.test) for fit in fits] == [4, 12, 12]


def test_a_cluster_of_a_single_row_does_not_stop_it(cohort):
    cohort.X[0] += 1000.0
    labels = PseudoLabels.fit(np.asarray(cohort.X), SMALL, 42)
    assert sorted(np.bincount(labels.cluster)) == [1, 39]
    assert np.isfinite(scores(check(cohort, blurred), "model")["tstr_accuracy"])


def test_the_test_part_has_the_clusters_in_proportion(cohort):
    labels = PseudoLabels.fit(np.asarray(cohort.X), SMALL, 42)
    whole, part = labels.cluster.mean(), labels.cluster[labels.test].mean()
    assert part == pytest.approx(whole, abs=0.5 / len(labels.test))


def test_a_cohort_that_does_not_allow_the_check_is_refused(cohort, make_cohort):
    few = PublishedConfig(seeds=(1,), n_clusters=2)
    with pytest.raises(InputError, match="of 4 samples gives 2 and 2.*fewer clusters"):
        check(cohort[:4].copy(), blurred, PublishedConfig(seeds=(1,), n_clusters=3))
    with pytest.raises(InputError, match="of 3 samples gives 1 and 2"):
        check(cohort[:3].copy(), blurred, few)
    with pytest.raises(InputError, match="all alike"):
        check(make_cohort(np.ones((8, 5)), ["a", "b"] * 4), blurred, few)
    cohort.obs["condition"] = cohort.obs["condition"].where(np.arange(40) > 2)
    with pytest.raises(InputError, match="3 of 40 samples have no condition"):
        check(cohort, blurred)


def test_values_that_are_not_finite_are_refused(cohort):
    with pytest.raises(InputError, match="not finite"):
        check(cohort, np.full((5, 60), np.nan))


def test_a_table_without_its_columns_or_accuracy_is_refused(cohort):
    table = check(cohort, blurred)
    with pytest.raises(InputError, match="lacks seed"):
        published_summary(table.drop(columns="seed"))
    with pytest.raises(InputError, match="it has 0 rows and lacks no column"):
        published_summary(table.iloc[:0])
    model = table["generator"] == "model"
    with pytest.raises(InputError, match="no tstr_accuracy for model"):
        published_summary(table[~(model & (table["metric"] == "tstr_accuracy"))])


@pytest.mark.parametrize("wrong", [{"seeds": ()}, {"seeds": (1, 1)}, {"test_size": 1.0}, {"n": 1}])
def test_choices_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        PublishedConfig(**wrong)
