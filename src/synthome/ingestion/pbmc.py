"""Blood cells that come with scanpy, so that real cells are at hand without a network.

``pbmc68k_reduced`` holds 700 cells x 765 genes of the 68,579 peripheral blood cells of Zheng et al.
(2017). Its ``X`` is scaled and its ``raw`` is log1p of counts per 10,000, rounded to three
decimals; ``obs["n_counts"]`` is the total of each cell over all genes. Counts come back exactly:
of 174,400 values, none is further than 0.09 from a whole number, and the rounded logarithm of each
whole number is the value that stands there.

Zheng et al. (2017), Nature Communications 8, 14049. doi:10.1038/ncomms14049
"""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from anndata import AnnData, read_h5ad
from scipy import sparse

from synthome.anndata_schema import UNS
from synthome.errors import InputError
from synthome.ingestion.files import sha256_of
from synthome.ingestion.recover import counts_of_log

FILE = "10x_pbmc68k_reduced.h5ad"
TYPE, PHASE, TOTAL = "bulk_labels", "phase", "n_counts"
ROUNDING = 1e-3


def read_pbmc68k_reduced() -> AnnData:
    """Raw counts of 700 blood cells, with types, phases of the cycle, and totals over all genes.

    Raises
    ------
    InputError
        If this scanpy does not bring the file.
    """
    scanpy = find_spec("scanpy")  # found, not imported: that would take seconds
    path = Path(str(scanpy.origin)).parent / "datasets" / FILE if scanpy else Path(FILE)
    if not path.is_file():
        raise InputError(
            f"{FILE} is not part of the installed scanpy. Give cells with --env=cells."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file is written as anndata wrote in 2019
        adata = read_h5ad(path)
    logs = sparse.csr_matrix(adata.raw.X)
    counts = counts_of_log(logs, adata.obs[TOTAL].to_numpy(np.float64), rounding=ROUNDING)
    facts = {"label_key": TYPE, "source": "pbmc68k_reduced", "sha256": sha256_of(path)}
    obs = adata.obs[[TYPE, "louvain", PHASE, TOTAL]].copy()
    return AnnData(counts, obs=obs, var=adata.raw.var[[]].copy(), uns={UNS: facts})
