"""Which genes carry each latent factor, how sure that is, and what the factors answer to.

The loadings W (genes x factors) of a linear decoder are less unique than they look:

* A softmax over genes ignores a constant added to a column. Columns are centred over genes.
* The order and the sign of factors mean nothing, and the prior is the same for any rotation of
  them. Fits with other seeds are therefore *aligned* to the first before they are compared,

      Hungarian    other[:, pi] s           pi, s: a pairing and signs, sum of |r| largest      (1)
      Procrustes   other R,  R = U V^T,     U D V^T = svd(other^T W), R^T R = I                  (2)

  eq. 1 for single factors, eq. 2 for the space that all factors span (Schönemann 1966).

Stability lies between 0 and 1. Of a factor: the mean |r| with its partners of eq. 1. Of a gene: the
mean cosine between its row and its rows of eq. 2. Of one loading, over the seeds s of eq. 1,

    |mean_s w_s| / sqrt(mean_s w_s^2)                                                          (3)

Schönemann (1966), Psychometrika 31, 1-10. doi:10.1007/BF02289451
Benjamini, Hochberg (1995), J. R. Stat. Soc. B 57, 289-300.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

Loadings = Float[np.ndarray, "n_vars n_latent"]
AT_A_TIME = 512  # permutations that are in memory together


@dataclass(frozen=True, eq=False)
class Stability:
    """How far fits with different seeds agree with the first of them; 1 is perfect.

    Attributes
    ----------
    factor
        Of each factor, paired by eq. 1.
    rotated
        Of each factor, after the rotation of eq. 2.
    gene
        Of each gene, after the rotation of eq. 2.
    loading
        Of each gene on each factor: eq. 3.
    """

    factor: Float[np.ndarray, " n_latent"]
    rotated: Float[np.ndarray, " n_latent"]
    gene: Float[np.ndarray, " n_vars"]
    loading: Loadings


def centred(loadings: Loadings) -> Loadings:
    """Without the constant of each column that a softmax ignores."""
    return loadings - loadings.mean(axis=0)


def paired(reference: Loadings, other: Loadings) -> tuple[Loadings, Float[np.ndarray, " n_latent"]]:
    """Columns of ``other`` in the order and with the signs of ``reference`` (eq. 1).

    Returns
    -------
    The aligned loadings, centred, and the correlation of each with its partner, >= 0.
    """
    from scipy.optimize import linear_sum_assignment

    r = _correlations(reference, other)
    _, order = linear_sum_assignment(-np.abs(r))
    found = r[np.arange(len(order)), order]
    return centred(other)[:, order] * np.where(found < 0, -1.0, 1.0), np.abs(found)


def rotated(reference: Loadings, other: Loadings) -> Loadings:
    """``other`` in the rotation (or reflection) that brings it closest to ``reference`` (eq. 2)."""
    reference, other = centred(reference), centred(other)
    u, _, vt = np.linalg.svd(other.T @ reference)
    return other @ (u @ vt)


def stability(fits: Sequence[Loadings]) -> Stability:
    """Agreement of loadings of several seeds with those of the first; all 1 for a single one."""
    first = centred(fits[0])
    by_pair, r = [first], []
    cosines, turned = [], []
    for other in fits[1:]:
        aligned, correlation = paired(first, other)
        by_pair.append(aligned)
        r.append(correlation)
        turn = rotated(first, other)
        turned.append(np.abs(np.diagonal(_correlations(first, turn))))
        cosines.append(_cosines(first, turn))
    values = np.stack(by_pair)  # (n_seeds, n_vars, n_latent)
    size = np.sqrt(np.square(values).mean(axis=0))
    n_vars, n_latent = first.shape
    return Stability(
        factor=np.mean(r, axis=0) if r else np.ones(n_latent),
        rotated=np.mean(turned, axis=0) if turned else np.ones(n_latent),
        gene=np.clip(np.mean(cosines, axis=0), 0.0, 1.0) if cosines else np.ones(n_vars),
        loading=np.abs(values.mean(axis=0)) / np.where(size > 0, size, 1.0),
    )


def factor_response(
    z: Float[np.ndarray, "n_obs n_latent"],
    conditions: np.ndarray,
    base: str,
    rng: np.random.Generator,
    twin: np.ndarray | None = None,
    n_permutations: int = 9999,
) -> pd.DataFrame:
    """Which factor answers to which perturbation.

    The effect is the difference of the means over the spread of the base cells. Its p-value is that
    of exchanging labels: between a cell and its twin where ``twin`` is given (every cell in every
    condition), among all cells otherwise.

    Parameters
    ----------
    conditions
        Of each row; each is compared with ``base``.

    Returns
    -------
    Columns ``condition``, ``factor``, ``effect``, ``p``, ``q`` (Benjamini-Hochberg over all rows).
    """
    from scipy.stats import false_discovery_control

    tables = []
    own = np.flatnonzero(conditions == base)
    spread = z[own].std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1.0)
    for name in [c for c in np.unique(conditions) if c != base]:
        other = np.flatnonzero(conditions == name)
        if twin is None:
            p = _p_of_labels(z[own], z[other], n_permutations, rng)
        else:
            a, b = own[np.argsort(twin[own])], other[np.argsort(twin[other])]
            assert np.array_equal(twin[a], twin[b]), "every cell is there in every condition"
            p = _p_of_signs(z[b] - z[a], n_permutations, rng)
        effect = (z[other].mean(axis=0) - z[own].mean(axis=0)) / spread
        tables.append(
            pd.DataFrame(
                {"condition": str(name), "factor": np.arange(z.shape[1]), "effect": effect, "p": p}
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table.assign(q=false_discovery_control(table["p"].to_numpy()))


def set_enrichment(
    loadings: Loadings, genes: Collection[str], sets: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Whether the genes of a set have larger or smaller loadings than all others.

    Mann-Whitney's test on the ranks of loadings, two-sided, with the normal law and its correction
    for ties. It takes genes for independent: where those of a set vary together, q is too small,
    and sets drawn at random among genes that vary together as much are the better yardstick.

    Returns
    -------
    Columns ``factor``, ``gene_set``, ``n_genes``, ``auc`` (chance that a gene of the set has the
    larger loading: 0.5 is none, below it the set is at the negative end), ``p``, ``q``
    (Benjamini-Hochberg over factors and sets). Sets without a gene, or with all of them, are left
    out.
    """
    from scipy.stats import false_discovery_control, norm, rankdata

    names = pd.Index(list(genes))
    n, n_latent = loadings.shape
    rank = rankdata(loadings, axis=0)
    ties = np.array([_tie_term(column) for column in loadings.T])
    tables = []
    for set_name, members in sets.items():
        inside: Bool[np.ndarray, " n_vars"] = names.isin(list(map(str, members)))
        m = int(inside.sum())
        if m in (0, n):
            continue
        u = rank[inside].sum(axis=0) - m * (m + 1) / 2.0
        sd = np.sqrt(m * (n - m) / 12.0 * (n + 1 - ties / (n * (n - 1))))
        off = np.maximum(np.abs(u - m * (n - m) / 2.0) - 0.5, 0.0)  # continuity
        p = 2.0 * norm.sf(np.divide(off, sd, out=np.zeros_like(off), where=sd > 0))
        columns = {"factor": np.arange(n_latent), "gene_set": set_name, "n_genes": m}
        tables.append(pd.DataFrame(columns | {"auc": u / (m * (n - m)), "p": np.minimum(p, 1.0)}))
    if not tables:
        return pd.DataFrame(columns=["factor", "gene_set", "n_genes", "auc", "p", "q"])
    table = pd.concat(tables, ignore_index=True)
    return table.assign(q=false_discovery_control(table["p"].to_numpy()))


