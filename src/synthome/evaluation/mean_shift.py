"""How far each gene has moved between two sets of cells, read out of a model of counts.

A model gives each cell its expected counts mu, from few latents. A change of single genes hardly
moves these latents, so that the decoded means alone miss it; what they miss is in the residuals.
The log change of gene g from base cells B to perturbed cells P is the sum of both:

    T_g = D_g + u_g(P) - u_g(B)                                                                 (1)

**The residuals.** Let w = mu / (1 + mu / theta) be the Fisher information of a log fold change of
one negative binomial count, and s = (x - mu) / (1 + mu / theta) its score. Over the cells of a set,

    S_g = sum_i s_ig,   I_g = sum_i w_ig                                                        (2)
    r_g = 1 + S_g / I_g                                one Newton step: observed over expected   (3)
    u_g = 2 sqrt(r_g + 3 / (8 I_g)) - 2                close to log r_g, with variance 1 / I_g   (4)

The square root of eq. 4 stabilises the variance (Anscombe 1948), which a logarithm does not: S / I
alone calls rises sooner than falls, and log r falls of rare genes sooner than anything.

**The latents.** Let e be log mu, centred over the genes of a cell, so that the free constant of a
softmax and the library size are gone. e has as many principal directions v_k as the model has
latents, and one more where the shift leaves them. The sets differ along them by
d_k = v_k (mean e(P) - mean e(B)), with the standard error q_k that the spread of cells gives.
Other cells are drawn, too, when nothing is perturbed, so that

    D_g = sum_k f_k d_k v_kg,   f_k = max(0, 1 - (2 q_k / d_k)^2)                               (5)

keeps what drawing does not explain (positive-part shrinkage; James and Stein 1961). What f_k leaves
out is no loss: u_g corrects the mean for it where gene g has moved.

**The rank.** A composition has no absolute level; most genes are taken not to move, and T is
centred at its weighted median over genes, with weights 1 / se^2:

    se_g^2 = 1 / I_g(P) + 1 / I_g(B) + sum_k f_k^2 q_k^2 v_kg^2,   z_g = T_g / se_g              (6)

z ranks genes. As the size of a change, the table gives D + log r(P) - log r(B), centred as well,
with r + 3 / (8 I) for r, and its own standard error: at r times the mean, S has the variance
r A + r^2 (I - A) with A = sum_i mu / (1 + mu / theta)^2, the part of counting, so that in eq. 6

    1 / I_g becomes (A_g / r_g + I_g - A_g) / I_g^2                                             (7)

Anscombe (1948), Biometrika 35, 246-254. doi:10.1093/biomet/35.3-4.246
James, Stein (1961), Proc. Fourth Berkeley Symposium 1, 361-379.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse

MAX_DIRECTIONS = 64  # of the log composition; a model has fewer latents
ROUNDING = 1e-10  # of the largest variance: no direction
SAMPLING = 2.0  # standard errors that drawing other cells explains
LEAST_INFORMATION = 1e-8  # of a gene that no cell is expected to hold

Means = Float[np.ndarray, "n_obs n_vars"]
PerGene = Float[np.ndarray, " n_vars"]


def mean_shift(
    counts_base: sparse.csr_matrix | Float[np.ndarray, "n n_vars"],
    mu_base: Float[np.ndarray, "n n_vars"],
    counts_pert: sparse.csr_matrix | Float[np.ndarray, "m n_vars"],
    mu_pert: Float[np.ndarray, "m n_vars"],
    theta: PerGene,
    genes: np.ndarray | pd.Index | None = None,
) -> pd.DataFrame:
    """Eqs. 1-6: the log change of each gene, with standard error and z.

    Parameters
    ----------
    counts_base, counts_pert
        Raw counts of two sets of cells, which need not be the same cells, nor as many.
    mu_base, mu_pert
        Expected counts that the model decodes for each of them, library size included; above 0.
    theta
        Inverse dispersion of each gene; infinite for Poisson counts.

    Returns
    -------
    Columns ``gene`` (or its number), ``shift`` (natural log), ``standard_error`` (of the shift),
    ``z`` (eq. 6), in the order of the genes.
    """
    u_base, i_base = residual_shift(counts_base, mu_base, theta)
    u_pert, i_pert = residual_shift(counts_pert, mu_pert, theta)
    latent, latent_variance = latent_shift(mu_base, mu_pert)
    error = np.sqrt(1.0 / i_pert + 1.0 / i_base + latent_variance)
    z = _centred(latent + u_pert - u_base, error) / error  # eqs. 1 and 6
    root_base, root_pert = 1.0 + u_base / 2.0, 1.0 + u_pert / 2.0  # of r + 3 / (8 I)
    log_error = np.sqrt(
        _log_variance(mu_pert, theta, root_pert, i_pert)
        + _log_variance(mu_base, theta, root_base, i_base)
        + latent_variance
    )
    return pd.DataFrame(
        {
            "gene": np.arange(len(theta)) if genes is None else np.asarray(genes),
            "shift": _centred(latent + 2.0 * np.log(root_pert / root_base), log_error),
            "standard_error": log_error,
            "z": z,
        }
    )


def score_and_information(
    counts: sparse.csr_matrix | Means, mu: Means, theta: PerGene
) -> tuple[PerGene, PerGene]:
    """S and I of eq. 2, one of each per gene."""
    spread = 1.0 + mu / theta
    information = (mu / spread).sum(axis=0, dtype=np.float64)
    if sparse.issparse(counts):
        observed = np.asarray(sparse.csr_matrix(counts).multiply(1.0 / spread).sum(axis=0)).ravel()
    else:
        observed = (counts / spread).sum(axis=0, dtype=np.float64)
    return observed - information, information


def residual_shift(
    counts: sparse.csr_matrix | Means, mu: Means, theta: PerGene
) -> tuple[PerGene, PerGene]:
    """Shift u that the model leaves in a set of cells (eqs. 3 and 4), and its information I."""
    score, information = score_and_information(counts, mu, theta)
    information = np.maximum(information, LEAST_INFORMATION)
    ratio = np.maximum(1.0 + score / information, 0.0)
    return 2.0 * np.sqrt(ratio + 0.375 / information) - 2.0, information


def latent_shift(
    mu_base: Float[np.ndarray, "n n_vars"], mu_pert: Float[np.ndarray, "m n_vars"]
) -> tuple[PerGene, PerGene]:
    """Eq. 5: the shift D of the decoded composition beyond chance, and its variance."""
    base, pert = _centred_log(mu_base), _centred_log(mu_pert)
    mean_base, mean_pert = base.mean(axis=0), pert.mean(axis=0)
    base -= mean_base
    pert -= mean_pert
    v = _directions(base, pert, mean_pert - mean_base)  # (n_directions, n_vars)
    shift = v @ (mean_pert - mean_base)
    sampling = np.square(base @ v.T).sum(axis=0) / len(base) / max(len(base) - 1, 1)
    sampling += np.square(pert @ v.T).sum(axis=0) / len(pert) / max(len(pert) - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.maximum(1.0 - SAMPLING**2 * sampling / np.square(shift), 0.0)
    kept = np.where(shift == 0.0, 0.0, kept)
    return (kept * shift) @ v, (kept**2 * sampling) @ np.square(v)


def weighted_median(values: PerGene, weights: PerGene) -> float:
    """Smallest value that half of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = weights[order].cumsum()
    return float(values[order][np.searchsorted(reached, 0.5 * reached[-1])])


