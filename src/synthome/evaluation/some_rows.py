"""A part of many cells, class and split in their shares, for scores that compare all pairs."""

import numpy as np
from anndata import AnnData
from jaxtyping import Int

from synthome.anndata_schema import SPLIT, labels
from synthome.generator import proportional
from synthome.rng import generator


def some_rows(adata: AnnData, max_obs: int | None, seed: int) -> Int[np.ndarray, " n"]:
    """Rows to score, in order: all, or ``max_obs`` in the shares of class and ``obs["split"]``."""
    if max_obs is None or adata.n_obs <= max_obs:
        return np.arange(adata.n_obs)
    strata = np.char.add(adata.obs[SPLIT].astype(str).to_numpy(str), labels(adata).astype(str))
    _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    rng = generator(seed, "some rows")
    wanted = proportional(max_obs, sizes)
    kept = [rng.permutation(np.flatnonzero(stratum == s))[:n] for s, n in enumerate(wanted)]
    return np.sort(np.concatenate(kept))
