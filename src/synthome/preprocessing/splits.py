"""Test folds as data: drawn once, written to ``obs``, the same for every model.

``obs["fold_r"]`` holds the test fold of each sample in repeat r, and ``obs["split"]`` is ``test``
where ``fold_0`` is 0, so that the released generator is one of the cross-validated ones.

Folds are dealt to whole groups (patient, donor; each sample is its own group when there are none),
the rarest class first and the largest groups first, each to the fold with the least of its classes.
Hence, without groups, folds differ by at most one sample in size and in each class. The fold of a
sample depends on the seed and on the set of (sample id, class, group): neither on the order of the
rows nor on any expression value.
"""

import logging

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Int
from pydantic import Field, NonNegativeInt, PositiveInt

from synthome.anndata_schema import (
    FOLD_PREFIX,
    SPLIT,
    fold_columns,
    group_key,
    label_key,
    labels,
)
from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import proportional
from synthome.rng import generator

MIN_PER_CLASS = 3
NEVER_TESTED = -1  # fold of rows that are in every training part of a repeat
ENOUGH_GROUPS = 20  # from which on whole groups are set aside to end training
MOST_ASIDE = 10_000  # rows
MAX_DEALS = 20  # tries to bring each class into each test part, when groups mix classes

logger = logging.getLogger(__name__)


class SplitConfig(Config):
    """Repeated, stratified, group-aware k-fold cross-validation.

    With ``train_size``, each repeat trains on about so many samples, drawn at random in the
    proportions of the classes, and tests on all others: what few patients would have given.

    With ``n_tested_folds``, only so many of the folds are tested, and the rows of the others are in
    every training part: one fold is enough where there are many thousands of cells.
    """

    n_splits: int = Field(default=5, ge=2)
    n_repeats: PositiveInt = 1
    n_tested_folds: PositiveInt | None = None
    train_size: PositiveInt | None = None
    seed: NonNegativeInt = 0


def assign_folds(adata: AnnData, config: SplitConfig) -> AnnData:
    """Return a copy of ``adata`` with ``fold_0 ... fold_{R-1}`` and ``split`` in ``obs``.

    A class with fewer groups than ``n_splits`` lowers the number of folds to its own, with a
    warning. Samples without a label are spread over the folds too, whatever their number.

    Raises
    ------
    InputError
        If a class has fewer than three samples (groups, when there are any), or if its groups allow
        no split with the class on both sides.
    """
    known = is_known(adata.obs[label_key(adata)])
    groups, group_of_row = np.unique(_groups(adata), return_inverse=True)
    strata, stratum_of_row = np.unique(np.where(known, labels(adata), ""), return_inverse=True)
    sizes = np.zeros((len(groups), len(strata)), dtype=np.int64)
    np.add.at(sizes, (group_of_row, stratum_of_row), 1)
    n_splits = _feasible_splits(sizes, strata, config.n_splits, adata)

    result = adata.copy()
    result.obs = result.obs.drop(columns=[*fold_columns(adata), SPLIT], errors="ignore")
    for repeat in range(config.n_repeats):
        rng = generator(config.seed, "folds", repeat)
        if config.train_size is None:
            deal = _best_deal(sizes, strata, n_splits, rng)
            deal[deal >= (config.n_tested_folds or n_splits)] = NEVER_TESTED
        else:
            deal = _one_training_part(sizes, strata, config.train_size, rng)
        result.obs[f"{FOLD_PREFIX}{repeat}"] = deal[group_of_row]
    result.obs[SPLIT] = np.where(result.obs[f"{FOLD_PREFIX}0"] == 0, "test", "train")
    return result


def inner_folds(adata: AnnData, n_splits: int, seed: int) -> Int[np.ndarray, " n_obs"]:
    """A fold for each row, stratified and with groups whole, for choices within a training part.

    Unlike ``assign_folds`` it takes any class sizes: a class of fewer rows (groups) than folds is
    absent from some of them.
    """
    groups, group_of_row = np.unique(_groups(adata), return_inverse=True)
    strata, stratum_of_row = np.unique(labels(adata), return_inverse=True)
    sizes = np.zeros((len(groups), len(strata)), dtype=np.int64)
    np.add.at(sizes, (group_of_row, stratum_of_row), 1)
    deal, _ = _deal(sizes, n_splits, generator(seed, "inner folds"))
    return deal[group_of_row]


def fold_parts(adata: AnnData, fold: int, repeat: int = 0) -> tuple[AnnData, AnnData]:
    """Training and test rows of one fold of one repeat, as copies."""
    is_test = (adata.obs[f"{FOLD_PREFIX}{repeat}"] == fold).to_numpy()
    return adata[~is_test].copy(), adata[is_test].copy()


def is_known(column: pd.Series) -> Bool[np.ndarray, " n_obs"]:
    """Whether each entry of a column of the sample sheet says something."""
    return (column.notna() & (column.astype(str) != "")).to_numpy(dtype=bool)


def _groups(adata: AnnData) -> np.ndarray:
    """Group of each row, shape (n_obs,); a row of unknown group is a group of its own."""
    own = ("sample " + adata.obs_names.astype(str)).to_numpy(dtype=str)
    key = group_key(adata)
    if key is None:
        return own
    group = ("group " + adata.obs[key].astype(str)).to_numpy(dtype=str)
    return np.where(is_known(adata.obs[key]), group, own)


