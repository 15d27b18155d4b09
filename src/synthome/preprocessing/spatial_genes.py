"""Genes that vary in space: Moran's I of each, its p-value in closed form, and the top ones.

For the log expression x_i of a gene at spot i, the spots N(i) that i reads and |N(i)| > 0 of n_s
spots in section s, with m_s the mean of the section:

    w_ij = 1 / |N(i)| for j in N(i), else 0                      rows sum to 1               (1)
    z_i  = x_i - m_s(i)                                          within sections             (2)
    A_s  = sum_ij w_ij z_i z_j,    D_s = sum_i z_i^2             over spots of section s     (3)
    I    = (n / S0) sum_s A_s / sum_s D_s                        n spots, S0 = sum_ij w_ij   (4)

When the values of a section are shuffled over its spots, D_s stays and A_s has the moments of Cliff
and Ord, with S0, S1 = sum_ij (w_ij + w_ji)^2 / 2, S2 = sum_i (w_i. + w_.i)^2, n of that section and
the kurtosis b = n sum_i z_i^4 / D_s^2:

    E A_s   = - D_s S0 / (n (n - 1))                                                         (5)
    E A_s^2 = (D_s / n)^2 {n [(n^2 - 3n + 3) S1 - n S2 + 3 S0^2]
              - b [(n^2 - n) S1 - 2n S2 + 6 S0^2]} / ((n - 1) (n - 2) (n - 3))               (6)

Sections are shuffled independently, so that means and variances add up. For values that are normal
instead of given, b is 3 (n - 1) / (n + 1), its mean, and (6) the E A_s^2 given D_s.
With one section these are Moran's I and its moments as they are in books.

Everything is a sum over stored values: no gene is ever dense.

Cliff, Ord (1981), Spatial Processes: Models and Applications, Pion, sections 1.5 and 2.3.
Moran (1950), Biometrika 37, 17-23. doi:10.1093/biomet/37.1-2.17
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.stats import false_discovery_control, norm

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.graph import Graph
from synthome.preprocessing.spatial_graph import SECTION, subgraph

Law = Literal["shuffled", "normal"]
ROWS = 5_000  # of W x that are in memory at a time
ROUNDING = 1e-12  # of the sum of squares: below it a gene does not vary
DECIMALS = 12  # to which I is told apart
MIN_SPOTS = 20  # of a section in a domain; fewer say nothing


@dataclass(frozen=True, eq=False)
class Moran:
    """Moran's I of each gene, with its mean and standard deviation when places mean nothing."""

    value: Float[np.ndarray, " n_vars"]
    mean: Float[np.ndarray, " n_vars"]
    sd: Float[np.ndarray, " n_vars"]

    @property
    def p_value(self) -> Float[np.ndarray, " n_vars"]:
        """Chance of so large an I or a larger one, by the normal law; nan where I is."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(norm.sf((self.value - self.mean) / self.sd))


def log_normalised(adata: AnnData) -> sparse.csr_matrix:
    """log(1 + counts scaled to the median library size of these spots), (n_obs, n_vars)."""
    library_size = adata.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
    counts = sparse.csr_matrix(adata.layers[COUNTS], dtype=np.float64)
    values = sparse.diags_array(np.median(library_size) / library_size) @ counts
    return sparse.csr_matrix(values.log1p())


def morans_i(
    values: sparse.csr_matrix, graph: Graph, section: np.ndarray | None = None
) -> Float[np.ndarray, " n_vars"]:
    """Moran's I of each gene: eq. 4.

    About 0 without a pattern, towards 1 where neighbours are alike; nan for a gene that does not
    vary within sections.

    Parameters
    ----------
    values
        Log expression, zeros not stored.
    section
        Section of each spot, which no edge leaves; None for one.
    """
    sums = _sums(values, graph, section)
    return sums.over_sections(sums.a)


def moran_test(
    values: sparse.csr_matrix,
    graph: Graph,
    section: np.ndarray | None = None,
    law: Law = "shuffled",
) -> Moran:
    """Moran's I of each gene with its moments, eqs. 4-6; each section has four spots or more."""
    sums = _sums(values, graph, section)
    n, s0, s1, s2 = (part[:, None] for part in (sums.n, *_weight_sums(graph, sums)))
    assert (n >= 4).all(), "eq. 6 divides by n - 3"
    with np.errstate(divide="ignore", invalid="ignore"):
        b = np.where(sums.d > 0, n * sums.z4 / sums.d**2, 0.0)  # (n_sections, n_vars)
    if law == "normal":
        b = 3 * (n - 1) / (n + 1)
    mean = -sums.d * s0 / (n * (n - 1))  # eq. 5
    square = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
    square = square - b * ((n**2 - n) * s1 - 2 * n * s2 + 6 * s0**2)
    square = (sums.d / n) ** 2 * square / ((n - 1) * (n - 2) * (n - 3))  # eq. 6
    variance = np.maximum(square - mean**2, 0.0).sum(axis=0)
    scale = sums.over_sections(np.ones_like(sums.d) / len(sums.n))  # of I, for one unit of A
    return Moran(sums.over_sections(sums.a), sums.over_sections(mean), scale * np.sqrt(variance))


