"""cycle_ae: heads add up, the cycle is trained, counterfactual cells follow what was planted."""

import copy

import numpy as np
import pytest
import torch
from anndata import AnnData
from contexts import TARGET_SUM, part_of, prepared_contexts
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, labels, with_provenance
from synthome.csr import CSRRows
from synthome.errors import InputError, NotApplicable
from synthome.models import combinations, context_classifier
from synthome.models.context_effects import ContextEffects
from synthome.models.cycle_ae import MOST_LOG_RATE, CycleAE, CycleAEConfig, CycleAEGenerator
from synthome.simulate.contexts import true_log_rate
from synthome.training.loop import fit

SMALL = {"n_latent": 6, "n_hidden": 16, "n_field_latent": 5, "map_rank": 3}
CONFIG = CycleAEConfig.model_validate(SMALL | {"training": {"max_epochs": 5}})
FEW = CycleAEConfig.model_validate(SMALL | {"training": {"max_epochs": 1, "steps_per_epoch": 1}})
FIELDS = ["cell_type", "assay", "condition"]


@pytest.fixture(scope="module", autouse=True)
def _quick_classifier():
    """These contexts are told after few steps."""
    with pytest.MonkeyPatch.context() as patch:
        quick = context_classifier.TRAINING.model_copy(update={"max_epochs": 4})
        patch.setattr(context_classifier, "TRAINING", quick)
        yield


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return prepared_contexts(n_obs=1200, n_vars=200, donor_effect=0.2)


@pytest.fixture(scope="module")
def train(cells) -> AnnData:
    return part_of(cells, "train")


@pytest.fixture(scope="module")
def fresh(cells) -> AnnData:
    return part_of(cells, "test")


@pytest.fixture(scope="module")
def model(train) -> CycleAEGenerator:
    return CycleAEGenerator(CONFIG).fit(train)


@pytest.fixture(scope="module")
def few_genes(train) -> AnnData:
    """For tests that fit again."""
    return train[:, :50].copy()


@pytest.fixture
def network(model) -> CycleAE:
    """A copy in which the maps, which begin as zero, do much."""
    made = copy.deepcopy(model.network)
    torch.manual_seed(0)
    for up in made.up:
        torch.nn.init.normal_(up, std=0.2)
    torch.nn.init.normal_(made.correct.weight, std=0.05)
    return made


def tensors_of(model, cells):
    """Counts, library sizes and codes, as the loss takes them."""
    counts, size, codes = model._cells(cells)
    return CSRRows.of(counts), torch.from_numpy(size).float(), torch.from_numpy(codes)


def rates_by_loop(network, effects, h, codes):
    """Eq. 1 for one cell after the other, in double precision; pairs by their name."""
    w = {name: value.double().numpy() for name, value in network.state_dict().items()}
    rates = []
    for state, code in zip(h, codes, strict=True):
        eta = effects.base + w["loadings.weight"] @ state
        for f, c in enumerate(code):
            own = (w[f"field_encoder.{f}.weight"] @ state) @ w[f"down.{f}"][c] @ w[f"up.{f}"][c]
            eta = eta + effects.main[f][c]
            eta = eta + np.exp(w["log_scale"][f]) * (w[f"field_decoder.{f}.weight"] @ own)
        for key, (seen, effect) in effects.pairs.items():
            eta = eta + effect[(seen == code[list(key)]).all(axis=1)].sum(axis=0)
        rates.append(eta)
    return np.array(rates)


def nll_by_scipy(x, size, log_rate, theta):
    mu = size[:, None] * np.exp(log_rate)
    return -stats.nbinom.logpmf(x, n=theta, p=theta / (theta + mu)).sum(axis=1)


# Heads, likelihood and loss


def test_the_sum_of_heads_is_the_prediction(model, fresh):
    h, codes = model.embed(fresh), model.codes(fresh)
    parts = model.contributions(h, codes)
    assert list(parts) == list(model.head_names)
    assert model.head_names[:4] == ("base", *FIELDS)
    total = np.sum(list(parts.values()), axis=0)
    assert_allclose(total, model.log_rate(h, codes), rtol=1e-6, atol=1e-6)
    for name in (*FIELDS, "cell_type × condition"):
        assert parts[name].min() < -0.01, name  # heads are signed: each lowers some genes
        assert parts[name].max() > 0.01, name


