"""What an image gives beyond the best of images that are wrong on purpose.

For a score s (more is better), arm a, and pairs r of a seed and a section:

    a* = argmax over controls a of mean_r s_ar                                             (1)
    gain = mean_r d_r,  d_r = s_real,r - s_a*,r                                            (2)

with Student's interval, and the share of sign flips of d whose mean is as large (exact, one-sided).
Choosing the best control makes the gain a little too small, never too large. Seeds of one section
share its spots: their interval says how sure the answer is for this tissue, not for the next one.
"""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from synthome.rng import generator

SCORES = {  # name -> column, sign
    "balanced_accuracy": ("balanced_accuracy", 1.0),
    "prior_balanced_accuracy": ("prior_balanced_accuracy", 1.0),
    "ari": ("ari", 1.0),
    "elbo": ("elbo", 1.0),
}
BASELINE = "components"  # of ``tissue_reading``: no training, hence no control of the image
FEWEST_PAIRS = 3
EXACT_PAIRS = 12  # up to which all sign flips are tried
N_FLIPS = 4_096


def image_gain(domain_scores: pd.DataFrame) -> dict[str, Any]:
    """Eqs. 1 and 2 for each score that was measured.

    Parameters
    ----------
    domain_scores
        One row per ``arm``, ``seed`` and ``section``; arms ``real`` and its controls.

    Returns
    -------
    ``tested``, ``reason``, ``scores`` by name, and ``verdict``: ``helps`` when the interval of the
    main score, balanced accuracy of labels where there are any, else ELBO, is above 0 for the best
    control and the mean is above that without an image; ``cannot be told`` with fewer than three
    pairs; else ``does not help``.
    """
    table = domain_scores[domain_scores["arm"] != BASELINE]
    table = table.assign(elbo=-(table["nll"] + table["kl"]))
    present = set(table["arm"])
    if "real" not in present or len(present) < 2:
        reason = "The tissue has no image." if "real" not in present else "No control was fitted."
        return {"tested": False, "reason": reason, "scores": {}, "verdict": "not tested"}
    found = {}
    for name, (column, sign) in SCORES.items():
        wide = table.pivot_table(index=["seed", "section"], columns="arm", values=column) * sign
        wide = wide.dropna(axis=1, how="all").dropna()
        if "real" in wide and wide.shape[1] > 1 and len(wide):
            found[name] = _gain(wide)
    if not found:
        reason = "No score could be computed."
        return {"tested": False, "reason": reason, "scores": {}, "verdict": "not tested"}
    n_sections = table["section"].nunique()
    reason = "" if n_sections > 1 else "One section: the interval speaks of this tissue alone."
    main = found.get("balanced_accuracy") or found["elbo"]
    return {"tested": True, "reason": reason, "scores": found, "verdict": _verdict(main)}


def _gain(wide: pd.DataFrame) -> dict[str, Any]:
    controls = wide.drop(columns="real").mean()
    best = str(controls.idxmax())
    d = (wide["real"] - wide[best]).to_numpy()
    half = 0.0
    if len(d) > 1:
        half = float(stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)))
    return {
        "gain": float(d.mean()),
        "low": float(d.mean() - half) if len(d) > 1 else float("nan"),
        "high": float(d.mean() + half) if len(d) > 1 else float("nan"),
        "p_value": _sign_flips(d) if len(d) > 1 else None,
        "best_control": best,
        "n_pairs": len(d),
        "arms": {str(arm): float(value) for arm, value in wide.mean().items()},
    }


def _sign_flips(d: Float[np.ndarray, " n_pairs"]) -> float:
    """Share of sign flips with a mean as large as that of ``d``, itself included."""
    if len(d) <= EXACT_PAIRS:
        signs = np.array(list(product((1.0, -1.0), repeat=len(d))))
    else:
        signs = generator(0, "sign flips").choice((1.0, -1.0), size=(N_FLIPS, len(d)))
        signs[0] = 1.0
    return float(((signs @ d) >= d.sum() - 1e-12).mean())


def _verdict(main: dict[str, Any]) -> str:
    if main["n_pairs"] < FEWEST_PAIRS:
        return "cannot be told"
    beats_none = main["arms"]["real"] > main["arms"].get("none", -np.inf)
    return "helps" if main["low"] > 0.0 and beats_none else "does not help"


def blocked_accuracy(
    z: Float[np.ndarray, "n_obs d"],
    labels: np.ndarray,
    block: np.ndarray,
    n_folds: int,
    seed: int,
) -> tuple[float, float]:
    """Accuracy and balanced accuracy of labels read linearly from ``z`` in held-out blocks.

    Whole blocks of spots are dealt to folds; scales and the logistic regression are fitted in the
    others, for balanced accuracy with classes of equal weight. Spots labelled "" are left out. All
    predictions are scored together; NaN where no fold has two classes to learn from.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = labels != ""
    z, labels, block = z[known], labels[known], block[known]
    names, of_row = np.unique(block, return_inverse=True)
    deal = generator(seed, "blocked accuracy").permutation(len(names)) % n_folds
    fold = deal[of_row]
    scores = []
    for weight, score in ((None, accuracy_score), ("balanced", balanced_accuracy_score)):
        predicted = np.full(len(labels), "", dtype=labels.dtype)
        for f in np.unique(fold):
            train, test = fold != f, fold == f
            if len(np.unique(labels[train])) < 2:
                continue
            logistic = LogisticRegression(max_iter=500, class_weight=weight)
            reader = make_pipeline(StandardScaler(), logistic).fit(z[train], labels[train])
            predicted[test] = reader.predict(z[test])
        complete = len(labels) > 0 and bool((predicted != "").all())
        scores.append(float(score(labels, predicted)) if complete else float("nan"))
    return scores[0], scores[1]