def _log_variance(mu: Means, theta: PerGene, root: PerGene, information: PerGene) -> PerGene:
    """Eq. 7; ``root`` is the square root of r."""
    counting = (mu / np.square(1.0 + mu / theta)).sum(axis=0, dtype=np.float64)
    return (counting / root**2 + np.maximum(information - counting, 0.0)) / information**2


def _centred(change: PerGene, error: PerGene) -> PerGene:
    return change - weighted_median(change, 1.0 / error**2)


def _centred_log(mu: Means) -> Means:
    log_mu = np.log(np.maximum(mu, np.finfo(np.float64).tiny))
    return log_mu - log_mu.mean(axis=1, keepdims=True)


def _directions(
    base: Float[np.ndarray, "n n_vars"], pert: Float[np.ndarray, "m n_vars"], shift: PerGene
) -> Float[np.ndarray, "n_directions n_vars"]:
    """Principal directions of centred rows (exact, as they span few), and what ``shift`` adds."""
    rng = np.random.default_rng(0)
    k = min(MAX_DIRECTIONS, base.shape[1], len(base) + len(pert))
    probe = rng.standard_normal((base.shape[1], k))
    left, _ = np.linalg.qr(np.concatenate([base @ probe, pert @ probe]))  # range of the rows
    small = left[: len(base)].T @ base + left[len(base) :].T @ pert  # (k, n_vars)
    _, length, v = np.linalg.svd(small, full_matrices=False)
    v = v[length**2 > ROUNDING * max(float(length[0]) ** 2, np.finfo(np.float64).tiny)]
    rest = shift - (v @ shift) @ v
    size = float(np.linalg.norm(rest))
    if size**2 <= ROUNDING * float(shift @ shift):
        return v
    return np.concatenate([v, rest[None] / size])