def test_heads_of_fields_that_do_not_interact_are_nearly_silent(model, fresh):
    """Type and condition interact in these cells, no other two fields."""
    parts = model.contributions(model.embed(fresh), model.codes(fresh))
    sizes = {name: np.square(part).mean() ** 0.5 for name, part in parts.items()}
    assert sizes["cell_type × assay"] < 0.01 < sizes["cell_type × condition"]
    assert sizes["assay × condition"] < 0.01


def test_log_rates_are_those_of_a_loop_over_cells(network, model, fresh):
    h, codes = model.embed(fresh)[:20], model.codes(fresh)[:20]
    found = network.log_rate(torch.from_numpy(h).float(), torch.from_numpy(codes))
    expected = rates_by_loop(network, model.effects, h, codes)
    assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-4)


def test_a_state_of_zero_leaves_the_effects(network, model):
    """For all combinations, also where no cell showed one."""
    codes = np.indices(model.fields.sizes).reshape(3, -1).T.copy()
    found = network.log_rate(torch.zeros(len(codes), 6), torch.from_numpy(codes)).detach()
    assert_allclose(found, model.effects.log_rate(codes), atol=1e-5)
    expected = np.log1p(TARGET_SUM * np.exp(model.effects.log_rate(codes)))  # y_0 of eq. 3
    zero = torch.zeros(len(codes), 6)
    found = network.expected(network.log_rate(zero, torch.from_numpy(codes)))
    assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_pair_that_no_cell_showed_is_a_head_of_zero(model, train):
    """Its row in the table is the last one, of zeros."""
    counts, size, codes = model._cells(train)
    kept = ~((codes[:, 0] == 0) & (codes[:, 1] == 1))
    counts, size, codes = counts[kept], size[kept], codes[kept]
    effects = ContextEffects.fit(counts, size, codes, model.fields.sizes)
    begun = CycleAE(train.n_vars, model.fields.sizes, effects.n_pairs, CONFIG)
    begun.begin(effects, counts, size, codes, seed=0)
    every = np.indices(model.fields.sizes).reshape(3, -1).T.copy()
    heads = begun.heads(torch.zeros(len(every), 6), torch.from_numpy(every))
    unseen = (every[:, 0] == 0) & (every[:, 1] == 1)
    pair = heads[4].detach().numpy()
    assert_array_equal(pair[unseen], 0.0)
    assert np.abs(pair[~unseen]).max(axis=1).min() > 0.0
    assert_allclose(torch.stack(heads).sum(dim=0).detach(), effects.log_rate(every), atol=1e-5)


def test_likelihood_is_that_of_scipy(model, fresh):
    some = fresh[:20].copy()
    counts, size, codes = model._cells(some)
    for name, h in (("nll", model.embed(some)), ("contexts_nll", np.zeros((20, 6)))):
        expected = nll_by_scipy(counts.toarray(), size, model.log_rate(h, codes), model.theta)
        assert_allclose(model.cell_scores(some)[name], expected, rtol=1e-4)


def test_the_state_of_what_the_contexts_say_is_the_bias(network, model):
    """Eq. 3: nothing is left of y, whatever the combination."""
    codes = torch.from_numpy(model.combinations)
    own = network.expected(network.log_rate(torch.zeros(len(codes), 6), codes))
    found = network.encode(own, codes)
    bias = network.read.bias + network.correct(network.hidden.bias.relu())
    torch.testing.assert_close(found, bias.expand_as(found), rtol=1e-5, atol=1e-6)


