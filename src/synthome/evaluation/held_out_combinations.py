"""Whole combinations of contexts held out, and predicted: counterfactuals that have a truth.

All cells of one label under one category of another field (monocytes of one chemistry, say) are
left out of everything that is fitted. They are then predicted from cells of the label under another
category, and compared with the true ones by the scores of ``counterfactual``:

``no_change``    the source cells as they are: the floor
``additive``     source cells plus the mean change of log expression over the other labels
``similarity``   the same, other labels weighted by how near their source cells are (eq. 1)
``components``   the additive change within the principal components of the other cells
``published``    the published model (``published_cycle_ae``)
``cycle_ae``     counterfactual cells of the model
``ceiling``      other true cells of the combination

With d_s the change of label s between its means, and D_s the squared distance of its source mean
from that of the target label, over the mean of all such distances,

    d = sum_s exp(-D_s / T) d_s / sum_s exp(-D_s / T)                                          (1)

and T is the value with which the labels predict one another best, each left out in turn.

Source cells are halved: predictions start from one half, the other is what change is measured from
and is left out of everything that is fitted. True cells are halved, for reference and ceiling. A
reconstruction, of a cell in its own contexts, is no counterfactual, and is not scored here.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, field_keys, label_key
from synthome.config import Config
from synthome.evaluation.counterfactual import change_scores, random_parts
from synthome.evaluation.representations import log_expression
from synthome.evaluation.some_rows import some_rows
from synthome.rng import generator

SCORES = ["weighted_delta_r2", "pearson_delta_top50", "e_distance", "down_accuracy"]
KEY = ["target", "field", "source", "category", "label", "method"]
TEMPERATURES = (0.1, 0.3, 1.0, 3.0, 10.0)
INFORMATIVE_GENES, INFORMATIVE_CEILING = 20, 0.9

logger = logging.getLogger(__name__)


class Model(Protocol):
    """What is asked of a fitted model."""

    def counterfactual(
        self, adata: AnnData, target: Mapping[str, str], rng: np.random.Generator
    ) -> AnnData:
        """The same cells with the fields of ``target`` changed, log expression in ``X``."""
        ...


Fit = Callable[[AnnData], Model]


class HeldOutConfig(Config):
    """Which combinations are held out, and how often cells are halved.

    Attributes
    ----------
    targets
        Named ones, as ``label|field|source|category``; None takes the largest of each field.
    n_targets
        How many of each field are taken.
    n_deals
        Halvings of source cells; a model is fitted for each.
    n_halves
        Halvings of the true cells for each of these.
    min_cells
        Of source and of target.
    max_cells
        Of more, so many are drawn, in the shares of their combinations, but up to a quarter of
        source and target: models are fitted anew for each combination that is held out.
    """

    targets: tuple[str, ...] | None = None
    n_targets: PositiveInt = 1
    n_deals: PositiveInt = 1
    n_halves: PositiveInt = 5
    n_components: PositiveInt = 30
    min_cells: int = Field(default=30, ge=8)
    max_cells: PositiveInt = 20_000
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Target:
    """One combination that is held out: ``label`` under ``category`` of ``field``."""

    label: str
    field: str
    source: str
    category: str

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.label}, {self.source} → {self.category}"


def choose_targets(adata: AnnData, config: HeldOutConfig) -> list[Target]:
    """The combinations that can be predicted: those named, or the largest of each field.

    At least one other label must show the change, with as many cells on both sides.

    Raises
    ------
    ValueError
        If a named target is not of the form ``label|field|source|category``.
    """
    if config.targets is not None:
        return [Target(*_four(name)) for name in config.targets]
    key, found = label_key(adata), []
    for field in field_keys(adata):
        if field == key:
            continue
        sizes = pd.crosstab(adata.obs[key].astype(str), adata.obs[field].astype(str))
        enough = sizes >= config.min_cells
        choices = [
            (min(sizes.loc[label, a], sizes.loc[label, b]), Target(str(label), field, a, b))
            for label in sizes.index
            for a in sizes.columns
            for b in sizes.columns
            if a != b
            and enough.loc[label, a]
            and enough.loc[label, b]
            and (enough[a] & enough[b]).drop(label).any()
        ]
        choices.sort(key=lambda c: -c[0])
        found += [target for _, target in choices[: config.n_targets]]
    if not found:
        logger.warning(
            "No combination is held out: that takes two labels with %d cells under two categories "
            "of a field.",
            config.min_cells,
        )
    return found


def held_out_combinations(
    adata: AnnData, fits: Mapping[str, Fit], config: HeldOutConfig
) -> pd.DataFrame:
    """Score each method on each held-out combination.

    Parameters
    ----------
    adata
        Cells with counts, library sizes and fields.
    fits
        Name of a method -> what fits a model to cells.

    Returns
    -------
    Columns ``target``, ``field``, ``source``, ``category``, ``label``, ``method``, the scores, each
    with ``_sd`` (over halves and deals), ``n_cells`` (of the target), ``n_changed`` (genes with
    |t| > 5) and ``informative`` (20 such genes, and a ceiling of 0.9 or more).
    """
    rows = []
    for target in choose_targets(adata, config):
        some = _some_cells(adata, target, config)
        for deal in range(config.n_deals):
            rows += list(_one_deal(some, target, fits, config, deal))
    numbers = [*SCORES, "n_changed", "n_cells"]
    table = pd.DataFrame(rows, columns=[*KEY, *numbers]).astype(dict.fromkeys(numbers, float))
    grouped = table.groupby(KEY, sort=False)
    result = grouped[SCORES].mean().join(grouped[SCORES].std().add_suffix("_sd"))
    result = result.join(grouped[["n_changed", "n_cells"]].mean()).reset_index()
    ceiling = result[result["method"] == "ceiling"].set_index("target")["weighted_delta_r2"]
    good = result["target"].map(ceiling) >= INFORMATIVE_CEILING
    result["informative"] = good & (result["n_changed"] >= INFORMATIVE_GENES)
    return result.astype({"n_cells": int})


def _some_cells(adata: AnnData, target: Target, config: HeldOutConfig) -> AnnData:
    """At most ``max_cells``: a quarter are source and target, where they have as many."""
    if adata.n_obs <= config.max_cells:
        return adata
    context = adata.obs[target.field].astype(str).isin([target.source, target.category])
    own = ((adata.obs[label_key(adata)].astype(str) == target.label) & context).to_numpy()
    parts = []
    for mask, n in ((own, config.max_cells // 4), (~own, config.max_cells * 3 // 4)):
        rows = np.flatnonzero(mask)
        parts.append(rows[some_rows(adata[rows], n, config.seed)])
    return adata[np.sort(np.concatenate(parts))].copy()


def _one_deal(
    adata: AnnData, target: Target, fits: Mapping[str, Fit], config: HeldOutConfig, deal: int
) -> Iterator[tuple[Any, ...]]:
    """Rows of one halving of the source cells."""
    rng = generator(config.seed, "held out", target.name, deal)
    label = adata.obs[label_key(adata)].astype(str).to_numpy()
    context = adata.obs[target.field].astype(str).to_numpy()
    held = (label == target.label) & (context == target.category)
    start, control = random_parts(
        np.flatnonzero((label == target.label) & (context == target.source)), 2, rng
    )
    kept = ~held
    kept[control] = False
    x = log_expression(adata.layers[COUNTS], _library_size(adata))
    pca = _components(x[kept], config)
    predicted = dict(_baselines(x, kept, start, label, context, target, pca))
    for name, fit in fits.items():
        model = fit(adata[kept].copy())
        goal = {target.field: target.category, **_shared_fields(adata, held, target)}
        made = model.counterfactual(adata[start].copy(), goal, rng)
        predicted[name] = np.asarray(
            made.X.toarray() if sparse.issparse(made.X) else made.X, dtype=np.float64
        )
    reference = x[control].toarray()
    for _ in range(config.n_halves):
        true, other = random_parts(np.flatnonzero(held), 2, rng)
        truth = x[true].toarray()
        for name, cells in {**predicted, "ceiling": x[other].toarray()}.items():
            scores = change_scores(cells, reference, truth, pca.transform)
            own = [scores[score] for score in (*SCORES, "n_changed")]
            yield (
                target.name, target.field, target.source, target.category, target.label,
                name, *own, int(held.sum()),
            )  # fmt: skip


def _shared_fields(
    adata: AnnData, held: Bool[np.ndarray, " n_obs"], target: Target
) -> dict[str, str]:
    """Other fields in which all held-out cells are of one category: where they were made."""
    found = {}
    for field in field_keys(adata):
        values = adata.obs[field].astype(str).to_numpy()[held]
        if field not in (label_key(adata), target.field) and len(set(values)) == 1:
            found[field] = str(values[0])
    return found


def _baselines(
    x: sparse.csr_matrix,
    kept: Bool[np.ndarray, " n_obs"],
    start: Int[np.ndarray, " n_start"],
    label: np.ndarray,
    context: np.ndarray,
    target: Target,
    pca: Any,
) -> Iterator[tuple[str, Float[np.ndarray, "n_start n_vars"]]]:
    """What needs no model."""
    own = x[start].toarray()
    yield "no_change", own
    before, change = {}, {}
    for name in np.unique(label):
        sides = [kept & (label == name) & (context == c) for c in (target.source, target.category)]
        if name != target.label and min(side.sum() for side in sides) >= 2:
            before[name] = _mean(x, sides[0])
            change[name] = _mean(x, sides[1]) - before[name]
    if not change:
        return
    additive = np.mean(list(change.values()), axis=0)
    yield "additive", own + additive
    yield "similarity", own + by_similarity(own.mean(axis=0), before, change)
    yield "components", own + (additive @ pca.components_.T) @ pca.components_


def by_similarity(
    source: Float[np.ndarray, " n_vars"],
    before: Mapping[str, Float[np.ndarray, " n_vars"]],
    change: Mapping[str, Float[np.ndarray, " n_vars"]],
) -> Float[np.ndarray, " n_vars"]:
    """Eq. 1: the change of labels, those near ``source`` before it counting more."""
    names = list(change)

    def predict(at: np.ndarray, of: Sequence[str], temperature: float) -> np.ndarray:
        distance = np.array([np.square(at - before[name]).sum() for name in of])
        scaled = distance / max(distance.mean(), 1e-12)
        weight = np.exp(-(scaled - scaled.min()) / temperature)
        found: np.ndarray = weight @ np.stack([change[name] for name in of]) / weight.sum()
        return found

    def error(temperature: float) -> float:
        return sum(
            float(np.square(predict(before[n], _without(names, n), temperature) - change[n]).sum())
            for n in names
        )

    best = TEMPERATURES[-1] if len(names) < 3 else min(TEMPERATURES, key=error)
    return predict(source, names, best)


def _without(names: Sequence[str], name: str) -> list[str]:
    return [other for other in names if other != name]


def _mean(x: sparse.csr_matrix, rows: Bool[np.ndarray, " n_obs"]) -> Float[np.ndarray, " n_vars"]:
    return np.asarray(x[rows].mean(axis=0)).ravel()


def _components(x: sparse.csr_matrix, config: HeldOutConfig) -> Any:
    """Principal components of the cells that are not held out."""
    from sklearn.decomposition import PCA

    k = min(config.n_components, *(n - 1 for n in x.shape))
    return PCA(k, svd_solver="arpack", random_state=config.seed % 2**32).fit(x)


def _library_size(adata: AnnData) -> Float[np.ndarray, " n_obs"]:
    return adata.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)


def _four(name: str) -> list[str]:
    parts = name.split("|")
    if len(parts) != 4:
        raise ValueError(
            f"The held-out target {name!r} is not of the form label|field|source|category."
        )
    return parts
