"""What lies downstream of the latent of a tissue: genes of domains, a path, mixing, how many.

Genes of a domain are those that a Wilcoxon test finds higher in it than elsewhere. The domains come
from the same expression, so that p-values rank genes and prove nothing: groups that are cut out of
noise differ too (``DOUBLE_USE``).

Wolf et al. (2019), Genome Biology 20, 59. doi:10.1186/s13059-019-1663-x (PAGA). Haghverdi et al.
(2016), Nature Methods 13, 845-848. doi:10.1038/nmeth.3971 (diffusion pseudotime).
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from scipy import sparse

from synthome.evaluation.domains import smoothed
from synthome.evaluation.spatial_domains import section_mixing
from synthome.rng import generator

DOUBLE_USE = (
    "The domains were found in the same expression that is compared here, so that these p-values "
    "rank genes and are no proof that a domain is real."
)
FEWEST = 3  # spots of a domain that is compared
N_NEIGHBORS = 15
MOST_SPOTS = 20_000  # that a path is looked for among
HOPS = 2  # averages over neighbours, before the number of domains is looked for
DIMS = 15
INTERIOR = 0.85  # share of the spots that count as inside of a domain
NEIGHBOURHOOD = 19.0  # spots within two hops: what they say is said once


def domain_genes(adata: AnnData, domains: np.ndarray, n_top: int | None = 100) -> pd.DataFrame:
    """Genes that are higher in a domain than elsewhere, the surest first.

    Parameters
    ----------
    adata
        Log expression in ``X``, (n_obs, n_vars).

    Returns
    -------
    Columns ``domain``, ``gene``, ``log2_fold_change``, ``p_value``, ``q_value`` (Benjamini-Hochberg
    over the genes of a domain), ``share_in`` and ``share_out``: spots with a count of the gene in
    the domain and elsewhere. At most ``n_top`` genes of each domain.
    """
    columns = ["domain", "gene", "log2_fold_change", "p_value", "q_value", "share_in", "share_out"]
    names, sizes = np.unique(domains, return_counts=True)
    kept = names[sizes >= FEWEST]
    if len(kept) < 2:
        return pd.DataFrame(columns=columns)
    rows = np.isin(domains, kept)
    part = AnnData(sparse.csr_matrix(adata.X)[rows], var=adata.var[[]].copy())
    part.obs["domain"] = pd.Categorical(domains[rows])
    part.uns["log1p"] = {"base": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas and scanpy talk about their own internals
        import scanpy as sc

        sc.tl.rank_genes_groups(part, "domain", method="wilcoxon", pts=True, n_genes=n_top)
        found = sc.get.rank_genes_groups_df(part, group=None)
    renamed = {
        "group": "domain",
        "names": "gene",
        "logfoldchanges": "log2_fold_change",
        "pvals": "p_value",
        "pvals_adj": "q_value",
        "pct_nz_group": "share_in",
        "pct_nz_reference": "share_out",
    }
    table = found.rename(columns=renamed)[columns]
    return table.assign(domain=table["domain"].astype(str), gene=table["gene"].astype(str))


def trajectory(
    z: Float[np.ndarray, "n_obs n_latent"], domains: np.ndarray, seed: int
) -> tuple[Float[np.ndarray, " n_obs"], dict[str, Any]]:
    """A path through the domains: PAGA's links between them, diffusion pseudotime along them.

    The path starts at the spot that is extreme in the first diffusion component, at the end of the
    domain whose mean is the furthest out. Its direction has no meaning.

    Returns
    -------
    Pseudotime in [0, 1], NaN where it is undefined; ``root``, ``domains`` and ``connectivities``.
    """
    n_obs = len(z)
    names = np.unique(domains)
    pseudotime = np.full(n_obs, np.nan)
    empty: dict[str, Any] = {"root": "", "domains": names.tolist(), "connectivities": []}
    if len(names) < 2 or n_obs < 2 * N_NEIGHBORS:
        return pseudotime, empty
    some = np.sort(generator(seed, "trajectory").permutation(n_obs)[:MOST_SPOTS])
    part = AnnData(z[some].astype(np.float32))
    part.obs["domain"] = pd.Categorical(domains[some], categories=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and scanpy talk about their own internals
        import scanpy as sc

        sc.pp.neighbors(part, N_NEIGHBORS, use_rep="X", random_state=seed)
        sc.tl.paga(part, groups="domain")
        sc.tl.diffmap(part, random_state=seed)
        first = part.obsm["X_diffmap"][:, 1]
        means = pd.Series(first).groupby(domains[some]).mean()
        root = str(means.abs().idxmax())
        sign = np.sign(means[root]) or 1.0
        own = np.flatnonzero(domains[some] == root)
        part.uns["iroot"] = int(own[np.argmax(sign * first[own])])
        sc.tl.dpt(part)
    found = part.obs["dpt_pseudotime"].to_numpy(np.float64)
    pseudotime[some] = np.where(np.isfinite(found), found, np.nan)
    links = np.asarray(part.uns["paga"]["connectivities"].todense(), dtype=float)
    return pseudotime, {**empty, "root": root, "connectivities": links.tolist()}


def integration(
    z: Float[np.ndarray, "n_obs n_latent"],
    components: Float[np.ndarray, "n_obs n_components"],
    section: np.ndarray,
    seed: int = 0,
) -> pd.DataFrame:
    """How well sections mix before and after: ``section_mixing`` of components and of the latent.

    No row when there is one section.
    """
    n_sections = len(np.unique(section))
    if n_sections < 2:
        return pd.DataFrame({"representation": [], "mixing": [], "n_sections": []})
    of = {"principal components": components, "latent": z}
    return pd.DataFrame(
        [
            {
                "representation": name,
                "mixing": section_mixing(each, section, seed=seed),
                "n_sections": n_sections,
            }
            for name, each in of.items()
        ]
    )


def estimate_k(
    z: Float[np.ndarray, "n_obs n_latent"], graph: sparse.csr_matrix, candidates: list[int]
) -> int:
    """The number of domains that the latent suggests, without a label.

    Mixtures of normals with one covariance are fitted to the latent averaged over neighbours. The
    averages of spots within two hops say nearly the same, so that a likelihood counts for a
    nineteenth of the spots; the number of domains has the smallest Bayesian information criterion.
    Averages across a border are of no domain: the spots that further averages move most are left
    out.
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    read = smoothed(z, graph, HOPS)
    moves = np.linalg.norm(smoothed(read, graph, HOPS) - read, axis=1)
    read = read[moves <= np.quantile(moves, INTERIOR)]
    if len(read) > MOST_SPOTS:
        read = read[np.sort(generator(0, "number of domains").permutation(len(read))[:MOST_SPOTS])]
    d = min(DIMS, *read.shape)
    scores = PCA(d, svd_solver="full").fit_transform(read)
    n_eff = len(scores) / NEIGHBOURHOOD
    criteria = []
    for k in candidates:
        mixture = GaussianMixture(k, covariance_type="tied", n_init=4, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            likelihood = mixture.fit(scores).score(scores)
        n_free = k * d + d * (d + 1) / 2 + k - 1
        criteria.append(n_free * np.log(n_eff) - 2.0 * n_eff * likelihood)
    return candidates[int(np.argmin(criteria))]
