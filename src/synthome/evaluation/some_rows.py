"""A part of many cells, in the shares of what they are, for scores that need no more."""

import numpy as np
from anndata import AnnData
from jaxtyping import Int

from synthome.anndata_schema import SPLIT, field_keys, labels
from synthome.generator import proportional
from synthome.rng import generator


def some_rows(adata: AnnData, max_obs: int | None, seed: int) -> Int[np.ndarray, " n"]:
    """Rows to score, in order: all, or ``max_obs``.

    Of each class, combination of metadata fields and ``obs["split"]``, where there are such, they
    are in the shares of all rows; a rare one may be left out.
    """
    if max_obs is None or adata.n_obs <= max_obs:
        return np.arange(adata.n_obs)
    columns = [
        adata.obs[name].astype(str) for name in (SPLIT, *field_keys(adata)) if name in adata.obs
    ]
    codes = np.column_stack(
        [np.unique(each, return_inverse=True)[1] for each in (*columns, labels(adata))]
    )
    _, stratum, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    rng = generator(seed, "some rows")
    wanted = proportional(max_obs, sizes)
    kept = [rng.permutation(np.flatnonzero(stratum == s))[:n] for s, n in enumerate(wanted)]
    return np.sort(np.concatenate(kept))
