"""Whether the genes that were turned down or up are found again, by what, and how well.

Base and perturbed cells are *different* cells, drawn anew a few times: between twins nothing but
the perturbed genes differs, and anything finds them. Up and down are scored apart, by the average
precision of a signed score over all genes (chance is the share of planted genes):

``t_test``         Welch's t on log expression, which knows no model: the bar
``mean_shift``     z of the shift read out of a model with its residuals (``mean_shift``)
``latent_shift``   loadings times the shift of the mean latents: what a decoder alone tells
``single_factor``  the loadings of the one factor and sign that does best, chosen by the truth
``chance``         the share of planted genes
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.errors import InputError
from synthome.evaluation.biology import welch_t
from synthome.evaluation.mean_shift import mean_shift
from synthome.evaluation.representations import log_expression
from synthome.evaluation.utility import average_precision
from synthome.simulate.perturbation import BASE, CONDITION, TWIN, Direction

__all__ = ["mean_shift", "planted_auprc"]

SIGN: dict[Direction, float] = {"down": -1.0, "up": 1.0}


def planted_auprc(
    twins: AnnData,
    planted: Mapping[Direction, Collection[str]],
    mu: Float[np.ndarray, "n_obs n_vars"],
    theta: Float[np.ndarray, " n_vars"],
    z: Float[np.ndarray, "n_obs n_latent"],
    loadings: Float[np.ndarray, "n_vars n_latent"],
    rng: np.random.Generator,
    n_draws: int = 4,
) -> pd.DataFrame:
    """Average precision of each way to find the planted genes.

    Parameters
    ----------
    twins
        What ``simulate.perturbation.twins`` made of the training cells.
    planted
        Genes turned down, and genes turned up.
    mu, z
        Expected counts and latents of each row of ``twins``; theta and loadings are the model's.
    n_draws
        Random halves of the cells: one half is base, the other perturbed.

    Returns
    -------
    Columns ``direction``, ``method``, ``auprc`` (mean over draws), ``sd`` (over draws),
    ``n_planted``, ``n_cells`` (of a half).

    Raises
    ------
    InputError
        If a direction has no planted gene among those of the data.
    """
    truth = {d: twins.var_names.isin(list(map(str, genes))) for d, genes in planted.items()}
    missing = [d for d, found in truth.items() if not found.any()]
    if missing:
        raise InputError(
            f"None of the genes planted {', '.join(missing)} is among the {twins.n_vars:,} of the "
            "data. Keep the gene sets in the selection of genes."
        )
    counts = sparse.csr_matrix(twins.layers[COUNTS])
    x = log_expression(counts, twins.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64))
    rows: list[tuple[str, str, float]] = []
    for base, other in _halves(twins, rng, n_draws):
        for direction, is_planted in truth.items():
            pert = other[direction]
            both = np.concatenate([base, pert])
            t = welch_t(
                x[both].toarray(), np.repeat([BASE, direction], [len(base), len(pert)]), direction
            )
            shift = mean_shift(counts[base], mu[base], counts[pert], mu[pert], theta)["z"]
            latent = loadings @ (z[pert].mean(axis=0) - z[base].mean(axis=0))
            scores = {"t_test": t, "mean_shift": shift.to_numpy(), "latent_shift": latent}
            for method, score in scores.items():
                found = average_precision(is_planted, SIGN[direction] * score)
                rows.append((direction, method, found))
            rows.append((direction, "single_factor", _best_factor(is_planted, loadings)))
            rows.append((direction, "chance", float(is_planted.mean())))
    table = pd.DataFrame(rows, columns=["direction", "method", "auprc"])
    summary = table.groupby(["direction", "method"], sort=False)["auprc"].agg(["mean", "std"])
    summary = summary.rename(columns={"mean": "auprc", "std": "sd"}).reset_index()
    return summary.assign(
        n_planted=summary["direction"].map({d: int(found.sum()) for d, found in truth.items()}),
        n_cells=len(base),
    )


def _halves(
    twins: AnnData, rng: np.random.Generator, n_draws: int
) -> Iterator[tuple[Int[np.ndarray, " n"], dict[str, Int[np.ndarray, " m"]]]]:
    """Rows of base cells, and rows by direction of the perturbed forms of all other cells."""
    condition, twin = twins.obs[CONDITION].to_numpy(str), twins.obs[TWIN].to_numpy()
    cells = np.unique(twin)
    for _ in range(n_draws):
        chosen = rng.permutation(cells)[: len(cells) // 2]
        is_base = np.isin(twin, chosen)
        yield (
            np.flatnonzero(is_base & (condition == BASE)),
            {d: np.flatnonzero(~is_base & (condition == d)) for d in SIGN},
        )


def _best_factor(is_planted: np.ndarray, loadings: Float[np.ndarray, "n_vars n_latent"]) -> float:
    columns = np.hstack([loadings, -loadings]).T
    return max(average_precision(is_planted, column) for column in columns)