def test_the_state_is_read_from_what_the_contexts_leave(network, model, fresh):
    """Eq. 3 in NumPy."""
    y, codes = fresh.X[:30].toarray(), model.codes(fresh)[:30]
    w = {name: value.double().numpy() for name, value in network.state_dict().items()}
    left = y - np.log1p(TARGET_SUM * np.exp(model.effects.log_rate(codes)))
    hidden = np.maximum(left @ w["hidden.weight"].T + w["hidden.bias"], 0.0)
    expected = left @ w["read.weight"].T + w["read.bias"]
    expected = expected + hidden @ w["correct.weight"].T + w["correct.bias"]
    found = network.encode(torch.from_numpy(y).float(), torch.from_numpy(codes)).detach()
    assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert_allclose(model.embed(fresh)[:30], model.network.encode(
        torch.from_numpy(y).float(), torch.from_numpy(codes)
    ).detach(), rtol=1e-4, atol=1e-4)  # fmt: skip


def test_the_loss_is_that_of_the_equations(network, model, fresh):
    """Eqs. 4 and 5 in NumPy and SciPy, with the targets that the same seed draws.

    The classifier has no dropout, also while the model is trained: it is held fixed.
    """
    counts, size, codes = tensors_of(model, fresh[:25].copy())
    network.train()
    torch.manual_seed(3)
    found = {k: v.item() for k, v in network.loss(counts, size, codes).items()}
    torch.manual_seed(3)
    target = np.stack([torch.randint(n, (25,)).numpy() for n in network.sizes], axis=1)
    assert (target != codes.numpy()).any(axis=0).all()  # in all fields

    def read(y, code):
        with torch.no_grad():
            return network.encode(y, torch.from_numpy(code)).double().numpy()

    x, own = counts.dense(), codes.numpy()
    theta = network.log_theta.exp().detach().double().numpy()
    h = read(torch.log1p(TARGET_SUM * x / size[:, None]), own)
    here = rates_by_loop(network, model.effects, h, own)
    away = rates_by_loop(network, model.effects, h, target)
    assert max(here.max(), away.max()) < MOST_LOG_RATE  # no bound is reached
    there = torch.from_numpy(np.log1p(TARGET_SUM * np.exp(away))).float()
    back = read(there, target)
    again = rates_by_loop(network, model.effects, back, own)
    scores = [
        nll_by_scipy(x.numpy(), size.numpy(), log_rate, theta).mean() for log_rate in (here, again)
    ]
    classifier = network.classifier.eval()
    p = [logits.softmax(dim=1).detach().numpy() for logits in classifier(there)]
    consistency = -sum(np.log(p[f][np.arange(25), target[:, f]]).mean() for f in range(3))
    integration = np.square(h - back).mean()
    assert found["nll"] == pytest.approx(scores[0], rel=1e-4)
    assert found["cycle"] == pytest.approx(scores[1], rel=1e-4)
    assert found["integration"] == pytest.approx(integration, rel=1e-3)
    assert found["consistency"] == pytest.approx(consistency, rel=1e-3)
    total = sum(scores) / 200 + 1.0 * integration + 0.01 * consistency
    assert found["loss"] == pytest.approx(total, rel=1e-4)


def test_norms_are_lengths_of_the_heads_over_genes(network, model, fresh):
    """Less the mean over cells, which no context explains."""
    counts, size, codes = tensors_of(model, fresh[:40].copy())
    found = network.loss(counts, size, codes)
    with torch.no_grad():
        y = torch.log1p(TARGET_SUM * counts.dense() / size[:, None])
        heads = network.heads(network.encode(y, codes), codes)
    for k, head in enumerate(heads):
        expected = np.linalg.norm(head - head.mean(dim=0), axis=1).mean()
        assert float(found[f"norm_{k}"]) == pytest.approx(expected, rel=1e-4)


# Training


def test_every_part_that_is_trained_gets_a_gradient(network, model, fresh):
    """Effects are no parameters, and the classifier is held fixed."""
    terms = network.loss(*tensors_of(model, fresh[:40].copy()))
    assert all(bool(torch.isfinite(value)) for value in terms.values())
    terms["loss"].backward()
    for name, parameter in network.named_parameters():
        if name.startswith("classifier"):
            assert parameter.grad is None
            assert not parameter.requires_grad
        else:
            assert bool((parameter.grad != 0.0).any()), name
    assert not {"base", "main_0", "pair_0_1"} & set(dict(network.named_parameters()))


