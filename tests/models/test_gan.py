"""The vanilla GAN against its published code and its own equations."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from torch import nn

from synthome.anndata_schema import UNS
from synthome.models.gan import GAN, GANConfig, GANGenerator

SMALL = GANConfig.model_validate(
    {
        "n_hidden": (16, 32),
        "n_latent": 4,
        "training": {"max_epochs": 200, "learning_rate": 1e-3, "threads": 1},
    }
)


def untrained() -> GANConfig:
    training = SMALL.training.model_copy(update={"max_epochs": 1, "learning_rate": 1e-9})
    return SMALL.model_copy(update={"training": training})


def cohort(n_obs=40, n_vars=12) -> AnnData:
    rng = np.random.default_rng(0)
    classes = np.where(np.arange(n_obs) % 2, "a", "b")
    x = 5 + rng.exponential(size=(n_obs, n_vars)) * np.where(np.arange(n_vars) % 3, 1, -1)
    obs = pd.DataFrame({"class": classes}, index=[f"s{i}" for i in range(n_obs)])
    return AnnData(x, obs=obs, uns={UNS: {"label_key": "class", "scale": "log"}})


def test_layers_and_recipe_are_the_published_ones():
    """64 -> 256 -> 512 -> p and back to 1; Adam 2e-4 (0.5, 0.999), 3,000 epochs of 32."""
    model = GAN(1000, GANConfig())
    sizes = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(64, 256), (256, 512), (512, 1000), (1000, 512), (512, 256), (256, 1)]
    assert [type(m) for m in model.generator][1::2] == [nn.ReLU, nn.ReLU, nn.Sigmoid]
    leaky = [m.negative_slope for m in model.discriminator if isinstance(m, nn.LeakyReLU)]
    assert leaky == [0.2, 0.2]
    assert model.betas == (0.5, 0.999)
    training = GANConfig().training
    assert (training.learning_rate, training.max_epochs, training.batch_size) == (2e-4, 3000, 32)


def test_losses_are_binary_cross_entropies():
    """As the published code writes them, with PyTorch's BCELoss on probabilities (eqs. 3, 4)."""
    torch.manual_seed(0)
    model, x = GAN(12, SMALL), torch.rand(9, 12)
    with torch.no_grad():
        torch.manual_seed(1)
        terms = model.loss(x)
        torch.manual_seed(1)
        fake, again = (model.generator(torch.randn(9, 4)) for _ in range(2))
        d_real, d_fake, d_again = (model.discriminator(v).sigmoid() for v in (x, fake, again))
    bce, one = nn.BCELoss(), torch.ones(9, 1)
    discriminator = bce(d_real, one) + bce(d_fake, 0 * one)
    torch.testing.assert_close(terms["discriminator"], discriminator, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(terms["generator"], bce(d_again, one), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(terms["loss"], terms["discriminator"] + terms["generator"])


def test_the_discriminator_steps_before_the_generator_and_learns_nothing_for_it():
    """Its loss reaches no weight of the generator; the generator sees the discriminator after."""
    model, order = GAN(12, SMALL), []

    def update(player, loss):
        order.append(player)
        loss.backward()
        if player is model.discriminator:
            assert all(p.grad is None for p in model.generator.parameters())
        else:
            assert all(p.grad is not None for p in model.generator.parameters())

    model.step(torch.rand(9, 12), update=update)
    assert order == [model.discriminator, model.generator]


def test_training_moves_the_draws_onto_the_data():
    """Genes are skewed to either side: a fresh network draws the middle of each range."""
    data = cohort()
    fitted, fresh = GANGenerator(SMALL).fit(data), GANGenerator(untrained()).fit(data)
    real = fitted.scaler.transform(data.X).mean(0)
    after, before = (
        fitted.scaler.transform(g.sample(1000, None, np.random.default_rng(0)).X).mean(0)
        for g in (fitted, fresh)
    )
    assert np.corrcoef(real, after)[0, 1] > 0.6
    assert np.abs(after - real).mean() < 0.6 * np.abs(before - real).mean()
    assert after.min() >= 0
    assert after.max() <= 1
    assert {"train_loss", "train_discriminator", "train_generator"} <= set(fitted.history.columns)


def test_the_temperature_of_the_configuration_is_the_default():
    data, rngs = cohort(), [np.random.default_rng(0) for _ in range(3)]
    fitted = GANGenerator(untrained()).fit(data)
    plain, one, hot = (
        fitted.sample(20, None, rng, temperature=T).X
        for rng, T in zip(rngs, (None, 1.0, 3.0), strict=True)
    )
    np.testing.assert_array_equal(plain, one)
    assert not np.allclose(plain, hot)


def test_a_class_it_does_not_draw_is_an_error_with_its_name():
    """Collapse is told, instead of handing out rows with a label that they do not have."""
    data = cohort()
    fitted = GANGenerator(untrained()).fit(data)
    fitted.classes.means[fitted.classes.names == "a"] += 1000
    with pytest.raises(ValueError, match="The vanilla GAN.*near class a"):
        fitted.sample(5, ["a"] * 5, np.random.default_rng(0))
