"""Cells with more genes than are kept, some of them held out, as a split leaves them."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse


def cells(n_obs=120, n_vars=40, seed=0, batches=1) -> tuple[AnnData, AnnData]:
    """Counts, and the sheet of a split that keeps two cells of three and trains on most of them."""
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.normal(-1, 1.5, n_vars)) * np.exp(rng.normal(0, 0.5, (n_obs, 1)))
    counts = sparse.csr_matrix(rng.poisson(mean * rng.gamma(0.7, 1 / 0.7, mean.shape)), dtype="f4")
    names = [f"G{j:03d}" for j in range(n_vars)]
    raw = AnnData(counts, var=pd.DataFrame(index=names))
    row = np.sort(rng.permutation(n_obs)[: 2 * n_obs // 3])
    obs = pd.DataFrame(
        {
            "source_row": row,
            "library_size": np.asarray(counts.sum(axis=1)).ravel()[row] + 1.0,
            "split": np.where(np.arange(len(row)) % 5 == 0, "test", "train"),
            "plate": [f"p{i}" for i in rng.integers(batches, size=len(row))],
        },
        index=[f"c{i}" for i in row],
    )
    key = "plate" if batches > 1 else ""
    uns = {"synthome": {"batch_key": key, "scale": "counts"}}
    return raw, AnnData(obs=obs, var=raw.var.copy(), uns=uns)


def changed(raw: AnnData, rows, columns, values) -> AnnData:
    """The same cells with other counts in some places."""
    dense = raw.X.toarray()
    dense[rows, columns] = values
    return AnnData(sparse.csr_matrix(dense), var=raw.var.copy())
