"""Three classes, each marked by four genes of its own: small, and easy to tell apart."""

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import UNS


def cohort(n=60, n_vars=30, seed=0):
    rng = np.random.default_rng(seed)
    y = np.array(["A", "B", "C"])[np.arange(n) % 3]
    x = rng.standard_normal((n, n_vars))
    for k, c in enumerate("ABC"):
        x[y == c, 4 * k : 4 * k + 4] += 3.0  # genes 0-3 mark A, 4-7 B, 8-11 C
    obs = pd.DataFrame({"label": y}, index=[f"s{i}" for i in range(n)])
    var = pd.DataFrame(index=[f"g{j}" for j in range(n_vars)])
    return AnnData(x, obs=obs, var=var, uns={UNS: {"label_key": "label", "scale": "log"}})
