"""Small simulated cells in contexts, as preprocessing would hand them to a model."""

from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, SPLIT, with_provenance
from synthome.simulate.contexts import ContextsConfig, simulate_contexts

TARGET_SUM = 1e4
SMALL = {"n_types": 3, "n_assays": 2, "n_conditions": 2, "n_donors": 8, "library_size": 2000}


def prepared_contexts(
    n_obs: int = 1000, n_vars: int = 200, group_key: str = "", **options: Any
) -> AnnData:
    """Cells with library size, log expression and ``split``, every other one a test cell.

    Parameters
    ----------
    group_key
        Column whose equal values stay together, such as ``donor``; none by default.
    options
        Of ``ContextsConfig``, over ``SMALL``; every combination has cells enough in both halves.
    """
    chosen = SMALL | options
    n_combinations = chosen["n_types"] * chosen["n_assays"] * chosen["n_conditions"]
    sizes = {
        "n_obs": n_obs,
        "n_vars": n_vars,
        "n_least": n_obs // (3 * n_combinations),
        "n_interaction_genes": max(2, n_vars // 20),
    }
    cells = with_provenance(
        simulate_contexts(ContextsConfig(**sizes | chosen)), group_key=group_key
    )
    counts = cells.layers[COUNTS]
    size = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    rates = sparse.csr_matrix(sparse.diags_array(TARGET_SUM / size) @ counts)
    cells.X = rates.log1p().astype(np.float32)
    cells.obs[LIBRARY_SIZE] = size
    cells.obs[SPLIT] = np.where(np.arange(n_obs) % 2 == 0, "train", "test")  # in random order
    return cells


def part_of(cells: AnnData, split: str) -> AnnData:
    """The cells of one half."""
    return cells[(cells.obs[SPLIT] == split).to_numpy()].copy()
