"""The protocol as a whole: arms, leaks, reproducibility, and the errors that people see."""

import json

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.evaluation.protocol import (
    EvaluationConfig,
    cross_validate,
    score_fold,
    summarise,
)
from synthome.generator import as_synthetic
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.controls import Copies, IndependentNoise, ShuffledGenes

pytestmark = pytest.mark.usefixtures("small_forests")

CONFIG = EvaluationConfig(n_synthetic=120, n_coexpression_genes=30, n_de_genes=10, n_draws=1)
TRANSFORM = TransformConfig(n_top_genes=50)


class Spy:
    """Remembers what it was shown and what it drew; draws noise."""

    shown: list = []  # noqa: RUF012
    drawn: list = []  # noqa: RUF012

    def __init__(self, seed):
        self.seed = seed

    def fit(self, train):
        Spy.shown.append((self.seed, train))
        self.noise = IndependentNoise().fit(train)
        return self

    def sample(self, n_obs, labels, rng):
        Spy.drawn.append(self.noise.sample(n_obs, labels, rng))
        return Spy.drawn[-1]


@pytest.fixture(autouse=True)
def _forget():
    Spy.shown, Spy.drawn = [], []


def shuffled(seed):
    return ShuffledGenes()


def copies(seed):
    return Copies()


@pytest.fixture(scope="module")
def tables(module_cohort):
    """One cross-validation of copies as the model, for several tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthome.evaluation.classifiers.N_TREES", 4)
        return cross_validate(module_cohort, copies, TRANSFORM, CONFIG)


def test_every_arm_has_every_score_of_every_fold(tables):
    """2 folds x 4 arms, and no score that the registry does not know."""
    scores, attacks = tables
    counts = scores.groupby("arm")["metric"].count()
    assert counts.nunique() == 1
    assert set(counts.index) == {"model", "floor", "ceiling", "cheat"}
    assert set(scores["metric"]) <= set(METRICS)
    assert scores.groupby(["repeat", "fold", "arm", "metric"]).size().max() == 1
    assert set(attacks["arm"]) == {"model", "floor", "ceiling", "cheat"}
    assert np.isfinite(scores["value"]).all()
    assert (scores["n_train"] == 20).all()
    assert (scores["n_test"] == 20).all()


def test_a_model_that_copies_scores_like_the_cheat_and_loses_where_copies_must(tables):
    """The same rows up to their order: every score that ignores draws agrees."""
    scores, attacks = tables
    table = scores.pivot_table(index=["fold", "metric"], columns="arm", values="value")
    for metric in ("fidelity/coexpression_train_r", "fidelity/std_r2", "biology/de_recovery"):
        rows = table.xs(metric, level="metric")
        np.testing.assert_allclose(rows["model"], rows["cheat"], atol=0.25)
        assert (rows["cheat"] > rows["floor"] - 1e-9).all()
    found = summarise(scores, attacks)
    for attack in ("nearest", "subspace", "mahalanobis", "block_match"):
        assert found[f"privacy/{attack}_auc"]["value"] == 1.0
        assert found[f"privacy/{attack}_auc"]["cheat_wins"] is True
    assert found["fidelity/coexpression_train_r"]["cheat"] > 0.95
    assert found["fidelity/beyond_range"]["cheat"] == 0.0
    json.dumps(found, allow_nan=False)


def test_the_floor_has_no_structure_and_the_ceiling_no_leak(tables):
    """Noise keeps spread and loses modules; held-out rows give nobody away."""
    found = summarise(*tables)
    assert found["fidelity/std_slope"]["floor"] == pytest.approx(1.0, abs=0.1)
    assert found["fidelity/module_density"]["floor"] < 0.3
    assert found["fidelity/module_density"]["ceiling"] > 0.5
    assert found["privacy/nearest_auc"]["ceiling"] == pytest.approx(0.5, abs=0.2)
    assert found["privacy/worst_auc"]["floor"] < 0.85


def test_the_model_is_shown_the_training_rows_and_nothing_else(cohort):
    """Names, number, and values that would move if a test row had been looked at."""
    cross_validate(cohort, Spy, TRANSFORM, CONFIG)
    assert [seed for seed, _ in Spy.shown] == [0, 1]  # fold 0 has the seed of the release
    for seed, train in Spy.shown:
        expected = cohort.obs_names[cohort.obs["fold_0"] != seed]
        assert train.obs_names.tolist() == expected.tolist()


def test_the_released_rows_are_scored_in_the_fold_that_they_come_from(cohort, tables):
    """In place of a second fit; the other fold and the other arms stay as they are."""
    train = cohort[(cohort.obs["split"] == "train").to_numpy()].copy()
    released = IndependentNoise().fit(train).sample(120, None, np.random.default_rng(0))
    scores, _ = cross_validate(cohort, copies, TRANSFORM, CONFIG, released=released)
    assert not scores["value"].equals(tables[0]["value"])
    untouched = (scores["fold"] != 0) | (scores["arm"] != "model")
    pd.testing.assert_frame_equal(scores[untouched], tables[0][untouched])
    table = scores.pivot_table(index="fold", columns=["arm", "metric"], values="value")
    assert table["model", "fidelity/beyond_range"].tolist()[0] > 0.5  # noise; copies give 0
    assert table["model", "fidelity/beyond_range"].tolist()[1] == 0.0


def test_a_balanced_draw_joins_the_real_rows_and_touches_no_other_score(cohort):
    """As many of each class, however rare one is; all scores but the gains are those of before."""
    rare = (cohort.obs["condition"] == "disease") & (np.arange(40) < 24)
    cohort = cohort[~rare].copy()
    asked = []

    class Asked(IndependentNoise):
        def sample(self, n_obs, labels, rng):
            asked.append(labels)
            return super().sample(n_obs, labels, rng)

    one = EvaluationConfig.model_validate(CONFIG.model_dump() | {"augment": "proportional"})
    before, _ = cross_validate(cohort, lambda _: Asked(), TRANSFORM, one)
    assert asked == [None, None]
    after, _ = cross_validate(cohort, lambda _: Asked(), TRANSFORM, CONFIG)
    assert asked[2::2] == [None, None]
    assert all(sorted(labels) == ["disease"] * 60 + ["healthy"] * 60 for labels in asked[3::2])
    changed = before["value"].to_numpy() != after["value"].to_numpy()
    assert set(before["metric"][changed].str.contains("gain")) == {True}
    assert {"model", "floor", "cheat"} == set(before["arm"][changed])


def test_a_generator_that_cannot_serve_labels_adds_its_proportional_rows(cohort):
    """An unconditional one may never draw a class; its other scores do not suffer for it."""

    class Unlabelled(IndependentNoise):
        def sample(self, n_obs, labels, rng):
            if labels is not None:
                raise InputError("It knows no labels.")
            return super().sample(n_obs, labels, rng)

    config = CONFIG.model_copy(update={"augment": "proportional"})
    first, _ = cross_validate(cohort, lambda _: IndependentNoise(), TRANSFORM, config)
    second, _ = cross_validate(cohort, lambda _: Unlabelled(), TRANSFORM, CONFIG)
    model = first["arm"] == "model"
    pd.testing.assert_frame_equal(first[model], second[model])


def test_the_released_generator_draws_the_balanced_rows_of_its_fold(cohort):
    """The released rows are scored as they are, and more of them come from the same generator."""
    train = cohort[(cohort.obs["split"] == "train").to_numpy()].copy()
    noise = IndependentNoise().fit(train)
    released = noise.sample(90, None, np.random.default_rng(0))
    asked = []

    def draw(n_obs, labels, rng):
        asked.append((n_obs, sorted(labels)))
        return noise.sample(n_obs, labels, rng)

    cross_validate(cohort, copies, TRANSFORM, CONFIG, released=released, draw_released=draw)
    assert asked == [(90, ["disease"] * 45 + ["healthy"] * 45)]


def test_changing_test_rows_changes_nothing_that_is_fitted(cohort):
    """Genes, training values and draws of the fold stay bit for bit; its scores do not."""
    changed = cohort.copy()
    held = (cohort.obs["fold_0"] == 0).to_numpy()
    changed.X[held] = 40 * np.random.default_rng(9).random((held.sum(), cohort.n_vars))
    before = cross_validate(cohort, Spy, TRANSFORM, CONFIG)[0]
    (_, first), drawn = Spy.shown[0], Spy.drawn[0]
    _forget_now()
    after = cross_validate(changed, Spy, TRANSFORM, CONFIG)[0]
    (_, second) = Spy.shown[0]
    assert first.var_names.equals(second.var_names)
    pd.testing.assert_frame_equal(first.var, second.var)
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(drawn.X, Spy.drawn[0].X)
    keys = ["fold", "arm", "metric"]
    both = before.set_index(keys)["value"], after.set_index(keys)["value"]
    against_train = [
        (0, arm, metric)
        for arm in ("model", "floor", "cheat")
        for metric in ("fidelity/std_slope", "fidelity/coexpression_train_r", "biology/lfc_slope")
    ]
    for key in against_train:
        assert both[0][key] == both[1][key]
    assert both[0][0, "model", "fidelity/mmd2"] != both[1][0, "model", "fidelity/mmd2"]


def _forget_now():
    Spy.shown, Spy.drawn = [], []


def test_the_same_seed_gives_the_same_tables_and_another_seed_others(cohort, tables):
    """To the last bit."""
    again = cross_validate(cohort, copies, TRANSFORM, CONFIG)
    for first, second in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(first, second)
    other = cross_validate(cohort, copies, TRANSFORM, CONFIG.model_copy(update={"seed": 1}))
    assert not tables[0]["value"].equals(other[0]["value"])


def test_folds_side_by_side_give_the_same_tables(cohort, tables):
    """In the same order."""
    with parallel_config(backend="threading"):
        again = cross_validate(cohort, copies, TRANSFORM, CONFIG.model_copy(update={"n_jobs": 2}))
    for first, second in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(first, second)


@pytest.mark.slow
def test_folds_in_processes_of_their_own_give_the_same_tables(cohort, tables):
    """All arguments travel. (Workers grow full forests, so forests are left out.)"""
    scores, attacks = tables
    config = CONFIG.model_copy(update={"n_jobs": 2})
    again = cross_validate(cohort, lambda _: Copies(), TRANSFORM, config)
    pd.testing.assert_frame_equal(again[1], attacks)
    plain = ~scores["metric"].str.contains("forest|gain")
    pd.testing.assert_frame_equal(again[0][plain], scores[plain])


def test_scores_stand_alone_on_one_fold(cohort, make_cohort):
    """Permuting synthetic rows leaves every score that draws no rows at random unchanged."""
    train, test = cohort[8:].copy(), cohort[:8].copy()
    synthetic = ShuffledGenes().fit(train).sample(64, None, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(64)
    found = [
        score_fold(train, test, rows, np.random.default_rng(2), CONFIG)
        for rows in (synthetic, synthetic[order].copy())
    ]
    for key in ("fidelity/std_slope", "fidelity/coexpression_r", "utility/tstr_auc"):
        assert found[0][0][key] == pytest.approx(found[1][0][key], rel=1e-4)
    np.testing.assert_allclose(found[0][1]["score"], found[1][1]["score"], atol=1e-7)


def test_a_class_missing_from_a_test_fold_is_no_error(cohort):
    """Its AUC is NaN there, and the summary still has one."""
    healthy = cohort.obs["condition"] == "healthy"
    cohort.obs["fold_0"] = np.where(healthy & (cohort.obs["fold_0"] == 0), 2, cohort.obs["fold_0"])
    scores, attacks = cross_validate(cohort, shuffled, TRANSFORM, CONFIG)
    aucs = scores[(scores["metric"] == "utility/tstr_auc") & (scores["arm"] == "model")]
    assert aucs["value"].isna().tolist() == [True, False, True]
    assert summarise(scores, attacks)["utility/tstr_auc"]["n_folds"] == 1


def test_rows_without_a_label_are_left_out(cohort):
    """They belong to no class that could be scored."""
    cohort.obs.loc["sample_3", "condition"] = None
    scores, attacks = cross_validate(cohort, shuffled, TRANSFORM, CONFIG)
    assert set(attacks["sample"]) == set(range(40)) - {3}
    rows = attacks.drop_duplicates("sample")
    expected = cohort.obs["condition"].to_numpy()[rows["sample"]]
    np.testing.assert_array_equal(rows["label"], expected)
    assert scores.loc[scores["fold"] == 1, "n_test"].unique().tolist() == [19]


def test_planted_genes_are_scored_when_the_truth_is_known(cohort):
    """Of the genes that are scored, the last ten of the cohort are planted."""
    cohort.uns["truth"] = {"disease_genes": cohort.var_names[-10:].to_numpy()}
    found = summarise(*cross_validate(cohort, shuffled, TRANSFORM, CONFIG))
    entry = found["biology/planted_auprc"]
    assert entry["ceiling"] > 0.8
    assert entry["value"] > 0.8


def test_a_cohort_without_folds_is_told_what_to_run(make_expression, make_cohort):
    """Splits are data; the evaluation makes none."""
    cohort = make_cohort(*make_expression(np.random.default_rng(0), 20))
    with pytest.raises(InputError, match="no test folds"):
        cross_validate(cohort, shuffled, TRANSFORM, CONFIG)


def test_a_generator_that_diverged_is_named(cohort):
    """With the first place, and what to look at."""
    train, test = cohort[8:].copy(), cohort[:8].copy()
    x = train.X.copy()
    x[3, 5] = np.nan
    broken = as_synthetic(x, train.obs["condition"].to_numpy(), train)
    with pytest.raises(InputError, match="1 values that are not finite.*gene_5"):
        score_fold(train, test, broken, np.random.default_rng(0), CONFIG)


def test_a_generator_that_lost_genes_is_named(cohort):
    """Before any score is computed on the rest."""
    train, test = cohort[8:].copy(), cohort[:8].copy()
    few = Copies().fit(train[:, 2:].copy()).sample(40, None, np.random.default_rng(0))
    with pytest.raises(InputError, match="lack 2 of the 60 genes.*gene_0"):
        score_fold(train, test, few, np.random.default_rng(0), CONFIG)


def test_the_number_of_synthetic_rows_follows_the_training_part():
    """Ten each, and 1,000 at least."""
    assert EvaluationConfig().rows(34) == 1000
    assert EvaluationConfig().rows(675) == 6750
    assert EvaluationConfig(n_synthetic=50).rows(675) == 50
