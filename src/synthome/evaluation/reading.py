"""A latent model of cells, read: its map of perturbed cells, and the genes that it finds again.

Cells of the map are held out, with their twins at one dose. Clusters are Leiden's on the
neighbourhood graph of the latents, as published; the map is UMAP's of the same graph.

Traag, Waltman, van Eck (2019), Scientific Reports 9, 5233. doi:10.1038/s41598-019-41695-z
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from synthome.anndata_schema import SPLIT, labels, provenance
from synthome.config import Config
from synthome.evaluation import loadings
from synthome.evaluation.conditional_shift import ConditionalShiftConfig, conditional_shift
from synthome.evaluation.latent_model import LatentModel
from synthome.evaluation.planted import planted_auprc
from synthome.evaluation.some_rows import some_rows
from synthome.rng import generator, stream
from synthome.simulate.perturbation import BASE, CONDITION, TWIN, Direction, twins

GENE_SETS = "gene_sets"


class ReadingConfig(Config):
    """How a trained model is read.

    ``dose`` is that of the map of cells and of the planted genes. ``max_cells`` bounds the cells
    for which all expected counts are in memory at a time, ``max_tested`` the held-out cells whose
    power is measured. Loadings come from ``n_seeds`` trainings,
    ``n_jobs`` at a time. With ``refit``, three conditions are told apart by a model that is fitted
    to the perturbed training cells of each dose; without, by the trained one, which saw none.
    """

    dose: PositiveFloat = 2.0
    max_cells: PositiveInt = 1500
    max_tested: PositiveInt = 3000
    n_neighbors: PositiveInt = 15
    n_seeds: PositiveInt = 3
    n_jobs: int = -1
    refit: bool = False
    seed: NonNegativeInt = 0


def roles(adata: AnnData) -> dict[Direction, list[str]]:
    """Genes that are turned down and up, as the selection of genes kept them."""
    facts, sets = provenance(adata), adata.uns[GENE_SETS]
    return {
        "down": list(map(str, sets[facts["down_set"]])),
        "up": list(map(str, sets[facts["up_set"]])),
    }


def part(adata: AnnData, name: str, max_cells: int, seed: int) -> AnnData:
    """Some cells of the training or of the test part, types in their shares."""
    of_part = adata[adata.obs[SPLIT] == name]
    return of_part[some_rows(of_part, max_cells, seed)].copy()


def cell_map(model: LatentModel, adata: AnnData, config: ReadingConfig) -> pd.DataFrame:
    """Where held-out cells and their perturbed twins lie in the latent space.

    Returns
    -------
    Columns ``umap_1``, ``umap_2``, ``cell_type``, ``condition``, ``leiden``; no cell is named.
    """
    genes = roles(adata)
    cells = part(adata, "test", max(config.max_cells // 3, 30), config.seed)
    rng = generator(config.seed, "map of cells")
    tripled = twins(cells, genes["down"], genes["up"], config.dose, rng)
    n_obs = tripled.n_obs
    latents = AnnData(model.embed(tripled).astype(np.float32))
    seed = stream(config.seed, "map of cells") % 2**31
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and scanpy talk about their own internals
        import scanpy as sc

        sc.pp.neighbors(latents, min(config.n_neighbors, n_obs - 1), use_rep="X", random_state=seed)
        sc.tl.leiden(latents, flavor="igraph", n_iterations=2, directed=False, random_state=seed)
        sc.tl.umap(latents, random_state=seed)
    return pd.DataFrame(
        {
            "umap_1": latents.obsm["X_umap"][:, 0],
            "umap_2": latents.obsm["X_umap"][:, 1],
            "cell_type": labels(tripled),
            "condition": tripled.obs[CONDITION].to_numpy(dtype=str),
            "leiden": latents.obs["leiden"].to_numpy(dtype=str),
        }
    )


def planted(
    model: LatentModel,
    own_loadings: Float[np.ndarray, "n_vars n_latent"],
    adata: AnnData,
    config: ReadingConfig,
) -> pd.DataFrame:
    """Whether the genes perturbed in training cells are found again: see ``planted_auprc``."""
    genes = roles(adata)
    cells = part(adata, "train", config.max_cells, config.seed)
    rng = generator(config.seed, "planted genes")
    tripled = twins(cells, genes["down"], genes["up"], config.dose, rng)
    return planted_auprc(
        tripled,
        genes,
        model.expected(tripled),
        model.theta,
        model.embed(tripled),
        own_loadings,
        rng,
    )


def read_loadings(
    model: LatentModel,
    fits: Sequence[Float[np.ndarray, "n_vars n_latent"]],
    adata: AnnData,
    config: ReadingConfig,
    n_top: int | None = 100,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Which genes carry each factor, over seeds, and which factor answers to what.

    Parameters
    ----------
    fits
        Loadings of the same model from several seeds, those of ``model`` first.
    n_top
        Genes that are listed of each factor.

    Returns
    -------
    See ``loadings.loading_table``, ``factor_response`` (of held-out cells and their twins) and
    ``set_enrichment``.
    """
    genes = roles(adata)
    sets = {str(name): list(map(str, of)) for name, of in adata.uns[GENE_SETS].items()}
    table = loadings.loading_table(fits[0], adata.var_names, loadings.stability(fits), sets, n_top)
    rng = generator(config.seed, "factors")
    cells = part(adata, "test", config.max_cells, config.seed)
    tripled = twins(cells, genes["down"], genes["up"], config.dose, rng)
    responses = loadings.factor_response(
        model.embed(tripled),
        tripled.obs[CONDITION].to_numpy(dtype=str),
        BASE,
        rng,
        tripled.obs[TWIN].to_numpy(),
    )
    return table, responses, loadings.set_enrichment(fits[0], adata.var_names, sets)


def carry_over(
    model: Any, adata: AnnData, config: ReadingConfig, shift: ConditionalShiftConfig
) -> pd.DataFrame:
    """Whether the change of held-out cells of other types predicts that of a type.

    ``model`` is a latent model that also gives a ``decoder``; see ``conditional_shift``.
    """
    genes = roles(adata)
    cells = part(adata, "test", config.max_cells, config.seed)
    rng = generator(config.seed, "carry over")
    tripled = twins(cells, genes["down"], genes["up"], config.dose, rng)
    return conditional_shift(
        tripled, model.embed(tripled), model.decoder(tripled), model.theta, shift
    )


def held_out_scores(cell_scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean over cells of each score in nats, with its standard error and the number of cells."""
    return {
        str(name): {
            "value": float(column.mean()),
            "standard_error": float(column.std(ddof=1) / np.sqrt(len(column))),
            "n": len(column),
        }
        for name, column in cell_scores.items()
    }
