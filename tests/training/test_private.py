"""Clipping, noise and its account, against loops and against Opacus called directly."""

import sys

import pytest
import torch
from opacus.accountants import RDPAccountant
from torch import nn

from synthome.errors import NotApplicable
from synthome.training.private import (
    CHUNK,
    Mechanism,
    clip_weights,
    clipped_sum,
    surrogate,
)

DELTA = 34**-1.1


torch.manual_seed(0)
MODEL = nn.Linear(5, 3)


def rows(n_obs=CHUNK + 7):
    return torch.randn(n_obs, 5) * torch.logspace(-3, 1, n_obs)[:, None], torch.randn(n_obs, 3)


def loss_of_one(parameters, x, y):
    return (torch.func.functional_call(MODEL, parameters, (x,)) - y * x.sum()).square().sum()


def of_each(model, x, y):
    """Gradients of single rows by a loop, flattened."""
    found = []
    for one, target in zip(x, y, strict=True):
        model.zero_grad()
        loss_of_one(dict(model.named_parameters()), one, target).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    return torch.stack(found)


def test_the_sum_is_that_of_a_loop_that_cuts_each_gradient():
    """Over more rows than are held at a time."""
    model, (x, y) = MODEL, rows()
    long = of_each(model, x, y)
    length = long.norm(dim=1)
    assert (length > 0.5).any()
    assert (length < 0.5).any()
    cut = torch.where(length[:, None] > 0.5, 0.5 * long / length[:, None], long)
    found = clipped_sum(loss_of_one, dict(model.named_parameters()), (x, y), 0.5)
    torch.testing.assert_close(torch.cat([v.flatten() for v in found.values()]), cut.sum(dim=0))


def test_no_patient_moves_the_sum_by_more_than_the_bound():
    """However far out: what the noise is measured by."""
    model, (x, y) = MODEL, rows(12)
    x[3] *= 1e6
    parameters = dict(model.named_parameters())
    whole = clipped_sum(loss_of_one, parameters, (x, y), 2.0)
    for left_out in range(12):
        kept = torch.arange(12) != left_out
        others = clipped_sum(loss_of_one, parameters, (x[kept], y[kept]), 2.0)
        moved = torch.cat([(whole[k] - others[k]).flatten() for k in whole]).norm()
        assert moved <= 2.0 + 1e-5


def test_clip_weights_leave_short_gradients_alone():
    gradients = {"a": torch.tensor([[3.0], [0.3], [0.0]]), "b": torch.tensor([4.0, 0.4, 0.0])}
    torch.testing.assert_close(clip_weights(gradients, 1.0), torch.tensor([0.2, 1.0, 1.0]))


def test_nobody_sampled_is_a_sum_of_zeros():
    model, (x, y) = MODEL, rows(3)
    found = clipped_sum(loss_of_one, dict(model.named_parameters()), (x[:0], y[:0]), 1.0)
    assert all((value == 0).all() for value in found.values())
    assert not any(value.requires_grad for value in found.values())
    assert {k: v.shape for k, v in found.items()} == {
        k: v.shape for k, v in model.named_parameters()
    }


def test_noise_has_the_width_that_is_accounted_for():
    mechanism = Mechanism(clip_norm=0.5, noise_multiplier=6.0)
    source = torch.Generator().manual_seed(0)
    drawn = mechanism.release({"a": torch.full((200_000,), 7.0)}, source)["a"]
    assert drawn.mean().item() == pytest.approx(7.0, abs=0.03)
    assert drawn.std().item() == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_epsilon_is_that_of_opacus_called_step_by_step(rate):
    mechanism = Mechanism(clip_norm=1.0, noise_multiplier=4.0, sample_rate=rate)
    accountant, expected = RDPAccountant(), []
    for _ in range(50):
        accountant.step(noise_multiplier=4.0, sample_rate=rate)
        expected.append(accountant.get_epsilon(DELTA))
    found = mechanism.epsilons(range(1, 51), DELTA)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("epsilon", [1.0, 10.0, 100.0])
def test_the_calibrated_noise_spends_what_it_may_and_no_more(epsilon):
    mechanism = Mechanism.calibrated(epsilon, DELTA, steps=150, clip_norm=1.0)
    assert epsilon - 0.02 < mechanism.epsilons([150], DELTA)[0] <= epsilon


def test_more_privacy_more_steps_and_whole_samples_take_more_noise():
    def noise(epsilon=10.0, steps=150, rate=1.0):
        return Mechanism.calibrated(epsilon, DELTA, steps, 1.0, rate).noise_multiplier

    assert noise(1.0) > 3 * noise(10.0) > 9 * noise(100.0)
    assert noise(steps=600) == pytest.approx(2 * noise(), rel=0.02)
    assert noise(rate=0.5) < noise()


def test_the_surrogate_has_the_gradient_that_it_is_given():
    model = nn.Linear(5, 3)
    wanted = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    surrogate(model, wanted).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name])


def test_without_opacus_the_message_says_what_to_install(monkeypatch):
    for name in ("opacus", "opacus.accountants", "opacus.accountants.utils"):  # loaded or not
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotApplicable, match=r'pip install -e "\.\[private\]"'):
        Mechanism.calibrated(1.0, DELTA, 10, 1.0)
    with pytest.raises(NotApplicable, match=r'pip install -e "\.\[private\]"'):
        Mechanism(1.0, 1.0).epsilons([10], DELTA)
