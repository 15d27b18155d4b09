"""Which generators a leaderboard compares."""

from typing import Self

from pydantic import model_validator

from synthome.config import Config, Names
from synthome.models.registry import Architecture


class BoardConfig(Config):
    """Which generators are compared.

    ``chosen`` names some of ``generators``, joined by ``+``; none are all.
    """

    generators: dict[str, Architecture]
    chosen: Names = ()

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
