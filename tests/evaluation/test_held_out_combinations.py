"""Whole combinations are left out of all that is fitted, and predictions meet their truth."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, UNS
from synthome.evaluation.held_out_combinations import (
    HeldOutConfig,
    Target,
    by_similarity,
    choose_targets,
    held_out_combinations,
)

N_VARS, N_EACH = 60, 40
CONFIG = HeldOutConfig(n_halves=2, n_components=5)


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Three types under two assays; the second triples ten genes and thirds ten others."""
    rng = np.random.default_rng(0)
    base = rng.gamma(2.0, 3.0, (3, N_VARS))
    factor = np.ones(N_VARS)
    factor[:10], factor[10:20] = 3.0, 1 / 3
    rows, types, assays = [], [], []
    for t, name in enumerate("abc"):
        for assay in ("v2", "v3"):
            mu = base[t] * (factor if assay == "v3" else 1.0)
            rows.append(rng.poisson(mu, (N_EACH, N_VARS)))
            types += [name] * N_EACH
            assays += [assay] * N_EACH
    counts = sparse.csr_matrix(np.concatenate(rows), dtype=np.float32)
    obs = pd.DataFrame(
        {"type": types, "assay": assays, LIBRARY_SIZE: np.asarray(counts.sum(axis=1)).ravel()},
        index=[f"c{i}" for i in range(counts.shape[0])],
    )
    facts = {"label_key": "type", "field_keys": ["type", "assay"], "scale": "counts"}
    return AnnData(counts, obs=obs, layers={COUNTS: counts}, uns={UNS: facts})


class Oracle:
    """Knows the truth, and writes down what it was fitted to and asked for."""

    def __init__(self, everything: AnnData) -> None:
        self.everything, self.seen, self.asked = everything, None, None

    def fit(self, train: AnnData) -> "Oracle":
        self.seen = train.obs_names
        return self

    def counterfactual(self, adata, target, rng):
        self.asked = (set(adata.obs["type"]), set(adata.obs["assay"]), dict(target))
        own = self.everything.obs
        rows = own["type"].isin(set(adata.obs["type"])) & (own["assay"] == target["assay"])
        x = self.everything[rows.to_numpy()].layers[COUNTS].toarray()
        size = x.sum(axis=1, keepdims=True)
        return AnnData(np.log1p(1e4 * x / size))


def scores(table, method, column="weighted_delta_r2"):
    return float(table.loc[table["method"] == method, column].iloc[0])


def test_each_method_lands_where_it_must(cells):
    """The truth is near 1, no change near 0, and a change that is shared is carried over."""
    table = held_out_combinations(cells, {"cycle_ae": Oracle(cells).fit}, CONFIG)
    assert table["target"].nunique() == 1
    assert abs(scores(table, "no_change")) < 0.1
    assert scores(table, "cycle_ae") > 0.97
    assert scores(table, "ceiling") > 0.9
    assert 0.8 < scores(table, "additive") < 1.0
    assert scores(table, "cycle_ae", "down_accuracy") == 1.0
    assert table["informative"].dtype == bool
    assert scores(table, "ceiling", "n_cells") == N_EACH


def test_nothing_held_out_is_fitted_to(cells):
    """Neither the true cells nor the source cells that change is measured from."""
    oracle = Oracle(cells)
    held_out_combinations(cells, {"cycle_ae": oracle.fit}, CONFIG)
    target = choose_targets(cells, CONFIG)[0]
    seen = cells[oracle.seen].obs
    own = seen[seen["type"] == target.label]
    assert not (own["assay"] == target.category).any()
    assert (own["assay"] == target.source).sum() == N_EACH // 2
    assert oracle.asked == ({target.label}, {target.source}, {"assay": target.category})


@pytest.mark.parametrize("max_cells", [4 * N_EACH, 8 * N_EACH])
def test_of_very_many_cells_some_are_drawn_in_the_shares_of_their_combinations(cells, max_cells):
    """Models are fitted to these alone; a quarter are source and target, which are scored."""
    many = AnnData(
        sparse.vstack([cells.X] * 4, format="csr"),
        obs=pd.concat([cells.obs] * 4).set_axis(np.arange(4 * cells.n_obs).astype(str)),
        layers={COUNTS: sparse.vstack([cells.layers[COUNTS]] * 4, format="csr")},
        uns=cells.uns,
    )
    oracle = Oracle(many)
    config = CONFIG.model_copy(update={"max_cells": max_cells, "targets": ("a|assay|v2|v3",)})
    table = held_out_combinations(many, {"cycle_ae": oracle.fit}, config)
    assert scores(table, "ceiling", "n_cells") == max_cells // 8
    own = many[oracle.seen].obs.groupby(["type", "assay"], observed=True).size()
    assert own["a", "v2"] == max_cells // 16
    others = own.drop([("a", "v2")])
    assert others.sum() == max_cells * 3 // 4
    assert others.max() - others.min() <= 1


def test_a_field_that_all_held_out_cells_share_is_set_too(cells):
    """The held-out cells were made in one place, which is known without looking at them."""
    more = cells.copy()
    site = np.where(more.obs["assay"] == "v3", "north", "south")
    more.obs["site"] = np.where(np.arange(more.n_obs) % 2 == 0, site, "north")
    more.uns[UNS]["field_keys"] = ["type", "assay", "site"]
    oracle = Oracle(more)
    config = CONFIG.model_copy(update={"targets": ("a|assay|v2|v3",)})
    held_out_combinations(more, {"cycle_ae": oracle.fit}, config)
    assert oracle.asked[2] == {"assay": "v3", "site": "north"}


def test_targets_need_another_label_that_shows_the_change(cells, caplog):
    few = cells[(cells.obs["type"] == "a") | (cells.obs["assay"] == "v2")].copy()
    assert choose_targets(few, CONFIG) == []
    assert "No combination is held out" in caplog.text
    table = held_out_combinations(few, {}, CONFIG)
    assert table.empty


def test_named_targets_are_taken(cells):
    config = CONFIG.model_copy(update={"targets": ("b|assay|v3|v2",)})
    assert choose_targets(cells, config) == [Target("b", "assay", "v3", "v2")]
    with pytest.raises(ValueError, match=r"label\|field\|source\|category"):
        choose_targets(cells, config.model_copy(update={"targets": ("b",)}))


def test_similarity_prefers_the_label_that_is_near():
    """With change tied to place, the nearer of the labels is the better guess."""
    rng = np.random.default_rng(0)
    before = {name: rng.normal(size=20) + 3 * k for k, name in enumerate("abcd")}
    change = {name: np.full(20, float(k)) for k, name in enumerate("abcd")}
    near = by_similarity(before["d"] + 0.1, before, change)
    assert near.mean() > 2.0
    same = by_similarity(before["d"], before, dict.fromkeys("abcd", np.ones(20)))
    np.testing.assert_allclose(same, 1.0)
