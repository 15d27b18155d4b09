"""The published experiment: tell a cell as it is from its down-regulated and up-regulated twins.

Each cell is there three times, and a classifier says which of the three a row is; guessing is
right in one of three. Two protocols:

``strict``     all twins of a cell, and all cells of a donor, are on one side of the split (the one
               in ``obs["split"]``, or 30 % of the groups, each cell type in its share)
``published``  rows are split at random, 70/30, each condition in its share, so that nearly every
               test row has a twin in training

In both, everything is fitted on training rows: the model that the caller brings, components,
scales, penalties, classifiers. The interval of an accuracy is a bootstrap over groups of test rows,
since the three rows of a cell are no three cells: over donors where five or more are tested, over
cells otherwise, and then it says nothing of how donors differ.

Classifiers are a multinomial logistic regression on every representation, ridge regression on all
genes, and on the latents the published network: one layer of 7 units, 36 x 7 = 252 hidden weights.

References
----------
Field, Welsh (2007), J. R. Stat. Soc. B 69, 369-390. doi:10.1111/j.1467-9868.2007.00593.x
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeInt, PositiveInt

from synthome.anndata_schema import COUNTS, SPLIT, group_key
from synthome.config import Config
from synthome.evaluation.classifiers import standardised_logistic
from synthome.evaluation.representations import (
    N_COMPONENTS,
    N_CROSS,
    Embedded,
    Views,
    contrast_features,
)
from synthome.evaluation.ridge import fit_ridge
from synthome.preprocessing.splits import inner_folds
from synthome.rng import generator, stream
from synthome.simulate.perturbation import BASE, CONDITION, TWIN, Method, twins

Dose = Annotated[float, Field(gt=1)]
Embed = Callable[
    [AnnData, AnnData],
    tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
]
RESULT_COLUMNS = [
    *("protocol", "dose", "representation", "classifier", "accuracy", "low", "high"),
    *("n_features", "n_train", "n_test", "n_groups"),
]
FEW_GROUPS = 5  # of which a bootstrap would show too little
N_PARTS = 10  # that groups are dealt to, of which some are the test part


class ThreeClassConfig(Config):
    """Choices of the experiment.

    Attributes
    ----------
    doses
        Factors by which genes are turned down and up. 1 is left out: its three rows are identical.
    method
        ``counts`` and ``gamma_poisson`` keep whole numbers, ``multiply`` is the published product.
    max_cells
        Cells of the experiment, drawn at random; each gives three rows.
    """

    protocol: Literal["strict", "published"] = "strict"
    doses: tuple[Dose, ...] = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
    method: Method = "counts"
    test_size: float = Field(default=0.3, ge=0.05, le=0.9)
    max_cells: PositiveInt = 1500
    n_components: PositiveInt = N_COMPONENTS
    n_hidden: PositiveInt = 7
    n_bootstrap: PositiveInt = 1000
    seed: NonNegativeInt = 0


@dataclass(frozen=True, eq=False)
class ThreeClass:
    """What the experiment found.

    Attributes
    ----------
    accuracy
        One row for each dose, representation and classifier.
    confusion
        Columns ``dose``, ``representation``, ``classifier``, ``true``, ``predicted``, ``n`` (rows).
    """

    accuracy: pd.DataFrame
    confusion: pd.DataFrame


def three_class(
    adata: AnnData,
    down: Collection[str],
    up: Collection[str],
    embed: Embed,
    config: ThreeClassConfig,
) -> ThreeClass:
    """Run the experiment at each dose.

    Parameters
    ----------
    adata
        Unperturbed cells with raw counts; the label is the cell type, the group the donor, if any.
    embed
        Takes training and test twins; returns their latents, their expected counts (both training
        first), and the inverse dispersion of each gene. It may fit a model to the training twins.
    """
    adata = _some(adata, config)
    rows, confusions = [], []
    for dose in config.doses:
        rng = generator(config.seed, "three class", f"{dose:g}")
        tripled = twins(adata, down, up, dose, rng, method=config.method)
        is_test = held_out_rows(tripled, config)
        train, test = tripled[~is_test].copy(), tripled[is_test].copy()
        z_train, z_test, mu_train, mu_test, theta = embed(train, test)
        embedded = Embedded(z_train, mu_train, theta), Embedded(z_test, mu_test, theta)
        true, group = test.obs[CONDITION].to_numpy(dtype=str), drawn_groups(test)
        sizes = train.n_obs, test.n_obs, len(np.unique(group))
        predictions = _predictions((train, test), embedded, {"down": down, "up": up}, config)
        for representation, classifier, n_features, predicted in predictions:
            right = predicted == true
            draws = generator(config.seed, "bootstrap", f"{dose:g}")
            interval = accuracy_interval(right, group, config.n_bootstrap, draws)
            key = dose, representation, classifier
            rows.append((config.protocol, *key, float(right.mean()), *interval, n_features, *sizes))
            confusions.append(_confusion(true, predicted, key))
    return ThreeClass(
        pd.DataFrame(rows, columns=RESULT_COLUMNS), pd.concat(confusions, ignore_index=True)
    )


def held_out_rows(tripled: AnnData, config: ThreeClassConfig) -> Bool[np.ndarray, " n_obs"]:
    """Which rows are tested, by the protocol."""
    if config.protocol == "published":
        from sklearn.model_selection import train_test_split

        rows = np.arange(tripled.n_obs)
        _, test = train_test_split(
            rows,
            test_size=config.test_size,
            random_state=stream(config.seed, "published split") % 2**32,
            stratify=tripled.obs[CONDITION],
        )
        return np.isin(rows, test)
    if SPLIT in tripled.obs:
        return (tripled.obs[SPLIT] == "test").to_numpy()
    part = inner_folds(tripled, N_PARTS, config.seed)
    return part < max(1, round(config.test_size * N_PARTS))


def accuracy_interval(
    right: Bool[np.ndarray, " n"],
    group: np.ndarray,
    n_bootstrap: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the share of right rows, drawing whole groups with replacement."""
    _, code = np.unique(group, return_inverse=True)
    size = np.bincount(code).astype(float)
    hits = np.bincount(code, right)
    n = len(size)
    times = rng.multinomial(n, np.full(n, 1.0 / n), size=n_bootstrap)  # (n_bootstrap, n_groups)
    shares = (times @ hits) / (times @ size)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(shares, [tail, 1.0 - tail])
    return float(low), float(high)


