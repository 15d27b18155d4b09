"""The published cycle autoencoder: its equations by a loop, and what weights above 0 can do."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from contexts import prepared_contexts
from numpy.testing import assert_allclose, assert_array_equal

from synthome.anndata_schema import labels
from synthome.csr import CSRRows
from synthome.errors import InputError, NotApplicable
from synthome.models import context_classifier
from synthome.models.published_cycle_ae import (
    PublishedCycleAE,
    PublishedCycleAEConfig,
    PublishedCycleAEGenerator,
)
from synthome.models.registry import Architecture, load_generator
from synthome.state_file import write_state

TRAINING = {"max_epochs": 15, "learning_rate": 3e-3}
SHORT = {"n_latent": 24, "n_field_latent": 24, "training": TRAINING}
FEW = {"training": TRAINING | {"max_epochs": 2, "steps_per_epoch": 5}}
SWAPS = ("last", "all")
SIZES = (3, 1, 4)  # categories of made-up fields


def config(**options) -> PublishedCycleAEConfig:
    return PublishedCycleAEConfig.model_validate(SHORT | options)


@pytest.fixture(scope="module", autouse=True)
def _quick_classifier():
    """These contexts are told after few steps."""
    with pytest.MonkeyPatch.context() as patch:
        quick = context_classifier.TRAINING.model_copy(update={"max_epochs": 5})
        patch.setattr(context_classifier, "TRAINING", quick)
        yield


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return prepared_contexts(n_obs=480, n_vars=150, library_size=5000, seed=1)


@pytest.fixture(scope="module")
def both(cells) -> dict[str, PublishedCycleAEGenerator]:
    """One for each way to draw targets; that of ``all`` has hardly been trained."""
    options = {"last": {}, "all": FEW}
    return {
        swap: PublishedCycleAEGenerator(config(swap=swap, **options[swap]), seed=2).fit(cells)
        for swap in SWAPS
    }


@pytest.fixture(scope="module")
def fitted(both) -> PublishedCycleAEGenerator:
    return both["last"]


def network(n_vars=9, swap="all", seed=0, **options) -> PublishedCycleAE:
    torch.manual_seed(seed)
    chosen = config(n_latent=4, n_field_latent=3, swap=swap, **options)
    return PublishedCycleAE(n_vars, SIZES, chosen)


def codes_of(n_obs, seed=0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.integers(0, n, n_obs) for n in SIZES], axis=1))


def weights(network: PublishedCycleAE) -> dict[str, torch.Tensor]:
    """Those of the autoencoder."""
    every = network.named_parameters()
    return {name: p for name, p in every if not name.startswith("classifier.")}


# --- the equations


def one_pass(network, x, source, target):
    """Eqs. 1-3 of one cell after the other: the state of each head, and what each adds."""
    arrays = {name: p.detach().double().numpy() for name, p in weights(network).items()}
    states, terms = [], []
    for i in range(len(x)):
        h = [x[i] @ arrays["loadings"].T]
        out = [h[0] @ arrays["loadings"]]
        for f in range(len(SIZES)):
            maps = arrays[f"maps.{f}.weight"]
            h.append(x[i] @ arrays[f"field_encoder.{f}"] @ maps[source[i, f]])
            out.append(0.0159 * (h[-1] @ maps[target[i, f]] @ arrays[f"field_decoder.{f}"]))
        states.append(h)
        terms.append(out)
    by_head = zip(*states, strict=True)
    return [np.stack(head) for head in by_head], np.array(terms).transpose(1, 0, 2)


@pytest.mark.parametrize("swap", SWAPS)
def test_the_loss_is_eq_5_by_a_loop_over_cells(swap):
    """Maps are grouped by category; a loop over cells, in NumPy, groups nothing."""
    model, rng = network(swap=swap), np.random.default_rng(1)
    counts, size, codes = rng.poisson(2.0, (30, 9)), rng.uniform(20, 50, 30), codes_of(30)
    torch.manual_seed(5)
    target = model.swapped(codes)
    torch.manual_seed(5)
    found = model.loss(CSRRows.of(counts), torch.tensor(size, dtype=torch.float32), codes)

    x = np.log1p(1e4 * counts / size[:, None])
    first, terms = one_pass(model, x, codes.numpy(), target.numpy())
    there = terms.sum(axis=0)
    second, terms = one_pass(model, there, target.numpy(), codes.numpy())
    reconstruction = np.square(terms.sum(axis=0) - x).mean()
    integration = sum(np.square(a - b).mean() for a, b in zip(first, second, strict=True))
    logits = model.classifier.eval()(torch.tensor(there, dtype=torch.float32))
    told = [each.log_softmax(dim=1).detach().numpy() for each in logits]
    consistency = -np.mean([p[np.arange(30), target[:, f]] for f, p in enumerate(told)])
    assert float(found["reconstruction"].detach()) == pytest.approx(reconstruction, rel=1e-4)
    assert float(found["integration"].detach()) == pytest.approx(integration, rel=1e-4)
    assert float(found["consistency"].detach()) == pytest.approx(consistency, rel=1e-4)
    total = reconstruction + integration + consistency
    assert float(found["loss"].detach()) == pytest.approx(total, rel=1e-4)


def test_every_weight_gets_a_gradient_and_the_classifier_none():
    model, rng = network(), np.random.default_rng(0)
    counts = CSRRows.of(rng.poisson(2.0, (40, 9)))
    model.loss(counts, torch.full((40,), 30.0), codes_of(40))["loss"].backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in weights(model).values())
    assert all(p.grad is None for p in model.classifier.parameters())


def test_the_last_field_alone_changes_as_published():
    """The published code begins anew with each field: what it drew for those before is lost."""
    codes = codes_of(200)
    target = network(swap="last").swapped(codes)
    assert_array_equal(target[:, :2], codes[:, :2])
    assert bool((target[:, 2] != codes[:, 2]).all())
    assert target[:, 2].unique().tolist() == [0, 1, 2, 3]


def test_all_fields_change_as_meant_but_where_there_is_one_category():
    codes = codes_of(200)
    target = network(swap="all").swapped(codes)
    assert (target != codes).float().mean(dim=0).tolist() == [1.0, 0.0, 1.0]
    assert bool((target >= 0).all() and (target < torch.tensor(SIZES)).all())


def test_the_start_has_the_scale_of_the_cells():
    """Two thirds from the base and one from the fields; uniform weights alone are far above."""
    model, x, codes = network(n_vars=60), 2.0 * torch.rand(50, 60), codes_of(50)
    groups = model.groups(codes)
    before = model.heads(model.hidden(x, groups), groups)[0]
    model.begin(x, codes)
    base, *fields = model.heads(model.hidden(x, groups), groups)
    assert float(before.detach().mean() / x.mean()) > 20
    assert float(base.detach().mean() / x.mean()) == pytest.approx(2 / 3, rel=0.05)
    shares = [float(field.detach().mean() / x.mean()) for field in fields]
    assert shares == pytest.approx([1 / 9] * 3, rel=0.01)


# --- weights above 0, and what follows


@pytest.mark.parametrize("swap", SWAPS)
def test_weights_are_never_negative(swap, both):
    """And some are 0: they were held there."""
    found = weights(both[swap].network)
    assert all(bool((p >= 0).all()) for p in found.values())
    assert any(bool((p == 0).any()) for p in found.values())


def test_weights_are_brought_to_zero_as_the_loss_begins():
    """So that the step before is followed by it, and what is measured is the model as it is."""
    model, counts = network(), CSRRows.of(np.random.default_rng(0).poisson(2.0, (20, 9)))
    with torch.no_grad():
        for p in weights(model).values():
            p.sub_(0.3)
    torch.manual_seed(0)
    first = model.loss(counts, torch.full((20,), 30.0), codes_of(20))["loss"]
    assert all(float(p.detach().min()) == 0.0 for p in weights(model).values())
    torch.manual_seed(0)
    assert torch.equal(model.loss(counts, torch.full((20,), 30.0), codes_of(20))["loss"], first)


def test_weights_are_brought_to_zero_after_the_last_step_too(cells):
    """Without cells set aside, the weights of the last step are kept, which no loss has seen."""
    training = TRAINING | {"max_epochs": 1, "steps_per_epoch": 2, "validation_fraction": 0.0}
    model = PublishedCycleAEGenerator(config(training=training | {"learning_rate": 0.5}))
    found = weights(model.fit(cells).network)
    assert all(bool((p >= 0).all()) for p in found.values())
    assert model.classifier_scores == {}


def test_the_classifier_keeps_its_negative_weights():
    """It judges the autoencoder, and is no part of it."""
    model = network()
    before = model.classifier.hidden.weight.clone()
    with torch.no_grad():
        for p in weights(model).values():
            p.sub_(0.5)
    model.project()
    assert torch.equal(model.classifier.hidden.weight, before)
    assert bool((before < 0).any())
    assert all(float(p.detach().min()) == 0.0 for p in weights(model).values())


@pytest.mark.parametrize("swap", SWAPS)
def test_no_head_ever_takes_away(swap, both, cells):
    """Products of numbers that are not negative: so are contributions, of any combination."""
    model = both[swap]
    h, codes = model.embed(cells), model.codes(cells)
    parts = model.contributions(h, codes[::-1].copy())
    assert list(parts) == ["base", "cell_type", "assay", "condition"]
    assert all((part >= 0).all() for part in parts.values())


@pytest.mark.parametrize("swap", SWAPS)
def test_a_context_takes_away_no_more_than_the_one_before_had_added(swap, both, cells):
    """The bound of the model: a gene stays at what the base and the other fields add, or above."""
    model = both[swap]
    groups = model.network.groups(torch.from_numpy(model.codes(cells)))
    with torch.no_grad():
        x = torch.tensor(cells.X.toarray(), dtype=torch.float32)
        heads = model.network.heads(model.network.hidden(x, groups), groups)
    here = model.expected_log_expression(cells, {})
    for f, name in enumerate(model.fields.names):
        for category in model.fields[name].categories:
            fall = here - model.expected_log_expression(cells, {name: category})
            assert (fall <= heads[1 + f].numpy() + 1e-4).all()


def test_two_contexts_may_differ_either_way():
    """By hand: the one category adds to the first gene, the other to the second.

    So from the one to the other the first gene falls, though no weight is below 0.
    """
    model = PublishedCycleAE(2, (2,), config(n_latent=1, n_field_latent=2, field_scale=1.0))
    with torch.no_grad():
        for p in weights(model).values():
            p.zero_()
        model.field_encoder[0].fill_(1.0)
        model.maps[0].weight.copy_(torch.tensor([[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2]))
        model.field_decoder[0].copy_(torch.eye(2))
    own, other = (model.groups(torch.tensor([[c]])) for c in (0, 1))
    states = model.hidden(torch.ones(1, 2), own)
    here, there = (sum(model.heads(states, to)).tolist() for to in (own, other))
    assert here == [[4.0, 0.0]]
    assert there == [[0.0, 4.0]]


def test_signs_of_planted_effects_are_found_but_not_their_size(fitted, cells):
    """Those of lowered genes too, by what the reference adds; against least squares, all is small.

    The last field is left out: its heads are trained for other categories alone, and may die.
    """
    truth = cells.uns["truth"]
    plain = ~np.isin(truth["gene"], truth["interaction"]["genes"])
    moved = {  # the effect of each category against the first
        (field, str(c)): np.where(plain, planted["effect"][i] - planted["effect"][0], 0.0)
        for field, planted in truth["effects"].items()
        for i, c in enumerate(planted["categories"])
        if i
    }
    design = [(cells.obs[f].astype(str) == c).to_numpy(dtype=float) for f, c in moved]
    design = np.column_stack([np.ones(cells.n_obs), *design])
    slopes = np.linalg.lstsq(design, cells.X.toarray(), rcond=None)[0][1:]
    for ((field, category), effect), slope in zip(moved.items(), slopes, strict=True):
        if field == fitted.fields.names[-1]:
            continue
        reference = str(truth["effects"][field]["categories"][0])
        found = fitted.effect(field, category, reference, cells)
        for genes in (effect > 0, effect < 0):
            assert (np.sign(found) == np.sign(effect))[genes].mean() > 0.9
            assert 0.0 < found[genes].sum() / slope[genes].sum() < 0.8


# --- the generator


def test_training_beats_the_mean_of_each_gene(fitted, cells):
    x = cells.X.toarray()
    error = np.square(fitted.expected_log_expression(cells, {}) - x).mean()
    assert error < 0.9 * np.square(x - x.mean(axis=0)).mean()
    assert fitted.history["train_loss"].iloc[-1] < 0.8 * fitted.history["train_loss"].iloc[0]
    assert all(found["accuracy"] > 0.9 for found in fitted.classifier_scores.values())


def test_a_counterfactual_has_the_wanted_categories_and_keeps_the_others(fitted, cells):
    some = cells[:60].copy()
    made = fitted.counterfactual(some, {"condition": "disease"}, np.random.default_rng(0))
    assert set(made.obs["condition"]) == {"disease"}
    for field in ("cell_type", "assay"):
        assert_array_equal(made.obs[field], some.obs[field].astype(str))
    assert labels(made).tolist() == some.obs["cell_type"].tolist()
    assert made.obs["synthetic"].all()
    expected = fitted.expected_log_expression(some, {"condition": "disease"})
    assert_allclose(made.X, expected, rtol=1e-6)


def test_counts_are_drawn_around_the_log_expression(fitted, cells):
    """A mean of l (exp(x) - 1) / t, with the spread of Poisson's law."""
    some = cells[:100].copy()
    made = fitted.counterfactual(some, {"assay": "10x v2"}, np.random.default_rng(0))
    size = some.obs["library_size"].to_numpy()
    mean = np.expm1(made.X.astype(np.float64)) * size[:, None] / 1e4
    z = (made.layers["counts"].toarray() - mean)[mean > 0] / np.sqrt(mean[mean > 0])
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.var() == pytest.approx(1.0, abs=0.1)
    own = np.asarray(made.layers["counts"].sum(axis=1)).ravel()
    assert_allclose(made.obs["library_size"], np.maximum(size, own))


