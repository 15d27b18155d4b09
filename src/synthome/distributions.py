"""Likelihoods of counts: negative binomial, with zero inflation, Poisson; dense and sparse.

With mean mu and inverse dispersion theta, per entry and in nats:

    log NB(x) = lgamma(x + theta) - lgamma(theta) - lgamma(x + 1)
                + theta log(theta / (theta + mu)) + x log(mu / (theta + mu))               (1)
    log ZINB(x) = log(pi [x = 0] + (1 - pi) NB(x))                                         (2)

The dense functions are these formulas. ``softmax_nb`` is their sum over genes for mu = l rho with
rho = softmax(logits), exact and sparse: with u = mu / theta, eq. 1 at x = 0 is

    log NB(0) = -theta log(1 + u)                                                          (3)

and what x > 0 adds, lgamma(x + theta) - lgamma(theta) - lgamma(x + 1) + x log(u / (1 + u)), is
computed where counts are. Gradients are written out, with r = u / (1 + u):

    d log NB / d log mu    = -theta r + x (1 - r)                                          (4)
    d log NB / d log theta = theta (r - log(1 + u) + psi(x + theta) - psi(theta)) - x (1 - r)  (5)

whose terms in x vanish at zero counts as well. For whole x, the gamma functions are sums:

    log [Gamma(x + theta) / Gamma(theta) x! theta^x] = sum_{k < x} log (1 + k / theta) / (k + 1) (8)
    psi(x + theta) - psi(theta) = sum_{k < x} 1 / (theta + k)                              (9)

With zero inflation and p = logit(pi),

    log ZINB(0) = log(exp(p) + NB(0)) - log(1 + exp(p))                                    (6)
    d log ZINB(0) / d p = 1 - s - pi,   s = sigmoid(log NB(0) - p)                         (7)

and s multiplies eqs. 4 and 5 at zero counts; elsewhere, d log ZINB(x) / d p = -pi.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from synthome.csr import CSRRows

BLOCK = 2**18  # entries that are computed at a time: a block stays in the cache of a core
STIRLING_FROM = 8  # with this and larger counts, two terms of the series leave an error below 1e-7


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


def nb_row_log_prob(
    counts: CSRRows,
    log_mu: Float[Tensor, "n_obs n_vars"],
    log_theta: Float[Tensor, " n_vars"],
) -> Float[Tensor, " n_obs"]:
    """``nb_log_prob`` summed over genes; gamma functions are computed where there are counts.

    With the log odds d = log_mu - log_theta, an entry is x d - (x + theta) log(1 + exp(d)), and the
    gamma functions of eq. 1, which are 0 where x is.
    """
    x, theta, odds = counts.dense(), log_theta.exp(), log_mu - log_theta
    entries = x * odds - (x + theta) * torch.nn.functional.softplus(odds)
    gammas = torch.lgamma(counts.values + theta[counts.indices])
    gammas = gammas - torch.lgamma(theta)[counts.indices] - torch.lgamma(counts.values + 1)
    return entries.sum(dim=1).index_add(0, counts.rows, gammas)


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
    rows = counts.rows
    log_mu = logits.log_softmax(dim=-1)[rows, counts.indices] + library_size.log()[rows]
    terms = counts.values * log_mu - torch.lgamma(counts.values + 1)
    return torch.zeros_like(library_size).index_add(0, rows, terms) - library_size


def softmax_nb(
    counts: CSRRows,
    logits: Float[Tensor, "n_obs n_vars"],
    library_size: Float[Tensor, " n_obs"],
    log_theta: Float[Tensor, "*n_obs n_vars"],
    pi_logits: Float[Tensor, "n_obs n_vars"] | None = None,
) -> Float[Tensor, ""]:
    """Mean log-likelihood of a row for mu = l softmax(logits), in nats: eqs. 3-7.

    Parameters
    ----------
    library_size
        l, the sum of the expected counts of each row.
    log_theta
        Log of the inverse dispersion, of each gene, or of each gene in each row.
    pi_logits
        Logit of pi in eq. 2; None for a plain negative binomial.
    """
    mean: Tensor = _SoftmaxNB.apply(logits, log_theta, pi_logits, counts, library_size)
    return mean


@torch.no_grad()
def softmax_nb_rows(
    counts: CSRRows,
    logits: Float[Tensor, "n_obs n_vars"],
    library_size: Float[Tensor, " n_obs"],
    log_theta: Float[Tensor, "*n_obs n_vars"],
    pi_logits: Float[Tensor, "n_obs n_vars"] | None = None,
) -> Float[Tensor, " n_obs"]:
    """``softmax_nb`` of each row by itself, without gradients."""
    zeros, added, *_ = _sparse_nb(logits, log_theta, pi_logits, counts, library_size, False)
    return zeros.index_add_(0, counts.rows, added)


class _SoftmaxNB(torch.autograd.Function):
    """The gradient is made on the way forward, where everything it needs is in the cache."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        log_theta: Tensor,
        pi_logits: Tensor | None,
        counts: CSRRows,
        library_size: Tensor,
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        zeros, added, *gradients = _sparse_nb(
            logits, log_theta, pi_logits, counts, library_size, wanted
        )
        ctx.save_for_backward(*gradients)
        return (zeros.sum() + added.sum()) / len(zeros)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if own is None else own.mul_(gradient) for own in ctx.saved_tensors]
        return *scaled, None, None


