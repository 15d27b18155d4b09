"""Spots whose molecules are not what their image lets one expect, with a false discovery rate.

KL(q_i || p_i) of a spot grows with how sure its molecules are, which differs between domains. Let
K_i be the KL of spot i with its own image, and N_i the mean of its KL with images of other spots of
the section, drawn at random. For a spot of molecular domain d:

    r_i = log K_i - log N_i                    how well its own image does beside any image     (1)
    s_i = mean of r over the spot and its neighbours in the domain                          (2)
    t_i = (s_i - median_d s) / (1.4826 MAD_d s)                                              (3)

Most spots of a domain agree with their image, so that median and median absolute deviation describe
those that do. Their t is not normal, and its upper tail is what is asked about; so the lower tail
stands for it, as far as spots agree:

    FDR(c) = (1 + #{t_i <= -c}) / #{t_i >= c},   q_i = min over c <= t_i of FDR(c)           (4)

which is the estimate of mirror statistics, and holds when t of agreeing spots is not skewed to the
right. Spots are flagged in compact patches: eq. 2 is an average over neighbours.

Barber & Candes (2015), Annals of Statistics 43, 2055-2085. doi:10.1214/15-AOS1337 (eq. 4)
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse, stats

from synthome.graph import Graph

FEWEST = 20  # spots of a domain that describe it by themselves
LEAST = 1e-6  # nats


def discordance(
    kl: Float[np.ndarray, " n_obs"],
    domains: np.ndarray,
    graph: Graph,
    null_kl: Float[np.ndarray, "n_permutations n_obs"] | None = None,
    level: float = 0.1,
) -> pd.DataFrame:
    """Eqs. 1 to 4.

    Parameters
    ----------
    kl
        KL(q || p) of each spot in nats.
    null_kl
        The same with the images of other spots; None leaves N_i out of eq. 1.

    Returns
    -------
    Columns ``kl``, ``score`` (t of eq. 3), ``p_value`` (of t under a standard normal law, for the
    eye), ``q_value`` and ``disagrees``: q <= ``level``.
    """
    r = np.log(np.maximum(kl, LEAST))
    if null_kl is not None:
        r = r - np.log(np.maximum(null_kl.mean(axis=0), LEAST))
    s = _within(r, domains, graph)
    t = np.empty(len(s))
    everywhere = _centre(s)
    for name in np.unique(domains):
        rows = domains == name
        centre, spread = _centre(s[rows]) if rows.sum() >= FEWEST else everywhere
        t[rows] = (s[rows] - centre) / spread
    q = _mirror(t)
    return pd.DataFrame(
        {"kl": kl, "score": t, "p_value": stats.norm.sf(t), "q_value": q, "disagrees": q <= level}
    )


def _within(
    r: Float[np.ndarray, " n_obs"], domains: np.ndarray, graph: Graph
) -> Float[np.ndarray, " n_obs"]:
    """Eq. 2."""
    edges = graph.matrix().tocoo()
    same = domains[edges.row] == domains[edges.col]
    near = (edges.row[same], edges.col[same])
    n = len(r)
    whole = sparse.csr_matrix((np.ones(same.sum()), near), shape=(n, n)) + sparse.eye_array(n)
    return np.asarray(whole @ r).ravel() / np.asarray(whole.sum(axis=1)).ravel()


def _centre(s: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Median, and 1.4826 median absolute deviations."""
    centre = float(np.median(s))
    return centre, max(float(1.4826 * np.median(np.abs(s - centre))), 1e-9)


def _mirror(t: Float[np.ndarray, " n_obs"]) -> Float[np.ndarray, " n_obs"]:
    """Q of eq. 4; 1 for spots below the centre."""
    order = np.argsort(-t, kind="stable")
    high = t[order]
    low = np.sort(-t)  # ascending: how many are >= c
    below = len(t) - np.searchsorted(low, high, side="left")
    above = np.searchsorted(-high, -high, side="right")
    fdr = np.where(high > 0.0, (1.0 + below) / above, 1.0)
    q = np.empty(len(t))
    q[order] = np.minimum.accumulate(np.minimum(fdr, 1.0)[::-1])[::-1]
    return q


def discordance_scores(
    table: pd.DataFrame, planted: np.ndarray | None, level: float, n_permutations: int
) -> dict[str, Any]:
    """How many spots disagree, and where patches were planted, how well they are found."""
    from sklearn.metrics import average_precision_score

    flagged = table["disagrees"].to_numpy(bool)
    result: dict[str, Any] = {
        "tested": True,
        "reason": "",
        "n_spots": len(table),
        "n_flagged": int(flagged.sum()),
        "fdr": level,
        "n_permutations": n_permutations,
        "auprc": None,
        "base_rate": None,
        "false_discovery_share": None,
    }
    if planted is not None:
        result["base_rate"] = float(planted.mean())
        if planted.any():
            result["auprc"] = float(average_precision_score(planted, table["score"]))
        wrong = float((flagged & ~planted).sum())
        result["false_discovery_share"] = wrong / max(1, int(flagged.sum()))
    return result
