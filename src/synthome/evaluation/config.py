"""Choices of the evaluation; imports nothing heavy, since pipelines read it at start-up."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from synthome.config import Config, Names
from synthome.models.registry import Architecture


class EvaluationConfig(Config):
    """How synthetic rows are scored.

    ``n_synthetic: null`` is ten rows for each training row, and at least 1,000. ``augment`` says
    which rows join the real ones in the gains of augmentation: as many of each class, or in the
    proportions of the training rows.
    """

    n_synthetic: PositiveInt | None = None
    augment: Literal["balanced", "proportional"] = "balanced"
    n_coexpression_genes: int = Field(default=300, ge=3)
    n_de_genes: PositiveInt = 100
    n_neighbours: PositiveInt = 5  # of density and coverage
    n_draws: PositiveInt = 5  # of equal numbers of rows, where a score needs equal numbers
    max_pairs: PositiveInt = 2000  # synthetic rows in all-pairs distances, at most
    n_bootstrap: PositiveInt = 1000  # of external rows
    n_jobs: int = Field(default=1, ge=-1)  # folds at a time; -1 for all cores
    seed: NonNegativeInt = 0

    def rows(self, n_train: int) -> int:
        """Number of synthetic rows to score."""
        return self.n_synthetic or max(1000, 10 * n_train)


class BoardConfig(Config):
    """Which generators are compared, and by whom.

    ``chosen`` names some of ``generators``, joined by ``+``; none are all. ``scheduler`` is the
    address of a Dask scheduler, such as ``tcp://host:8786``; without it, processes of this machine
    do the work, as many as ``evaluation.n_jobs`` says.
    """

    generators: dict[str, Architecture]
    chosen: Names = ()
    scheduler: str | None = None

    @model_validator(mode="after")
    def _generators_exist(self) -> Self:
        unknown = [name for name in self.chosen if name not in self.generators]
        if unknown:
            raise ValueError(
                f"there is no generator {unknown[0]!r}; there are: {', '.join(self.generators)}"
            )
        if "real" in self.generators:
            raise ValueError("'real' stands for real patients; call the generator something else")
        for architecture in self.generators.values():
            architecture.checked()
        return self

    @property
    def compared(self) -> dict[str, Architecture]:
        """The chosen generators by name, in the order of the file."""
        names = [name for name in self.generators if not self.chosen or name in self.chosen]
        return {name: self.generators[name] for name in names}