def _sparse_nb(
    logits: Tensor,
    log_theta: Tensor,
    pi_logits: Tensor | None,
    counts: CSRRows,
    library_size: Tensor,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Log-likelihood of each row were it all zeros, and what each of its counts adds to that.

    With ``gradient``, also the gradients of their mean over rows in logits, log theta, logit pi.
    """
    n_obs, n_vars = logits.shape
    theta, library_size = log_theta.float().exp(), library_size.float()
    per_row = theta.ndim == 2
    each = torch.empty(n_obs, device=logits.device)
    of_logits = torch.empty_like(logits, dtype=torch.float32) if gradient else None
    of_theta = torch.zeros_like(theta) if gradient else None
    of_pi = (
        torch.empty_like(logits, dtype=torch.float32)
        if gradient and pi_logits is not None
        else None
    )
    x, rows = counts.values, counts.rows
    place = rows * n_vars + counts.indices
    ends = counts.indptr.tolist()
    step = max(1, BLOCK // n_vars) if logits.device.type == "cpu" else n_obs
    u_at, log_mu, rest, not_zero = (torch.empty_like(x) for _ in range(4))  # where counts are
    inverse_theta, share_of_theta = theta.reciprocal(), theta / -n_obs
    for a in range(0, n_obs, step):
        b = min(a + step, n_obs)
        stored = slice(ends[a], ends[b])
        inside = place[stored] - a * n_vars
        own = slice(a, b) if per_row else slice(None)
        of_block = logits[a:b].float()
        rho = of_block.softmax(dim=-1)
        # Of the softmax, in log space, because rho may underflow:
        norm = of_block.amax(dim=-1) - rho.amax(dim=-1).log()
        torch.index_select(of_block.reshape(-1), 0, inside, out=log_mu[stored])
        log_mu[stored] += (library_size[a:b].log() - norm).index_select(0, rows[stored] - a)
        u = (rho * library_size[a:b, None]).mul_(inverse_theta[own])
        torch.index_select(u.view(-1), 0, inside, out=u_at[stored])
        log_1p = u.log1p()
        r = u.div_(u + 1.0)
        if pi_logits is None:
            each[a:b] = -((log_1p * theta[own]).sum(dim=-1) if per_row else log_1p @ theta)  # eq. 3
        else:
            p, log_nb0 = pi_logits[a:b].float(), (log_1p * theta[own]).neg_()
            zero = torch.logaddexp(p, log_nb0)  # eq. 6, but for the term that all entries share
            each[a:b] = (zero - softplus(p)).sum(dim=-1)
            torch.index_select((log_nb0 - zero).view(-1), 0, inside, out=not_zero[stored])
        if of_logits is None or of_theta is None:
            continue
        if pi_logits is not None and of_pi is not None:
            share = (log_nb0 - p).sigmoid_()  # of the negative binomial in a zero
            share.view(-1).index_fill_(0, inside.long(), 1.0)
            of_pi[a:b] = (1.0 - share).sub_(p.sigmoid()).div_(n_obs)  # eq. 7
            log_1p.mul_(share)
            r *= share
        more = log_1p.sub_(r)  # eq. 5 at zero, over -theta
        if per_row:
            of_theta[a:b] = more
        else:
            of_theta += more.sum(dim=0)
        g = r.mul_(share_of_theta[own])  # eq. 4 at zero
        torch.div(x[stored], u_at[stored] + 1.0, out=rest[stored])  # x (1 - r)
        g.view(-1).index_add_(0, inside, rest[stored], alpha=1.0 / n_obs)
        # Through the softmax: g - rho sum(g).
        torch.addcmul(g, rho, g.sum(dim=-1, keepdim=True), value=-1.0, out=of_logits[a:b])
    place = place if per_row else counts.indices
    added, slope = _gamma_terms(theta.view(-1), x, place)
    added += x * (log_mu - u_at.log1p())
    if pi_logits is not None:
        added += not_zero  # eq. 6 is not for them
    if of_theta is not None:
        of_theta *= share_of_theta
        of_theta.view(-1).index_add_(0, place, slope.sub_(rest), alpha=1.0 / n_obs)
    return each, added, of_logits, of_theta, of_pi


def _gamma_terms(theta: Tensor, x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 8 of each count x with theta at its place, and the derivative in log theta.

    Most counts are small: their sums are looked up in a table of n_terms for each theta, which
    is as large as the number of counts. The others, and values between whole numbers (the published
    perturbation makes some), are differences of log-gammas.
    """
    n_terms = len(x) // len(theta)
    if n_terms == 0:
        return _gamma_differences(x, *_of_theta(theta[place]))
    k = torch.arange(n_terms, dtype=theta.dtype, device=theta.device)[:, None]
    row = x.int().clamp_(1, n_terms) - 1
    at = row.mul_(len(theta)).add_(place)
    both = [
        sums.cumsum_(dim=0).view(-1).index_select(0, at)
        for sums in ((k / theta).add_(1.0).div_(k + 1.0).log_(), theta / (theta + k))
    ]
    others = ((x > n_terms) | (x != x.floor())).nonzero().view(-1)
    if len(others):
        where = place[others]
        own = _gamma_differences(x[others], *(part[where] for part in _of_theta(theta)))
        for terms, exact in zip(both, own, strict=True):
            terms.index_copy_(0, others, exact)
    return both[0], both[1]


def _of_theta(theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return theta, theta.log(), torch.lgamma(theta), torch.digamma(theta)


def _gamma_differences(
    x: Tensor, theta: Tensor, log_theta: Tensor, lgamma_theta: Tensor, digamma_theta: Tensor
) -> tuple[Tensor, Tensor]:
    """The left side of eq. 8, and that of eq. 9 times theta."""
    y = theta + x
    if not (x >= STIRLING_FROM).all():
        log_terms = torch.lgamma(y) - torch.lgamma(x + 1.0) - lgamma_theta - x * log_theta
        return log_terms, theta * (torch.digamma(y) - digamma_theta)
    # Stirling's series, arranged so that no large numbers are subtracted; a tenth of the time.
    w, more = x + 1.0, theta - 1.0
    log_w, log_ratio = w.log(), (more / w).log1p()  # log(y / w)
    inverse_w, inverse_y = w.reciprocal(), y.reciprocal()
    log_terms = more * (log_w - 1.0) + (y - 0.5) * log_ratio - lgamma_theta - x * log_theta
    log_terms += _stirling(inverse_y) - _stirling(inverse_w)
    square = inverse_y.square()
    psi = log_w + log_ratio - 0.5 * inverse_y - square * (1.0 / 12.0 - square / 120.0)
    return log_terms, theta * (psi - digamma_theta)


def _stirling(inverse: Tensor) -> Tensor:
    """What lgamma(y) has more than (y - 1/2) log y - y + log(2 pi) / 2, of 1 / y."""
    return inverse * (1.0 / 12.0 - inverse.square() / 360.0)
