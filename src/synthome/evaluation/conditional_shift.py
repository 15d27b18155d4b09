"""A change learnt in some cell types, predicted in another: how far a latent space carries it.

For each cell type in turn, the others show what a perturbation does, and the type itself shows its
unperturbed cells alone. Methods, from what the other types give (their mean, each counts the same):

``no_change``            the control cells as they are: the floor
``additive``             control cells plus the mean change of log expression, gene by gene
``mean_of_perturbed``    the perturbed cells of the other types
``latents``              the mean change of the latents, added to those of each control cell, and
                         the decoded change of its expected counts
``latents+residuals``    the same, and the change of each gene that the latents leave (eq. 1)
``ceiling``              other true cells of the type

Let u_g be the change of the residuals of gene g in the other types and v_g its variance
(``mean_shift``, eq. 4). Most genes do not change, the others by how much is not known:

    u_g ~ (1 - a) Normal(0, v_g) + a Normal(0, v_g + b)       a, b by EM over genes             (1)

u_g is replaced by its posterior mean, so that a count or two of a silent gene are no change, and is
a factor (1 + u_g / 2)^2 on the mean (Stephens 2017, with one normal slab).

A decoded change is a factor r for each cell and gene. It is applied to the counts of the control
cell as ``simulate.perturbation`` does, by thinning (r < 1) or adding Poisson(mu (r - 1)), so that
predicted cells keep the noise of counting: the mean of log counts is not the log of mean counts.

All sets of cells are disjoint: control cells that predictions start from, control cells that the
change is measured from, true cells that are the reference, true cells that are the ceiling, each a
quarter of the type; and in the other types one half is unperturbed, the other perturbed. Scores are
those of ``counterfactual``, averaged over random deals of cells.

Stephens (2017), Biostatistics 18, 275-294. doi:10.1093/biostatistics/kxw041
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, labels
from synthome.config import Config
from synthome.evaluation.counterfactual import change_scores, random_parts
from synthome.evaluation.mean_shift import residual_shift
from synthome.evaluation.representations import log_expression
from synthome.models.shrinkage import shrunken
from synthome.rng import generator
from synthome.simulate.counts import shifted_counts
from synthome.simulate.perturbation import BASE, CONDITION, TWIN

Decode = Callable[[np.ndarray, np.ndarray], np.ndarray]
KEY = ["cell_type", "condition", "method"]
SCORES = ["weighted_delta_r2", "pearson_delta_top50", "e_distance"]

logger = logging.getLogger(__name__)


class ConditionalShiftConfig(Config):
    """How often cells are dealt, and what is measured.

    Attributes
    ----------
    min_cells
        Of a quarter of a type; rarer types are no target, and teach nothing either.
    """

    n_deals: PositiveInt = 5
    n_top: PositiveInt = 50
    n_components: PositiveInt = 30
    min_cells: int = Field(default=10, ge=3)
    seed: NonNegativeInt = 0


@dataclass(frozen=True, eq=False)
class _Cells:
    """All rows, as they are counted, expressed and seen by the model."""

    counts: sparse.csr_matrix
    x: sparse.csr_matrix  # log expression
    library_size: np.ndarray
    z: np.ndarray
    decode: Decode
    theta: np.ndarray

    @classmethod
    def of(cls, twins: AnnData, z: np.ndarray, decode: Decode, theta: np.ndarray) -> Self:
        counts = sparse.csr_matrix(twins.layers[COUNTS])
        size = twins.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
        return cls(counts, log_expression(counts, size), size, z, decode, theta)


def conditional_shift(
    twins: AnnData,
    z: Float[np.ndarray, "n_obs n_latent"],
    decode: Decode,
    theta: Float[np.ndarray, " n_vars"],
    config: ConditionalShiftConfig,
) -> pd.DataFrame:
    """Score each method in each cell type and condition.

    Parameters
    ----------
    twins
        What ``simulate.perturbation.twins`` made.
    z
        Latents of its rows.
    decode
        Takes latents and the rows of ``twins`` that they belong to (whose library size and batch
        hold); returns expected counts, (n, n_vars).

    Returns
    -------
    Columns ``cell_type`` (the target), ``condition``, ``method``, ``weighted_delta_r2``,
    ``pearson_delta_top50``, ``e_distance``, these with ``_sd`` (over deals), ``n_cells`` (of a
    quarter), ``n_changed`` (genes with |t| > 5, mean over deals). No rows, and a warning, if fewer
    than two types have enough cells.
    """
    cells = _Cells.of(twins, z, decode, theta)
    condition, twin = twins.obs[CONDITION].to_numpy(str), twins.obs[TWIN].to_numpy()
    rows_of = {}  # of each condition, in the order of the cells
    for name in np.unique(condition):
        own = np.flatnonzero(condition == name)
        rows_of[str(name)] = own[np.argsort(twin[own])]
    base = rows_of.pop(BASE)
    type_of = labels(twins)[base]
    types, found = _common_types(type_of, config), []
    numbers = [*SCORES, "n_changed", "n_cells"]
    for target in types:
        pca = _components(cells.x[base[type_of != target]].toarray(), config)
        for name, changed in rows_of.items():
            for deal in range(config.n_deals):
                rng = generator(config.seed, "conditional shift", target, name, deal)
                a, b, c, d = random_parts(np.flatnonzero(type_of == target), 4, rng)
                halves = [
                    random_parts(np.flatnonzero(type_of == t), 2, rng) for t in types if t != target
                ]
                sources = [(base[one], changed[other]) for one, other in halves]
                reference = cells.x[base[b]].toarray(), cells.x[changed[c]].toarray()
                for method, predicted in _predictions(cells, base[a], changed[d], sources, rng):
                    scores = change_scores(predicted, *reference, pca, config.n_top)
                    values = [scores[score] for score in numbers[:-1]]
                    found.append((target, name, method, *values, len(c)))
    table = pd.DataFrame(found, columns=[*KEY, *numbers])
    return _averaged(table.astype(dict.fromkeys(numbers, float)))


def _predictions(
    cells: _Cells,
    start: np.ndarray,
    other_true: np.ndarray,
    sources: Sequence[tuple[np.ndarray, np.ndarray]],
    rng: np.random.Generator,
) -> Iterator[tuple[str, np.ndarray]]:
    """Log expression of the cells that each method predicts."""
    x, z = cells.x, cells.z
    own = x[start].toarray()
    yield "no_change", own
    delta = [np.asarray(x[b].mean(axis=0) - x[a].mean(axis=0)).ravel() for a, b in sources]
    yield "additive", own + np.mean(delta, axis=0)
    yield "mean_of_perturbed", x[np.concatenate([b for _, b in sources])].toarray()

    step = np.mean([z[b].mean(axis=0) - z[a].mean(axis=0) for a, b in sources], axis=0)
    mu = cells.decode(z[start], start)
    ratio = cells.decode(z[start] + step, start) / mu
    left = np.square(1.0 + _residual_change(cells, sources) / 2.0)
    counts = cells.counts[start].toarray().astype(np.float64)
    unseen = np.maximum(cells.library_size[start] - counts.sum(axis=1), 0.0)
    for method, factor in (("latents", ratio), ("latents+residuals", ratio * left)):
        new = shifted_counts(counts, mu, factor, rng)
        yield method, log_expression(new, new.sum(axis=1) + unseen).toarray()
    yield "ceiling", x[other_true].toarray()


def _residual_change(
    cells: _Cells, sources: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Float[np.ndarray, " n_vars"]:
    """Change of each gene that the latents leave in the other types: eq. 1."""
    found = []
    for rows in zip(*sources, strict=True):
        all_rows = np.concatenate(rows)
        mu = cells.decode(cells.z[all_rows], all_rows)
        found.append(residual_shift(cells.counts[all_rows], mu, cells.theta))
    (u_base, i_base), (u_pert, i_pert) = found
    return shrunken(u_pert - u_base, 1.0 / i_base + 1.0 / i_pert)


def _averaged(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and sd over deals."""
    grouped = table.groupby(KEY, sort=False)
    spread = grouped[SCORES].std().add_suffix("_sd")
    sizes = grouped[["n_cells", "n_changed"]].mean()
    result = grouped[SCORES].mean().join(spread).join(sizes).reset_index()
    return result.astype({"n_cells": int})


def _components(
    x: Float[np.ndarray, "n n_vars"], config: ConditionalShiftConfig
) -> Callable[[np.ndarray], np.ndarray]:
    """Principal components of cells of other types."""
    from sklearn.decomposition import PCA

    k = min(config.n_components, *(n - 1 for n in x.shape))
    return PCA(k, svd_solver="randomized", random_state=config.seed % 2**32).fit(x).transform


def _common_types(type_of: np.ndarray, config: ConditionalShiftConfig) -> list[str]:
    names, sizes = np.unique(type_of, return_counts=True)
    found = [str(t) for t, n in zip(names, sizes, strict=True) if n >= 4 * config.min_cells]
    if len(found) < 2:
        logger.warning(
            "No change is carried over to another cell type: that takes two types with %d held-out "
            "cells, and %d of %d have them.",
            4 * config.min_cells,
            len(found),
            len(names),
        )
        return []
    return found