def test_effects_and_classifier_stay_as_they_were_while_all_else_is_trained(network, model, train):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quick = CONFIG.training.model_copy(update={"max_epochs": 1, "steps_per_epoch": 3})
    fit(network, list(tensors_of(model, train)), quick, seed=0)
    fixed = ("base", "main_", "pair_", "row_", "target_sum", "classifier")
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(fixed), name
    assert_allclose(model.network.base, model.effects.base, rtol=1e-6)
    for f in range(3):
        own = getattr(model.network, f"main_{f}")
        assert_allclose(own, model.effects.main[f], rtol=1e-5, atol=1e-6)


def test_the_start_is_measured_on_the_training_cells(model, train):
    """Scores of unit variance, the dispersion by moments, and s_f as the docstring says.

    And they help from the start: the likelihood is higher with the states than without.
    """
    counts, size, codes = model._cells(train)
    begun = CycleAE(train.n_vars, model.fields.sizes, model.effects.n_pairs, CONFIG)
    begun.begin(model.effects, counts, size, codes, seed=0)
    x, mu = counts.toarray(), size[:, None] * np.exp(model.effects.log_rate(codes))
    with torch.no_grad():
        h = begun.encode(torch.from_numpy(train.X.toarray()), torch.from_numpy(codes)).numpy()
    assert_allclose(h.mean(axis=0), 0.0, atol=1e-3)
    assert_allclose(h.T @ h / (len(h) - 1), np.eye(6), atol=1e-3)
    theta = begun.log_theta.exp().detach().numpy()
    excess = (np.square(x - mu) - mu).sum(axis=0) / np.square(mu).sum(axis=0)
    assert_allclose(theta, np.clip(1 / np.maximum(excess, 1e-9), 1e-2, 1e3), rtol=1e-3)
    state = h @ begun.loadings.weight.detach().numpy().T
    for f in range(3):
        ratio = np.sqrt(
            np.square(model.effects.main[f][codes[:, f]]).mean() / np.square(state).mean()
        )
        assert begun.log_scale[f].exp().item() == pytest.approx(ratio, rel=1e-3)
    rate = model.effects.log_rate(codes)
    with_states = nll_by_scipy(x, size, rate + state, theta).mean()
    assert with_states < nll_by_scipy(x, size, rate, theta).mean() - 1.0


def test_the_state_explains_held_out_cells_beyond_their_contexts(model, fresh):
    """Programmes differ within a combination; states of fresh cells tell them."""
    scores = model.cell_scores(fresh).mean()
    assert scores["nll"] < scores["contexts_nll"] - 2.0
    activity = fresh.uns["truth"]["programs"]["activity"]
    own = np.isin(fresh.uns["truth"]["sample"], fresh.obs_names)
    h = np.column_stack([np.ones(fresh.n_obs), model.embed(fresh)])
    left = activity[own] - h @ np.linalg.lstsq(h, activity[own], rcond=None)[0]
    assert 1.0 - (left.var(axis=0) / activity[own].var(axis=0)).mean() > 0.3


def test_training_brings_the_terms_down(model):
    history = model.history
    for term in ("loss", "cycle", "integration"):
        assert history[f"validation_{term}"].iloc[-1] < history[f"validation_{term}"].iloc[0]
    for part in ("train", "validation"):
        assert {f"{part}_norm_{name}" for name in model.head_names} <= set(history)


def test_donors_are_told_to_the_effects(few_genes):
    """Those of the column that keeps cells together, unless it is a field itself."""
    with_donors = with_provenance(few_genes, group_key="donor")
    model = CycleAEGenerator(FEW).fit(with_donors)
    counts, size, codes = model._cells(few_genes)
    donor = np.unique(few_genes.obs["donor"].astype(str), return_inverse=True)[1]
    told, not_told = (
        ContextEffects.fit(counts, size, codes, model.fields.sizes, each).base
        for each in (donor, None)
    )
    assert_array_equal(model.effects.base, told)
    assert np.abs(told - not_told).max() > 1e-3
    field = with_provenance(with_donors, field_keys=[*FIELDS, "donor"])
    model = CycleAEGenerator(FEW).fit(field)
    assert model.fields.names == (*FIELDS, "donor")
    counts, size, codes = model._cells(field)
    expected = ContextEffects.fit(counts, size, codes, model.fields.sizes)
    assert_array_equal(model.effects.base, expected.base)


