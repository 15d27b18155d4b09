"""Library sizes for synthetic samples: log-normal in each class, shrunk to the pooled one.

For class c with n_c training samples, and k = 5 pooled samples added to each class:

    log l ~ Normal(m_c, s_c^2)
    m_c   = (n_c mean_c + k mean) / (n_c + k)                  mean of log library sizes
    s_c^2 = (n_c var_c + k var_within) / (n_c - 1 + k)         var_c with ddof 0, var_within pooled

so that a class of three patients does not put its three sequencing depths into the open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from synthome.errors import InputError

POOLED_SAMPLES = 5


@dataclass(frozen=True, eq=False)
class LibrarySizes:
    """Location and scale of the log library size of each class."""

    classes: tuple[str, ...]
    loc: Float[np.ndarray, " n_classes"]
    scale: Float[np.ndarray, " n_classes"]

    @classmethod
    def fit(cls, library_size: Float[np.ndarray, " n_obs"], labels: np.ndarray) -> Self:
        """Measure the training rows: total of raw counts and class of each."""
        log_size = np.log(library_size)
        classes, index, n = np.unique(labels, return_inverse=True, return_counts=True)
        mean = np.bincount(index, log_size) / n  # (n_classes,)
        squares = np.bincount(index, (log_size - mean[index]) ** 2)  # (n_classes,)
        within = squares.sum() / max(len(log_size) - len(classes), 1)
        k = POOLED_SAMPLES
        return cls(
            classes=tuple(map(str, classes)),
            loc=(n * mean + k * log_size.mean()) / (n + k),
            scale=np.sqrt((squares + k * within) / (n - 1 + k)),
        )

    def draw(
        self, labels: Sequence[str] | np.ndarray, rng: np.random.Generator
    ) -> Float[np.ndarray, " n_obs"]:
        """Whole library sizes, one for each label.

        Raises
        ------
        InputError
            If a label was not among the training rows.
        """
        wanted = np.asarray(labels, dtype=str)
        unknown = sorted(set(wanted) - set(self.classes))
        if unknown:
            raise InputError(
                f"No library size is known for class {', '.join(unknown)}: the training data have "
                f"{', '.join(self.classes)}."
            )
        index = np.searchsorted(self.classes, wanted)  # classes are sorted
        return np.exp(rng.normal(self.loc[index], self.scale[index])).round()
