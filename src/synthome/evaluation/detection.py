"""From which dose on a perturbation can be seen: power for cell type, gene set, dose, view.

A repeat draws n cells of a type as they are and n *other* cells of it with their genes turned down
or up, and asks a two-sample test with an exact p-value (``permutation_test``) whether the samples
differ. Power is the share of repeats with p <= 0.05. At dose 1 nothing is perturbed, and the same
share is that of false alarms.

All cells are held out: what a view measures (latents, components, scales) was fitted on other ones.
Views are standardised over the cells of the type as they are. The interval of a power counts
repeats: it says how well the power *on these cells* is known, not how it varies over donors.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from synthome.anndata_schema import labels
from synthome.config import Config
from synthome.evaluation.permutation_test import block_kernel, two_sample_p_values
from synthome.evaluation.rates import binomial_interval
from synthome.rng import generator
from synthome.simulate.perturbation import Direction, Method, perturb

Blocks = tuple[np.ndarray, ...]  # each (n_obs, n_features); blocks count the same
View = Callable[[AnnData], Mapping[str, Blocks]]

AT_A_TIME = 50  # tests whose kernels are in memory together
POWER_COLUMNS = [
    *("cell_type", "gene_set", "direction", "dose", "representation"),
    *("n_cells", "n_repeats", "power", "low", "high"),
]
DOSE_COLUMNS = ["cell_type", "gene_set", "representation", "dose", "low", "high"]

logger = logging.getLogger(__name__)


class DetectionConfig(Config):
    """The grid, and how closely it is looked at.

    Attributes
    ----------
    doses
        Factors; at 1 nothing is perturbed.
    n_cells, min_cells
        Cells of a sample at most, and at least: rarer types are left out.
    n_repeats, n_null_repeats
        Draws of cells at a dose; at dose 1, where a share near 5 % is to be told from 5 %.
    penalty
        Of the ridge regression in the test. A strong one asks for a shift in the views as they are
        more than for the best direction, which takes more cells to find.
    level
        Of false alarms.
    """

    doses: tuple[Annotated[float, Field(ge=1)], ...] = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
    method: Method = "counts"
    n_cells: int = Field(default=50, ge=5)
    min_cells: int = Field(default=10, ge=5)
    n_repeats: PositiveInt = 40
    n_null_repeats: PositiveInt = 400
    n_permutations: int = Field(default=199, ge=19)
    n_splits: int = Field(default=5, ge=2)
    penalty: PositiveFloat = 10.0
    level: float = Field(default=0.05, gt=0, lt=1)
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Perturbed:
    """A gene set and what is done to it."""

    direction: Direction
    genes: Collection[str]


def detection_power(
    adata: AnnData, gene_sets: Mapping[str, Perturbed], view: View, config: DetectionConfig
) -> pd.DataFrame:
    """Power of each view at each dose, for each cell type and gene set.

    Parameters
    ----------
    adata
        Held-out cells with raw counts, unperturbed; the label is the cell type.
    view
        What a test may look at, by name, for any cells: fitted before, on other cells.

    Returns
    -------
    Columns ``cell_type``, ``gene_set``, ``direction``, ``dose``, ``representation``, ``n_cells``
    (of a sample), ``n_repeats``, ``power``, ``low``, ``high`` (Clopper-Pearson over repeats). Types
    without two samples of ``min_cells`` cells are left out, with a warning.
    """
    rows_of = _samples(adata, config)
    if not rows_of:
        return _table([])
    base = view(adata)
    tests = [(cell_type, name) for cell_type in rows_of for name in base]
    null = {
        (t, name): _p_values(
            base[name], base[name], rows_of[t], config, config.n_null_repeats, t, name
        )
        for t, name in tests
    }
    rows: list[tuple] = []
    for gene_set, dose, other in _grid(adata, gene_sets, view, base, config):
        for cell_type, name in tests:
            cells = rows_of[cell_type]
            p = null[cell_type, name]
            if dose != 1.0:
                key = cell_type, name, gene_set, f"{dose:g}"
                p = _p_values(base[name], other[name], cells, config, config.n_repeats, *key)
            power = float((p <= config.level).mean())
            place = cell_type, gene_set, gene_sets[gene_set].direction, dose, name
            n = _sample_size(cells, config)
            rows.append((*place, n, len(p), power, *binomial_interval(power, len(p))))
    return _table(rows)


def smallest_detectable_dose(
    power: pd.DataFrame, target: float = 0.8, n_draws: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Smallest dose with power ``target``, for each cell type, gene set and view.

    Power is made to rise with the dose (isotonic regression: least squares, weighted by repeats)
    and is read between doses along a line in the logarithm of the dose. The interval repeats this
    on binomial draws of the repeats, (k + 1/2) / (n + 1) being the chance of a detection.

    Returns
    -------
    Columns ``cell_type``, ``gene_set``, ``representation``, ``dose``, ``low``, ``high``. NaN is a
    dose beyond all that were tried: not reached.
    """
    rng = generator(seed, "smallest dose")
    rows = []
    for key, part in power.groupby(["cell_type", "gene_set", "representation"], sort=False):
        part = part.sort_values("dose")
        dose, n = part["dose"].to_numpy(float), part["n_repeats"].to_numpy(int)
        share = part["power"].to_numpy(float)
        chance = (share * n + 0.5) / (n + 1.0)
        drawn = rng.binomial(n, chance, size=(n_draws, len(n))) / n
        found = np.array([dose_at(dose, draw, n, target) for draw in drawn])
        found[np.isnan(found)] = np.inf
        low, high = np.quantile(found, [0.025, 0.975], method="nearest")
        limits = [limit if np.isfinite(limit) else np.nan for limit in (low, high)]
        rows.append((*key, dose_at(dose, share, n, target), *limits))
    return pd.DataFrame(rows, columns=DOSE_COLUMNS)


