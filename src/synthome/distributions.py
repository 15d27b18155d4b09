"""Likelihoods of counts: negative binomial, with zero inflation, Poisson; dense and sparse.

With mean mu and inverse dispersion theta, per entry and in nats:

    log NB(x) = lgamma(x + theta) - lgamma(theta) - lgamma(x + 1)
                + theta log(theta / (theta + mu)) + x log(mu / (theta + mu))               (1)
    log ZINB(x) = log(pi [x = 0] + (1 - pi) NB(x))                                         (2)

The dense functions are these formulas. ``SoftmaxNB`` is the sum of eq. 1 over genes for mu = l rho
with rho = softmax(logits), exact and sparse: with u = mu / theta, eq. 1 at x = 0 is

    -theta log(1 + u)                                                                      (3)

and what x > 0 adds, lgamma(x + theta) - lgamma(theta) - lgamma(x + 1) + x log(u / (1 + u)), is
computed where counts are. Gradients are written out, with r = u / (1 + u):

    d / d log mu    = -theta r  + x (1 - r)                                                (4)
    d / d log theta = theta (r - log(1 + u) + psi(x + theta) - psi(theta)) - x (1 - r)     (5)

whose terms in x vanish at zero counts as well.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from synthome.csr import CSRRows

BLOCK = 2**18  # entries that are computed at a time: a block stays in the cache of a core


def nb_log_prob(
    counts: Float[Tensor, "n_obs n_vars"],
    log_mu: Float[Tensor, "n_obs n_vars"],
    log_theta: Float[Tensor, "*n_obs n_vars"],
) -> Float[Tensor, "n_obs n_vars"]:
    """Log-probability of counts under a negative binomial, computed in log space: eq. 1.

    Parameters
    ----------
    counts
        Raw counts: integers >= 0, stored as floats.
    log_mu
        Log of the expected counts, library size included.
    log_theta
        Log of the inverse dispersion, of each gene or entry: the variance is ``mu + mu² / theta``.

    Returns
    -------
    Nats per entry; their sum over ``n_vars`` is the log-likelihood of one sample.
    """
    theta = log_theta.exp()
    log_theta_plus_mu = torch.logaddexp(log_theta, log_mu)  # safe at any scale, no epsilon needed
    return (
        torch.lgamma(counts + theta)
        - torch.lgamma(theta)
        - torch.lgamma(counts + 1)
        + theta * (log_theta - log_theta_plus_mu)
        + counts * (log_mu - log_theta_plus_mu)
    )


def zinb_log_prob(
    counts: Float[Tensor, "n_obs n_vars"],
    log_mu: Float[Tensor, "n_obs n_vars"],
    log_theta: Float[Tensor, "*n_obs n_vars"],
    pi_logits: Float[Tensor, "n_obs n_vars"],
) -> Float[Tensor, "n_obs n_vars"]:
    """Log-probability under a zero-inflated negative binomial: eq. 2.

    Parameters
    ----------
    pi_logits
        Logit of pi, the probability of a zero that the negative binomial does not explain.
    """
    log_nb = nb_log_prob(counts, log_mu, log_theta)
    log_not_pi = -softplus(pi_logits)
    log_pi = -softplus(-pi_logits)
    return torch.where(
        counts > 0, log_not_pi + log_nb, torch.logaddexp(log_pi, log_not_pi + log_nb)
    )


def poisson_log_prob(
    counts: Float[Tensor, "n_obs n_vars"], log_mu: Float[Tensor, "n_obs n_vars"]
) -> Float[Tensor, "n_obs n_vars"]:
    """Log-probability under a Poisson law: the limit of eq. 1 for large theta."""
    return counts * log_mu - log_mu.exp() - torch.lgamma(counts + 1)


def softmax_poisson(
    counts: CSRRows,
    logits: Float[Tensor, "n_obs n_vars"],
    library_size: Float[Tensor, " n_obs"],
) -> Float[Tensor, " n_obs"]:
    """Log-likelihood of each row for mu = l softmax(logits), in nats.

    The expected counts of a row add up to l, whatever the logits.
    """
    rows = counts.rows()
    log_mu = logits.log_softmax(dim=-1)[rows, counts.indices] + library_size.log()[rows]
    terms = counts.values * log_mu - torch.lgamma(counts.values + 1)
    return torch.zeros_like(library_size).index_add(0, rows, terms) - library_size


def softmax_nb(
    counts: CSRRows,
    logits: Float[Tensor, "n_obs n_vars"],
    library_size: Float[Tensor, " n_obs"],
    log_theta: Float[Tensor, "*n_obs n_vars"],
) -> Float[Tensor, ""]:
    """Mean log-likelihood of a row for mu = l softmax(logits), in nats: eqs. 3-5.

    Parameters
    ----------
    library_size
        l, the sum of the expected counts of each row.
    log_theta
        Log of the inverse dispersion, of each gene, or of each gene in each row.
    """
    mean: Tensor = _SoftmaxNB.apply(logits, log_theta, counts, library_size)
    return mean


@torch.no_grad()
def softmax_nb_rows(
    counts: CSRRows,
    logits: Float[Tensor, "n_obs n_vars"],
    library_size: Float[Tensor, " n_obs"],
    log_theta: Float[Tensor, "*n_obs n_vars"],
) -> Float[Tensor, " n_obs"]:
    """``softmax_nb`` of each row by itself, without gradients."""
    return _sparse_nb(logits, log_theta, counts, library_size, with_gradient=False)[0]


class _SoftmaxNB(torch.autograd.Function):
    """The gradient is made on the way forward, where everything it needs is in the cache."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, logits: Tensor, log_theta: Tensor, counts: CSRRows, library_size: Tensor
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        each, of_logits, of_theta = _sparse_nb(logits, log_theta, counts, library_size, wanted)
        ctx.save_for_backward(of_logits, of_theta)
        return each.mean()

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        of_logits, of_theta = ctx.saved_tensors
        scale = gradient / len(of_logits)
        return of_logits.mul_(scale), of_theta * scale, None, None


