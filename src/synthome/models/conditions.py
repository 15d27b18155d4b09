"""What a conditional generator is told about a sample: its class, and covariates if wished.

A categorical covariate becomes one column per level (a missing value is a level of its own); a
numeric one is standardised over the training rows, its missing values set to their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import labels as labels_of
from synthome.errors import InputError

MISSING = "missing"


@dataclass(frozen=True)
class Covariate:
    """One covariate as the training rows showed it, with its distribution in each class.

    Attributes
    ----------
    levels
        Names of the levels; none for a numeric covariate.
    loc, scale
        Mean and standard deviation over the training rows; 0 and 1 for a categorical covariate.
    by_class
        Class -> shares of the levels, or mean and standard deviation in standard units.
    """

    name: str
    levels: tuple[str, ...]
    loc: float
    scale: float
    by_class: dict[str, tuple[float, ...]]

    @classmethod
    def fit(cls, name: str, column: pd.Series, labels: np.ndarray) -> Self:
        """Learn the levels, or the scale, and their distribution per class."""
        classes = [str(c) for c in np.unique(labels)]
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            text = _as_text(column)
            levels = tuple(sorted(set(text)))
            shares: dict[str, tuple[float, ...]] = {
                c: tuple(float((text[labels == c] == level).mean()) for level in levels)
                for c in classes
            }
            return cls(name, levels, 0.0, 1.0, shares)
        values = column.to_numpy(dtype=float)
        loc, scale = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
        standard = np.nan_to_num((values - loc) / scale)
        moments: dict[str, tuple[float, ...]] = {
            c: (float(standard[labels == c].mean()), float(standard[labels == c].std()))
            for c in classes
        }
        return cls(name, (), loc, scale, moments)

    @property
    def width(self) -> int:
        """Number of columns in the condition matrix."""
        return len(self.levels) or 1

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n_obs, width); a level never seen in training is all zeros."""
        if self.levels:
            return (_as_text(column)[:, None] == np.array(self.levels)).astype(np.float32)
        values = (column.to_numpy(dtype=float) - self.loc) / self.scale
        return np.nan_to_num(values).astype(np.float32)[:, None]

    def draw(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A value for each label from the covariate's distribution in its class, (n_obs,)."""
        result = np.empty(len(labels), dtype=object if self.levels else float)
        for c in np.unique(labels):
            rows = labels == c
            if self.levels:
                result[rows] = rng.choice(self.levels, size=rows.sum(), p=self.by_class[c])
            else:
                mean, sd = self.by_class[c]
                result[rows] = self.loc + self.scale * rng.normal(mean, sd, size=rows.sum())
        return result


@dataclass(frozen=True)
class Conditions:
    """Classes and covariates of the training rows, and how they become numbers."""

    classes: tuple[str, ...]
    covariates: tuple[Covariate, ...]

    @classmethod
    def fit(cls, train: AnnData, covariates: Sequence[str] = ()) -> Self:
        """Learn classes, levels and scales from the training rows.

        Raises
        ------
        InputError
            If a covariate is not a column of the sample sheet.
        """
        unknown = [name for name in covariates if name not in train.obs]
        if unknown:
            raise InputError(
                f"Covariate {', '.join(unknown)} is not a column of the sample sheet, which has: "
                f"{', '.join(map(str, train.obs.columns))}."
            )
        labels = labels_of(train)
        fitted = tuple(Covariate.fit(name, train.obs[name], labels) for name in covariates)
        return cls(tuple(str(c) for c in np.unique(labels)), fitted)

    @property
    def width(self) -> int:
        """Number of columns of the condition matrix."""
        return len(self.classes) + sum(covariate.width for covariate in self.covariates)

    def encode(self, labels: np.ndarray, obs: pd.DataFrame) -> np.ndarray:
        """Condition matrix, (n_obs, width): class columns first, then each covariate."""
        blocks = [(labels[:, None] == np.array(self.classes)).astype(np.float32)]
        blocks += [covariate.encode(obs[covariate.name]) for covariate in self.covariates]
        return np.concatenate(blocks, axis=1)

    def draw(self, labels: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        """Covariates for synthetic rows, drawn independently within each class."""
        return pd.DataFrame({c.name: c.draw(labels, rng) for c in self.covariates})

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "classes": list(self.classes),
            "covariates": [vars(covariate) for covariate in self.covariates],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The conditions that ``state`` described."""
        covariates = tuple(
            Covariate(
                name=item["name"],
                levels=tuple(item["levels"]),
                loc=item["loc"],
                scale=item["scale"],
                by_class={c: tuple(values) for c, values in item["by_class"].items()},
            )
            for item in state["covariates"]
        )
        return cls(tuple(state["classes"]), covariates)


def _as_text(column: pd.Series) -> np.ndarray:
    return column.astype(object).where(column.notna(), MISSING).astype(str).to_numpy()
