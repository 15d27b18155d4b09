import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse, stats
from torch.distributions import Normal, kl_divergence

from synthome.anndata_schema import labels
from synthome.csr import CSRRows
from synthome.distributions import nb_log_prob, poisson_log_prob, zinb_log_prob
from synthome.errors import InputError, NotApplicable
from synthome.models.ldvae import LDVAE, LDVAEConfig, LDVAEGenerator
from synthome.models.registry import load_generator
from synthome.simulate.cortex import CortexConfig, simulate_cortex
from synthome.state_file import write_state

CORTEX = CortexConfig(
    n_obs=700, n_vars=150, n_down=5, n_up=5, n_types=3, rarest=0.3, n_programmes=2,
    programme_loading=1.0, programme_share=0.3, batch_effect=0.6, library_size=1500,
)  # fmt: skip
SHORT = {
    "n_latent": 4,
    "n_hidden": 24,
    "training": {"max_epochs": 8, "steps_per_epoch": 30, "learning_rate": 8e-3},
}
FEW = {"training": {"max_epochs": 2, "steps_per_epoch": 3}, "max_components": 1}


def config(**options) -> LDVAEConfig:
    return LDVAEConfig.model_validate(SHORT | options)


def with_expression(cells: AnnData, other_genes: float = 0.0) -> AnnData:
    """Log expression at 10,000 counts a cell, of which ``other_genes`` are not in the model."""
    cells = cells.copy()
    counts = cells.layers["counts"]
    total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1.0) * (1.0 + other_genes)
    cells.obs["library_size"] = total
    cells.X = sparse.csr_matrix(sparse.diags_array(1e4 / total) @ counts).log1p()
    return cells


@pytest.fixture(scope="module")
def cortex() -> AnnData:
    cells = with_expression(simulate_cortex(CORTEX), other_genes=1.0)
    del cells.uns["truth"]
    return cells


@pytest.fixture(scope="module")
def train(cortex) -> AnnData:
    return cortex[:550].copy()


@pytest.fixture(scope="module")
def test(cortex) -> AnnData:
    return cortex[550:].copy()


@pytest.fixture(scope="module")
def fitted(train) -> LDVAEGenerator:
    return LDVAEGenerator(config(), seed=3).fit(train)


def minibatch(cells: AnnData) -> tuple[CSRRows, torch.Tensor, torch.Tensor]:
    rows = CSRRows.of(cells.layers["counts"])
    batch = torch.from_numpy((cells.obs["batch"] == "B2").to_numpy().astype(np.int64))
    return rows, rows.row_sums(), batch


# --- the equations


LIKELIHOODS = ("nb", "zinb", "poisson")


