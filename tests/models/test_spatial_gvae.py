"""The graph VAE of tissue: who reads what, what it draws, and what it writes down."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist
from tissues import prepared_tissue
from torch.distributions import Normal, kl_divergence

from synthome.anndata_schema import COUNTS, IMAGE_FEATURES, NEIGHBOURS, SECTION, labels
from synthome.errors import InputError, NotApplicable
from synthome.graph import Graph
from synthome.models.registry import from_state
from synthome.models.spatial_gvae import SpatialGVAEConfig, SpatialGVAEGenerator
from synthome.models.tissue_inputs import set_aside
from synthome.models.tissue_objectives import clustering_loss, neighbour_contrast, student_t

SMALL = {"n_latent": 6, "n_hidden": 32}


def generator(epochs=4, seed=0, **options):
    training = {"max_epochs": epochs, **options.pop("training", {})}
    config = SpatialGVAEConfig.model_validate({**SMALL, **options, "training": training})
    return SpatialGVAEGenerator(config, seed=seed)


@pytest.fixture(scope="module")
def tissue():
    return prepared_tissue()


@pytest.fixture(scope="module")
def fitted(tissue):
    return generator(epochs=10).fit(tissue)


def test_the_prior_never_sees_expression(tissue, fitted):
    other = tissue.copy()
    rng = np.random.default_rng(0)
    other.layers[COUNTS] = sparse.csr_matrix(other.layers[COUNTS][rng.permutation(other.n_obs)])
    np.testing.assert_array_equal(fitted.embed(other, prior=True), fitted.embed(tissue, prior=True))
    assert not np.allclose(fitted.embed(other), fitted.embed(tissue))


def test_the_prior_sees_the_image(tissue, fitted):
    other = tissue.copy()
    other.obsm[IMAGE_FEATURES] = tissue.obsm[IMAGE_FEATURES][::-1].copy()
    assert not np.allclose(fitted.embed(other, prior=True), fitted.embed(tissue, prior=True))


def test_labels_change_neither_weights_nor_latents(tissue, fitted):
    other = tissue.copy()
    key = other.uns["synthome"]["label_key"]
    other.obs[key] = np.where(np.arange(other.n_obs) % 2, "a", "b")
    again = generator(epochs=10).fit(other)
    np.testing.assert_array_equal(again.embed(tissue), fitted.embed(tissue))


def test_the_same_seed_gives_the_same_model_to_the_bit(tissue, fitted):
    again = generator(epochs=10).fit(tissue)
    np.testing.assert_array_equal(again.embed(tissue), fitted.embed(tissue))
    drawn = [model.sample(30, None, np.random.default_rng(1)) for model in (fitted, again)]
    assert (drawn[0].layers[COUNTS] != drawn[1].layers[COUNTS]).nnz == 0


def test_the_order_of_the_spots_changes_nothing(tissue, fitted):
    order = np.random.default_rng(0).permutation(tissue.n_obs)
    shuffled = tissue[order].copy()
    np.testing.assert_allclose(fitted.embed(shuffled), fitted.embed(tissue)[order], atol=1e-5)
    np.testing.assert_allclose(fitted.kl(shuffled), fitted.kl(tissue)[order], rtol=1e-4)


@pytest.mark.parametrize(("batch_size", "n_steps"), [(4096, 1), (100, 3)])
def test_running_statistics_forget_within_an_epoch(tissue, batch_size, n_steps):
    """Else, with one step an epoch, spots set aside are judged by statistics of ten epochs ago."""
    training = {"max_epochs": 1, "batch_size": batch_size, "validation_fraction": 0.0}
    config = SpatialGVAEConfig.model_validate({"n_latent": 4, "n_hidden": 16, "training": training})
    network = SpatialGVAEGenerator(config).fit(tissue).network
    kept = (1.0 - network.decoder_norm.momentum) ** n_steps
    assert kept == pytest.approx(0.1)


def test_a_model_that_was_written_down_draws_and_embeds_the_same(tissue, fitted):
    again = from_state(fitted.state())
    np.testing.assert_array_equal(again.embed(tissue), fitted.embed(tissue))
    drawn = [model.sample(30, None, np.random.default_rng(1)) for model in (fitted, again)]
    np.testing.assert_array_equal(drawn[0].X, drawn[1].X)


def test_nothing_that_is_written_down_names_a_spot(tissue, fitted):
    arrays, facts = fitted.state()
    text = repr(facts)
    assert not any(name in text for name in tissue.obs_names[:50])
    assert all(len(array) != tissue.n_obs for array in arrays.values() if array.ndim)


def test_kl_is_that_of_two_normals(tissue, fitted):
    order, rows = fitted.inputs.rows(tissue)
    with torch.no_grad():
        qz, pz = fitted.network.encode(rows)
    q, p = (Normal(each.loc.double(), each.scale.double()) for each in (qz, pz))
    expected = kl_divergence(q, p).sum(dim=-1).numpy()
    np.testing.assert_allclose(fitted.kl(tissue)[order], expected, rtol=1e-4)


def test_training_beats_the_law_without_latents_on_held_out_blocks(tissue):
    train = tissue[tissue.obs["split"] == "train"].copy()
    model = generator(epochs=60).fit(train)
    scores = model.spot_scores(tissue[tissue.obs["split"] == "test"].copy()).mean()
    assert scores["nll"] < scores["null_nll"]


def test_hidden_counts_are_scored_by_their_own_depth(tissue, fitted):
    counts = tissue.layers[COUNTS]
    same = fitted.spot_scores(tissue, counts)
    np.testing.assert_allclose(same["nll"], fitted.spot_scores(tissue)["nll"])
    fewer = fitted.spot_scores(tissue, (counts > 3).astype(np.float32))
    assert fewer["nll"].mean() < same["nll"].mean()


def test_every_parameter_gets_a_gradient(tissue):
    model = generator(epochs=1, likelihood="zinb", neighbour_contrast=0.1, guidance=0.5)
    model.fit(tissue)
    _, rows = model.inputs.rows(tissue)
    model.network.train()
    model.network.loss(rows)["loss"].backward()
    without = [
        name
        for name, parameter in model.network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    assert not without


def test_guidance_of_one_is_the_published_objective(tissue):
    model = generator(epochs=1, guidance=1.0).fit(tissue)
    _, rows = model.inputs.rows(tissue)
    with torch.no_grad():
        terms = model.network.loss(rows)
    torch.testing.assert_close(terms["loss"], terms["nll"] + terms["kl"])


def test_without_guidance_the_image_does_not_pull_the_posterior(tissue):
    """The prior learns, but neither encoder of genes nor decoder feel it."""
    model = generator(epochs=1, guidance=0.0, read_image=False).fit(tissue)
    _, rows = model.inputs.rows(tissue)
    qz, pz = model.network.encode(rows)
    kl = kl_divergence(qz, pz).sum(dim=-1).mean()
    free = kl_divergence(qz, Normal(torch.zeros_like(qz.loc), 1.0)).sum(dim=-1).mean()
    found = model.network._guided(qz, pz, kl)
    weight = model.network.genes.first.weight
    own = torch.autograd.grad(found, weight, retain_graph=True)[0]
    torch.testing.assert_close(own, torch.autograd.grad(free, weight)[0])


def test_it_starts_at_components_averaged_over_neighbours(tissue):
    """Before the first step, the leading latent is the first component of what is read."""
    model = generator(epochs=1, hops=0, use_image=False, training={"validation_fraction": 0.0})
    model.config.training.model_copy(update={"max_epochs": 1})
    model.fit(tissue)
    network = model._network()
    order, rows = model.inputs.rows(tissue)
    network.begin(rows, model.null, 0)
    with torch.no_grad():
        z = network.eval().encode(rows)[0].loc[:, 0].numpy()
    x = rows.expression.double().numpy()
    first = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0][:, 0]
    mean = rows.graph.matrix()
    mean = sparse.diags_array(1.0 / mean.sum(axis=1).A1 if hasattr(mean.sum(axis=1), "A1")
                              else 1.0 / np.asarray(mean.sum(axis=1)).ravel()) @ mean  # fmt: skip
    assert abs(np.corrcoef(mean @ first, z)[0, 1]) > 0.999
    assert len(order) == tissue.n_obs


def test_minibatches_of_tiles_train_too(tissue):
    model = generator(epochs=3, training={"batch_size": 100, "validation_fraction": 0.0})
    history = model.fit(tissue).history
    assert history["train_loss"].is_monotonic_decreasing


@pytest.mark.parametrize("options", [
    {"attention": "gatv2"},
    {"likelihood": "zinb", "start": "random", "hops": 0},
    {"pretraining_epochs": 2},
    {"clustering": {"n_clusters": 3, "training": {"max_epochs": 2}}},
    {"draws_from": "prior"},
    {"use_image": False},
])  # fmt: skip
def test_every_option_trains_draws_and_comes_back(tissue, options):
    model = generator(epochs=2, **options).fit(tissue)
    assert np.isfinite(model.history["train_loss"]).all()
    again = from_state(model.state())
    drawn = [each.sample(20, None, np.random.default_rng(0)) for each in (model, again)]
    np.testing.assert_array_equal(drawn[0].X, drawn[1].X)
    assert set(labels(drawn[0])) <= set(labels(tissue))


def test_spots_without_a_label_are_learnt_from_and_never_drawn(tissue):
    some = tissue.copy()
    key = some.uns["synthome"]["label_key"]
    some.obs[key] = np.where(np.arange(some.n_obs) < 50, "", some.obs[key].astype(str))
    model = generator(epochs=1).fit(some)
    assert "" not in set(labels(model.sample(50, None, np.random.default_rng(0))))


def test_sections_are_told_apart_by_the_decoder():
    two = prepared_tissue(n_obs=150, n_sections=2)
    model = generator(epochs=2).fit(two)
    drawn = model.sample(40, None, np.random.default_rng(0))
    assert set(drawn.obs[SECTION]) == set(two.obs[SECTION].astype(str))
    stranger = two.copy()
    stranger.obs[SECTION] = "elsewhere"
    with pytest.raises(InputError, match="elsewhere"):
        model.embed(stranger)


def test_what_it_cannot_read_is_named(tissue, fitted):
    without = tissue.copy()
    del without.obsp[NEIGHBOURS]
    with pytest.raises(InputError, match=NEIGHBOURS):
        generator().fit(without)
    fewer = tissue.copy()
    fewer.obsm[IMAGE_FEATURES] = fewer.obsm[IMAGE_FEATURES][:, :3]
    with pytest.raises(InputError, match="image features"):
        fitted.embed(fewer)
    with pytest.raises(InputError, match="genes of the model are missing"):
        fitted.embed(tissue[:, :10].copy())
    no_counts = tissue.copy()
    del no_counts.layers[COUNTS]
    with pytest.raises(NotApplicable):
        generator().fit(no_counts)


def test_student_t_and_its_target_are_those_of_the_equation():
    rng = np.random.default_rng(0)
    z, centres = rng.normal(size=(9, 3)), rng.normal(size=(4, 3))
    near = 1.0 / (1.0 + cdist(z, centres) ** 2)
    q = near / near.sum(axis=1, keepdims=True)
    found = student_t(torch.tensor(z), torch.tensor(centres))
    np.testing.assert_allclose(found, q)
    p = q**2 / q.sum(axis=0)
    p /= p.sum(axis=1, keepdims=True)
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    loss = clustering_loss(torch.tensor(q), torch.tensor(q.sum(axis=0)))
    np.testing.assert_allclose(loss.item(), expected)


def test_contrast_is_cross_entropy_against_the_only_neighbour():
    z = torch.tensor(np.random.default_rng(0).normal(size=(4, 3)))
    pairs = sparse.csr_array(([1.0] * 4, ([0, 1, 2, 3], [1, 0, 3, 2])), shape=(4, 4))
    unit = z / z.norm(dim=1, keepdim=True)
    similar = (unit @ unit.T / 0.5).fill_diagonal_(-torch.inf)
    expected = torch.nn.functional.cross_entropy(similar, torch.tensor([1, 0, 3, 2]))
    found = neighbour_contrast(z, Graph.of(pairs).with_self(), 0.5)
    torch.testing.assert_close(found, expected)


def test_what_is_set_aside_is_one_piece_of_tissue(tissue):
    aside = set_aside(tissue, 0.1, 0)
    assert aside.sum() == round(0.1 * tissue.n_obs)
    inside = tissue.obsp[NEIGHBOURS][aside][:, aside].nnz / tissue.obsp[NEIGHBOURS][aside].nnz
    assert inside > 0.5
