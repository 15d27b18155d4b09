"""Choices of the study of a generator; imports nothing heavy, as pipelines read it at start-up."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from synthome.config import Config

Share = Annotated[float, Field(ge=0, lt=1)]


class StudyConfig(Config):
    """What is varied, one thing at a time, around the generator as it is."""

    doses: tuple[NonNegativeFloat, ...] = (0, 1, 2, 5, 10)  # synthetic rows per real one
    sizes: tuple[PositiveInt, ...] = (10, 20, 30, 50)  # real rows of the few-shot curve
    n_biomarkers: PositiveInt = 10  # as many as were published
    n_shortlist: PositiveInt = 100  # genes whose permutation is tried
    n_permutations: PositiveInt = 10
    architectures: tuple[str, ...] = ("calibrated", "published")  # of the temperature curve
    temperatures: tuple[PositiveFloat, ...] = (0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4)
    noise: tuple[NonNegativeFloat, ...] = (0, 0.25, 0.5, 1)  # in standard deviations of a gene
    shrinkage: tuple[Share, ...] = (0, 0.25, 0.5, 0.75)  # option `privacy` of the generator
    epsilons: tuple[PositiveFloat, ...] = (1, 10, 100)  # of dp_vae in the generator's place
    all_genes: bool = True  # fit to every expressed gene, or to those that scores use

    @model_validator(mode="after")
    def _something_is_added(self) -> Self:
        if 0 not in self.doses or max(self.doses) == 0:
            raise ValueError("doses must hold 0, real rows alone, and at least one above it")
        return self