def test_same_seed_same_model_and_another_seed_another_one(few_genes):
    one, same, other = (CycleAEGenerator(FEW, seed=s).fit(few_genes) for s in (0, 0, 1))
    draws = [m.sample(40, None, np.random.default_rng(0)).X for m in (one, same, other)]
    assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_many_cells_are_streamed_and_give_about_the_same_model(train, fresh, model, monkeypatch):
    """Effects and start to the bit; what minibatches train, as well in another order."""
    monkeypatch.setattr(combinations, "MOST_VALUES", 1000)
    monkeypatch.setattr(combinations, "ROWS_OF_A_CHUNK", 300)
    dense, own = [], CSRRows.of
    monkeypatch.setattr(CSRRows, "of", lambda matrix: dense.append(matrix.shape[0]) or own(matrix))
    streamed = CycleAEGenerator(CONFIG).fit(train)
    assert sum(dense) < 0.2 * train.n_obs  # the cells set aside alone are held a second time
    for name, effect in streamed.effects.state().items():
        assert_array_equal(effect, model.effects.state()[name])
    nll = [each.cell_scores(fresh)["nll"].mean() for each in (model, streamed)]
    assert nll[0] != nll[1]
    assert nll[1] == pytest.approx(nll[0], abs=1.0)
    again = CycleAEGenerator(CONFIG).fit(train)
    assert_array_equal(again.embed(fresh), streamed.embed(fresh))


# Counterfactual cells


def moved(cells, made):
    """Log ratio of the pooled rates of each gene."""
    rates = [np.asarray(a.layers[COUNTS].sum(axis=0)).ravel() / a.obs[LIBRARY_SIZE].sum()
             for a in (cells, made)]  # fmt: skip
    return np.log(np.maximum(rates[1], 1e-6) / np.maximum(rates[0], 1e-6))


def planted(cells, target):
    """What it should be: mean true rates over the combinations of the cells."""
    n_cells = cells.obs.groupby(FIELDS, observed=True).size()
    before, after = (
        sum(
            n * np.exp(true_log_rate(cells.uns["truth"], dict(zip(FIELDS, c, strict=True)) | there))
            for c, n in n_cells.items()
        )
        for there in (dict[str, str](), target)
    )
    return np.log(after / before)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({"cell_type": "T cell", "assay": "10x v3"}, {"assay": "10x v2"}),
        ({"cell_type": "Monocyte", "condition": "control"}, {"condition": "disease"}),
        ({"cell_type": "B cell", "condition": "control"}, {"condition": "disease"}),  # interaction
        ({"cell_type": "T cell"}, {"cell_type": "B cell", "assay": "10x v2"}),
    ],
)
def test_counterfactual_cells_move_as_planted(model, fresh, source, target):
    """Mean change over cells that were not trained on, against the planted log rates.

    Genes that are planted down fall and those that are planted up rise.
    """
    own = fresh[np.logical_and.reduce([fresh.obs[k] == v for k, v in source.items()])].copy()
    made = model.counterfactual(own, target, np.random.default_rng(0))
    found, true = moved(own, made), planted(own, target)
    clear = np.abs(true) > 0.5
    assert (found[clear & (true < 0.0)] < 0.0).mean() > 0.95
    assert (found[clear & (true > 0.0)] > 0.0).mean() > 0.95
    assert np.corrcoef(found[clear], true[clear])[0, 1] > 0.95
    assert np.polyfit(true[clear], found[clear], 1)[0] == pytest.approx(1.0, abs=0.2)


