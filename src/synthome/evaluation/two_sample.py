"""How well a classifier tells synthetic rows from real ones.

Equal numbers of real and synthetic rows; 5-fold cross-validation in which gene scaling and 50
principal components are fitted on the training side of each fold; logistic regression; the AUC of
each fold, averaged over folds and over draws of rows. 0.5 is best.

Three traps, each of which moves the number without saying anything about quality:

- Against *training* rows the AUC falls below 0.5 for any generator that matches the training
  moments, copies included: the rows left out are then, by construction, on the other side of the
  balance. Below 0.5 means "no signal", not "very good". Held-out rows are the default.
- Identical rows (copies, drawn twice or present on both sides) must not straddle a fold, or the
  classifier recognises rows instead of distributions. They are kept in one fold.
- A linear classifier on few rows sees little but means: independent noise passes it.

Lopez-Paz and Oquab (2017), ICLR, arXiv:1610.06545.
"""

import numpy as np
from jaxtyping import Float, Int

from synthome.evaluation.classifiers import fit_logistic
from synthome.evaluation.rates import auc


def c2st_auc(
    real: Float[np.ndarray, "n_obs n_vars"],
    synthetic: Float[np.ndarray, "m_obs n_vars"],
    rng: np.random.Generator,
    n_draws: int = 5,
    n_splits: int = 5,
    n_components: int = 50,
    max_rows: int = 400,
) -> float:
    """AUC of a logistic two-sample classifier; NaN with fewer than 4 rows on a side.

    Parameters
    ----------
    n_draws
        Draws of equal numbers of rows. Where nothing is left to chance, one is enough and taken.
    max_rows
        Rows of a side, at most.
    """
    n = min(len(real), len(synthetic), max_rows)
    if n < 4:
        return float("nan")
    if len(real) == len(synthetic) == n:
        n_draws = 1
    aucs = []
    for _ in range(n_draws):
        x = np.concatenate(
            [
                real[rng.permutation(len(real))[:n]],
                synthetic[rng.permutation(len(synthetic))[:n]],
            ]
        )
        is_synthetic = np.repeat([False, True], n)
        fold = _folds(x, is_synthetic, min(n_splits, n), rng)
        for f in np.unique(fold):
            held = fold == f
            score = _scores(x[~held], is_synthetic[~held], x[held], n_components)
            aucs.append(auc(score[is_synthetic[held]], score[~is_synthetic[held]]))
    return float(np.nanmean(aucs)) if np.isfinite(aucs).any() else float("nan")


def _scores(
    train: Float[np.ndarray, "n p"],
    is_synthetic: np.ndarray,
    held: Float[np.ndarray, "m p"],
    n_components: int,
) -> Float[np.ndarray, " m"]:
    """Log odds of being synthetic, for held rows."""
    if is_synthetic.all() or not is_synthetic.any():
        return np.zeros(len(held))
    mean, std = train.mean(axis=0), train.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    train, held = (train - mean) / std, (held - mean) / std
    projections = _principal_components(train, held, n_components)
    return fit_logistic(projections[0], is_synthetic).log_odds(projections[1])[:, 0]


def _principal_components(
    train: Float[np.ndarray, "n p"], other: Float[np.ndarray, "m p"], n_components: int
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "m k"]]:
    """Scores of centred rows on the leading components of ``train``."""
    n, p = train.shape
    if n <= p:
        variance, u = np.linalg.eigh(train @ train.T)
        kept = _leading(variance, min(n_components, n - 1))
        scale = np.sqrt(variance[kept])
        return u[:, kept] * scale, other @ (train.T @ (u[:, kept] / scale))
    variance, v = np.linalg.eigh(train.T @ train)
    kept = _leading(variance, min(n_components, p))
    return train @ v[:, kept], other @ v[:, kept]


def _leading(variance: Float[np.ndarray, " n"], k: int) -> Int[np.ndarray, " k_kept"]:
    """Positions of the ``k`` largest eigenvalues that are not numerically zero."""
    order = np.argsort(-variance)[: max(k, 1)]
    return order[variance[order] > 1e-10 * max(float(variance.max()), 1e-300)]


def _folds(
    x: Float[np.ndarray, "n p"], side: np.ndarray, n_splits: int, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """Fold of each row: both sides spread evenly, identical rows together."""
    _, first, group = np.unique(x, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    counts = np.stack([np.bincount(group[side == s], minlength=len(first)) for s in (False, True)])
    load = np.zeros((2, n_splits))
    fold_of_group = np.empty(len(first), dtype=np.int64)
    shuffled = rng.permutation(len(first))
    for g in shuffled[np.argsort(-counts[:, shuffled].sum(axis=0), kind="stable")]:
        crowding = counts[:, g] @ load + 1e-3 * load.sum(axis=0)
        fold_of_group[g] = int(np.argmin(crowding + 1e-6 * rng.random(n_splits)))
        load[:, fold_of_group[g]] += counts[:, g]
    return fold_of_group[group]