def select_spatial_genes(
    adata: AnnData, graph: Graph, n_top: int, train_mask: Bool[np.ndarray, " n_obs"]
) -> np.ndarray:
    """Names of the ``n_top`` genes of largest I on the training spots and the edges among them.

    Largest first; of genes that are equal, the first by name. Genes that do not vary come last.
    """
    train = adata[train_mask]
    value = morans_i(log_normalised(train), subgraph(graph, train_mask), _section(train))
    return _by_value(value, adata.var_names.to_numpy(str))[1][:n_top]


def spatially_variable(
    adata: AnnData, graph: Graph, domain: np.ndarray | None = None
) -> pd.DataFrame:
    """Moran's I of each gene, by how much it varies in space.

    Parameters
    ----------
    domain
        Domain of each spot, "" for none. With it, each domain is looked at by itself, on the edges
        among its spots.

    Returns
    -------
    Columns ``gene``, ``morans_i``, ``p_value`` (of an I as large when the values are shuffled over
    the spots of each section) and ``q_value`` (Benjamini-Hochberg over the genes that vary), the
    largest I first. With domains, a column ``domain`` tells of which, by name. A section with fewer
    than ``MIN_SPOTS`` spots (of the domain) is left out.
    """
    section = _section(adata)
    of_each = np.full(adata.n_obs, "all") if domain is None else domain.astype(str)
    tables = []
    for name in sorted(set(of_each) - {""}):
        inside = pd.Series(of_each == name)
        kept = (inside & (inside.groupby(section).transform("sum") >= MIN_SPOTS)).to_numpy()
        if kept.any():
            tables.append(_table(adata[kept], subgraph(graph, kept)).assign(domain=name))
    columns = ["gene", "morans_i", "p_value", "q_value"]
    columns = columns if domain is None else ["domain", *columns]
    return (
        pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    )


def _table(adata: AnnData, graph: Graph) -> pd.DataFrame:
    moran = moran_test(log_normalised(adata), graph, _section(adata))
    order, names = _by_value(moran.value, adata.var_names.to_numpy(str))
    p = moran.p_value[order]
    q = np.full_like(p, np.nan)
    q[~np.isnan(p)] = false_discovery_control(p[~np.isnan(p)])
    return pd.DataFrame({"gene": names, "morans_i": moran.value[order], "p_value": p, "q_value": q})


def _by_value(value: Float[np.ndarray, " n_vars"], names: np.ndarray) -> tuple[np.ndarray, ...]:
    """Order of the genes, largest I first, then by name; and their names in it."""
    order = np.lexsort((names, -np.round(np.nan_to_num(value, nan=-np.inf), DECIMALS)))
    return order, names[order]


