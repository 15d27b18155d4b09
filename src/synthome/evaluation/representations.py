"""What a classifier may look at to tell perturbed cells: five views, fitted on training rows.

``latents``           the model's latents, as given
``pca``               principal components of log expression
``signature``         for each gene set, the mean of its standardised log expression
``all_genes``         standardised log expression of every gene
``latents+sets``      latents, and the contrast of each gene set among the residuals
``latents+contrast``  latents, and one contrast among the residuals for each perturbation, learnt

The last two are a *contrast read-out*: latents say what state a cell is in, and the residuals given
that state say what is unusual for it. With mu decoded from the latents,

    e_ij = (x_ij - mu_ij) / sqrt(mu_ij + mu_ij^2 / theta_j)             Pearson residual       (1)
    c_iS = sum_j e_ij v_j / |v|,  v_j = sqrt(w_j) for j in S            contrast of a set      (2)
    c_ik = sum_j e_ij v_kj,       v_kj = f_kj (m_kj - m_0j) / s_kj^2    learnt contrast        (3)

w_j is the mean over training cells of mu / (1 + mu / theta), the information of one count about a
log fold change, so that eq. 2 adds up scores, and silent genes do not drown the others. In eq. 3,
m_k is the mean residual of condition k (0 is base), s_k the pooled spread plus its median over
genes (Tusher et al. 2001), t the two-sample statistic, and f = max(0, 1 - 1 / t^2) shrinks what
chance explains (James and Stein 1961). It needs no named set, but perturbed training cells.

Tusher, Tibshirani, Chu (2001), PNAS 98, 5116-5121. doi:10.1073/pnas.091062498
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.errors import InputError
from synthome.preprocessing.scaling import Standardiser

N_COMPONENTS = 36  # as many as the published latents
N_CROSS = 5  # parts of the training rows whose learnt contrast comes from the other parts
BLOCK = 2**22  # residuals that are in memory at a time

Features = Float[np.ndarray, "n_obs n_features"]
GeneSets = Mapping[str, Collection[str]]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Cells as a model sees them: latents, expected counts, inverse dispersion of each gene."""

    z: Float[np.ndarray, "n_obs n_latent"]
    mu: Float[np.ndarray, "n_obs n_vars"]
    theta: Float[np.ndarray, " n_vars"]


@dataclass(frozen=True, eq=False)
class Views:
    """All views of a cell that need no perturbed training cell, fitted on training rows."""

    scale: Standardiser
    pca: Any
    sets: dict[str, Int[np.ndarray, " n_genes"]]
    set_weights: Float[np.ndarray, "n_vars n_sets"]  # of eq. 2

    @classmethod
    def fit(
        cls,
        train: AnnData,
        embedded: Embedded,
        sets: GeneSets,
        n_components: int = N_COMPONENTS,
        seed: int = 0,
    ) -> Self:
        """Measure training rows, perturbed or not.

        Raises
        ------
        InputError
            If a set has no gene among those of the data.
        """
        from sklearn.decomposition import PCA

        x = dense_log_expression(train)
        k = min(n_components, *(n - 1 for n in x.shape))
        pca = PCA(k, svd_solver="randomized", random_state=seed).fit(x)
        columns = {name: _columns(train.var_names, name, genes) for name, genes in sets.items()}
        information = (embedded.mu / (1.0 + embedded.mu / embedded.theta)).mean(axis=0)
        weights = np.zeros((train.n_vars, len(columns)))
        for s, genes in enumerate(columns.values()):
            weights[genes, s] = np.sqrt(information[genes])
        return cls(Standardiser.fit(x), pca, columns, weights / _length(weights))

    def __call__(self, adata: AnnData, embedded: Embedded) -> dict[str, Features]:
        """The views of any rows by name."""
        return {name: np.hstack(parts) for name, parts in self.blocks(adata, embedded).items()}

    def blocks(self, adata: AnnData, embedded: Embedded) -> dict[str, tuple[np.ndarray, ...]]:
        """The same, with the latents apart from the contrasts that stand beside them."""
        x = dense_log_expression(adata)
        genes = self.scale.transform(x)
        contrast = residual_projection(adata.layers[COUNTS], embedded, self.set_weights)
        signature = np.stack([genes[:, s].mean(axis=1) for s in self.sets.values()], axis=1)
        return {
            "latents": (embedded.z,),
            "pca": (self.pca.transform(x),),
            "signature": (signature,),
            "all_genes": (genes,),
            "latents+sets": (embedded.z, contrast),
        }


