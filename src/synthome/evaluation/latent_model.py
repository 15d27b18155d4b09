"""What the evaluation asks of a latent model of counts, and how it looks at cells through one."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from anndata import AnnData
from jaxtyping import Float

from synthome.evaluation.detection import Blocks, View
from synthome.evaluation.representations import Embedded, Views
from synthome.evaluation.three_class import Embed


@runtime_checkable
class LatentModel(Protocol):
    """A fitted model with one latent vector for each cell.

    Attributes
    ----------
    theta
        Inverse dispersion of each gene.
    """

    theta: Float[np.ndarray, " n_vars"]

    def embed(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_latent"]:
        """Posterior mean of each cell."""
        ...

    def expected(self, adata: AnnData) -> Float[np.ndarray, "n_obs n_vars"]:
        """Expected counts of each cell given its posterior mean."""
        ...


def embedded(model: LatentModel, adata: AnnData) -> Embedded:
    """Cells as the model sees them."""
    return Embedded(model.embed(adata), model.expected(adata), model.theta)


def by_fitted(model: LatentModel) -> Embed:
    """The experiment of three classes through a model that saw no perturbed cell."""

    def embed(train: AnnData, test: AnnData) -> tuple[np.ndarray, ...]:
        seen, new = embedded(model, train), embedded(model, test)
        return seen.z, new.z, seen.mu, new.mu, model.theta

    return embed  # type: ignore[return-value]


def by_fitting(make: Callable[[AnnData], LatentModel]) -> Embed:
    """The same through a model that is fitted to the perturbed training cells of each dose."""

    def embed(train: AnnData, test: AnnData) -> tuple[np.ndarray, ...]:
        return by_fitted(make(train))(train, test)

    return embed  # type: ignore[return-value]


def power_view(model: LatentModel, train: AnnData, sets: Mapping[str, Collection[str]]) -> View:
    """What a test of power may look at: views fitted on ``train``, cells the model was fitted to.

    Single genes are left out: the test compares directions, and thousands of them say little at
    these numbers of cells.
    """
    views = Views.fit(train, embedded(model, train), sets)

    def view(adata: AnnData) -> Mapping[str, Blocks]:
        found = views(adata, embedded(model, adata))
        n_latent = found["latents"].shape[1]
        both = found["latents+sets"]
        return {
            "latents": (found["latents"],),
            "pca": (found["pca"],),
            "signature": (found["signature"],),
            "latents+sets": (both[:, :n_latent], both[:, n_latent:]),
        }

    return view
