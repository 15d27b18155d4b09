"""Cells whose genes are turned up or down by a known factor, as whole counts.

For cell i of type t(i) with library size l_i, gene j of the set, and a factor f >= 1:

    mu_ij = l_i sum_{t(i)} x_j / sum_{t(i)} l                 expected count of the type       (1)
    down    x' ~ Binomial(x, 1 / f)                           thinning: some molecules are lost (2)
    up      x' = x + Poisson((f - 1) mu)                      so that zeros can rise            (3)
    up      x' = x + Poisson((f - 1) mu g),                   gamma-Poisson
            g | x ~ Gamma(theta + x, rate theta + mu)         the cell's own activity           (4)

If x is negative binomial with mean mu and inverse dispersion theta, eq. 2 gives mean mu / f and
eq. 4 mean f mu, both with the same theta, exactly: x is Poisson(mu g) for a gamma g, of which eq. 4
draws the posterior. Eq. 3 is its limit for a large theta; it adds the variance (f - 1) mu of
counting alone. f = 1 changes nothing. The published form, ``multiply``, is x / f and x f: it leaves
the integers and never raises a zero.

Twins are the same cell as it is, with its genes down, and with its genes up. They share a number,
by which a split keeps them together.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from scipy import sparse

from synthome.anndata_schema import (
    COUNTS,
    LIBRARY_SIZE,
    UNS,
    group_key,
    label_key,
    labels,
    provenance,
)
from synthome.errors import InputError

Direction = Literal["down", "up"]
Method = Literal["counts", "gamma_poisson", "multiply"]
CONDITION, TWIN = "condition", "twin"
BASE = "base"
LEAST_SPREAD = 1e-6  # of a gamma activity: below it, eq. 4 is eq. 3


def perturb(
    adata: AnnData,
    genes: Collection[str],
    direction: Direction,
    factor: float,
    rng: np.random.Generator,
    cell_types: Collection[str] | None = None,
    method: Method = "counts",
) -> AnnData:
    """Return a copy of ``adata`` in which ``genes`` are turned down or up by ``factor``.

    Parameters
    ----------
    adata
        Raw counts in ``layers["counts"]`` (or in ``X``), CSR or dense; the label is the cell type.
    cell_types
        Only cells of these types change; all by default.
    method
        ``counts`` is eqs. 2 and 3, ``gamma_poisson`` eqs. 2 and 4 with theta by moments within the
        types, ``multiply`` the published product.

    Returns
    -------
    ``layers["counts"]`` and ``X`` hold the new counts, in the storage of the given ones, and
    ``obs["library_size"]`` follows them. Log expression that stood in ``X`` is gone: prepare anew.

    Raises
    ------
    InputError
        If the factor is below 1, a gene or type is unknown, or counts are not whole numbers.
    """
    _check_factor(factor)
    columns = _columns(adata, genes)
    given = adata.layers.get(COUNTS, adata.X)
    counts, dense = sparse.csr_matrix(given), not sparse.issparse(given)
    block = np.asarray(counts[:, columns].todense(), dtype=np.float64)  # (n_obs, n_genes)
    if method != "multiply":
        _check_whole(block)
    types = labels(adata)
    rows = np.flatnonzero(_chosen(types, cell_types, label_key(adata)))
    library_size = (
        adata.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
        if LIBRARY_SIZE in adata.obs
        else np.asarray(counts.sum(axis=1)).ravel().astype(np.float64)
    )
    change = np.zeros_like(block)
    if method == "multiply":
        times = factor if direction == "up" else 1.0 / factor
        change[rows] = block[rows] * (times - 1.0)
    elif direction == "down":
        change[rows] = rng.binomial(block[rows].astype(np.int64), 1.0 / factor) - block[rows]
    else:
        mu = expected_counts(block, library_size, types)
        activity = _activity(block, mu, rng) if method == "gamma_poisson" else 1.0
        change[rows] = rng.poisson((factor - 1.0) * mu * activity)[rows]
    return _changed(adata, counts, columns, change, library_size, dense)


def twins(
    adata: AnnData,
    down: Collection[str],
    up: Collection[str],
    factor: float,
    rng: np.random.Generator,
    method: Method = "counts",
    cell_types: Collection[str] | None = None,
) -> AnnData:
    """Each cell three times: as it is, with ``down`` turned down, and with ``up`` turned up.

    Returns
    -------
    3 n_obs rows (first all ``base``, then all ``down``, then all ``up``), without the names of the
    cells: ``obs["condition"]`` says which of the three a row is and ``obs["twin"]`` from which row
    of ``adata`` it comes. ``twin`` is the group key, unless the cohort has one already (a donor
    holds all twins of its cells). A split or folds of the cells are those of their twins.

    Raises
    ------
    InputError
        As ``perturb``.
    """
    parts = {
        BASE: perturb(adata, down, "down", 1.0, rng, cell_types, method),
        "down": perturb(adata, down, "down", factor, rng, cell_types, method),
        "up": perturb(adata, up, "up", factor, rng, cell_types, method),
    }
    n = adata.n_obs
    obs = pd.concat([part.obs for part in parts.values()], ignore_index=True)
    obs[CONDITION] = np.repeat(list(parts), n)
    obs[TWIN] = np.tile(np.arange(n), len(parts))
    obs.index = pd.Index([f"{c}_{i:06d}" for c in parts for i in range(n)])
    counts = _stack([part.layers[COUNTS] for part in parts.values()])
    facts = provenance(adata) | {"group_key": group_key(adata) or TWIN, "scale": "counts"}
    return AnnData(counts, obs=obs, var=adata.var.copy(), layers={COUNTS: counts}, uns={UNS: facts})


def expected_counts(
    counts: sparse.csr_matrix | Float[np.ndarray, "n_obs n_vars"],
    library_size: Float[np.ndarray, " n_obs"],
    types: np.ndarray,
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Eq. 1 for each cell and gene: what a cell of this type and size has on average."""
    names, code = np.unique(types, return_inverse=True)
    member = sparse.csr_matrix(
        (np.ones(len(code)), (code, np.arange(len(code)))), shape=(len(names), len(code))
    )
    total = np.asarray((member @ sparse.csr_matrix(counts)).todense(), dtype=np.float64)
    rho = total / np.maximum(member @ library_size, 1e-300)[:, None]  # (n_types, n_vars)
    return library_size[:, None] * rho[code]