def test_genes_are_found_by_name(fitted, cells):
    some = cells[:20].copy()
    assert_array_equal(fitted.embed(some[:, ::-1].copy()), fitted.embed(some))
    with pytest.raises(InputError, match="10 of the 150 genes"):
        fitted.embed(some[:, 10:].copy())


def test_unknown_fields_and_categories_are_refused(fitted, cells):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="no category of the field 'condition'"):
        fitted.counterfactual(cells[:5].copy(), {"condition": "treated"}, rng)
    with pytest.raises(InputError, match="no field 'sex'"):
        fitted.counterfactual(cells[:5].copy(), {"sex": "f"}, rng)


def test_contributions_are_the_log_expression_of_drawn_cells(fitted):
    """X of a drawn cell is the sum of its heads, which read h W."""
    place = np.arange(len(fitted.combinations)).repeat(3)
    drawn = fitted.sample_combinations(place, np.random.default_rng(4))
    names = np.array(fitted.fields["cell_type"].categories)[fitted.combinations[place][:, 0]]
    h = np.maximum(fitted.mixture.draw(names, 1.0, np.random.default_rng(4)), 0.0)
    parts = fitted.contributions(h, fitted.combinations[place])
    assert_allclose(sum(parts.values()), drawn.X, rtol=1e-5)
    assert_allclose(parts["base"], h @ fitted.network.loadings.detach().numpy(), rtol=1e-4)


