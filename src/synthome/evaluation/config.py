"""Choices of the evaluation; imports nothing heavy, since pipelines read it at start-up."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from synthome.config import Config
from synthome.evaluation.cluster import LOCAL, ClusterConfig


class EvaluationConfig(Config):
    """How synthetic rows are scored.

    ``n_synthetic: null`` is ten rows for each training row, and at least 1,000. ``augment`` says
    which rows join the real ones in the gains of augmentation: as many of each class, or in the
    proportions of the training rows. ``cluster`` says where folds are scored, which is no part of
    what the scores depend on: it is left out of every record of them.
    """

    n_synthetic: PositiveInt | None = None
    max_obs: PositiveInt | None = None  # real rows that are scored, of many cells
    augment: Literal["balanced", "proportional"] = "balanced"
    n_coexpression_genes: int = Field(default=300, ge=3)
    n_de_genes: PositiveInt = 100
    n_neighbours: PositiveInt = 5  # of density and coverage
    n_draws: PositiveInt = 5  # of equal numbers of rows, where a score needs equal numbers
    max_pairs: PositiveInt = 2000  # synthetic rows in all-pairs distances, at most
    n_bootstrap: PositiveInt = 1000  # of external rows
    n_jobs: int = Field(default=1, ge=-1)  # folds at a time on this machine; -1 for all cores
    cluster: ClusterConfig = Field(default=LOCAL, exclude=True)
    seed: NonNegativeInt = 0

    def rows(self, n_train: int) -> int:
        """Number of synthetic rows to score."""
        return self.n_synthetic or max(1000, 10 * n_train)
