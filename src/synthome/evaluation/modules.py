"""Whether genes that move together in real patients still do so in synthetic ones.

Modules are found once, in the training rows: average-linkage clustering of genes by one minus
their correlation, cut into a fixed number of clusters; clusters of fewer than five genes are left
out. Two of the preservation statistics of Langfelder et al. are reported: mean intramodular
correlation (are the modules as tight?) and the correlation of intramodular correlations (are the
same pairs tight?).

Langfelder, Luo, Oldham, Horvath (2011), PLoS Comput Biol 7, e1001057.
doi:10.1371/journal.pcbi.1001057
"""

import numpy as np
from jaxtyping import Float, Int

from synthome.evaluation.fidelity import correlation_matrix, pearson, upper_triangle

N_MODULES = 10
MIN_GENES = 5
NO_MODULE = -1
Rows = Float[np.ndarray, "n_obs n_vars"]


def coexpression_modules(x: Rows, n_modules: int = N_MODULES) -> Int[np.ndarray, " n_vars"]:
    """Module of each gene, ``-1`` for none."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if x.shape[1] < 2 or len(x) < 3:
        return np.full(x.shape[1], NO_MODULE, dtype=np.int64)
    tree = linkage(1.0 - upper_triangle(correlation_matrix(x)), method="average")
    cluster = fcluster(tree, t=n_modules, criterion="maxclust").astype(np.int64) - 1
    return np.where(np.bincount(cluster)[cluster] >= MIN_GENES, cluster, NO_MODULE)


def module_density(
    real: Rows,
    synthetic: Float[np.ndarray, "m_obs n_vars"],
    module: Int[np.ndarray, " n_vars"],
) -> float:
    """Mean intramodular correlation of the synthetic rows over that of the real ones; 1 is best."""
    means = [[t.mean() for t in _triangles(x, module)] for x in (real, synthetic)]
    if not means[0] or not np.mean(means[0]) > 0:
        return float("nan")
    return float(np.mean(means[1]) / np.mean(means[0]))


def module_connectivity_r(
    real: Rows,
    synthetic: Float[np.ndarray, "m_obs n_vars"],
    module: Int[np.ndarray, " n_vars"],
) -> float:
    """Correlation of intramodular correlations, averaged over modules: 1 is perfect, 0 chance."""
    pairs = zip(_triangles(real, module), _triangles(synthetic, module), strict=True)
    found = [pearson(a, b) for a, b in pairs]
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def _triangles(x: Rows, module: Int[np.ndarray, " n_vars"]) -> list[np.ndarray]:
    """Correlations between the genes of each module, above the diagonal."""
    if len(x) < 3:
        return []
    return [
        upper_triangle(correlation_matrix(x[:, module == m]))
        for m in np.unique(module[module != NO_MODULE])
    ]