def test_only_what_was_asked_for_changes(model, fresh):
    """Each cell in its place, with the other fields it had; whole counts, in 200 genes."""
    made = model.counterfactual(fresh, {"assay": "10x v2"}, np.random.default_rng(0))
    assert made.n_obs == fresh.n_obs
    assert list(made.var_names) == list(fresh.var_names)
    assert set(made.obs["assay"]) == {"10x v2"}
    for name in ("cell_type", "condition"):
        assert made.obs[name].tolist() == fresh.obs[name].astype(str).tolist()
    assert labels(made).tolist() == labels(fresh).tolist()
    counts = made.layers[COUNTS].toarray()
    assert (counts >= 0.0).all()
    assert_array_equal(counts, np.round(counts))
    size = made.obs[LIBRARY_SIZE].to_numpy()[:, None]
    assert_allclose(made.X, np.log1p(TARGET_SUM * counts / size), rtol=1e-3, atol=1e-4)
    assert made.obs["synthetic"].all()


def test_depth_changes_with_that_of_the_assay(model, fresh):
    """Of a cell, by the estimated ratio; that of the assays is planted as 0.6."""
    own = fresh[(fresh.obs["assay"] == "10x v3").to_numpy()].copy()
    made = model.counterfactual(own, {"assay": "10x v2"}, np.random.default_rng(0))
    codes = model.codes(own)
    there = model.fields.with_target(codes, {"assay": "10x v2"})
    ratio = np.exp(model.effects.log_depth(there) - model.effects.log_depth(codes))
    assert ratio.mean() == pytest.approx(0.6, rel=0.1)
    found = made.obs[LIBRARY_SIZE].to_numpy() / own.obs[LIBRARY_SIZE].to_numpy()
    total = np.asarray(made.layers[COUNTS].sum(axis=1)).ravel()
    capped = total > ratio * own.obs[LIBRARY_SIZE].to_numpy()  # a library holds its counts
    assert_allclose(found[~capped], ratio[~capped])
    assert total.mean() / own.layers[COUNTS].sum(axis=1).mean() == pytest.approx(0.6, rel=0.1)
    same = model.counterfactual(own, {"condition": "disease"}, np.random.default_rng(0))
    assert same.obs[LIBRARY_SIZE].mean() == pytest.approx(own.obs[LIBRARY_SIZE].mean(), rel=0.1)


def test_expected_counts_are_thinned_or_added_to_those_of_the_cell(model, fresh):
    """Eq. 6: the mean of many draws, by its own formula, for three cells and all genes."""
    own, n_draws = fresh[(fresh.obs["cell_type"] == "T cell").to_numpy()][:3].copy(), 400
    many = AnnData(
        obs=own.obs.iloc[np.repeat(np.arange(3), n_draws)]
        .reset_index(drop=True)
        .set_axis([f"copy {i}" for i in range(3 * n_draws)]),
        var=own.var,
        layers={COUNTS: own.layers[COUNTS][np.repeat(np.arange(3), n_draws)]},
    )
    made = model.counterfactual(many, {"cell_type": "Monocyte"}, np.random.default_rng(0))
    found = made.layers[COUNTS].toarray().reshape(3, n_draws, -1)

    (counts, size, codes), h, theta = model._cells(own), model.embed(own), model.theta
    there = model.fields.with_target(codes, {"cell_type": "Monocyte"})
    x, mu = counts.toarray(), size[:, None] * np.exp(model.log_rate(h, codes))
    ratio = np.exp(model.log_rate(h, there) - model.log_rate(h, codes))
    ratio *= np.exp(model.effects.log_depth(there) - model.effects.log_depth(codes))[:, None]
    added = mu * (x + theta) / (mu + theta) * np.maximum(ratio - 1.0, 0.0)
    kept = np.minimum(ratio, 1.0)
    error = np.sqrt((x * kept * (1.0 - kept) + added) / n_draws)
    z = (found.mean(axis=1) - (x * kept + added)) / np.maximum(error, 1e-3)
    assert np.abs(z).max() < 4.5  # of 600
    assert z.std() == pytest.approx(1.0, abs=0.2)


