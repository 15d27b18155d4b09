"""Counts got back from their logarithm, where nothing but the logarithm was kept.

A value x = log(1 + t c / l) of a count c, in a cell of l counts in all, gives c = l (e^x - 1) / t.
If x was rounded, c is near a whole number, and the rounded logarithm of that number is x again.
This is checked value by value, so that what is returned is the counts and not something like them.
"""

import numpy as np
from jaxtyping import Float
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.journal import count


def counts_of_log(
    x: sparse.csr_matrix,
    library_size: Float[np.ndarray, " n_obs"],
    target_sum: float = 1e4,
    rounding: float = 1e-6,
) -> sparse.csr_matrix:
    """Whole counts whose log1p of counts per ``target_sum`` is ``x``.

    Parameters
    ----------
    x
        Log expression of some or all genes.
    library_size
        Total counts of each cell over all genes, before any gene was left out.
    target_sum
        t: 10,000 in the tutorials of scanpy.
    rounding
        The step to which ``x`` was rounded.

    Raises
    ------
    InputError
        If no whole counts explain a value.
    """
    scale = np.repeat(library_size / target_sum, np.diff(x.indptr))
    counts = np.rint(np.expm1(x.data.astype(np.float64)) * scale)
    off = np.abs(np.log1p(counts / scale) - x.data)
    wrong = off > rounding * (0.5 + 1e-2)
    if wrong.any():
        raise InputError(
            f"{count(int(wrong.sum()), 'value')} of {wrong.size:,} are not log1p of whole counts "
            f"per {target_sum:,.0f}: they are off by up to {off.max():.2g}. Give the raw counts."
        )
    return sparse.csr_matrix((counts.astype(np.float32), x.indices, x.indptr), shape=x.shape)