@pytest.mark.parametrize("dispersion", ["gene", "gene_batch"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_loss_is_eq_5_by_the_dense_formulas(likelihood, dispersion, train):
    """In double precision, with the same draw of z, and PyTorch's own divergence."""
    torch.manual_seed(0)
    network = LDVAE(train.n_vars, 2, config(dispersion=dispersion), likelihood).eval()
    counts, library_size, batch = minibatch(train[:40])
    torch.manual_seed(1)
    terms = network.loss(counts, library_size, batch)
    torch.manual_seed(1)
    with torch.no_grad():
        qz = network.encode(counts, library_size)
        z = qz.rsample().double()
        of_batch = torch.eye(2, dtype=torch.float64)[batch]
        zs = torch.cat([z, of_batch], dim=1)
        logits = zs @ network.logits.weight.double().T + network.logits.bias.double()
        log_mu = logits.log_softmax(-1) + library_size.double().log()[:, None]
        log_theta = network.log_theta.double()
        log_theta = log_theta[batch] if dispersion == "gene_batch" else log_theta
        x = counts.dense().double()
        if likelihood == "nb":
            each = nb_log_prob(x, log_mu, log_theta)
        elif likelihood == "zinb":
            pi = network.pi_logits
            pi_logits = zs @ pi.weight.double().T + pi.bias.double()
            each = zinb_log_prob(x, log_mu, log_theta, pi_logits)
        else:
            each = poisson_log_prob(x, log_mu)
        kl = kl_divergence(qz, Normal(0.0, 1.0)).double().sum(dim=1)
        nll = -each.sum(dim=1)
        rows = network.row_nll(counts, library_size, batch, z.float())
    np.testing.assert_allclose(rows, nll, rtol=1e-5)
    for name, expected in (("nll", nll), ("kl", kl), ("loss", nll + kl)):
        assert float(terms[name].detach()) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_the_weight_of_the_divergence_is_that_of_the_loop(train):
    network = LDVAE(train.n_vars, 2, config()).eval()
    terms = {k: float(v.detach()) for k, v in network.loss(*minibatch(train[:9]), 0.25).items()}
    assert terms["loss"] == pytest.approx(terms["nll"] + 0.25 * terms["kl"], rel=1e-6)


def test_the_encoder_reads_rates_at_a_common_depth(train):
    """Twice the counts are the same cell; with ``counts``, as published, they are another."""
    counts, library_size, _ = minibatch(train[:20])
    twice = counts.with_values(2 * counts.values)
    far = []
    for what in ("rates", "counts"):
        torch.manual_seed(0)
        network = LDVAE(train.n_vars, 1, config(encoder_input=what)).eval()
        network.depth.fill_(1000.0)
        one, two = network.encode(counts, library_size), network.encode(twice, 2 * library_size)
        far.append(float((one.loc - two.loc).abs().max().detach()))
    assert far[0] < 1e-5 < 1e-2 < far[1]


def test_a_cell_without_counts_is_encoded_and_costs_nothing(train):
    network = LDVAE(train.n_vars, 2, config()).eval()
    batch = torch.zeros(3, dtype=torch.int64)
    empty = CSRRows.of(np.zeros((3, train.n_vars)))
    loss = network.loss(empty, empty.row_sums(), batch)["loss"]
    assert torch.isfinite(loss)
    z = torch.zeros(3, 4)
    with torch.no_grad():
        assert network.row_nll(empty, empty.row_sums(), batch, z).tolist() == [0.0] * 3
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("dispersion", ["gene", "gene_batch"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_parameter_gets_a_gradient(likelihood, dispersion, train):
    torch.manual_seed(0)
    network = LDVAE(train.n_vars, 2, config(dispersion=dispersion), likelihood).train()
    network.loss(*minibatch(train[:64]))["loss"].backward()
    without = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == ({"log_theta"} if likelihood == "poisson" else set())


# --- where training starts, and what it reaches


def test_training_starts_at_the_latent_free_law(train, test):
    """Without W, the start is the null itself; with it, it explains something already."""
    still = config(training={"max_epochs": 1, "steps_per_epoch": 1, "learning_rate": 1e-12})
    begun = LDVAEGenerator(still).fit(train)
    null, at_start = (begun.held_out(test)[name] for name in ("null_nll", "nll"))
    with torch.no_grad():
        begun.network.logits.weight.zero_()
        nll = begun.network.row_nll(*begun._rows(test), torch.zeros(test.n_obs, 4)).mean()
    assert float(nll) == pytest.approx(null, rel=1e-4)
    assert at_start < null - 5.0


def test_training_beats_the_latent_free_law_on_new_cells(fitted, test):
    """By its bound too, which pays for the latents."""
    scores = fitted.held_out(test)
    assert scores["nll"] < scores["null_nll"] - 20.0
    assert -scores["elbo"] < scores["null_nll"] - 10.0
    assert scores["elbo"] == pytest.approx(-(scores["nll"] + scores["kl"]))
    cells = fitted.cell_scores(test)
    assert len(cells) == test.n_obs
    assert not isinstance(cells.index[0], str)  # no names of cells
    assert cells.mean().to_dict() == pytest.approx(scores)


def test_scores_of_a_cell_do_not_depend_on_its_neighbours(fitted, test):
    """Batch normalisation and dropout are those of a trained model."""
    alone, together = fitted.embed(test[:1]), fitted.embed(test)
    np.testing.assert_allclose(alone[0], together[0], rtol=1e-4, atol=1e-5)


def test_latents_follow_the_planted_types(fitted, test):
    """Nearest mean of the training cells of each type, in the latent space."""
    z, names = fitted.embed(test), labels(test)
    centres = {y: z[names == y].mean(axis=0) for y in np.unique(names)}
    far = np.stack([np.square(z - c).sum(axis=1) for c in centres.values()])
    assert (np.array(list(centres))[far.argmin(axis=0)] == names).mean() > 0.9


@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": "zinb"},
        {"likelihood": "poisson", "start": "random"},
        {"dispersion": "gene_batch"},
        {"likelihood": "zinb", "dispersion": "gene_batch", "encoder_input": "counts"},
        {"decoder_bias": False, "decoder_batch_norm": True, "start": "random"},
        {"likelihood": "poisson", "decoder_bias": False, "decoder_batch_norm": True},
        {"training": {"max_epochs": 2, "steps_per_epoch": 3, "validation_fraction": 0.0}},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_every_choice_trains_and_is_drawn_from(options, train, test, tmp_path):
    """A few steps lower the loss; the state of each is whole."""
    made = LDVAEGenerator(config(**(FEW | options))).fit(train)
    losses = made.history["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    assert all(np.isfinite(v) for v in made.held_out(test).values())
    write_state(tmp_path / "weights.safetensors", made.state())
    again = load_generator(tmp_path / "weights.safetensors")
    draws = [m.sample(9, None, np.random.default_rng(0)) for m in (made, again)]
    np.testing.assert_array_equal(draws[0].X, draws[1].X)
    np.testing.assert_array_equal(made.embed(test), again.embed(test))
    np.testing.assert_array_equal(made.loadings, again.loadings)


def test_counts_with_zeros_of_their_own_are_given_a_law_that_has_them(train):
    """Counts of molecules keep the plain law; reads, of which many were lost, do not."""
    assert LDVAEGenerator(config(**FEW)).fit(train).likelihood == "nb"
    counts = train.layers["counts"].toarray()
    often = counts.mean(axis=0) > 1.0
    lost = np.random.default_rng(0).random(counts.shape) < 0.3
    reads = train[:, often].copy()
    reads.layers["counts"] = sparse.csr_matrix(60.0 * counts * ~lost)[:, often]
    assert LDVAEGenerator(config(**FEW)).fit(with_expression(reads)).likelihood == "zinb"


# --- one result for one seed


def test_same_seed_same_draw_whatever_the_threads_around_it(train):
    before, threads, draws = train.copy(), torch.get_num_threads(), []
    for n in (1, 2):
        torch.set_num_threads(n)
        try:
            made = LDVAEGenerator(config(**FEW), seed=3).fit(train)
            draws.append(made.sample(20, None, np.random.default_rng(7)))
        finally:
            torch.set_num_threads(threads)
    first, second = draws
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(*(d.layers["counts"].toarray() for d in (first, second)))
    assert first.obs.equals(second.obs)
    assert train.obs.equals(before.obs)
    np.testing.assert_array_equal(train.X.toarray(), before.X.toarray())


def test_a_reloaded_model_is_the_same(fitted, test, tmp_path):
    write_state(tmp_path / "weights.safetensors", fitted.state())
    again = load_generator(tmp_path / "weights.safetensors")
    for one, other in (
        (fitted.embed(test), again.embed(test)),
        (fitted.expected(test), again.expected(test)),
        (fitted.loadings, again.loadings),
        (fitted.theta, again.theta),
    ):
        np.testing.assert_array_equal(one, other)
    assert fitted.held_out(test) == again.held_out(test)
    draws = [m.sample(20, None, np.random.default_rng(1)) for m in (fitted, again)]
    np.testing.assert_array_equal(draws[0].X, draws[1].X)
    assert draws[0].obs.equals(draws[1].obs)
    assert again.state()[1] == fitted.state()[1]
    text = str(fitted.state()[1])
    assert "C000001" not in text  # no names of cells, no donors
    assert "D1" not in text


# --- what it says of genes


def test_loadings_are_centred_over_genes_and_change_nothing(fitted):
    """Eq. 2 ignores a constant in each column."""
    loadings = fitted.loadings
    assert loadings.shape == (150, 4)
    np.testing.assert_allclose(loadings.mean(axis=0), 0.0, atol=1e-12)
    z = np.random.default_rng(0).normal(size=(5, 4))
    network = fitted.network
    bias = (network.logits.bias + network.logits.weight[:, 4]).detach().double().numpy()
    rho = np.exp(z @ loadings.T + bias)
    rho /= rho.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.decode(z, np.full(5, 50.0)), 50.0 * rho, rtol=1e-4)


def test_loadings_fold_in_the_batch_normalisation(train):
    options = {"decoder_bias": False, "decoder_batch_norm": True}
    made = LDVAEGenerator(config(**(FEW | options))).fit(train)
    z = np.eye(4)
    log_mu = np.log(np.vstack([made.decode(z, np.ones(4)), made.decode(0 * z[:1], np.ones(1))]))
    step = log_mu[:4] - log_mu[4]
    step -= step.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(step.T, made.loadings, atol=1e-4)


def test_expected_counts_add_up_to_the_library_size(fitted, test):
    mu = fitted.expected(test)
    np.testing.assert_allclose(
        mu.sum(axis=1), np.asarray(test.layers["counts"].sum(axis=1)).ravel()
    )


def test_expected_counts_leave_room_for_added_zeros(train, test):
    made = LDVAEGenerator(config(**FEW, likelihood="zinb")).fit(train)
    z = np.zeros((1, 4))
    logits = made.network.inflation(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))
    pi = logits.detach().double().sigmoid().numpy()
    mu = made.decode(z, np.array([100.0]))
    assert (mu / (1 - pi)).sum() == pytest.approx(100.0, rel=1e-5)


def test_the_batch_of_a_cell_moves_its_counts(fitted, cortex):
    """The planted effect of the batch is found, gene by gene."""
    z = np.zeros((2, 4))
    log_mu = np.log(fitted.decode(z, np.ones(2), np.array([0, 1])))
    found = log_mu[1] - log_mu[0]
    counts, batch = cortex.layers["counts"], (cortex.obs["batch"] == "B2").to_numpy()
    sums = [np.asarray(counts[rows].sum(axis=0)).ravel() for rows in (~batch, batch)]
    seen = np.minimum(*sums) > 100
    truth = np.log(sums[1][seen]) - np.log(sums[0][seen])
    assert np.corrcoef(found[seen], truth)[0, 1] > 0.6


def test_each_batch_may_have_its_own_dispersion(train):
    made = LDVAEGenerator(config(**FEW, dispersion="gene_batch")).fit(train)
    log_theta = made.network.log_theta.detach()
    assert log_theta.shape == (2, 150)
    rows = torch.tensor([1, 0, 1])
    torch.testing.assert_close(made.network.dispersion(rows), log_theta[rows])
    np.testing.assert_allclose(made.theta, log_theta.double().mean(dim=0).exp())


# --- what it draws


def test_a_draw_is_cells_with_counts_and_what_belongs_to_them(fitted, train):
    """X is the log expression of the counts, at the depth and the scale of the training cells."""
    wanted = ["Exc L5-6"] * 5 + ["Exc L2-3"] * 300
    drawn = fitted.sample(305, wanted, np.random.default_rng(0))
    assert labels(drawn).tolist() == wanted
    assert drawn.obs["synthetic"].all()
    assert drawn.var_names.equals(train.var_names)
    counts = drawn.layers["counts"].toarray()
    assert (counts == np.rint(counts)).all()
    assert counts.min() == 0
    total = drawn.obs["library_size"].to_numpy()
    assert (total >= counts.sum(axis=1)).all()
    assert set(drawn.obs["batch"]) == {"B1", "B2"}
    np.testing.assert_allclose(drawn.X, np.log1p(1e4 * counts / total[:, None]), rtol=1e-4)


def test_drawn_depths_are_those_of_the_type(fitted, train):
    """Counts scatter around the drawn depth, which is their expected sum, so they spread more."""
    name = "Exc L2-3"
    real = train[labels(train) == name]
    drawn = fitted.sample(1000, [name] * 1000, np.random.default_rng(0))
    totals = [a.obs["library_size"].to_numpy() for a in (real, drawn)]
    sums = [np.asarray(a.layers["counts"].sum(axis=1)).ravel() for a in (real, drawn)]
    for (one, other), more in ((totals, 0.2), (sums, 0.4)):
        log_real, log_drawn = np.log(one), np.log(other)
        assert log_drawn.mean() == pytest.approx(log_real.mean(), abs=0.1)
        assert log_drawn.std() == pytest.approx(log_real.std(), rel=more)


def test_drawn_genes_have_the_means_and_zeros_of_the_type(fitted, train):
    name = "Exc L2-3"
    real = train[labels(train) == name].layers["counts"].toarray()
    drawn = fitted.sample(1000, [name] * 1000, np.random.default_rng(0)).layers["counts"].toarray()
    seen = real.mean(axis=0) > 0.2
    ratio = np.log(drawn.mean(axis=0)[seen] / real.mean(axis=0)[seen])
    assert np.abs(ratio).mean() < 0.2
    zeros = [(x[:, seen] == 0).mean(axis=0) for x in (real, drawn)]
    assert np.abs(zeros[0] - zeros[1]).mean() < 0.05
    assert stats.spearmanr(real.var(axis=0), drawn.var(axis=0)).statistic > 0.95


def test_counts_are_drawn_from_the_law_of_eq_3(fitted):
    """Mean and variance of many draws of one latent."""
    z, n = np.tile([0.5, -0.5, 0.0, 1.0], (4000, 1)), 4000
    with torch.no_grad():
        drawn = fitted._draw_counts(
            z, np.full(n, 500.0), np.ones(n, dtype=np.int64), np.random.default_rng(0)
        ).toarray()
    mu = fitted.decode(z[:1], np.array([500.0]), np.array([1]))[0]
    spread = np.sqrt(mu + mu**2 / fitted.theta)
    assert (np.abs(drawn.mean(axis=0) - mu) < 5 * spread / np.sqrt(n)).all()
    often = mu > 1.0
    ratio = drawn.std(axis=0)[often] / spread[often]
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)


def test_a_higher_temperature_widens_the_latents(fitted):
    cold, hot = (
        fitted.sample(400, None, np.random.default_rng(0), temperature=t) for t in (0.5, 3.0)
    )
    spread = [fitted.embed(drawn).std(axis=0).mean() for drawn in (cold, hot)]
    assert spread[1] > 1.3 * spread[0]
    usual, named = (
        fitted.sample(9, None, np.random.default_rng(0), temperature=t) for t in (None, 1.0)
    )
    np.testing.assert_array_equal(usual.X, named.X)


# --- what it refuses


def test_counts_are_needed(train):
    without = train.copy()
    del without.layers["counts"]
    with pytest.raises(NotApplicable, match=r"no layers\['counts'\]. Give raw counts"):
        LDVAEGenerator(config()).fit(without)


def test_genes_are_found_by_name(fitted, test):
    order = np.random.default_rng(0).permutation(test.n_vars)
    np.testing.assert_array_equal(fitted.embed(test[:, order]), fitted.embed(test))
    with pytest.raises(InputError, match="2 of the 150 genes .* missing .* first being GENE00001"):
        fitted.embed(test[:, 2:])


def test_a_batch_that_was_never_seen_is_named(fitted, test):
    other = test.copy()
    other.obs["batch"] = other.obs["batch"].astype(str).replace("B2", "B9")
    with pytest.raises(InputError, match="Batch 'B9' was not seen in training, which had B1, B2"):
        fitted.embed(other)


def test_a_class_that_was_never_seen_is_named(fitted):
    with pytest.raises(InputError, match="only Exc L2-3, Exc L5-6, Inh PVALB"):
        fitted.sample(1, ["Micro"], np.random.default_rng(0))


# --- cells that end training
