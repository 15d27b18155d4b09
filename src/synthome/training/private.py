"""Differentially private steps: clipped gradients of single samples, noise, and what it adds up to.

Every patient's gradient g_i is cut to a length of at most C, the sum gets Gaussian noise, and only
that is used to move the parameters:

    g = sum_i g_i min(1, C / |g_i|) + s C e,   e ~ Normal(0, I)                                (1)

With a Poisson sample of rate q of the patients in each of T steps, the result is (epsilon, delta)-
differentially private, with epsilon by the moments (Renyi) accountant of Opacus. Two cohorts are
neighbours when one patient's gradient is left out; the number of patients is public.

Abadi et al. (2016), doi:10.1145/2976749.2978318, algorithm 1. Mironov (2017),
doi:10.1109/CSF.2017.11. Kairouz et al. (2021), arXiv:2103.00039 (neighbours by leaving out).
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synthome.errors import NotApplicable

Gradients = dict[str, Tensor]
CHUNK = 64  # samples whose gradients are held at a time


@dataclass(frozen=True)
class Mechanism:
    """Eq. 1, and how often it is applied.

    Attributes
    ----------
    clip_norm
        C.
    noise_multiplier
        s, in units of C.
    sample_rate
        q: the chance of a patient to take part in a step.
    """

    clip_norm: float
    noise_multiplier: float
    sample_rate: float = 1.0

    @classmethod
    def calibrated(
        cls, epsilon: float, delta: float, steps: int, clip_norm: float, sample_rate: float = 1.0
    ) -> "Mechanism":
        """The least noise with which ``steps`` steps stay within ``epsilon`` (to 0.01).

        Raises
        ------
        NotApplicable
            If Opacus is not installed.
        """
        with _opacus():
            from opacus.accountants.utils import get_noise_multiplier

            noise = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant="rdp",
            )
        return cls(clip_norm, float(noise), sample_rate)

    def epsilons(self, steps: Iterable[int], delta: float) -> list[float]:
        """What each of these numbers of steps has cost."""
        with _opacus():
            from opacus.accountants import RDPAccountant
            from opacus.accountants.analysis import rdp

            orders = RDPAccountant.DEFAULT_ALPHAS
            of_one = rdp.compute_rdp(
                q=self.sample_rate, noise_multiplier=self.noise_multiplier, steps=1, orders=orders
            )  # of many steps: as many times that
            return [
                float(rdp.get_privacy_spent(orders=orders, rdp=n * of_one, delta=delta)[0])
                for n in steps
            ]

    def release(self, summed: Gradients, source: torch.Generator) -> Gradients:
        """The clipped sum with its noise, eq. 1."""
        std = self.noise_multiplier * self.clip_norm
        return {
            name: value + std * torch.randn(value.shape, generator=source).to(value)
            for name, value in summed.items()
        }


@torch.no_grad()  # nor may a later derivative reach the patients through this one
def clipped_sum(
    loss_of_one: Callable[..., Float[Tensor, ""]],
    parameters: Mapping[str, Tensor],
    rows: tuple[Tensor, ...],
    clip_norm: float,
) -> Gradients:
    """Sum over samples of their gradients, each cut to ``clip_norm`` over all parameters together.

    Parameters
    ----------
    loss_of_one
        ``loss_of_one(parameters, *row)`` is the loss of one sample: a row of each of ``rows``.
    """
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    gradient = torch.func.vmap(torch.func.grad(loss_of_one), in_dims=(None, *(0 for _ in rows)))
    for chunk in zip(*(tensor.split(CHUNK) for tensor in rows), strict=True):
        if len(chunk[0]) == 0:
            continue  # nobody was sampled
        of_each: Gradients = gradient(dict(parameters), *chunk)
        weights = clip_weights(of_each, clip_norm)
        for name, value in of_each.items():
            total[name] += torch.tensordot(weights, value, dims=1)
    return total


def clip_weights(of_each: Gradients, clip_norm: float) -> Float[Tensor, " n_obs"]:
    """min(1, C / |g_i|) for each sample, whose gradients are the rows of ``of_each``."""
    squares = [value.reshape(len(value), -1).square().sum(dim=1) for value in of_each.values()]
    length = torch.stack(squares).sum(dim=0).sqrt()
    return clip_norm / length.clamp_min(clip_norm)


def surrogate(network: nn.Module, gradient: Gradients) -> Float[Tensor, ""]:
    """A scalar whose gradient with respect to those parameters of ``network`` is ``gradient``."""
    parameters = dict(network.named_parameters())
    parts = [(parameters[name] * value).sum() for name, value in gradient.items()]
    return torch.stack(parts).sum()


class _opacus:  # noqa: N801 - reads as a block
    """Turns the lack of Opacus into a message, and keeps its advice on orders to itself."""

    def __enter__(self) -> None:
        self.quiet = warnings.catch_warnings()
        self.quiet.__enter__()
        warnings.simplefilter("ignore")  # of the order that is best: the bound holds at any

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.quiet.__exit__(kind, error, traceback)
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("opacus"):
            raise NotApplicable(
                "Differentially private training needs Opacus, which keeps account of epsilon: "
                'pip install -e ".[private]"'
            ) from error
