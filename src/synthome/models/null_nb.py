"""The negative binomial without latents: what a model of counts must beat, and where it starts.

For cell i with library size l_i and gene g:

    x_ig ~ NegativeBinomial(mu_ig = l_i p_g, theta_g)                                      (1)

p_g is the share of the gene in all counts, theta_g its maximum-likelihood inverse dispersion given
p: the root of eq. 5 of ``distributions`` summed over cells, found by halving an interval of its
log, which cannot diverge whatever the counts. With zero inflation, pi_g and theta_g take turns.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.special import digamma
from torch import Tensor

from synthome.csr import CSRRows
from synthome.distributions import softmax_nb_rows

LOG_THETA = (-7.0, 12.0)  # beyond these, a law is all zeros or a Poisson
HALVINGS = 20
EXCESS_ZEROS = 0.015  # share from which on counts are taken for reads, with zeros of their own
PSEUDOCOUNT = 0.5
BLOCK = 2**22  # entries that are computed at a time


@dataclass(frozen=True, eq=False)
class NullNB:
    """Eq. 1, fitted.

    Attributes
    ----------
    log_share
        log p, (n_vars,).
    """

    log_share: Float[np.ndarray, " n_vars"]
    log_theta: Float[np.ndarray, " n_vars"]

    @classmethod
    def fit(cls, counts: Any, library_size: Float[np.ndarray, " n_obs"]) -> Self:
        """Fit to counts (n_obs, n_vars), sparse or dense, with the sum of each row or its size."""
        columns = sparse.csc_matrix(counts, dtype=np.float64)
        share = np.asarray(columns.sum(axis=0)).ravel() + PSEUDOCOUNT
        share /= share.sum()
        return cls(np.log(share), _log_theta(columns, np.asarray(library_size, float), share))

    def row_nll(
        self, counts: CSRRows, library_size: Float[Tensor, " n_obs"]
    ) -> Float[Tensor, " n_obs"]:
        """-log p(x) of each cell, in nats."""
        logits = torch.tensor(self.log_share, dtype=torch.float32).expand(len(counts), -1)
        log_theta = torch.tensor(self.log_theta, dtype=torch.float32)
        return -softmax_nb_rows(counts, logits, library_size, log_theta)

    def likelihood(
        self, wanted: str, counts: Any, library_size: Float[np.ndarray, " n_obs"]
    ) -> str:
        """``wanted``; for ``auto``, ``zinb`` where counts show zeros of their own, else ``nb``."""
        if wanted != "auto":
            return wanted
        return "zinb" if self.excess_zeros(counts, library_size) > EXCESS_ZEROS else "nb"

    def excess_zeros(self, counts: Any, library_size: Float[np.ndarray, " n_obs"]) -> float:
        """Share of zeros among ``counts``, minus the share that eq. 1 expects.

        Counts of molecules show none to speak of; counts of reads do.
        """
        theta, share = np.exp(self.log_theta), np.exp(self.log_share)
        n_obs, n_vars = counts.shape
        expected = 0.0
        step = max(1, BLOCK // n_vars)
        for a in range(0, n_obs, step):
            mu = np.outer(library_size[a : a + step], share / theta)
            expected += float(np.exp(-theta * np.log1p(mu)).sum())
        observed = n_obs * n_vars - sparse.csr_matrix(counts).count_nonzero()
        return (observed - expected) / (n_obs * n_vars)


def _log_theta(
    counts: sparse.csc_matrix,
    library_size: Float[np.ndarray, " n_obs"],
    share: Float[np.ndarray, " n_vars"],
) -> Float[np.ndarray, " n_vars"]:
    """Root of the score in log theta of each gene."""
    n_obs, n_vars = counts.shape
    step = max(1, BLOCK // n_obs)
    found = np.empty(n_vars)
    for a in range(0, n_vars, step):
        b = min(a + step, n_vars)
        part = counts[:, a:b]
        gene = np.repeat(np.arange(b - a), np.diff(part.indptr))
        mu = np.outer(library_size, share[a:b])
        mu_at, x = mu[part.indices, gene], part.data
        low, high = (np.full(b - a, edge) for edge in LOG_THETA)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            theta = np.exp(middle)
            u = mu / theta
            score = (u / (1.0 + u) - np.log1p(u)).sum(axis=0)
            at = theta[gene]
            score += np.bincount(
                gene, digamma(x + at) - digamma(at) - x / (at + mu_at), minlength=b - a
            )
            rises = score > 0
            low, high = np.where(rises, middle, low), np.where(rises, high, middle)
        found[a:b] = 0.5 * (low + high)
    return found
