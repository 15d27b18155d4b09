"""What is said of contexts is measured, adds up, and does not see effects that donors explain."""

import numpy as np
import pytest
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, SPLIT, UNS
from synthome.evaluation.context_reading import (
    ContextReadingConfig,
    claims,
    context_scores,
    head_table,
    held_out_scores,
    holm,
    mean_change,
    planted_scores,
)
from synthome.fields import Fields
from synthome.models.context_effects import ContextEffects
from synthome.models.cycle_ae import CycleAEConfig, CycleAEGenerator
from synthome.simulate.contexts import ContextsConfig, simulate_contexts

CONFIG = ContextReadingConfig(max_cells=300, cells_per_category=60, n_permutations=19)
SMALL = ContextsConfig(
    n_obs=900, n_vars=200, n_types=3, n_assays=2, n_donors=8, n_least=30, library_size=2000,
    n_interaction_genes=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def cells():
    """Simulated contexts, as preprocessing gives them."""
    adata = simulate_contexts(SMALL)
    size = np.asarray(adata.layers[COUNTS].sum(axis=1)).ravel()
    adata.obs[LIBRARY_SIZE] = size
    adata.X = sparse.csr_matrix(sparse.diags_array(1e4 / size) @ adata.layers[COUNTS]).log1p()
    adata.obs[SPLIT] = np.where(np.arange(adata.n_obs) % 3 == 0, "test", "train")
    return adata


@pytest.fixture(scope="module")
def model(cells):
    config = CycleAEConfig(n_latent=6, n_hidden=16, training={"max_epochs": 4})
    return CycleAEGenerator(config).fit(cells[cells.obs[SPLIT] == "train"].copy())


def test_contexts_and_the_state_each_explain_held_out_cells(model, cells):
    found = held_out_scores(model, cells, CONFIG)
    assert found["nll"] < found["contexts_nll"] < found["null_nll"]
    assert found["n_cells"] == 300


def test_heads_add_up_and_so_do_their_shares(model, cells):
    """The sum of heads is the prediction; shares of the variance are parts of 1."""
    codes = model.codes(cells)
    parts = model.contributions(model.embed(cells), codes)
    total = model.log_rate(model.embed(cells), codes)
    np.testing.assert_allclose(np.sum(list(parts.values()), axis=0), total, atol=1e-5)
    heads, genes = head_table(model, cells, CONFIG)
    own = heads[heads["group"] == "all"]
    assert own["variance_share"].sum() == pytest.approx(1.0, abs=1e-6)
    assert own.set_index("head")["variance_share"].idxmax() == "cell_type"
    assert set(heads["group"]) == {"all", *cells.obs["cell_type"].unique()}
    assert set(genes["head"]) == {"assay", "condition"}
    assert (genes.groupby(["head", "category"])["effect"].agg(np.ptp) > 0).all()


def test_planted_effects_are_found_with_sign_and_size(model, cells):
    """And a method that knows nothing is told apart from one that does."""
    table = planted_scores(
        {
            "cycle_ae": lambda *of: mean_change(model, *of),
            "published": lambda *of: np.zeros(cells.n_vars),
        },
        cells,
        CONFIG,
    )
    ours = table[table["method"] == "cycle_ae"]
    assert (ours["sign_accuracy"] > 0.95).all()
    assert (ours["down_accuracy"] > 0.9).all()
    assert (ours["correlation"] > 0.95).all()
    nothing = table[table["method"] == "published"]
    assert (nothing["sign_accuracy"] == 0.0).all()
    assert nothing["correlation"].isna().all()
    without = cells.copy()
    del without.uns["truth"]
    assert planted_scores({}, without, CONFIG).empty


def test_generated_cells_are_told_and_the_state_is_not(model, cells):
    table = context_scores(model, cells, CONFIG).set_index("field")
    assert (table["generated_independent"] > table["independent_accuracy"] - 0.1).all()
    beyond = (table["integration_state"] - table["chance"]) / (1.0 - table["chance"])
    components = (table["integration_pca"] - table["chance"]) / (1.0 - table["chance"])
    assert (beyond < components - 0.3).all()
    assert table["cycle_error"].between(0.0, 0.6).all()


def with_donors(cells, factor):
    """Twelve donors that differ by themselves; in half of them a factor on 20 genes."""
    rng = np.random.default_rng(1)
    more = cells.copy()
    donor = np.arange(more.n_obs) % 12
    own = rng.lognormal(0.0, 0.25, (12, more.n_vars))
    group = np.where(donor % 2 == 0, "a", "b")
    change = np.ones((more.n_obs, more.n_vars))
    change[group == "a", :20] = factor
    more.layers[COUNTS] = sparse.csr_matrix(
        rng.poisson(more.layers[COUNTS].toarray() * own[donor] * change).astype(np.float32)
    )
    more.obs[LIBRARY_SIZE] = np.asarray(more.layers[COUNTS].sum(axis=1)).ravel()
    more.obs["donor"] = [f"d{d}" for d in donor]
    more.obs["sex"] = group
    facts = {"group_key": "donor", "field_keys": ["cell_type", "sex"]}
    more.uns[UNS] = dict(more.uns[UNS]) | facts
    return more


@pytest.mark.parametrize(("factor", "claimed"), [(1.0, False), (4.0, True)])
def test_a_field_is_claimed_when_it_does_more_than_donors_differ(cells, factor, claimed):
    more = with_donors(cells, factor)
    fields = Fields.of(more.obs, ["cell_type", "sex"])
    table = claims(more, fields, CONFIG)
    assert list(table["field"]) == ["sex"]
    assert bool(table["claimed"].iloc[0]) is claimed
    assert table["n_donors"].iloc[0] == 12


@pytest.mark.parametrize(("factor", "n_deals"), [(3.0, 99), (1.0, 10)])
def test_deals_end_when_enough_had_effects_as_large(cells, monkeypatch, factor, n_deals):
    """P by hand from the statistic of each deal: of all where few reach it, h / n where many do."""
    seen, own = [], ContextEffects.of_pools
    monkeypatch.setattr(ContextEffects, "of_pools", lambda *of: seen.append(own(*of)) or seen[-1])
    config = CONFIG.model_copy(update={"n_permutations": 99})
    more = with_donors(cells, factor)
    table = claims(more, Fields.of(more.obs, ["cell_type", "sex"]), config)
    observed, *null = (np.sqrt(np.square(each.main[1]).mean()) for each in seen)
    assert table["statistic"].item() == pytest.approx(observed)
    assert (len(null) < 99) is (n_deals == 10)
    n_as_large = int((np.array(null) >= observed).sum())
    if factor > 1.0:
        assert table["p_value"].item() == (1 + n_as_large) / 100
    else:
        assert n_as_large == 10
        assert null[-1] >= observed
        assert table["p_value"].item() == 10 / len(null)


def test_fields_that_vary_within_donors_are_not_tested(cells):
    more = with_donors(cells, 1.0)
    fields = Fields.of(more.obs, ["cell_type", "assay"])
    assert claims(more, fields, CONFIG).empty
    table = claims(cells, fields, CONFIG)
    assert table.empty
    assert list(table.columns[-2:]) == ["p_adjusted", "claimed"]


def test_several_fields_are_corrected_as_holm_says():
    """Against the definition, and order does not matter."""
    p = np.array([0.03, 0.01, 0.2])
    np.testing.assert_allclose(holm(p), [0.06, 0.03, 0.2])
    np.testing.assert_allclose(holm(p[::-1]), holm(p)[::-1])
    assert holm(np.array([0.6, 0.7])).max() == 1.0
