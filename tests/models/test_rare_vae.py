"""The equations of rare_vae against closed forms and planted truth."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import stats
from sklearn.decomposition import PCA

from synthome.anndata_schema import UNS, labels
from synthome.errors import InputError
from synthome.models.rare_vae import RareVAE, RareVAEConfig, RareVAEGenerator, latent_budget

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


def test_loss_is_the_negative_elbo():
    """Against SciPy: Gaussian log density, and the closed KL of two normals (eqs. 2 and 4)."""
    model, x = network(), torch.randn(7, 5)
    c = torch.eye(2)[[0, 1, 0, 1, 1, 0, 0]]
    with torch.no_grad():
        model.log_sigma.copy_(torch.linspace(-0.5, 0.5, 5))
        torch.manual_seed(3)
        terms = model.loss(x, c)
        torch.manual_seed(3)
        qz = model.encode(x, c)
        mean = model.decode(qz.rsample(), c)
    log_density = stats.norm.logpdf(x, mean, model.log_sigma.exp().detach()).sum(axis=1).mean()
    constant = 2.5 * np.log(2 * np.pi)
    kl = 0.5 * (qz.loc**2 + qz.scale**2 - 1 - 2 * qz.scale.log()).sum(dim=1).mean()
    assert terms["reconstruction"].item() == pytest.approx(-log_density - constant, rel=1e-5)
    assert terms["kl"].item() == pytest.approx(kl.item(), rel=1e-5)
    assert terms["loss"].item() == pytest.approx(-log_density - constant + kl.item(), rel=1e-5)


def test_start_spans_the_principal_axes():
    """W starts on the leading axes of what the class means leave, as scikit-learn finds them."""
    data = cohort()
    x = torch.from_numpy((data.X - data.X.mean(0)).astype(np.float32))
    c = torch.from_numpy((CLASSES[:, None] == np.array(["a", "b"])).astype(np.float32))
    model = network(N_VARS)
    model.start(x, c)
    residual = (
        x.numpy()
        - np.stack([x.numpy()[CLASSES == k].mean(0) for k in ("a", "b")])[
            (CLASSES == "b").astype(int)
        ]
    )
    axes = PCA(2).fit(residual).components_
    basis = np.linalg.qr(model.loadings.weight.detach().numpy())[0]
    overlap = np.linalg.svd(axes @ basis)[1]
    np.testing.assert_allclose(overlap, 1.0, atol=1e-3)


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
    """The published model ignores its label: fold-change slope 0.03-0.30. This one must not."""
    data = cohort()
    drawn = fitted.sample(6000, None, np.random.default_rng(0))
    real = data.X[CLASSES == "b"].mean(0) - data.X[CLASSES == "a"].mean(0)
    is_b = labels(drawn) == "b"
    synthetic = drawn.X[is_b].mean(0) - drawn.X[~is_b].mean(0)
    assert np.polyfit(real, synthetic, 1)[0] == pytest.approx(1.0, abs=0.05)


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


@pytest.mark.parametrize(("n_obs", "expected"), [(8, 1), (34, 2), (77, 4), (675, 10)])
def test_latent_budget_grows_with_the_cohort(n_obs, expected):
    assert latent_budget(n_obs) == expected