def _section(adata: AnnData) -> np.ndarray:
    """Section of each spot."""
    if SECTION not in adata.obs:
        return np.zeros(adata.n_obs, dtype=np.int64)
    return adata.obs[SECTION].astype(str).to_numpy()


@dataclass(frozen=True, eq=False)
class _Sums:
    """What is summed over the spots of each section."""

    member: sparse.csr_matrix  # (n_sections, n_obs)
    n: Float[np.ndarray, " n_sections"]
    s0: Float[np.ndarray, " n_sections"]
    a: Float[np.ndarray, "n_sections n_vars"]
    d: Float[np.ndarray, "n_sections n_vars"]
    z4: Float[np.ndarray, "n_sections n_vars"]

    def over_sections(
        self, a: Float[np.ndarray, "n_sections n_vars"]
    ) -> Float[np.ndarray, " n_vars"]:
        """Eq. 4 for ``a``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = a.sum(axis=0) / self.d.sum(axis=0)
            value = ratio * (self.n.sum() / self.s0.sum())
        return np.where(self.d.sum(axis=0) > 0, value, np.nan)


def _sums(values: sparse.csr_matrix, graph: Graph, section: np.ndarray | None) -> _Sums:
    """Eqs. 1-3, with the mean multiplied out, so that zeros stay unstored."""
    values = sparse.csr_matrix(values, dtype=np.float64)
    code = np.zeros(values.shape[0], dtype=np.int64)
    if section is not None:
        code = np.unique(section, return_inverse=True)[1]
    targets, sources = graph.targets.cpu().numpy(), graph.indices.cpu().numpy()
    assert (code[targets] == code[sources]).all(), "an edge joins two sections"
    weights = _weights(graph)
    member = sparse.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))
    reads = np.asarray(weights.sum(axis=1)).ravel()  # w_i., 1 or 0
    read = np.asarray(weights.sum(axis=0)).ravel()  # w_.j
    n, s0 = member @ np.ones(len(code)), member @ reads

    mean, x2, x3, x4 = (
        (member @ values.power(p)).toarray() / n[:, None] for p in range(1, 5)
    )  # each (n_sections, n_vars)
    d = n[:, None] * (x2 - mean**2)
    d = np.where(d > ROUNDING * n[:, None] * x2, d, 0.0)
    z4 = n[:, None] * (x4 - 4 * mean * x3 + 6 * mean**2 * x2 - 3 * mean**4)
    both = member @ sparse.diags_array(reads + read) @ values
    a = _products(values, weights, member) - mean * both.toarray() + mean**2 * s0[:, None]
    return _Sums(member, n, s0, np.where(d > 0, a, 0.0), d, z4)


def _products(
    values: sparse.csr_matrix, weights: sparse.csr_matrix, member: sparse.csr_matrix
) -> Float[np.ndarray, "n_sections n_vars"]:
    """Sums of w_ij x_i x_j over each section, by blocks of rows i."""
    total = np.zeros((member.shape[0], values.shape[1]))
    for start in range(0, values.shape[0], ROWS):
        rows = slice(start, start + ROWS)
        product = values[rows].multiply(weights[rows] @ values)
        total += (member[:, rows] @ product).toarray()
    return total


def _weights(graph: Graph) -> sparse.csr_matrix:
    """Eq. 1; a spot that reads none has a row of zeros."""
    degrees = graph.degrees.cpu().numpy()
    weights = graph.matrix()
    weights.data /= np.repeat(degrees, degrees)
    return weights


def _weight_sums(graph: Graph, sums: _Sums) -> tuple[Float[np.ndarray, " n_sections"], ...]:
    """S0, S1 and S2 of eq. 6 for each section."""
    weights = _weights(graph)
    both = sparse.csr_matrix(weights + weights.T)
    s1 = np.asarray(both.power(2).sum(axis=1)).ravel() / 2
    s2 = np.asarray(both.sum(axis=1)).ravel() ** 2
    return sums.s0, sums.member @ s1, sums.member @ s2