def _feasible_splits(
    sizes: Int[np.ndarray, "n_groups n_strata"], strata: np.ndarray, wanted: int, adata: AnnData
) -> int:
    """Largest number of folds, up to ``wanted``, that every class can fill with its groups."""
    n_groups = dict(zip(strata.tolist(), (sizes > 0).sum(axis=0).tolist(), strict=True))
    n_groups.pop("", None)  # unlabelled samples are no class
    if not n_groups:
        raise InputError(f"Column {label_key(adata)!r} holds no label. Name another as the label.")
    rarest = min(n_groups, key=lambda name: n_groups[name])
    smallest = n_groups[rarest]
    unit = f"groups of {group_key(adata)!r}" if group_key(adata) else "samples"
    numbers = ", ".join(f"{name} {n}" for name, n in n_groups.items())
    if smallest < MIN_PER_CLASS:
        raise InputError(
            f"Class {rarest!r} of column {label_key(adata)!r} has {smallest} {unit}; "
            f"cross-validation needs at least {MIN_PER_CLASS} of each class ({unit} per class: "
            f"{numbers}). Merge it with another class, or leave it out with --params=where=COLUMN."
        )
    if smallest < wanted:
        logger.warning(
            "Using %d folds instead of %d: class %r has only %d %s (%s).",
            smallest, wanted, rarest, smallest, unit, numbers,
        )  # fmt: skip
    return min(wanted, smallest)


def _best_deal(
    sizes: Int[np.ndarray, "n_groups n_strata"],
    strata: np.ndarray,
    n_splits: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " n_groups"]:
    """Deal until each class is in each test part; else keep the deal that misses fewest.

    One deal is enough unless groups hold several classes (tumour and normal of one patient).

    Raises
    ------
    InputError
        If some class would be absent from a training part.
    """
    classes = strata != ""
    best: tuple[int, np.ndarray, np.ndarray] | None = None
    for _ in range(MAX_DEALS):
        deal, load = _deal(sizes, n_splits, rng)
        n_folds = (load > 0).sum(axis=0)[classes]  # that hold some of the class
        missing = int((n_splits - n_folds + n_splits * (n_folds < 2)).sum())
        if best is None or missing < best[0]:
            best = missing, deal, strata[classes][n_folds < 2]
        if missing == 0:
            break
    assert best is not None
    _, deal, confined = best
    if confined.size:
        raise InputError(
            f"No split keeps the groups whole and has class {', '.join(confined)} in every "
            "training part. Use fewer folds, or a finer group column."
        )
    return deal


def _one_training_part(
    sizes: Int[np.ndarray, "n_groups n_strata"],
    strata: np.ndarray,
    train_size: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " n_groups"]:
    """Fold -1 for the groups that are always trained on, 0 for the test part.

    Raises
    ------
    InputError
        If a class would have fewer than three training rows, or nothing is left to test on.
    """
    known = strata != ""
    rows = sizes[:, known].sum(axis=0)
    if train_size >= rows.sum():
        raise InputError(
            f"train_size={train_size} leaves no sample to test on: {rows.sum()} are labelled."
        )
    wanted = np.maximum(proportional(train_size, rows), MIN_PER_CLASS)
    short = [str(name) for name, n, w in zip(strata[known], rows, wanted, strict=True) if n <= w]
    if short:
        raise InputError(
            f"train_size={train_size} takes at least {MIN_PER_CLASS} samples of each class, which "
            f"leaves none of class {', '.join(short)} to test on. Merge it with another class."
        )
    deal, taken = np.zeros(len(sizes), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    for g in rng.permutation(len(sizes)):
        held = sizes[g, known]
        if held.any() and (taken + held <= wanted).all():
            deal[g] = NEVER_TESTED
            taken += held
    return deal


def _deal(
    sizes: Int[np.ndarray, "n_groups n_strata"], n_splits: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " n_groups"], Int[np.ndarray, "n_splits n_strata"]]:
    """Deal groups to folds: rarest stratum first, then by size, ties at random.

    Returns
    -------
    The fold of each group, and the rows of each stratum in each fold.
    """
    rarity = np.argsort(np.argsort((sizes > 0).sum(axis=0), kind="stable"))  # 0 is the rarest
    rarest = np.where(sizes > 0, rarity, sizes.shape[1]).argmin(axis=1)  # (n_groups,)
    order = np.lexsort((rng.random(len(sizes)), -sizes.sum(axis=1), rarity[rarest]))
    share = sizes / sizes.sum(axis=0)  # of each stratum
    lottery = rng.random((len(sizes), n_splits))
    load = np.zeros((n_splits, sizes.shape[1]), dtype=np.int64)  # rows dealt so far
    deal = np.empty(len(sizes), dtype=np.int64)
    for g in order:
        crowding = load @ share[g]  # how full each fold is of what this group holds
        keys = (lottery[g], load.sum(axis=1), crowding)
        deal[g] = np.lexsort(keys)[0]  # the last key counts most
        load[deal[g]] += sizes[g]
    return deal, load


def set_aside(adata: AnnData, fraction: float, seed: int) -> np.ndarray:
    """Rows that end training but are not trained on, as a mask (n_obs,).

    Whole groups (twins, donors) when there are at least twenty; single rows when there are fewer.
    No more than about ``MOST_ASIDE``, as they are all looked at after each epoch.
    """
    if fraction == 0.0 or adata.n_obs < 2:
        return np.zeros(adata.n_obs, dtype=bool)
    key = group_key(adata)
    group = np.arange(adata.n_obs)
    if key is not None:
        codes = pd.factorize(adata.obs[key])[0]
        if len(np.unique(codes)) >= ENOUGH_GROUPS:
            group = codes
    order = generator(seed, "aside").permutation(np.unique(group))
    size = np.bincount(group - group.min())[order - group.min()].cumsum()
    wanted = min(fraction * adata.n_obs, MOST_ASIDE)
    n_groups = int(np.searchsorted(size, wanted, side="right"))
    return np.isin(group, order[: max(1, n_groups)])
