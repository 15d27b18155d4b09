"""Which genes a forest relies on, and whether it would choose them again.

Importance is the loss of balanced accuracy on *held-out* rows when one gene is permuted (Breiman
2001). Impurity importance, which the published work ranks by, is measured on the training rows
and is used here only to shortlist genes, because each permuted gene costs a prediction.

Stability is the measure of Nogueira et al., corrected for the overlap that chance gives: 1 when
every seed and fold chooses the same genes, 0 when they choose at random.

Breiman (2001), Machine Learning 45, 5-32. doi:10.1023/A:1010933404324
Nogueira, Sechidis, Brown (2018), JMLR 18(174), 1-54, eq. 4 and theorem 7.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from synthome.evaluation.classifiers import Forest, fit_forest
from synthome.evaluation.rates import Z95
from synthome.evaluation.utility import balanced_accuracy

Rows = Float[np.ndarray, "n_obs n_vars"]


def permutation_biomarkers(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    genes: np.ndarray,
    rng: np.random.Generator,
    n_shortlist: int = 100,
    n_permutations: int = 10,
) -> pd.DataFrame:
    """Genes of a forest by what their permutation costs on held-out rows, dearest first.

    Returns
    -------
    Columns ``gene``, ``importance`` (mean loss of balanced accuracy), ``sd`` (over permutations)
    and ``impurity``, for the shortlist by impurity.
    """
    seed = int(rng.integers(2**31 - 1))
    model = fit_forest(*train, n_train=len(train[1]), seed=seed)
    impurity = model.forest.feature_importances_  # type: ignore[attr-defined]
    shortlist = np.argsort(-impurity, kind="stable")[:n_shortlist]
    x, y = test
    before = _accuracy(model, x, y)
    loss = np.zeros((len(shortlist), n_permutations))
    for i, j in enumerate(shortlist):
        permuted = np.repeat(x, n_permutations, axis=0)  # each row once per permutation
        orders = np.stack([rng.permutation(len(x)) for _ in range(n_permutations)], axis=1)
        permuted[:, j] = x[orders.ravel(), j]
        predicted = model.classes[model.probabilities(permuted).argmax(axis=1)]
        after = [
            balanced_accuracy(y, p) for p in predicted.reshape(len(x), n_permutations).T
        ]  # (n_permutations,)
        loss[i] = before - np.array(after)
    table = pd.DataFrame(
        {
            "gene": genes[shortlist],
            "importance": loss.mean(axis=1),
            "sd": loss.std(axis=1, ddof=1) if n_permutations > 1 else np.nan,
            "impurity": impurity[shortlist],
        }
    )
    return table.sort_values(
        ["importance", "impurity"], ascending=False, kind="stable", ignore_index=True
    )


def selection_stability(
    selected: Bool[np.ndarray, "n_runs n_vars"],
) -> tuple[float, tuple[float, float]]:
    """Chance-corrected agreement of repeated choices of genes, with its 95 % interval.

    NaN for fewer than two runs, or when every run chooses nothing or everything.
    """
    n_runs, n_vars = selected.shape
    chosen = selected.sum(axis=1).mean() / n_vars
    if n_runs < 2 or not 0 < chosen < 1:
        return float("nan"), (float("nan"), float("nan"))
    frequency = selected.mean(axis=0)
    expected = chosen * (1.0 - chosen)
    spread = n_runs / (n_runs - 1) * frequency * (1.0 - frequency)
    stability = 1.0 - spread.mean() / expected
    share = selected.mean(axis=1)  # (n_runs,)
    phi = (
        (selected * frequency).mean(axis=1)
        - share * chosen
        + stability / 2.0 * (2.0 * chosen * share - share - chosen + 1.0)
    ) / expected  # theorem 7
    variance = 4.0 / n_runs**2 * np.square(phi - phi.mean()).sum()
    reach = Z95 * np.sqrt(variance)
    return float(stability), (float(stability - reach), float(min(stability + reach, 1.0)))


def _accuracy(model: Forest, x: Rows, y: np.ndarray) -> float:
    return balanced_accuracy(y, model.classes[model.probabilities(x).argmax(axis=1)])
