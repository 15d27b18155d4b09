"""How well a change of cells was predicted: three scores between "no change" and real cells.

With gene means p of the prediction, y of true cells and c of control cells (log expression), and a
weight for each gene, by default the squared t of true against control cells,

    R2 = 1 - sum_g w_g (p_g - y_g)^2 / sum_g w_g (y_g - c_g)^2                              (1)

is 1 for a perfect prediction and 0 for p = c. Weights let genes count that do change; without them
the mean of all data wins (Mejia et al. 2025). The correlation of p - c and y - c over the genes
that change most sees directions alone, and no size. The energy distance compares whole sets of
cells, here with squared Euclidean distances, as in scPerturb, and without bias,

    E = 2 mean |x_i - y_j|^2 - mean_{i != j} |x_i - x_j|^2 - mean_{i != j} |y_i - y_j|^2    (2)

which may be negative when the sets do not differ. With squared distances it is the squared
distance of the means, corrected for sampling, twice; ``squared=False`` is the distance of Székely
and Rizzo, which also sees spread and shape.

The cells that a prediction starts from, those that c is the mean of, and the true cells are to be
different cells: shared ones make "no change" look perfect where nothing changes.

Mejia et al. (2025), arXiv:2506.22641.
Peidli et al. (2024), Nature Methods 21, 531-540. doi:10.1038/s41592-023-02144-y
Székely, Rizzo (2013), J. Stat. Plan. Inference 143, 1249-1272. doi:10.1016/j.jspi.2013.03.018
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from synthome.evaluation.biology import welch_t
from synthome.evaluation.fidelity import pearson, squared_distances

PerGene = Float[np.ndarray, " n_vars"]
EVIDENCE = 5.0  # |t| from which on a gene is called changed


def change_t(
    control: Float[np.ndarray, "n n_vars"], true: Float[np.ndarray, "m n_vars"]
) -> PerGene:
    """Welch's t of true against control cells, per gene; its square is the weight of eq. 1."""
    sides = np.repeat(["control", "true"], [len(control), len(true)])
    return welch_t(np.concatenate([control, true]), sides, "true")


def weighted_delta_r2(
    predicted: PerGene, true: PerGene, control: PerGene, weights: PerGene
) -> float:
    """Eq. 1; NaN when no gene of weight changes."""
    change = float((weights * np.square(true - control)).sum())
    error = float((weights * np.square(predicted - true)).sum())
    return 1.0 - error / change if change > 0.0 else float("nan")


def pearson_delta_top(
    predicted: PerGene, true: PerGene, control: PerGene, t: PerGene, n_top: int = 50
) -> float:
    """Correlation of predicted and true change over the ``n_top`` genes of largest |t|.

    NaN when the prediction is no change, or is the same for all of them.
    """
    top = np.argsort(-np.abs(t), kind="stable")[:n_top]
    return pearson((predicted - control)[top], (true - control)[top])


def e_distance(
    x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "m p"], squared: bool = True
) -> float:
    """Eq. 2; NaN for fewer than two rows on a side."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return float("nan")
    if squared:
        gap = float(np.square(x.mean(axis=0) - y.mean(axis=0)).sum())
        noise = float(x.var(axis=0, ddof=1).sum() / n + y.var(axis=0, ddof=1).sum() / m)
        return 2.0 * (gap - noise)

    def within(a: Float[np.ndarray, "k p"]) -> float:
        k = len(a)
        distance = np.sqrt(squared_distances(a, a))
        np.fill_diagonal(distance, 0.0)
        return float(distance.sum() / (k * (k - 1)))

    return 2.0 * float(np.sqrt(squared_distances(x, y)).mean()) - within(x) - within(y)


def change_scores(
    predicted: Float[np.ndarray, "n n_vars"],
    control: Float[np.ndarray, "m n_vars"],
    true: Float[np.ndarray, "k n_vars"],
    components: Callable[[np.ndarray], np.ndarray],
    n_top: int = 50,
) -> dict[str, float]:
    """All scores of predicted cells, in log expression.

    Returns
    -------
    ``weighted_delta_r2``, ``pearson_delta_top50``, ``e_distance`` (in ``components``),
    ``down_accuracy`` (share of the genes that fall, t < -5, which are predicted to fall; NaN where
    none does) and ``n_changed`` (genes of |t| > 5).
    """
    t = change_t(control, true)
    means = predicted.mean(axis=0), true.mean(axis=0), control.mean(axis=0)
    fallen = t < -EVIDENCE
    falls = (means[0] - means[2])[fallen] < 0.0
    return {
        "weighted_delta_r2": weighted_delta_r2(*means, weights=np.square(t)),
        "pearson_delta_top50": pearson_delta_top(*means, t=t, n_top=n_top),
        "e_distance": e_distance(components(predicted), components(true)),
        "down_accuracy": float(falls.mean()) if fallen.any() else float("nan"),
        "n_changed": float((np.abs(t) > EVIDENCE).sum()),
    }


def random_parts(
    rows: Int[np.ndarray, " n"], n_parts: int, rng: np.random.Generator
) -> list[Int[np.ndarray, " _"]]:
    """``rows`` dealt at random to parts that differ by at most one in size."""
    return np.array_split(rng.permutation(rows), n_parts)
