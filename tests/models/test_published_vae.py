"""The published network, as published."""

import numpy as np
import pytest
import torch
from torch import nn

from synthome.models.published_vae import PublishedVAE, PublishedVAEConfig


def test_layers_are_the_published_ones():
    """p -> 512 -> 256 -> 64 -> 256 -> 512 -> p with BatchNorm and ReLU."""
    model = PublishedVAE(1000, PublishedVAEConfig())
    linear = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear == [(1000, 512), (512, 256), (256, 128), (64, 256), (256, 512), (512, 1000)]
    norms = [m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    assert norms == [512, 256, 256, 512]
    assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == 4


def test_training_is_the_published_recipe():
    training = PublishedVAEConfig().training
    assert training.learning_rate == 1e-4
    assert training.batch_size == 32
    assert (training.max_epochs, training.patience) == (1000, 50)
    assert training.validation_fraction == 0.2
    assert (training.schedule, training.plateau_factor, training.plateau_patience) == (
        "plateau",
        0.5,
        30,
    )


def test_loss_is_the_published_one():
    """Summed squared error plus 0.005 times the closed KL, written out in NumPy (eq. 3)."""
    torch.manual_seed(0)
    model = PublishedVAE(30, PublishedVAEConfig()).eval()
    x = torch.rand(9, 30)
    with torch.no_grad():
        torch.manual_seed(1)
        loss = model.loss(x)["loss"].item()
        torch.manual_seed(1)
        qz = model.encode(x)
        error = ((x - model.decode(qz.rsample())).numpy() ** 2).sum(axis=1)
    mu, sd = qz.loc.numpy(), qz.scale.numpy()
    kl = -0.5 * (1 + 2 * np.log(sd) - mu**2 - sd**2).sum(axis=1)
    assert loss == pytest.approx((error + 0.005 * kl).mean(), rel=1e-5)


def test_no_value_leaves_the_observed_range():
    """The flaw that the sigmoid on min-max data builds in; ours must not have it."""
    torch.manual_seed(0)
    model = PublishedVAE(30, PublishedVAEConfig()).eval()
    with torch.no_grad():
        drawn = model.decode(100 * torch.randn(50, 64))
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_changed_setting_keeps_the_others_as_published():
    training = PublishedVAEConfig.model_validate({"training": {"max_epochs": 3}}).training
    assert training.max_epochs == 3
    assert training.learning_rate == 1e-4
    assert training.patience == 50