def dose_at(
    dose: Float[np.ndarray, " n_doses"],
    power: Float[np.ndarray, " n_doses"],
    weights: np.ndarray,
    target: float,
) -> float:
    """Dose at which the rising power reaches ``target``; NaN when no dose does.

    A power that the smallest dose has already is reached there.
    """
    from scipy.optimize import isotonic_regression

    rising = isotonic_regression(power, weights=weights).x
    above = np.flatnonzero(rising >= target - 1e-9)
    if len(above) == 0:
        return float("nan")
    i = int(above[0])
    if i == 0:
        return float(dose[0])
    share = (target - rising[i - 1]) / (rising[i] - rising[i - 1])
    return float(np.exp((1.0 - share) * np.log(dose[i - 1]) + share * np.log(dose[i])))


def false_alarms(power: pd.DataFrame) -> pd.DataFrame:
    """Share of detections at dose 1 for each view, over all cell types.

    Returns
    -------
    Columns ``representation``, ``share``, ``low``, ``high`` (Clopper-Pearson), ``n_repeats``.
    """
    null = power[power["dose"] == 1.0].drop_duplicates(["cell_type", "representation"])
    rows = []
    for name, part in null.groupby("representation", sort=False):
        n = int(part["n_repeats"].sum())
        share = float((part["power"] * part["n_repeats"]).sum() / n)
        rows.append((name, share, *binomial_interval(share, n), n))
    return pd.DataFrame(rows, columns=["representation", "share", "low", "high", "n_repeats"])


def _table(rows: list[tuple]) -> pd.DataFrame:
    numbers = dict.fromkeys(("dose", "power", "low", "high"), float)
    whole = dict.fromkeys(("n_cells", "n_repeats"), int)
    return pd.DataFrame(rows, columns=POWER_COLUMNS).astype(numbers | whole)


def _grid(
    adata: AnnData,
    gene_sets: Mapping[str, Perturbed],
    view: View,
    base: Mapping[str, Blocks],
    config: DetectionConfig,
) -> Iterator[tuple[str, float, Mapping[str, Blocks]]]:
    """Views of the perturbed cells, one gene set and dose after the other."""
    for name, perturbed in gene_sets.items():
        for dose in config.doses:
            if dose == 1.0:
                yield name, dose, base
                continue
            rng = generator(config.seed, "perturbed", name, f"{dose:g}")
            changed = perturb(
                adata, perturbed.genes, perturbed.direction, dose, rng, method=config.method
            )
            yield name, dose, view(changed)


def _samples(adata: AnnData, config: DetectionConfig) -> dict[str, np.ndarray]:
    """Rows of each cell type that has cells for two samples."""
    types = labels(adata)
    rows = {str(t): np.flatnonzero(types == t) for t in np.unique(types)}
    enough = {t: own for t, own in rows.items() if len(own) >= 2 * config.min_cells}
    rare = ", ".join(f"{t} ({len(own)})" for t, own in rows.items() if t not in enough)
    if rare:
        logger.warning("Left out of the power of detection, too few cells: %s.", rare)
    return enough


def _p_values(
    base: Blocks,
    other: Blocks,
    cells: np.ndarray,
    config: DetectionConfig,
    n_repeats: int,
    *key: str,
) -> Float[np.ndarray, " n_repeats"]:
    """P of each repeat: n cells as they are, and n others from their perturbed form."""
    rng = generator(config.seed, "repeats", *key)
    n = _sample_size(cells, config)
    pairs = zip(base, other, strict=True)
    kernel = block_kernel([_standardised(x[cells], changed[cells]) for x, changed in pairs])
    drawn = rng.random((n_repeats, len(cells))).argsort(axis=1)[:, : 2 * n]
    drawn[:, n:] += len(cells)  # their perturbed forms
    found = []
    for start in range(0, n_repeats, AT_A_TIME):
        some = drawn[start : start + AT_A_TIME]
        found.append(
            two_sample_p_values(
                kernel[some[:, :, None], some[:, None, :]],
                config.penalty,
                config.n_splits,
                config.n_permutations,
                rng,
            )
        )
    return np.concatenate(found)


def _sample_size(cells: np.ndarray, config: DetectionConfig) -> int:
    return min(config.n_cells, len(cells) // 2)


def _standardised(
    base: Float[np.ndarray, "n p"], other: Float[np.ndarray, "n p"]
) -> Float[np.ndarray, "two_n p"]:
    """Both forms of the cells, one below the other, on the scale of the cells as they are."""
    mean, std = base.mean(axis=0), base.std(axis=0)
    std = np.where(std > 1e-9, std, 1.0)
    return np.concatenate([(base - mean) / std, (other - mean) / std]).astype(np.float32)