def loading_table(
    loadings: Loadings,
    genes: Collection[str],
    stable: Stability,
    sets: Mapping[str, Collection[str]],
    n_top: int | None = None,
) -> pd.DataFrame:
    """One row for each factor and gene, to be browsed.

    Returns
    -------
    Columns ``factor``, ``gene``, ``loading`` (centred), ``rank`` (1 is the largest |loading| of the
    factor), ``stability`` (of this loading), ``factor_stability``, ``gene_stability``, and
    ``gene_sets`` (names joined by ``; ``); sorted by factor and rank, the ``n_top`` first of each.
    """
    names = np.array(list(genes), dtype=object)
    members = _membership(names, sets)
    loadings = centred(loadings)
    tables = []
    for k, column in enumerate(loadings.T):
        order: Int[np.ndarray, " n"] = np.argsort(-np.abs(column), kind="stable")[:n_top]
        tables.append(
            pd.DataFrame(
                {
                    "factor": k,
                    "gene": names[order],
                    "loading": column[order],
                    "rank": np.arange(1, len(order) + 1),
                    "stability": stable.loading[order, k],
                    "factor_stability": stable.factor[k],
                    "gene_stability": stable.gene[order],
                    "gene_sets": members[order],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _membership(names: np.ndarray, sets: Mapping[str, Collection[str]]) -> np.ndarray:
    found: list[list[str]] = [[] for _ in names]
    place = {name: i for i, name in enumerate(names)}
    for set_name, members in sets.items():
        for gene in dict.fromkeys(map(str, members)):
            if gene in place:
                found[place[gene]].append(set_name)
    return np.array(["; ".join(own) for own in found], dtype=object)


def _correlations(a: Loadings, b: Loadings) -> Float[np.ndarray, "n_latent n_latent"]:
    a, b = centred(a), centred(b)
    a = a / np.maximum(np.linalg.norm(a, axis=0), 1e-300)
    b = b / np.maximum(np.linalg.norm(b, axis=0), 1e-300)
    return np.clip(a.T @ b, -1.0, 1.0)


def _cosines(a: Loadings, b: Loadings) -> Float[np.ndarray, " n_vars"]:
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1) / np.where(size > 0, size, 1.0)


def _tie_term(values: Float[np.ndarray, " n"]) -> float:
    _, times = np.unique(values, return_counts=True)
    return float((times.astype(float) ** 3 - times).sum())


def _p_of_signs(
    difference: Float[np.ndarray, "n k"], n_permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, " k"]:
    """Two-sided: each cell and its twin change places or do not."""
    observed = np.abs(difference.sum(axis=0))
    extreme = np.zeros(difference.shape[1])
    for start in range(0, n_permutations, AT_A_TIME):
        some = min(AT_A_TIME, n_permutations - start)
        signs = rng.choice(np.array([-1.0, 1.0]), (some, len(difference)))
        extreme += (np.abs(signs @ difference) >= observed * (1.0 - 1e-9)).sum(axis=0)
    return (1.0 + extreme) / (1.0 + n_permutations)


def _p_of_labels(
    base: Float[np.ndarray, "n k"],
    other: Float[np.ndarray, "m k"],
    n_permutations: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " k"]:
    """Two-sided: any cell may have been of any condition."""
    both = np.concatenate([base, other])
    both = both - both.mean(axis=0)
    n = len(both)
    observed = np.abs(both[len(base) :].sum(axis=0))
    extreme = np.zeros(both.shape[1])
    for start in range(0, n_permutations, AT_A_TIME):
        some = min(AT_A_TIME, n_permutations - start)
        chosen = np.zeros((some, n))
        drawn = rng.random((some, n)).argpartition(len(other) - 1, axis=1)[:, : len(other)]
        np.put_along_axis(chosen, drawn, 1.0, axis=1)
        extreme += (np.abs(chosen @ both) >= observed * (1.0 - 1e-9)).sum(axis=0)
    return (1.0 + extreme) / (1.0 + n_permutations)
