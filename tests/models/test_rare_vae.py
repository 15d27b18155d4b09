"""The equations of rare_vae against closed forms and planted truth."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import stats

from synthome.anndata_schema import UNS, labels
from synthome.errors import InputError
from synthome.models.rare_vae import (
    RareVAE,
    RareVAEConfig,
    RareVAEGenerator,
    _bent,
    most_modules,
)

RNG = np.random.default_rng(1)
N_OBS, N_VARS = 90, 200
CLASSES = np.array(["a"] * 50 + ["b"] * 40)
EFFECT = RNG.normal(0, 1, N_VARS) * (RNG.random(N_VARS) < 0.3)
LOADINGS = RNG.normal(0, 1, (2, N_VARS))


def cohort(n_obs: int = N_OBS, classes: np.ndarray = CLASSES, seed: int = 2) -> AnnData:
    """Two factors, one class effect and gene-level noise of its own for each gene."""
    rng = np.random.default_rng(seed)
    sigma = np.linspace(0.3, 2.0, N_VARS)
    x = 4 + (classes == "b")[:, None] * EFFECT + rng.normal(size=(n_obs, 2)) @ LOADINGS
    x += rng.normal(size=(n_obs, N_VARS)) * sigma
    obs = pd.DataFrame({"class": classes}, index=[f"s{i}" for i in range(n_obs)])
    return AnnData(x, obs=obs, uns={UNS: {"label_key": "class", "scale": "log"}})


@pytest.fixture(scope="module")
def fitted() -> RareVAEGenerator:
    return RareVAEGenerator(RareVAEConfig(n_latent=2)).fit(cohort())


def network(n_vars: int = 5, n_latent: int = 2) -> RareVAE:
    torch.manual_seed(0)
    config = RareVAEConfig(dropout=0.0)
    return RareVAE(n_vars, 2, n_latent, torch.arange(n_vars), config)


def test_loss_is_the_negative_elbo_and_the_prior():
    """Against SciPy and PyTorch: log density, KL of two normals, normal priors (eqs. 2, 4, 5)."""
    model, x = network(), torch.randn(7, 5)
    c = torch.eye(2)[[0, 1, 0, 1, 1, 0, 0]]
    with torch.no_grad():
        model.effects.normal_()
        model.loadings.normal_()
        model.log_sigma[0] = torch.linspace(-0.5, 0.5, 5)
        model.correlation.copy_(torch.tensor([[1.0, 0.6], [0.6, 1.0]]))
        model.effect_precision.copy_(torch.tensor([2.0, 0.0]))
        model.loading_precision.copy_(torch.arange(10.0).reshape(5, 2))
        model.loading_mask[3, 1] = 0.0
        model.eval()
        terms = model.loss(x, c)
        qz = model.encode(x, c)
        z = qz.loc + qz.scale * model._draw(qz.loc.shape[1:], torch.randn, "latent")
        mean = model.decode(z, c)[0]
    log_density = stats.norm.logpdf(x, mean, model.log_sigma[0].exp().detach()).sum(axis=1).mean()
    constant = 2.5 * np.log(2 * np.pi)
    prior_z = torch.distributions.MultivariateNormal(torch.zeros(2), model.correlation)
    posterior = torch.distributions.MultivariateNormal(
        qz.loc[0], torch.diag_embed(qz.scale[0].square())
    )
    kl = torch.distributions.kl_divergence(posterior, prior_z).mean()
    effects = model.effects[0].detach().numpy()
    loadings = model.loadings[0].detach().numpy().copy()
    loadings[3, 1] = 0.0
    precision = np.arange(10.0).reshape(5, 2)
    prior = 0.5 * (2.0 * np.square(effects[:, 0]).sum() + (precision * loadings**2).sum())
    assert terms["reconstruction"].item() == pytest.approx(-log_density - constant, rel=1e-5)
    assert terms["kl"].item() == pytest.approx(kl.item(), rel=1e-5)
    assert terms["prior"].item() == pytest.approx(prior, rel=1e-5)
    total = -log_density - constant + kl.item() + prior
    assert terms["loss"].item() == pytest.approx(total, rel=1e-5)


def test_spread_is_calibrated(fitted):
    """At T = 1 the within-class variance of every gene is that of the training rows (eq. 7)."""
    data = cohort()
    drawn = fitted.sample(6000, None, np.random.default_rng(0))
    for name in ("a", "b"):
        ratio = drawn.X[labels(drawn) == name].var(0) / data.X[CLASSES == name].var(0)
        assert np.median(ratio) == pytest.approx(1.0, abs=0.08)
    slope = np.polyfit(data.X.std(0), drawn.X.std(0), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.05)


def test_class_effect_is_drawn(fitted):
    """The published model ignores its label: fold-change slope 0.03-0.30. This one must not, and
    its shrunken effects are nearer the planted ones than those of its training rows."""
    data = cohort()
    drawn = fitted.sample(6000, None, np.random.default_rng(0))
    real = data.X[CLASSES == "b"].mean(0) - data.X[CLASSES == "a"].mean(0)
    is_b = labels(drawn) == "b"
    synthetic = drawn.X[is_b].mean(0) - drawn.X[~is_b].mean(0)
    assert 0.75 < np.polyfit(real, synthetic, 1)[0] < 1.05
    assert np.square(synthetic - EFFECT).mean() < 0.95 * np.square(real - EFFECT).mean()


def test_planted_correlation_is_found(fitted):
    """Against the true correlation, better than the 90 training rows themselves show it."""
    truth = np.corrcoef((cohort(20_000, np.repeat("a", 20_000), seed=9).X).T)
    upper = np.triu_indices(N_VARS, 1)
    drawn = fitted.sample(4000, ["a"] * 4000, np.random.default_rng(0))
    r_model = np.corrcoef(np.corrcoef(drawn.X.T)[upper], truth[upper])[0, 1]
    r_real = np.corrcoef(np.corrcoef(cohort().X[:50].T)[upper], truth[upper])[0, 1]
    assert r_model > r_real
    assert r_model > 0.9


def test_training_beats_its_start(fitted):
    """The trained bound is lower than the one of the principal axes it starts from."""
    assert fitted.history["train_loss"].iloc[-5:].mean() < fitted.history["train_loss"].iloc[0]


def test_covariates_are_drawn_within_their_class():
    """Sex here belongs to the class: no synthetic row may break that."""
    data = cohort()
    data.obs["sex"] = np.where(CLASSES == "a", "f", "m")
    data.obs["age"] = np.where(CLASSES == "a", 30.0, 60.0) + RNG.normal(0, 2, N_OBS)
    data.obs.loc["s0", "age"] = np.nan
    generator = RareVAEGenerator(RareVAEConfig(n_latent=1, covariates="sex+age")).fit(data)
    drawn = generator.sample(500, None, np.random.default_rng(0))
    assert set(zip(labels(drawn), drawn.obs["sex"], strict=True)) == {("a", "f"), ("b", "m")}
    means = drawn.obs.groupby(labels(drawn))["age"].mean()
    assert means["a"] == pytest.approx(30, abs=2)
    assert means["b"] == pytest.approx(60, abs=2)
    reloaded = RareVAEGenerator.from_state(*generator.state())
    again = reloaded.sample(500, None, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.X, again.X)


def test_unknown_covariate_names_the_columns():
    with pytest.raises(InputError, match="batch is not a column.*class"):
        RareVAEGenerator(RareVAEConfig(covariates=("batch",))).fit(cohort())


def test_temperature_of_a_class_brings_the_variance_of_held_out_rows():
    """A tight class among a wide one: one spread for both would be wrong for each (eq. 8)."""
    rng = np.random.default_rng(4)
    classes = np.array(["wide"] * 150 + ["tight"] * 150)
    scale = np.where(classes == "wide", 1.5, 0.5)[:, None]
    x = scale * (rng.normal(size=(300, 2)) @ LOADINGS + rng.normal(size=(300, N_VARS)))
    obs = pd.DataFrame({"class": classes}, index=[f"s{i}" for i in range(300)])
    data = AnnData(x, obs=obs, uns={UNS: {"label_key": "class", "scale": "log"}})
    model = RareVAEGenerator(RareVAEConfig(n_latent=2)).fit(data)
    drawn = model.sample(4000, None, np.random.default_rng(0))
    for name, spread in (("wide", 1.5), ("tight", 0.5)):
        total = drawn.X[labels(drawn) == name].var(axis=0).sum()
        own = data.X[classes == name].var(axis=0).sum()
        assert total / own == pytest.approx(1.0, abs=0.06)
        truth = spread**2 * (np.square(LOADINGS).sum() + N_VARS)
        assert total / truth == pytest.approx(1.0, abs=0.2)


def test_latents_have_the_skewness_of_the_patients():
    """Many mild patients and a few severe ones: draws must not be symmetric (eq. 6)."""
    rng = np.random.default_rng(5)
    severity = rng.exponential(size=(300, 1)) - 1.0
    x = 3.0 * severity @ LOADINGS[:1] + rng.normal(size=(300, N_VARS))
    classes = np.array(["a", "b"] * 150)
    obs = pd.DataFrame({"class": classes}, index=[f"s{i}" for i in range(300)])
    data = AnnData(x, obs=obs, uns={UNS: {"label_key": "class", "scale": "log"}})
    drawn = (
        RareVAEGenerator(RareVAEConfig(n_latent=1))
        .fit(data)
        .sample(4000, None, np.random.default_rng(0))
    )
    along = [stats.skew(rows @ LOADINGS[0]) for rows in (data.X, drawn.X)]
    assert along[0] > 1.2
    assert 0.7 < along[1] < 1.1 * along[0]


def test_bent_values_keep_mean_and_variance():
    """Skewness 6 b - 4 b³, by numerical integration over the standard normal."""
    u, weight = np.polynomial.hermite_e.hermegauss(40)
    weight /= weight.sum()
    for b in (-0.4, 0.0, 0.25):
        v = _bent(torch.tensor(u[:, None]), torch.full((40, 1), b, dtype=torch.float64)).numpy()
        mean, variance = weight @ v, weight @ v**2
        assert mean.item() == pytest.approx(0.0, abs=1e-9)
        assert variance.item() == pytest.approx(1.0)
        assert (weight @ v**3).item() == pytest.approx(6 * b - 4 * b**3)


def test_a_constant_temperature_replaces_the_calibrated_ones(fitted):
    def spread(**options):
        config = RareVAEConfig(n_latent=2, **options)
        model = RareVAEGenerator.from_state(
            fitted.state()[0], fitted.state()[1] | {"config": config.model_dump(mode="json")}
        )
        return model.sample(2000, None, np.random.default_rng(0)).X.var(axis=0).sum()

    assert spread(temperature=3.0) > 2.0 * spread()


def test_modules_are_as_many_as_patients_can_show_again(fitted):
    """Two planted factors; noise alone gives one module, however many are allowed."""
    many = RareVAEGenerator(RareVAEConfig()).fit(cohort())
    assert many.network.correlation.shape[0] in (2, 3)
    noise = cohort()
    noise.X = np.random.default_rng(0).normal(size=noise.shape)
    assert RareVAEGenerator(RareVAEConfig()).fit(noise).network.correlation.shape[0] == 1


@pytest.mark.parametrize(("n_obs", "expected"), [(8, 4), (34, 4), (120, 6), (675, 15)])
def test_modules_grow_with_the_cohort(n_obs, expected):
    assert most_modules(n_obs) == expected


def test_seeds_trained_together_are_those_trained_alone():
    """Stacked parameters, own noise: no seed depends on the others beside it."""
    data, config = cohort(), RareVAEConfig(n_latent=2, training={"max_epochs": 30})
    together = RareVAEGenerator.fit_seeds(data, config, [4, 0, 7])
    for seed, each in zip([4, 0, 7], together, strict=True):
        alone = RareVAEGenerator(config, seed).fit(data)
        pd.testing.assert_frame_equal(each.history, alone.history, rtol=1e-3)
        drawn = [g.sample(50, None, np.random.default_rng(0)).X for g in (each, alone)]
        np.testing.assert_allclose(*drawn, atol=2e-3)
    first, second = (g.network.hidden.detach() for g in together[:2])
    assert not torch.allclose(first, second)


def test_dropout_differs_from_step_to_step_and_goes_on_from_a_checkpoint():
    model = network()
    model.dropout = 0.5
    x, c = torch.randn(7, 5), torch.eye(2)[[0, 1, 0, 1, 1, 0, 0]]
    model.train()
    first = model.loss(x, c)["loss"].item()
    state = model.state_dict()
    second = model.loss(x, c)["loss"].item()
    assert first != second
    model.load_state_dict(state)
    assert model.loss(x, c)["loss"].item() == second
