"""Spots whose molecules are not what their image lets one expect, with a false discovery rate.

KL(q || p) of a latent of 32 numbers is mostly about programmes that run across domains, which no
image shows. So both beliefs are read where an image can speak, in the domains d of the tissue:

    q_i(d) = p(d | z_i)                              by the posterior mean of spot i           (1)
    p_i(d) = mean over spots j near i of p(d | I_j)^t / sum_k p(k | I_j)^t
                                                     by image features I alone                 (2)
    K_i    = sum_d q_i(d) log(q_i(d) / p_i(d))       discordance of a spot, in nats            (3)

Eqs. 1 and 2 are linear discriminants with a covariance shrunk by a tenth, fitted in other blocks
than that of the spot: what was fitted to a patch has learnt what its image goes with there. I_j are
the features of a spot beside the difference that their mean over its neighbours makes. Near are the
spots that averaging twice over neighbours reaches: an image need not be aligned to the spot. Many
features make a discriminant too sure of itself in other blocks; so t, from 0 to 1, is what gives
the nine tenths of the spots that fit best their largest likelihood. An image that tells nothing
has t near 0, and nothing disagrees with it. Latents and domains are those of a model of all spots.

The null is an image exchanged for that of any other spot of the section. All exchanges together
believe in d by pi(d), the mean of p_j(d) over the section, so that none has to be drawn:

    b_i = sum_d q_i(d) log(pi(d) / p_i(d))           evidence for another image                (4)
    s_i = mean of b over the spot and its neighbours                                           (5)
    w_i = rho exp(c s_i) / (rho exp(c s_i) + 1 - rho)  that the image is as good as any     (6)

with rho, the share of such spots, by expectation maximisation. c = 2: seven spots that share their
neighbours count as two. Spots are called from the largest w downwards, as long as the mean of
1 - w over those called, the false discovery rate, is not above the level.

Newton et al. (2004), Biostatistics 5, 155-176. doi:10.1093/biostatistics/5.2.155 (the rate)
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import sparse

from synthome.evaluation.domains import smoothed

SHRINKAGE = 0.1
MOST_FEATURES = 400  # principal components, of features that are more
FEWEST = 5  # spots of a domain, in what a discriminant is fitted to
NEAR = 2  # averages of p over neighbours
LEAST, LEAST_ALONE = 1e-3, 1e-4  # of a probability that images give, and that one gives
FITTING = 0.9  # share of the spots by which t is chosen
INDEPENDENT = 2.0  # c of eq. 6
START, MOST_SHARE, LEAST_SHARE = 0.02, 0.5, 1e-4  # of rho
STEPS, CLOSE = 200, 1e-7


def discordance(
    z: Float[np.ndarray, "n_obs n_latent"],
    features: Float[np.ndarray, "n_obs n_features"],
    domains: np.ndarray,
    graph: sparse.csr_matrix,
    fold: Int[np.ndarray, " n_obs"],
    section: np.ndarray,
    level: float = 0.1,
) -> pd.DataFrame:
    """Eqs. 1 to 6.

    Parameters
    ----------
    z
        Posterior means.
    features
        What the image shows at each spot.
    graph
        Neighbours of each spot, without itself.
    fold
        Whole blocks of tissue; at least two.

    Returns
    -------
    Columns ``kl`` (eq. 3), ``score`` (s of eq. 5), ``posterior`` (w of eq. 6), ``q_value`` and
    ``disagrees``: q <= ``level``.
    """
    names = np.unique(domains)
    around = smoothed(features.astype(np.float64), graph, 1)
    own = _read(np.asarray(z, dtype=np.float64), domains, names, fold)  # (n_obs, n_domains)
    seen = _read(np.hstack([features, around - features]), domains, names, fold)
    seen = _tempered(seen, np.searchsorted(names, domains))
    p = np.maximum(smoothed(seen, graph, NEAR), LEAST)
    pi = np.empty_like(p)
    for one in np.unique(section):
        pi[section == one] = p[section == one].mean(axis=0)
    log_own = np.log(np.maximum(own, np.finfo(float).tiny))
    kl = (own * (log_own - np.log(p))).sum(axis=1)
    evidence = (own * np.log(pi / p)).sum(axis=1)
    score = smoothed(evidence[:, None], graph, 1)[:, 0]
    posterior = _posterior(INDEPENDENT * score)
    q = _rate(posterior)
    return pd.DataFrame(
        {
            "kl": kl,
            "score": score,
            "posterior": posterior,
            "q_value": q,
            "disagrees": q <= level,
        }
    )


def _read(
    x: Float[np.ndarray, "n_obs d"], domains: np.ndarray, names: np.ndarray, fold: np.ndarray
) -> Float[np.ndarray, "n_obs n_domains"]:
    """Probability of each domain at each spot, by a discriminant fitted in the other folds."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = np.zeros((len(x), len(names)))
    for f in np.unique(fold):
        train, test = fold != f, fold == f
        known, size = np.unique(domains[train], return_counts=True)
        known = known[size >= FEWEST]
        of_domain = np.searchsorted(names, known)
        if len(known) < 2:  # one domain elsewhere: it is all that can be believed
            found[np.ix_(test, of_domain)] = 1.0
            continue
        train = train & np.isin(domains, known)
        steps = [StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)]
        if x.shape[1] > MOST_FEATURES:
            most = min(MOST_FEATURES, int(train.sum()) - 1)
            steps.insert(1, PCA(most, svd_solver="randomized", random_state=0))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Variables are collinear")
            reader = make_pipeline(*steps).fit(x[train], domains[train])
        found[np.ix_(test, of_domain)] = reader.predict_proba(x[test])
    return found


