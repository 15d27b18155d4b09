"""The equations of wgan_gp against closed forms and planted truth."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from torch import nn

from synthome.anndata_schema import UNS, labels
from synthome.models.wgan_gp import WGANGP, WGANGPConfig, WGANGPGenerator

SMALL = WGANGPConfig.model_validate(
    {
        "n_hidden": 32,
        "n_latent": 4,
        "training": {"max_epochs": 150, "learning_rate": 2e-3, "threads": 1},
    }
)
CLASSES = np.array(["a"] * 30 + ["b"] * 20)
EFFECT = np.array([3.0, -3.0, 0, 0, 2, 0, 0, 0, -2, 0])


def cohort() -> AnnData:
    rng = np.random.default_rng(0)
    x = 5 + rng.normal(size=(50, 10)) + (CLASSES == "b")[:, None] * EFFECT
    obs = pd.DataFrame({"class": CLASSES}, index=[f"s{i}" for i in range(50)])
    return AnnData(x, obs=obs, uns={UNS: {"label_key": "class", "scale": "log"}})


@pytest.fixture(scope="module")
def fitted() -> WGANGPGenerator:
    return WGANGPGenerator(SMALL).fit(cohort())


def network() -> WGANGP:
    torch.manual_seed(0)
    return WGANGP(10, 2, SMALL)


def test_the_penalty_of_a_linear_critic_is_known():
    """Its gradient is its weight w everywhere: (|w| - 1)²."""
    model, w = network(), torch.arange(10.0)

    class Linear(nn.Module):
        def forward(self, x, c):
            return (x @ w)[:, None] + 7 * c[:, :1]

    model.critic = Linear()
    penalty = model.gradient_penalty(torch.randn(6, 10), torch.eye(2)[[0, 1, 0, 1, 1, 0]])
    assert penalty.item() == pytest.approx((w.norm().item() - 1) ** 2, rel=1e-6)


def test_the_penalty_is_the_slope_that_differences_measure():
    """Of a real critic, against central differences in float64."""
    model = network().double()
    v, c = torch.randn(5, 10).double(), torch.eye(2).double()[[0, 1, 0, 1, 1]]
    step = 1e-6 * torch.eye(10).double()
    with torch.no_grad():
        slope = torch.cat(
            [(model.critic(v + h, c) - model.critic(v - h, c)) / 2e-6 for h in step], dim=1
        )
    expected = ((slope.norm(dim=1) - 1) ** 2).mean().item()
    assert model.gradient_penalty(v, c).item() == pytest.approx(expected, rel=1e-6)


def test_losses_are_those_of_the_paper():
    """Written out with the same random numbers (eqs. 2-4)."""
    model, x, c = network(), torch.randn(6, 10), torch.eye(2)[[0, 1, 0, 1, 1, 0]]
    torch.manual_seed(1)
    terms = model.loss(x, c)
    torch.manual_seed(1)
    with torch.no_grad():
        fake = model.decode(torch.randn(6, 4), c)
        u = torch.rand(6, 1)
        distance = (model.critic(x, c) - model.critic(fake, c)).mean()
        again = model.decode(torch.randn(6, 4), c)
    penalty = model.gradient_penalty(u * x + (1 - u) * fake, c)
    torch.testing.assert_close(terms["wasserstein"], distance)
    torch.testing.assert_close(terms["critic"], 10 * penalty - distance)
    torch.testing.assert_close(terms["generator"], -model.critic(again, c).mean())


def test_the_critic_takes_five_steps_for_one_of_the_generator():
    """None of the critic's reaches the generator."""
    model, order = network(), []

    def update(player, loss):
        order.append(player)
        loss.backward()
        reached = any(p.grad is not None for p in model.generator.parameters())
        assert reached == (player is model.generator)

    model.step(torch.randn(6, 10), torch.eye(2)[[0, 1, 0, 1, 1, 0]], update=update)
    assert order == [model.critic] * 5 + [model.generator]
    assert model.betas == (0.0, 0.9)


def test_the_class_effect_is_drawn(fitted):
    """Labels enter both networks: planted fold changes come back."""
    drawn = fitted.sample(4000, None, np.random.default_rng(0))
    is_b = labels(drawn) == "b"
    effect = drawn.X[is_b].mean(0) - drawn.X[~is_b].mean(0)
    real = cohort().X
    expected = real[CLASSES == "b"].mean(0) - real[CLASSES == "a"].mean(0)
    assert np.polyfit(expected, effect, 1)[0] == pytest.approx(1, abs=0.15)
    assert np.corrcoef(expected, effect)[0, 1] > 0.97


def test_the_spread_within_a_class_does_not_collapse(fitted):
    """What the vanilla GAN is known for, and this loss was made against."""
    drawn, real = fitted.sample(4000, ["a"] * 4000, np.random.default_rng(0)), cohort()
    ratio = drawn.X.std(0) / real.X[CLASSES == "a"].std(0)
    assert 0.6 < np.median(ratio) < 1.3


def test_the_critic_loses_its_hold(fitted):
    """The estimated distance rises while the critic learns, and falls as the generator does."""
    distance = fitted.history["train_wasserstein"]
    assert distance.iloc[-20:].mean() < 0.7 * distance.max()