def _sparse_nb(
    logits: Tensor, log_theta: Tensor, counts: CSRRows, library_size: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihood of each row, and the gradients of their sum in logits and log theta."""
    n_obs, n_vars = logits.shape
    theta, library_size = log_theta.float().exp(), library_size.float()
    per_row = theta.ndim == 2
    each = torch.empty(n_obs, device=logits.device)
    of_logits = torch.empty_like(logits, dtype=torch.float32) if with_gradient else each
    of_theta = torch.zeros_like(theta)
    u_at = torch.empty_like(counts.values)  # u, at the counts
    place = counts.rows() * n_vars + counts.indices
    step = n_obs if logits.device.type != "cpu" else max(1, BLOCK // n_vars)
    ends = counts.indptr.tolist()
    for a in range(0, n_obs, step):
        b = min(a + step, n_obs)
        block_theta = theta[a:b] if per_row else theta
        stored = slice(ends[a], ends[b])
        inside = place[stored] - a * n_vars
        rho = logits[a:b].float().softmax(dim=-1)
        u = (rho * library_size[a:b, None]).div_(block_theta)
        u_at[stored] = u.view(-1)[inside]
        log_1p = u.log1p()
        each[a:b] = -(log_1p * block_theta).sum(dim=-1) if per_row else -(log_1p @ block_theta)
        if not with_gradient:
            continue
        r = u.div_(u + 1.0)
        own = of_theta[a:b] if per_row else of_theta
        if per_row:
            own += (r - log_1p) * block_theta
        else:
            own += (r - log_1p).sum(dim=0) * block_theta
        g = r.mul_(block_theta).neg_()  # eq. 4 at zero
        x = counts.values[stored]
        g.view(-1)[inside] += x / (1.0 + u_at[stored])  # eq. 4, x (1 - r)
        # through the softmax: g - rho sum(g)
        of_logits[a:b] = torch.addcmul(g, rho, g.sum(dim=-1, keepdim=True), value=-1.0)
    theta_at = theta.view(-1)[place if per_row else counts.indices]
    x = counts.values
    added = (
        torch.lgamma(x + theta_at)
        - torch.lgamma(theta_at)
        - torch.lgamma(x + 1.0)
        + x * (u_at / (1.0 + u_at)).log()
    )
    each.index_add_(0, counts.rows(), added)
    if with_gradient:
        more = theta_at * (torch.digamma(x + theta_at) - torch.digamma(theta_at))
        more -= x / (1.0 + u_at)
        of_theta.view(-1).index_add_(0, place if per_row else counts.indices, more)
    return each, of_logits, of_theta