def test_a_cell_in_its_own_context_stays_as_it_is(model, fresh):
    """To the bit, among cells that change."""
    made = model.counterfactual(fresh, {"condition": "disease"}, np.random.default_rng(0))
    stays = (fresh.obs["condition"] == "disease").to_numpy()
    assert 0 < stays.sum() < fresh.n_obs
    assert_array_equal(made.layers[COUNTS].toarray()[stays], fresh.layers[COUNTS].toarray()[stays])
    assert_array_equal(made.obs[LIBRARY_SIZE].to_numpy()[stays], fresh.obs[LIBRARY_SIZE][stays])
    assert (made.layers[COUNTS] != fresh.layers[COUNTS])[~stays].nnz > 0


def test_the_way_there_and_back_is_that_of_the_equation(model, fresh):
    """Eq. 4; at a trained state, it changes little."""
    h, codes = model.embed(fresh), model.codes(fresh)
    there = model.fields.with_target(codes, {"assay": "10x v2", "condition": "disease"})
    back = model.there_and_back(h, there)
    y = torch.from_numpy(np.log1p(TARGET_SUM * np.exp(model.log_rate(h, there)))).float()
    with torch.no_grad():
        expected = model.network.encode(y, torch.from_numpy(there)).numpy()
    assert_allclose(back, expected, rtol=1e-3, atol=1e-3)
    assert np.square(back - h).mean() < 0.05 * h.var(axis=0).mean()


def test_the_contexts_of_counterfactual_cells_are_told_as_asked_for(model, fresh):
    made = model.counterfactual(fresh, {"cell_type": "Monocyte"}, np.random.default_rng(0))
    p = model.context_probabilities(made.X.astype(np.float64))
    assert list(p) == FIELDS
    for each in p.values():
        assert_allclose(each.sum(axis=1), 1.0, rtol=1e-5)
    monocyte = model.fields["cell_type"].code("Monocyte")
    assert (p["cell_type"].argmax(axis=1) == monocyte).mean() > 0.9
    assert model.classifier_scores["cell_type"]["accuracy"] > 0.9


# Drawn cells


def test_drawn_cells_follow_the_combinations_of_their_label(model, train):
    """As often as training cells had them, by a chi-square test; depths are those of the assay."""
    made = model.sample(2000, ["B cell"] * 2000, np.random.default_rng(0))
    assert set(made.obs["cell_type"]) == {"B cell"}
    own = train.obs[train.obs["cell_type"] == "B cell"].groupby(FIELDS[1:], observed=True).size()
    drawn = made.obs.groupby(FIELDS[1:], observed=True).size().reindex(own.index, fill_value=0)
    assert drawn.sum() == 2000
    assert stats.chisquare(drawn, own / own.sum() * 2000).pvalue > 1e-3
    assert (made.layers[COUNTS].data % 1 == 0).all()
    depth = np.log(made.obs[LIBRARY_SIZE]).groupby(made.obs["assay"]).mean()
    assert np.exp(depth["10x v2"] - depth["10x v3"]) == pytest.approx(0.6, rel=0.15)


def test_a_combination_that_was_not_trained_on_is_not_drawn(few_genes):
    gone = (few_genes.obs[FIELDS] == ["B cell", "10x v2", "disease"]).all(axis=1).to_numpy()
    model = CycleAEGenerator(FEW).fit(few_genes[~gone].copy())
    made = model.sample(500, None, np.random.default_rng(0))
    assert not (made.obs[FIELDS] == ["B cell", "10x v2", "disease"]).all(axis=1).any()
    assert len(made.obs.drop_duplicates(FIELDS)) == 11


def test_drawn_cells_are_like_the_training_cells(model, train):
    """Mean log rates of each type, and variances of genes, of states and counts together."""
    made = model.sample(600, labels(train).tolist(), np.random.default_rng(0))
    for name in np.unique(labels(train)):
        real, drawn = (a[labels(a) == name] for a in (train, made))
        seen = np.asarray(real.layers[COUNTS].mean(axis=0)).ravel() > 0.5
        assert rms(moved(real, drawn)[seen]) < 0.2
    real, drawn = train.X.toarray().std(axis=0), made.X.std(axis=0)
    assert np.median(drawn / real) == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(real, drawn)[0, 1] > 0.9