def moment_theta(
    counts: Float[np.ndarray, "n_obs n_vars"], mu: Float[np.ndarray, "n_obs n_vars"]
) -> Float[np.ndarray, " n_vars"]:
    """Inverse dispersion of each gene by moments: sum mu^2 over sum ((x - mu)^2 - mu).

    Infinite for a gene that varies no more than counting alone makes it.
    """
    excess = (np.square(counts - mu) - mu).sum(axis=0)
    theta = np.full(counts.shape[1], np.inf)
    return np.divide(np.square(mu).sum(axis=0), excess, out=theta, where=excess > 0)


def _activity(
    counts: Float[np.ndarray, "n_obs n_vars"],
    mu: Float[np.ndarray, "n_obs n_vars"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Draw g of eq. 4 from its posterior; 1 where nothing but counting is seen."""
    theta = np.minimum(moment_theta(counts, mu), 1.0 / LEAST_SPREAD)
    drawn = rng.gamma(theta + counts, 1.0 / (theta + mu))
    return np.where(theta < 1.0 / LEAST_SPREAD, drawn, 1.0)


def _changed(
    adata: AnnData,
    counts: sparse.csr_matrix,
    columns: Int[np.ndarray, " n_genes"],
    change: Float[np.ndarray, "n_obs n_genes"],
    library_size: Float[np.ndarray, " n_obs"],
    dense: bool,
) -> AnnData:
    """The cohort with ``change`` added to the given columns."""
    i, k = np.nonzero(change)
    added = sparse.csr_matrix((change[i, k], (i, columns[k])), shape=counts.shape)
    total = sparse.csr_matrix(counts + added)
    total.eliminate_zeros()
    fractional = bool(np.any(total.data != np.round(total.data)))
    kind = counts.dtype if not fractional or counts.dtype.kind == "f" else np.dtype(np.float32)
    total = total.astype(kind)
    result = AnnData(
        total.toarray() if dense else total,
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        uns={**adata.uns, UNS: {k: v for k, v in provenance(adata).items() if k != "expression"}},
    )
    result.layers[COUNTS] = result.X
    result.obs[LIBRARY_SIZE] = library_size + change.sum(axis=1)
    return result


def _stack(
    parts: Sequence[sparse.csr_matrix | np.ndarray],
) -> sparse.csr_matrix | np.ndarray:
    if sparse.issparse(parts[0]):
        return sparse.csr_matrix(sparse.vstack(parts))
    return np.concatenate([np.asarray(part) for part in parts])


def _columns(adata: AnnData, genes: Collection[str]) -> Int[np.ndarray, " n_genes"]:
    """Positions of the genes, each once, in the order of the data."""
    wanted = set(map(str, genes))
    if not adata.var_names.is_unique:
        raise InputError(
            f"{int(adata.var_names.duplicated().sum())} gene names occur twice; make them unique "
            "before genes are perturbed by name."
        )
    unknown = sorted(wanted - set(adata.var_names))
    if unknown or not wanted:
        raise InputError(
            f"{len(unknown)} of the {len(wanted)} genes to perturb are not among the "
            f"{adata.n_vars:,} of the data: {', '.join(unknown[:5]) or 'none was named'}. Match "
            "the gene set to the data first, and keep its genes in the selection."
        )
    return np.flatnonzero(adata.var_names.isin(wanted))


def _chosen(
    types: np.ndarray, cell_types: Collection[str] | None, key: str
) -> Bool[np.ndarray, " n_obs"]:
    if cell_types is None:
        return np.ones(len(types), dtype=bool)
    wanted = set(map(str, cell_types))
    unknown = sorted(wanted - set(types))
    if unknown:
        raise InputError(
            f"No cell is of type {', '.join(unknown)}: column {key!r} has "
            f"{', '.join(sorted(set(types)))}."
        )
    return np.isin(types, list(wanted))


def _check_factor(factor: float) -> None:
    if not (np.isfinite(factor) and factor >= 1.0):
        raise InputError(
            f"A factor of {factor:g} is asked for, but it says how many times more or fewer: give "
            "1 (nothing) or above, and the direction apart."
        )


def _check_whole(block: Float[np.ndarray, "n_obs n_genes"]) -> None:
    wrong = (block < 0) | (block != np.round(block))
    if wrong.any():
        raise InputError(
            f"{int(wrong.sum()):,} counts of the genes to perturb are no whole numbers >= 0, the "
            f"first being {block[wrong][0]:g}. Give raw counts in layers['counts'], or take "
            "method='multiply', which is the published product."
        )
