"""The equations of dp_vae against closed forms; what its training looks at, and what it tells."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import stats

from synthome.anndata_schema import UNS, labels, provenance
from synthome.errors import NotApplicable
from synthome.models.dp_vae import DPVAE, DPVAEConfig, DPVAEGenerator
from synthome.training.private import Mechanism

CLASSES = np.array(["a"] * 60 + ["b"] * 40)
EFFECT = np.array([3.0, -3.0, 0, 0, 2, 0, 0, 0, -2, 0])


def config(batch_size=100, **options) -> DPVAEConfig:
    training = {"max_epochs": 50, "learning_rate": 0.3, "batch_size": batch_size}
    given = {"noise": "seeded", "epsilon": 200, "n_latent": 2, "training": training, **options}
    return DPVAEConfig.model_validate(given)


def cohort() -> AnnData:
    rng = np.random.default_rng(0)
    x = 5 + 0.5 * rng.normal(size=(100, 10)) + (CLASSES == "b")[:, None] * EFFECT
    obs = pd.DataFrame({"class": CLASSES}, index=[f"s{i}" for i in range(100)])
    return AnnData(x, obs=obs, uns={UNS: {"label_key": "class", "scale": "log"}})


@pytest.fixture(scope="module")
def fitted() -> DPVAEGenerator:
    return DPVAEGenerator(config()).fit(cohort())


@pytest.fixture
def network() -> DPVAE:
    """A network with axes that matter, in float64."""
    torch.manual_seed(0)
    model = DPVAE(10, 2, config()).double()
    with torch.no_grad():
        model.base.normal_()
        model.effects.normal_()
        model.loadings.mul_(30)
        model.log_sigma.fill_(-0.4)
    return model


@pytest.fixture
def rows():
    torch.manual_seed(1)
    return torch.randn(6, 10).double(), torch.eye(2).double()[[0, 1, 0, 1, 1, 0]]


def moments(model, c):
    """Mean and covariance of x given c: eq. 2 with z integrated out."""
    w, sigma = model.directions.detach().numpy(), model.sigma.item()
    mean = model.base + c @ model.effects.T
    return mean.detach().numpy(), w @ w.T + sigma**2 * np.eye(len(w)), w, sigma


def test_the_bound_is_tight_because_the_posterior_is_exact(network, rows):
    """Eq. 4 is minus the log density of the marginal normal, up to the constant of the noise."""
    x, c = rows
    mean, covariance, _, _ = moments(network, c)
    density = stats.multivariate_normal(np.zeros(10), covariance).logpdf(x.numpy() - mean)
    expected = -density.mean() - 5 * np.log(2 * np.pi)
    assert network.loss(x, c)["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_the_posterior_is_that_of_jointly_normal_variables(network, rows):
    """Conditioning in the space of genes, where eq. 3 works in that of latents."""
    x, c = rows
    mean, covariance, w, _ = moments(network, c)
    gain = w.T @ np.linalg.inv(covariance)
    loc, found = network.encode(x, c)
    np.testing.assert_allclose(loc.detach(), (x.numpy() - mean) @ gain.T, rtol=1e-8)
    np.testing.assert_allclose(found.detach(), np.eye(2) - gain @ w, rtol=1e-8, atol=1e-10)


def test_a_step_hands_on_the_clipped_gradients_and_the_noise_and_nothing_else(network, rows):
    """Against a loop over patients; at half-time W joins in. What is not clipped would leak."""
    x, c = rows
    network.mechanism = Mechanism(clip_norm=0.5, noise_multiplier=1e-9)
    parameters = list(network.parameters())
    for network.steps, left_out in ((0, True), (25, False)):
        seen = [p for n, p in network.named_parameters() if not (left_out and n == "loadings")]
        expected = [torch.zeros_like(p) for p in seen]
        for i in range(len(x)):
            network.zero_grad()
            network.loss(x[i : i + 1], c[i : i + 1])["loss"].backward()
            length = torch.stack([p.grad.square().sum() for p in seen]).sum().sqrt()
            assert length > 0.5
            for total, p in zip(expected, seen, strict=True):
                total += p.grad * 0.5 / length
        network.zero_grad()
        network.step(x, c, update=lambda _, loss: loss.backward(inputs=parameters))
        for total, p in zip(expected, seen, strict=True):
            torch.testing.assert_close(p.grad, total, rtol=1e-6, atol=1e-6)
        assert (network.loadings.grad is None) == left_out


def test_much_epsilon_teaches_what_is_planted(fitted):
    drawn = fitted.sample(4000, None, np.random.default_rng(0))
    is_b = labels(drawn) == "b"
    effect = drawn.X[is_b].mean(0) - drawn.X[~is_b].mean(0)
    real = cohort().X
    expected = real[CLASSES == "b"].mean(0) - real[CLASSES == "a"].mean(0)
    assert np.corrcoef(expected, effect)[0, 1] > 0.95
    assert drawn.X[~is_b].mean(0) == pytest.approx(real[CLASSES == "a"].mean(0), abs=0.6)


def test_little_epsilon_teaches_little(fitted):
    blind = DPVAEGenerator(config(epsilon=0.1)).fit(cohort())
    real = cohort().X.mean(0)
    seen, unseen = (
        g.sample(2000, None, np.random.default_rng(0)).X.mean(0) for g in (fitted, blind)
    )
    assert np.abs(unseen - real).mean() > 3 * np.abs(seen - real).mean()
    assert blind.privacy["noise_multiplier"] > 50 * fitted.privacy["noise_multiplier"]


def test_what_is_spent_is_told_everywhere(fitted):
    """In the history, in the provenance of what is drawn, and in the weights file."""
    spent = fitted.history["epsilon"]
    assert spent.is_monotonic_increasing
    assert 199.9 < spent.iloc[-1] <= 200
    drawn = fitted.sample(3, None, np.random.default_rng(0))
    told = json.loads(provenance(drawn)["privacy"])
    assert told == fitted.privacy == fitted.state()[1]["privacy"]
    assert told["epsilon"] == spent.iloc[-1]
    assert told["delta"] == pytest.approx(100**-1.1)
    assert "patients per class" in told["public"]


def test_values_beyond_the_bounds_count_as_the_bounds(fitted):
    """Bounds are constants: the farthest outlier looks like the nearest."""
    data, again = cohort(), []
    for beyond in (12.5, 1e6):
        data.X[4, 2] = beyond
        again.append(DPVAEGenerator(config()).fit(data).network.state_dict()["base"])
    torch.testing.assert_close(*again, rtol=0, atol=0)
    assert not torch.equal(again[0], fitted.network.state_dict()["base"])
    drawn = fitted.sample(500, None, np.random.default_rng(0), temperature=50.0)
    assert drawn.X.min() >= 0
    assert drawn.X.max() <= 12


def test_the_history_tells_nothing_of_the_patients_but_what_noise_hides(fitted):
    """Its loss is the length of the noisy gradient: at epsilon 0.1 that of the noise alone."""
    blind = DPVAEGenerator(config(epsilon=0.1)).fit(cohort())
    n_late = sum(p.numel() for p in blind.network.parameters())
    n_early = n_late - blind.network.loadings.numel()
    expected = blind.privacy["noise_multiplier"] * (n_early**0.5 + n_late**0.5) / 2
    assert blind.history["train_loss"].mean() == pytest.approx(expected, rel=0.05)
    assert {c for c in blind.history if c.startswith("train_")} == {"train_loss"}


def test_secret_noise_is_another_each_time_and_seeded_noise_the_same(fitted):
    secret = DPVAEConfig.model_validate(config().model_dump() | {"noise": "secret"})
    assert DPVAEConfig().noise == "secret"
    first, second = (DPVAEGenerator(secret).fit(cohort()).network.base for _ in range(2))
    assert not torch.equal(first, second)
    again = DPVAEGenerator(config()).fit(cohort()).network.base
    torch.testing.assert_close(again, fitted.network.base, rtol=0, atol=0)


def test_a_small_batch_is_a_poisson_sample_and_needs_less_noise(fitted):
    part = DPVAEGenerator(config(batch_size=20)).fit(cohort())
    assert part.privacy["sample_rate"] == pytest.approx(0.2)
    assert part.privacy["noise_multiplier"] < fitted.privacy["noise_multiplier"]


def test_without_opacus_it_does_not_apply(monkeypatch):
    for name in ("opacus", "opacus.accountants", "opacus.accountants.utils"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotApplicable, match=r'pip install -e "\.\[private\]"'):
        DPVAEGenerator(config()).fit(cohort())