def residuals(
    counts: sparse.csr_matrix | Float[np.ndarray, "n_obs n_vars"], embedded: Embedded
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Eq. 1; 0 for a gene that is not expected and not there."""
    dense = sparse.csr_matrix(counts).toarray() if sparse.issparse(counts) else np.asarray(counts)
    spread = np.sqrt(embedded.mu + embedded.mu**2 / embedded.theta)
    return np.divide(
        dense - embedded.mu, spread, out=np.zeros_like(embedded.mu), where=spread > 0.0
    )


def residual_projection(
    counts: sparse.csr_matrix | Float[np.ndarray, "n_obs n_vars"],
    embedded: Embedded,
    weights: Float[np.ndarray, "n_vars k"],
) -> Float[np.ndarray, "n_obs k"]:
    """Residuals times ``weights``, some rows at a time, so that they are never all in memory."""
    n_obs, n_vars = embedded.mu.shape
    step = max(1, BLOCK // n_vars)
    parts = []
    for start in range(0, n_obs, step):
        rows = slice(start, start + step)
        part = Embedded(embedded.z[rows], embedded.mu[rows], embedded.theta)
        parts.append(residuals(counts[rows], part) @ weights)
    return np.concatenate(parts)


def learnt_contrasts(
    counts: sparse.csr_matrix | Float[np.ndarray, "n_obs n_vars"],
    embedded: Embedded,
    conditions: np.ndarray,
    base: str,
) -> Float[np.ndarray, "n_vars n_conditions_but_base"]:
    """Weights of eq. 3, a column for each condition but ``base``, in their order."""
    names = np.unique(conditions)
    names = names[names != base]
    n, mean, var = {}, {}, {}
    for name in (base, *names):
        rows = np.flatnonzero(conditions == name)
        e = residuals(counts[rows], Embedded(embedded.z[rows], embedded.mu[rows], embedded.theta))
        n[name], mean[name], var[name] = len(rows), e.mean(axis=0), e.var(axis=0)
    columns = []
    for name in names:
        spread = np.sqrt((var[base] + var[name]) / 2.0)
        spread = spread + np.median(spread)
        shift = mean[name] - mean[base]
        t = shift / (spread * np.sqrt(1.0 / n[base] + 1.0 / n[name]))
        kept = np.maximum(1.0 - 1.0 / np.maximum(t**2, 1e-12), 0.0)
        columns.append(kept * shift / spread**2)
    return np.stack(columns, axis=1)


def contrast_features(
    counts: tuple[sparse.csr_matrix, sparse.csr_matrix],
    embedded: tuple[Embedded, Embedded],
    conditions: np.ndarray,
    base: str,
    part: Int[np.ndarray, " n_train"],
) -> tuple[Features, Float[np.ndarray, "m_obs n_features"]]:
    """Latents and learnt contrasts of training and of test rows.

    A training row is projected on weights learnt from the other parts of the training rows, as if
    it were new: a classifier that is fitted to these features would trust them too much otherwise.

    Parameters
    ----------
    counts, embedded
        Of the training and of the test rows.
    conditions
        Of the training rows.
    part
        Number of the part of each training row; groups are whole.
    """
    train, test = embedded
    found = np.zeros((len(conditions), len(np.unique(conditions)) - 1))
    for p in np.unique(part):
        rows, others = np.flatnonzero(part == p), np.flatnonzero(part != p)
        weights = learnt_contrasts(
            counts[0][others], _take(train, others), conditions[others], base
        )
        found[rows] = residual_projection(counts[0][rows], _take(train, rows), weights)
    weights = learnt_contrasts(counts[0], train, conditions, base)
    new = residual_projection(counts[1], test, weights)
    return np.hstack([train.z, found]), np.hstack([test.z, new])


def log_expression(
    counts: sparse.csr_matrix | Float[np.ndarray, "n_obs n_vars"],
    library_size: Float[np.ndarray, " n_obs"],
    target_sum: float = 1e4,
) -> sparse.csr_matrix:
    """Log of one plus the counts per 10,000 of each cell, sparse."""
    scale = target_sum / np.maximum(library_size, 1.0)
    x = sparse.csr_matrix(sparse.diags_array(scale) @ sparse.csr_matrix(counts))
    x.data = np.log1p(x.data)
    return x


def dense_log_expression(adata: AnnData) -> Float[np.ndarray, "n_obs n_vars"]:
    """``log_expression`` of the counts of ``adata`` as a dense array."""
    size = adata.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
    return log_expression(adata.layers[COUNTS], size).toarray()


def _take(embedded: Embedded, rows: Int[np.ndarray, " n"]) -> Embedded:
    return Embedded(embedded.z[rows], embedded.mu[rows], embedded.theta)


def _columns(var_names: pd.Index, name: str, genes: Collection[str]) -> Int[np.ndarray, " n_genes"]:
    found = np.flatnonzero(var_names.isin(list(map(str, genes))))
    if len(found) == 0:
        raise InputError(
            f"None of the {len(set(genes))} genes of the set {name!r} is among the "
            f"{len(var_names):,} of the data. Match the set to the data, and keep its genes in the "
            "selection."
        )
    return found


def _length(weights: Float[np.ndarray, "n_vars k"]) -> Float[np.ndarray, " k"]:
    return np.maximum(np.linalg.norm(weights, axis=0), 1e-12)
