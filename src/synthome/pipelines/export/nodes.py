"""Nodes of export: a synthetic AnnData in, one table out."""

import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import COUNTS
from synthome.errors import InputError


def to_table(synthetic: AnnData, values: str) -> pd.DataFrame:
    """Columns of ``obs`` first, then the genes, in the scale that ``values`` names.

    Raises
    ------
    InputError
        If the synthetic cohort does not hold those values.
    """
    held = {"log": synthetic.X, **synthetic.layers}
    if values == "original":
        values = COUNTS if COUNTS in held else next(iter(synthetic.layers), "log")
    if values not in held:
        raise InputError(
            f"values={values} is not in the synthetic cohort, which holds: {', '.join(held)}. "
            "Use values=original for the scale that your cohort came in."
        )
    genes = synthetic.to_df(None if values == "log" else values)  # dense, also where it is sparse
    return pd.concat([synthetic.obs, genes], axis=1)