def _tempered(
    p: Float[np.ndarray, "n_obs n_domains"], own: Int[np.ndarray, " n_obs"]
) -> Float[np.ndarray, "n_obs n_domains"]:
    """What is averaged in eq. 2, with t by the domains ``own``."""
    from scipy.optimize import minimize_scalar
    from scipy.special import softmax

    log_p, rows = np.log(np.maximum(p, LEAST_ALONE)), np.arange(len(p))
    n_fitting = max(1, int(FITTING * len(p)))

    def cost(t: float) -> float:
        surprise = -np.log(softmax(t * log_p, axis=1)[rows, own])
        return float(np.partition(surprise, n_fitting - 1)[:n_fitting].mean())

    t = minimize_scalar(cost, bounds=(0.0, 1.0), method="bounded").x
    found: np.ndarray = softmax(t * log_p, axis=1)
    return found


def _posterior(log_odds: Float[np.ndarray, " n_obs"]) -> Float[np.ndarray, " n_obs"]:
    """W of eq. 6 at the rho that expectation maximisation finds."""
    from scipy.special import expit, logit

    rho = START
    for _ in range(STEPS):
        was, rho = rho, float(expit(logit(rho) + log_odds).mean())
        rho = min(max(rho, LEAST_SHARE), MOST_SHARE)
        if abs(rho - was) < CLOSE:
            break
    return np.asarray(expit(logit(rho) + log_odds))


def _rate(posterior: Float[np.ndarray, " n_obs"]) -> Float[np.ndarray, " n_obs"]:
    """Mean of 1 - w over the spots that are as likely or more; those of equal w share theirs."""
    order = np.argsort(-posterior, kind="stable")
    rate = np.cumsum(1.0 - posterior[order]) / np.arange(1, len(order) + 1)
    last = np.searchsorted(-posterior[order], -posterior[order], side="right") - 1
    result = np.empty(len(order))
    result[order] = rate[last]
    return result


def discordance_scores(
    table: pd.DataFrame,
    planted: np.ndarray | None,
    level: float,
    untrained: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """How many spots disagree, and where patches were planted, how well they are found.

    ``untrained`` is the table by what no training gives, principal components, for
    ``auprc_untrained``.
    """
    from sklearn.metrics import average_precision_score

    flagged = table["disagrees"].to_numpy(bool)
    result: dict[str, Any] = {
        "tested": True,
        "reason": "",
        "n_spots": len(table),
        "n_flagged": int(flagged.sum()),
        "fdr": level,
        "auprc": None,
        "auprc_untrained": None,
        "base_rate": None,
        "false_discovery_share": None,
    }
    if planted is not None:
        result["base_rate"] = float(planted.mean())
        if planted.any():
            result["auprc"] = float(average_precision_score(planted, table["score"]))
            if untrained is not None:
                bare = average_precision_score(planted, untrained["score"])
                result["auprc_untrained"] = float(bare)
        wrong = float((flagged & ~planted).sum())
        result["false_discovery_share"] = wrong / max(1, int(flagged.sum()))
    return result
