"""Metadata fields of cells (type, assay, sex, condition ...) and their categories, as integers.

A combination is one category of each field. What a model learns of a field holds for the categories
that its training cells had; others are an error, and not a silent zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Int

from synthome.errors import InputError

Codes = Int[np.ndarray, "n_obs n_fields"]


@dataclass(frozen=True)
class Field:
    """One field: its name, its categories in order, and how many cells have each."""

    name: str
    categories: tuple[str, ...]
    counts: tuple[int, ...]

    def code(self, category: str) -> int:
        """Number of a category.

        Raises
        ------
        InputError
            If no training cell had it; the message lists those known.
        """
        if category not in self.categories:
            raise InputError(
                f"{category!r} is no category of the field {self.name!r} that the model knows; "
                f"these are: {', '.join(self.categories)}."
            )
        return self.categories.index(category)


@dataclass(frozen=True)
class Fields:
    """The fields of a data set, in the order in which the person named them."""

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, obs: pd.DataFrame, names: Sequence[str]) -> Self:
        """The fields ``names`` of the rows of ``obs``, categories in alphabetical order.

        Raises
        ------
        InputError
            If there is no field, or a column is not there.
        """
        absent = [name for name in names if name not in obs]
        if absent or not len(names):
            raise InputError(
                f"Field {', '.join(absent) or '(none was named)'} is not a column of the cells, "
                f"which have: {', '.join(map(str, obs.columns)) or 'no columns'}. Name columns "
                "with --params=fields=COLUMN+COLUMN."
            )
        return cls(tuple(_field(name, obs[name]) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each field."""
        return tuple(field.name for field in self.fields)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of categories of each field."""
        return tuple(len(field.categories) for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        """The field of that name.

        Raises
        ------
        InputError
            If there is none.
        """
        if name not in self.names:
            raise InputError(
                f"There is no field {name!r}; the model knows: {', '.join(self.names)}."
            )
        return self.fields[self.names.index(name)]

    def encode(self, obs: pd.DataFrame) -> Codes:
        """Number of the category of each row in each field.

        Raises
        ------
        InputError
            If a column is missing, or a category was not among those of the training cells.
        """
        columns = []
        for field in self.fields:
            if field.name not in obs:
                raise InputError(
                    f"The cells have no column {field.name!r}, a field of the model. Add it."
                )
            values = obs[field.name].astype(str).to_numpy(dtype=str)
            code = pd.Index(field.categories).get_indexer(values)
            if (code < 0).any():
                field.code(str(values[code < 0][0]))
            columns.append(code)
        return np.stack(columns, axis=1).astype(np.int64)

    def with_target(self, codes: Codes, target: Mapping[str, str]) -> Codes:
        """``codes`` with the fields of ``target`` set to its categories."""
        result = codes.copy()
        for name, category in target.items():
            result[:, self.names.index(self[name].name)] = self[name].code(str(category))
        return result

    def decode(self, codes: Codes) -> pd.DataFrame:
        """The categories of each row by name."""
        return pd.DataFrame(
            {
                field.name: np.array(field.categories, dtype=object)[codes[:, f]]
                for f, field in enumerate(self.fields)
            }
        )

    def state(self) -> list[dict[str, Any]]:
        """Plain JSON."""
        return [
            {"name": f.name, "categories": list(f.categories), "counts": list(f.counts)}
            for f in self.fields
        ]

    @classmethod
    def from_state(cls, state: Sequence[Mapping[str, Any]]) -> Self:
        """The fields that ``state`` described."""
        return cls(
            tuple(
                Field(f["name"], tuple(f["categories"]), tuple(map(int, f["counts"])))
                for f in state
            )
        )


def _field(name: str, column: pd.Series) -> Field:
    values, counts = np.unique(column.astype(str).to_numpy(dtype=str), return_counts=True)
    return Field(str(name), tuple(map(str, values)), tuple(map(int, counts)))
