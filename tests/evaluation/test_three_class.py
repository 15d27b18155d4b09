"""Three twins are told apart when genes change, at one in three when nothing can be seen."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.evaluation.three_class import (
    ThreeClassConfig,
    accuracy_interval,
    drawn_groups,
    held_out_rows,
    published_network,
    three_class,
)
from synthome.simulate.perturbation import expected_counts, twins

N_VARS = 80
DOWN, UP = [f"g{j}" for j in range(12)], [f"g{j}" for j in range(12, 24)]
FAST = {"n_bootstrap": 200, "n_components": 6}


def cells(n=120, seed=0, split=False) -> AnnData:
    rng = np.random.default_rng(seed)
    types = np.where(np.arange(n) % 2 == 0, "a", "b")
    profile = np.random.default_rng(99).gamma(2.0, 1.5, (2, N_VARS))
    counts = sparse.csr_matrix(rng.poisson(profile[(types == "a").astype(int)]).astype(np.float64))
    obs = pd.DataFrame({"cell_type": types}, index=[f"c{i}" for i in range(n)])
    obs["library_size"] = np.asarray(counts.sum(axis=1)).ravel()
    if split:
        obs["split"] = np.where(np.arange(n) % 5 == 0, "test", "train")
    return AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=[f"g{j}" for j in range(N_VARS)]),
        layers={"counts": counts},
        uns={"synthome": {"label_key": "cell_type", "group_key": "", "scale": "counts"}},
    )


def type_model(train, test):
    """Latents that know the type of a cell and nothing else."""

    def of(part):
        rates = {}
        base = train[train.obs["condition"] == "base"]
        size = base.obs["library_size"].to_numpy(float)
        types = base.obs["cell_type"].to_numpy(str)
        mu = expected_counts(base.X, size, types) / size[:, None]
        for t in np.unique(types):
            rates[t] = mu[types == t][0]
        own = part.obs["cell_type"].to_numpy(str)
        depth = part.obs["library_size"].to_numpy(float)[:, None]
        z = (own == "a").astype(float)[:, None]
        return z, np.maximum(depth * np.stack([rates[t] for t in own]), 1e-9)

    (z, mu), (z_new, mu_new) = of(train), of(test)
    return z, z_new, mu, mu_new, np.full(N_VARS, np.inf)


@pytest.fixture(scope="module")
def found():
    return three_class(cells(), DOWN, UP, type_model, ThreeClassConfig(doses=(1.0001, 4.0), **FAST))


def test_what_cannot_be_seen_is_guessed_and_what_can_is_found(found):
    table = found.accuracy.set_index(["dose", "representation", "classifier"])["accuracy"]
    assert table[4.0, "latents", "logistic"] == pytest.approx(1 / 3, abs=0.02)
    for name, classifier in (
        ("latents+sets", "logistic"),
        ("latents+contrast", "logistic"),
        ("all_genes", "ridge"),
        ("signature", "logistic"),
    ):
        assert table[4.0, name, classifier] > 0.8
        assert table[1.0001, name, classifier] < 0.5
    assert table[4.0, "latents+sets", "logistic"] >= table[4.0, "signature", "logistic"] - 0.02


def test_tables_say_what_was_done(found):
    table, confusion = found.accuracy, found.confusion
    assert set(table["protocol"]) == {"strict"}
    assert (table["n_test"] == 3 * table["n_groups"]).all()
    assert (table["n_train"] + table["n_test"] == 360).all()
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()
    key = ["dose", "representation", "classifier"]
    sums = confusion.groupby(key)["n"].sum()
    right = confusion[confusion["true"] == confusion["predicted"]].groupby(key)["n"].sum()
    indexed = table.set_index(key)
    pd.testing.assert_series_equal(
        (right / sums).sort_index(), indexed["accuracy"].sort_index(), check_names=False
    )
    assert (confusion.groupby(key).size() == 9).all()


def test_twins_are_on_one_side_unless_the_protocol_is_the_published_one():
    tripled = twins(cells(), DOWN, UP, 2.0, np.random.default_rng(0))
    for protocol, apart in (("strict", 0), ("published", 40)):
        is_test = held_out_rows(tripled, ThreeClassConfig(protocol=protocol))
        assert is_test.mean() == pytest.approx(0.3, abs=0.03)
        sides = tripled.obs.assign(test=is_test).groupby("twin")["test"].nunique()
        assert (sides == 2).sum() >= apart
        assert apart or (sides == 1).all()
        share = tripled.obs.assign(test=is_test).groupby("condition")["test"].mean()
        assert np.ptp(share) < 0.02


def test_the_split_of_the_cells_is_that_of_their_twins():
    tripled = twins(cells(split=True), DOWN, UP, 2.0, np.random.default_rng(0))
    is_test = held_out_rows(tripled, ThreeClassConfig())
    np.testing.assert_array_equal(is_test, np.tile(np.arange(120) % 5 == 0, 3))


def test_the_model_sees_training_twins_first_and_never_a_test_twin():
    seen = []

    def spy(train, test):
        assert not set(train.obs["twin"]) & set(test.obs["twin"])
        seen.append((train.n_obs, test.n_obs))
        return type_model(train, test)

    config = ThreeClassConfig(doses=(2.0,), max_cells=60, **FAST)
    three_class(cells(), DOWN, UP, spy, config)
    assert seen == [(126, 54)]


def test_the_same_seed_gives_the_same_tables(found):
    again = three_class(
        cells(), DOWN, UP, type_model, ThreeClassConfig(doses=(1.0001, 4.0), **FAST)
    )
    pd.testing.assert_frame_equal(again.accuracy, found.accuracy)


def test_an_interval_counts_groups_and_not_rows():
    """Three equal rows of a group are one row: sqrt(3) times as wide as for rows of their own."""
    right = np.repeat(np.random.default_rng(0).random(200) < 0.6, 3)
    rng = np.random.default_rng
    groups = accuracy_interval(right, np.repeat(np.arange(200), 3), 4000, rng(1))
    rows = accuracy_interval(right, np.arange(600), 4000, rng(1))
    assert np.ptp(groups) / np.ptp(rows) == pytest.approx(np.sqrt(3), rel=0.1)
    p = right.mean()
    assert np.ptp(groups) == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 200), rel=0.1)


def test_an_interval_is_of_a_share_also_when_groups_differ_in_size():
    """Donors give few or many cells; all of them right is a share of 1 in every draw."""
    group = np.repeat(np.arange(5), [1, 2, 5, 20, 40])
    always = accuracy_interval(np.ones(68, dtype=bool), group, 200, np.random.default_rng(0))
    assert always == (1.0, 1.0)


def test_the_published_network_learns_what_no_line_separates():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 2))
    y = np.where(np.linalg.norm(x, axis=1) < 1.1, "in", "out")
    predict = published_network(x[:400], y[:400], 7, seed=1)
    assert (predict(x[400:]) == y[400:]).mean() > 0.9
    again = published_network(x[:400], y[:400], 7, seed=1)
    np.testing.assert_array_equal(again(x), predict(x))


def test_few_donors_are_not_what_a_bootstrap_draws():
    """One donor drawn again and again has no spread, and would feign a certain result."""
    tripled = twins(cells(), DOWN, UP, 2.0, np.random.default_rng(0))
    tripled.obs["donor"] = np.where(tripled.obs["twin"] % 2, "a", "b")
    tripled.uns["synthome"] = tripled.uns["synthome"] | {"group_key": "donor"}
    assert len(np.unique(drawn_groups(tripled))) == 120
    tripled.obs["donor"] = (tripled.obs["twin"] % 6).astype(str)
    assert len(np.unique(drawn_groups(tripled))) == 6