def test_hot_draws_spread_and_stay_above_zero(fitted):
    """A state is a sum of what is not negative; normal draws of it are cut off at 0."""
    cold, hot = (fitted.sample(200, None, np.random.default_rng(0), t).X for t in (0.5, 200.0))
    assert hot.std(axis=0).mean() > 2 * cold.std(axis=0).mean()
    assert (hot >= 0).all()


def test_labels_are_those_asked_for_in_combinations_that_were_seen(fitted, cells):
    wanted = ["B cell"] * 40 + ["T cell"] * 30
    drawn = fitted.sample(70, wanted, np.random.default_rng(0))
    assert labels(drawn).tolist() == wanted
    fields = list(fitted.fields.names)
    seen = set(map(tuple, cells.obs[fields].astype(str).to_numpy()))
    assert set(map(tuple, drawn.obs[fields].to_numpy())) <= seen
    assert len(set(drawn.obs["assay"])) == len(set(drawn.obs["condition"])) == 2
    with pytest.raises(InputError, match="only B cell, Monocyte, T cell"):
        fitted.sample(1, ["Platelet"], np.random.default_rng(0))


def test_balanced_cells_bring_each_combination_to_the_median(fitted):
    drawn = fitted.balance(np.random.default_rng(0))
    made = np.unique(fitted.codes(drawn), axis=0, return_counts=True)
    total = dict(zip(map(tuple, fitted.combinations), fitted.combination_cells, strict=True))
    median = int(np.median(fitted.combination_cells))
    for code, n in zip(map(tuple, made[0]), made[1], strict=True):
        assert total[code] + n == median
    assert len(made[0]) == (fitted.combination_cells < median).sum()


