"""The small protocol that every generator of synthetic cohorts meets.

A VAE, a GAN, a Gaussian, SMOTE or a copying machine stand in the same row of the same table,
because each of them can be fitted to training rows and asked for labelled new ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import SYNTHETIC, UNS, label_key, provenance
from synthome.errors import InputError
from synthome.state_file import State


@runtime_checkable
class Generator(Protocol):
    """Fits log expression with labels, and draws labelled synthetic samples."""

    def fit(self, train: AnnData) -> Self:
        """Learn from ``train`` alone: ``X`` is log expression, (n_obs, n_vars)."""
        ...

    def sample(self, n_obs: int, labels: Sequence[str] | None, rng: np.random.Generator) -> AnnData:
        """Draw ``n_obs`` samples; ``labels=None`` follows the training class proportions."""
        ...


class TrainedGenerator(Generator, Protocol):
    """A generator with weights: it is trained, written down, rebuilt, and drawn from hot or cold.

    Attributes
    ----------
    train_labels
        Class of each training row.
    history
        One row per epoch.
    """

    train_labels: np.ndarray
    history: pd.DataFrame

    def fit(self, train: AnnData, *, checkpoint: Path | None = None) -> Self:
        """Learn from ``train``; go on from ``checkpoint`` when that run was killed."""
        ...

    def sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        rng: np.random.Generator,
        temperature: float | None = None,
    ) -> AnnData:
        """Draw samples; ``temperature`` replaces the one of the configuration."""
        ...

    def state(self) -> State:
        """Everything that ``from_state`` needs to rebuild it."""
        ...


def proportional(total: int, sizes: np.ndarray) -> np.ndarray:
    """Whole numbers in the proportions of ``sizes`` that add up to ``total``: largest remainder."""
    share = total * sizes / sizes.sum()
    quota = np.floor(share).astype(int)
    quota[np.argsort(-(share - quota), kind="stable")[: total - quota.sum()]] += 1
    return quota


def class_labels(
    n_obs: int,
    labels: Sequence[str] | None,
    train_labels: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Labels of the rows to draw, shape (n_obs,).

    Without ``labels``, each class gets its training share of ``n_obs``, rounded by largest
    remainder so that the shares add up, in random order.

    Raises
    ------
    InputError
        If a label was never seen in training, or the number of labels is not ``n_obs``.
    """
    classes, sizes = np.unique(train_labels, return_counts=True)
    if labels is None:
        return rng.permutation(np.repeat(classes, proportional(n_obs, sizes)))
    wanted = np.asarray(labels, dtype=str)
    if len(wanted) != n_obs:
        raise InputError(f"Asked for {n_obs} samples but gave {len(wanted)} labels; give one each.")
    unknown = sorted(set(wanted) - set(classes))
    if unknown:
        raise InputError(
            f"Cannot draw samples of class {', '.join(unknown)}: the training data have only "
            f"{', '.join(classes)}."
        )
    return wanted


def as_synthetic(x: np.ndarray, labels: np.ndarray, like: AnnData) -> AnnData:
    """Wrap drawn values (n_obs, n_vars) as a synthetic AnnData with the genes of ``like``."""
    key = label_key(like)
    index = [f"synthetic_{i:06d}" for i in range(len(labels))]
    obs = pd.DataFrame({key: labels.astype(str), SYNTHETIC: True}, index=index)
    return AnnData(
        x.astype(np.float32), obs=obs, var=like.var[[]].copy(), uns={UNS: provenance(like)}
    )