def published_network(
    x: Float[np.ndarray, "n p"], y: np.ndarray, n_hidden: int, seed: int
) -> Callable[[Float[np.ndarray, "m p"]], np.ndarray]:
    """One hidden layer on standardised features, by L-BFGS: the same weights on every machine."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    network = MLPClassifier(
        (n_hidden,), solver="lbfgs", alpha=1.0, max_iter=300, random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 steps are enough
        network.fit((x - mean) / std, y)
    return lambda new: network.predict((new - mean) / std)


def _predictions(
    rows: tuple[AnnData, AnnData],
    embedded: tuple[Embedded, Embedded],
    sets: dict[str, Collection[str]],
    config: ThreeClassConfig,
) -> list[tuple[str, str, int, np.ndarray]]:
    """Representation, classifier, number of features, and what it says of each test row."""
    train, test = rows
    y = train.obs[CONDITION].to_numpy(dtype=str)
    part = inner_folds(train, N_CROSS, config.seed)
    views = Views.fit(train, embedded[0], sets, config.n_components, config.seed)
    seen, new = views(train, embedded[0]), views(test, embedded[1])
    counts = train.layers[COUNTS], test.layers[COUNTS]
    seen["latents+contrast"], new["latents+contrast"] = contrast_features(
        counts, embedded, y, BASE, part
    )
    found = []
    for name, x in seen.items():
        if name == "all_genes":
            ridge = fit_ridge(x.astype(np.float32), y, groups_of(train))
            found.append((name, "ridge", x.shape[1], ridge.predict(new[name])))
            continue
        model = standardised_logistic(x, y)
        predicted = model.classes[model.log_odds(new[name]).argmax(axis=1)]
        found.append((name, "logistic", x.shape[1], predicted))
        if name == "latents":
            network = published_network(x, y, config.n_hidden, stream(config.seed, "network"))
            found.append((name, "network", x.shape[1], network(new[name])))
    return found


def _confusion(
    true: np.ndarray, predicted: np.ndarray, key: tuple[float, str, str]
) -> pd.DataFrame:
    """Every pair of a true and a predicted condition, also one that never occurs."""
    names = np.unique(true)
    table = pd.DataFrame(
        [(t, p, int(((true == t) & (predicted == p)).sum())) for t in names for p in names],
        columns=["true", "predicted", "n"],
    )
    for place, (name, value) in enumerate(
        zip(("dose", "representation", "classifier"), key, strict=True)
    ):
        table.insert(place, name, value)
    return table


def groups_of(adata: AnnData) -> np.ndarray:
    """Rows that are not independent: of one donor, or of one cell."""
    return adata.obs[group_key(adata) or TWIN].astype(str).to_numpy()


def drawn_groups(test: AnnData) -> np.ndarray:
    """What a bootstrap draws: donors, or cells where few donors are tested."""
    group = groups_of(test)
    return group if len(np.unique(group)) >= FEW_GROUPS else test.obs[TWIN].astype(str).to_numpy()


def _some(adata: AnnData, config: ThreeClassConfig) -> AnnData:
    if adata.n_obs <= config.max_cells:
        return adata
    rng = generator(config.seed, "cells of three classes")
    return adata[np.sort(rng.choice(adata.n_obs, config.max_cells, replace=False))].copy()
