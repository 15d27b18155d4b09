"""Which cells a person asks to see in which other contexts: ``cell_type=B+assay=V3``."""

from typing import Annotated, Any

import numpy as np
from anndata import AnnData
from pydantic import BeforeValidator, Field, NonNegativeInt

from synthome.config import Config
from synthome.errors import InputError
from synthome.fields import Fields


def _categories(value: Any) -> Any:
    """Field to category, of ``field=category`` joined by ``+`` or of a mapping."""
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    found = {}
    for part in filter(None, (piece.strip() for piece in value.split("+"))):
        name, mark, category = part.partition("=")
        if not mark or not name.strip() or not category.strip():
            raise ValueError(
                f"{part!r} is not of the form field=category; join several by +, as in "
                "cell_type=B cell+assay=10x v3"
            )
        found[name.strip()] = category.strip()
    return found


Categories = Annotated[dict[str, str], BeforeValidator(_categories)]


class CounterfactualConfig(Config):
    """Cells to start from, and where to bring them.

    Attributes
    ----------
    source
        Categories that the cells have; all cells without any.
    target
        Categories that they are to have; fields that are not named stay as they are.
    """

    source: Categories = Field(default_factory=dict)
    target: Categories = Field(default_factory=dict)
    seed: NonNegativeInt = 0


def choose_source(adata: AnnData, fields: Fields, config: CounterfactualConfig) -> AnnData:
    """The cells of ``config.source``.

    Raises
    ------
    InputError
        If no target was named, a field or category is not known, or no cell is of the source.
    """
    if not config.target:
        raise InputError(
            "Where are the cells to be brought? Say --params=source=FIELD=CATEGORY,"
            f"target=FIELD=CATEGORY (several joined by +). Fields: {', '.join(fields.names)}."
        )
    for name, category in [*config.source.items(), *config.target.items()]:
        fields[name].code(category)
    chosen = np.ones(adata.n_obs, dtype=bool)
    for name, category in config.source.items():
        chosen &= (adata.obs[name].astype(str) == category).to_numpy()
    if not chosen.any():
        wanted = ", ".join(f"{name} {category}" for name, category in config.source.items())
        raise InputError(
            f"No cell is {wanted}: the combination does not occur. Start from one that does, and "
            "name this one as the target."
        )
    return adata[chosen].copy()
