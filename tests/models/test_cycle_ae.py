"""cycle_ae: heads add up, the cycle is trained, counterfactual cells follow what was planted."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse, stats

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.errors import InputError, NotApplicable
from synthome.models.cycle_ae import CycleAE, CycleAEConfig, CycleAEGenerator
from synthome.simulate.contexts import ContextsConfig, simulate_contexts, true_log_rate

CONFIG = CycleAEConfig(n_latent=6, n_hidden=16, training={"max_epochs": 5})


@pytest.fixture(scope="module")
def cells() -> AnnData:
    adata = simulate_contexts(
        ContextsConfig(
            n_obs=1000, n_vars=200, n_types=3, n_assays=2, n_donors=8, n_least=30,
            n_interaction_genes=10, library_size=2000,
        )
    )  # fmt: skip
    size = np.asarray(adata.layers[COUNTS].sum(axis=1)).ravel()
    adata.obs[LIBRARY_SIZE] = size
    adata.X = sparse.csr_matrix(sparse.diags_array(1e4 / size) @ adata.layers[COUNTS]).log1p()
    return adata


@pytest.fixture(scope="module")
def model(cells) -> CycleAEGenerator:
    return CycleAEGenerator(CONFIG).fit(cells[200:].copy())


def test_the_sum_of_heads_is_the_prediction(model, cells):
    h, codes = model.embed(cells), model.codes(cells)
    parts = model.contributions(h, codes)
    assert list(parts) == list(model.head_names)
    total = np.sum(list(parts.values()), axis=0)
    np.testing.assert_allclose(total, model.log_rate(h, codes), rtol=1e-6, atol=1e-6)
    assert min(part.min() for part in parts.values()) < 0.0  # heads are signed


def test_likelihood_is_that_of_scipy(model, cells):
    counts = cells.layers[COUNTS][:5].toarray()
    size = cells.obs[LIBRARY_SIZE].to_numpy(float)[:5]
    h, codes = model.embed(cells[:5]), model.codes(cells[:5])
    mu, theta = size[:, None] * np.exp(model.log_rate(h, codes)), model.theta
    expected = -stats.nbinom.logpmf(counts, n=theta, p=theta / (theta + mu)).sum(axis=1)
    np.testing.assert_allclose(model.cell_scores(cells[:5].copy())["nll"], expected, rtol=1e-4)


def test_every_part_that_is_trained_gets_a_gradient(model, cells):
    """Effects and the classifier are held fixed."""
    network = CycleAE(cells.n_vars, model.fields.sizes, model.effects.n_pairs, CONFIG)
    network.load_state_dict(model.network.state_dict())
    for up in network.up:
        torch.nn.init.normal_(up, std=0.1)
    rows = model._cells(cells[:40].copy())
    from synthome.csr import CSRRows

    terms = network.loss(
        CSRRows.of(rows[0]), torch.tensor(rows[1], dtype=torch.float32), torch.from_numpy(rows[2])
    )
    terms["loss"].backward()
    for name, parameter in network.named_parameters():
        if name.startswith("classifier"):
            assert parameter.grad is None
        else:
            assert parameter.grad.abs().sum() > 0.0, name
    assert "base" not in dict(network.named_parameters())


def test_the_state_explains_held_out_cells_beyond_their_contexts(model, cells):
    scores = model.cell_scores(cells[:200].copy()).mean()
    assert scores["nll"] < scores["contexts_nll"]
    assert model.history["train_integration"].iloc[-1] < model.history["train_integration"].iloc[0]
    assert {f"train_norm_{name}" for name in model.head_names} <= set(model.history)


def test_counterfactual_cells_move_as_planted(model, cells):
    """Mean change over cells against the planted log rates, genes that fall among them."""
    source = cells[(cells.obs["assay"] == "10x v3").to_numpy()]
    own = source[(source.obs["cell_type"] == "T cell").to_numpy()].copy()
    made = model.counterfactual(own, {"assay": "10x v2"}, np.random.default_rng(0))
    assert set(made.obs["assay"]) == {"10x v2"}
    assert set(made.obs["cell_type"]) == {"T cell"}
    rates = [
        np.log(np.asarray(a.layers[COUNTS].sum(axis=0)).ravel() / a.obs[LIBRARY_SIZE].sum())
        for a in (own, made)
    ]
    sides = [
        np.mean([
            true_log_rate(cells.uns["truth"], {"cell_type": "T cell", "assay": a, "condition": c})
            for c in ("control", "disease")
        ], axis=0)
        for a in ("10x v3", "10x v2")
    ]  # fmt: skip
    true, found = sides[1] - sides[0], rates[1] - rates[0]
    clear = np.abs(true) > 0.5
    assert (np.sign(found) == np.sign(true))[clear].mean() > 0.97
    assert np.corrcoef(found[clear], true[clear])[0, 1] > 0.95
    depth = made.obs[LIBRARY_SIZE].mean() / own.obs[LIBRARY_SIZE].mean()
    assert depth == pytest.approx(0.6, rel=0.1)


def test_a_cell_in_its_own_context_stays_as_it_is(model, cells):
    own = cells[(cells.obs["condition"] == "disease").to_numpy()][:30].copy()
    made = model.counterfactual(own, {"condition": "disease"}, np.random.default_rng(0))
    assert (made.layers[COUNTS] != own.layers[COUNTS]).nnz == 0
    assert not set(made.obs_names) & set(own.obs_names)
    assert "donor" not in made.obs


def test_drawn_cells_follow_their_label_and_its_combinations(model):
    made = model.sample(300, ["B cell"] * 300, np.random.default_rng(0))
    assert set(made.obs["cell_type"]) == {"B cell"}
    assert set(made.obs["assay"]) == {"10x v2", "10x v3"}
    assert (made.layers[COUNTS].data % 1 == 0).all()
    again = model.sample(300, ["B cell"] * 300, np.random.default_rng(0))
    assert (made.layers[COUNTS] != again.layers[COUNTS]).nnz == 0


def test_balance_fills_rare_combinations(model):
    median = int(np.median(model.combination_cells))
    made = model.balance(np.random.default_rng(0))
    assert made.n_obs == np.maximum(median - model.combination_cells, 0).sum()
    assert model.balance(np.random.default_rng(0), least=0).n_obs == 0


def test_a_rebuilt_model_draws_the_same(model, cells):
    back = CycleAEGenerator.from_state(*model.state())
    one, other = (m.sample(20, None, np.random.default_rng(1)) for m in (model, back))
    assert (one.layers[COUNTS] != other.layers[COUNTS]).nnz == 0
    np.testing.assert_array_equal(back.embed(cells[:9]), model.embed(cells[:9]))


def test_what_is_not_known_is_said(model, cells):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"'v9' is no category .* these are: 10x v2, 10x v3"):
        model.counterfactual(cells[:3].copy(), {"assay": "v9"}, rng)
    with pytest.raises(InputError, match="no field 'age'; the model knows: cell_type, assay"):
        model.counterfactual(cells[:3].copy(), {"age": "1"}, rng)
    with pytest.raises(InputError, match="genes of the model are missing"):
        model.embed(cells[:3, 1:].copy())
    without = cells[:9].copy()
    del without.layers[COUNTS]
    with pytest.raises(NotApplicable, match="cycle_ae models counts"):
        CycleAEGenerator(CONFIG).fit(without)