def test_a_reloaded_generator_does_the_same(fitted, cells, tmp_path):
    """The weights file alone is enough, and has the name of no cell."""
    write_state(tmp_path / "weights.safetensors", fitted.state())
    again = load_generator(tmp_path / "weights.safetensors")
    first, second = (m.sample(25, None, np.random.default_rng(3)) for m in (fitted, again))
    assert_array_equal(first.X, second.X)
    assert first.obs.equals(second.obs)
    first, second = (
        m.counterfactual(cells[:9].copy(), {"assay": "10x v2"}, np.random.default_rng(3))
        for m in (fitted, again)
    )
    assert_array_equal(first.layers["counts"].toarray(), second.layers["counts"].toarray())
    assert "C000001" not in str(fitted.state()[1])


def test_the_same_seed_gives_the_same_model(cells):
    models = [
        Architecture(generator="published_cycle_ae", options=SHORT | FEW).build(seed).fit(cells)
        for seed in (0, 0, 1)
    ]
    drawn = [m.sample(8, None, np.random.default_rng(1)).X for m in models]
    assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_cells_without_counts_are_refused(cells):
    bare = AnnData(cells.X, obs=cells.obs, uns=cells.uns)
    with pytest.raises(NotApplicable, match="published_cycle_ae models counts"):
        PublishedCycleAEGenerator(config()).fit(bare)