def rms(values):
    return float(np.sqrt(np.square(values).mean()))


def test_the_hottest_states_give_counts_that_can_be_drawn(model, train):
    """Rates are shares of one library: genes together are expected to have no more than it."""
    counts = model.sample(200, None, np.random.default_rng(0), temperature=300.0).layers[COUNTS]
    assert np.isfinite(counts.data).all()
    assert counts.sum(axis=1).mean() < 1.5 * train.obs["library_size"].mean()


def test_balance_fills_rare_combinations(model, train):
    median = int(np.median(model.combination_cells))
    made = model.balance(np.random.default_rng(0))
    assert made.n_obs == np.maximum(median - model.combination_cells, 0).sum()
    both = [a.obs.groupby(FIELDS, observed=True).size() for a in (train, made)]
    assert both[0].add(both[1], fill_value=0).min() == median
    assert model.balance(np.random.default_rng(0), least=0).n_obs == 0


# What is kept, and what is said


def test_a_rebuilt_model_does_the_same(model, fresh):
    back = CycleAEGenerator.from_state(*model.state())
    for do in (
        lambda m: m.sample(20, None, np.random.default_rng(1)).layers[COUNTS].toarray(),
        lambda m: m.counterfactual(
            fresh[:20].copy(), {"assay": "10x v2"}, np.random.default_rng(1)
        ).layers[COUNTS].toarray(),
        lambda m: m.balance(np.random.default_rng(1)).X,
        lambda m: m.embed(fresh[:9].copy()),
        lambda m: m.cell_scores(fresh[:9].copy()),
    ):  # fmt: skip
        assert_array_equal(do(back), do(model))
    assert back.head_names == model.head_names
    assert back.classifier_scores == model.classifier_scores
    assert back.config == model.config
    assert not any(each.requires_grad for each in back.network.classifier.parameters())


def test_names_of_cells_and_donors_stay_behind(model, cells, fresh):
    """In no column, name or note of what is made, and not in what is written down."""
    rng = np.random.default_rng(0)
    names = {*map(str, cells.obs_names), *map(str, cells.obs["donor"])}
    for made in (
        model.counterfactual(fresh, {"assay": "10x v2"}, rng), model.sample(20, None, rng),
    ):  # fmt: skip
        assert set(made.obs) == {*FIELDS, LIBRARY_SIZE, "synthetic"}
        found = {*map(str, made.obs_names), *map(str, made.obs.to_numpy().ravel())}
        assert not names & found
        assert "truth" not in made.uns
        assert not any(f"'{name}'" in str(made.uns) for name in names)
    assert not any(f"'{name}'" in str(model.state()[1]) for name in names)


def test_genes_are_found_by_their_names(model, fresh):
    """In any order, with others between them."""
    turned = fresh[:9, np.random.default_rng(0).permutation(200)].copy()
    assert_array_equal(model.embed(turned), model.embed(fresh[:9].copy()))


def test_what_is_not_known_is_said(model, fresh):
    rng, few = np.random.default_rng(0), fresh[:3].copy()
    with pytest.raises(InputError, match=r"'v9' is no category .* these are: 10x v2, 10x v3"):
        model.counterfactual(few, {"assay": "v9"}, rng)
    with pytest.raises(InputError, match="no field 'age'; the model knows: cell_type, assay"):
        model.counterfactual(few, {"age": "1"}, rng)
    with pytest.raises(InputError, match="only B cell, Monocyte, T cell"):
        model.sample(1, ["Platelet"], rng)
    with pytest.raises(InputError, match="1 of the 200 genes of the model are missing"):
        model.embed(fresh[:3, 1:].copy())
    other = few.copy()
    other.obs["condition"] = "treated"
    with pytest.raises(InputError, match=r"'treated' is no category .* control, disease"):
        model.counterfactual(other, {"assay": "10x v2"}, rng)
    del few.layers[COUNTS]
    with pytest.raises(NotApplicable, match="cycle_ae models counts"):
        CycleAEGenerator(CONFIG).fit(few)
