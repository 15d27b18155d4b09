"""The published experiment done right, on real cells, beside what others measured on them.

Counts of Zeisel et al. (2018), 1,342 cells of four types; genes of published ALS and Huntington
studies. A model that knows the type of a cell and nothing else stands for a latent model.
"""

from functools import cache

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from ingestion.folders import real_cohort
from scipy import sparse

from synthome.evaluation.planted import planted_auprc
from synthome.evaluation.representations import log_expression
from synthome.evaluation.three_class import ThreeClassConfig, three_class
from synthome.simulate.perturbation import expected_counts, moment_theta, twins

SETS = {
    "down": "ALS_DOWN_MOTOR_CORTEX_TOP41_KEGG318",
    "up": "HD_UP_BA9_TOP80_EXPRESSED",
}


@cache
def cells() -> tuple[AnnData, dict[str, list[str]]]:
    """The 2,000 genes that vary most and those of the sets."""
    name = "zeisel2018_telencephalon_subset"
    given = anndata.read_h5ad(real_cohort(name) / f"{name}.h5ad")
    lines = (real_cohort("genelists_als_hd") / "gene_lists.gmt").read_text().splitlines()
    listed = {line.split("\t")[0]: {g.upper() for g in line.split("\t")[2:]} for line in lines}
    upper = given.var_names.str.upper()
    genes = {d: list(given.var_names[upper.isin(listed[name])]) for d, name in SETS.items()}
    size = np.asarray(given.X.sum(axis=1)).ravel().astype(float)
    x = log_expression(given.X, size)
    variance = np.asarray(x.power(2).mean(axis=0) - np.square(x.mean(axis=0))).ravel()
    kept = np.isin(np.arange(given.n_vars), np.argsort(-variance)[:2000])
    kept |= given.var_names.isin(genes["down"] + genes["up"])
    counts = sparse.csr_matrix(given.X[:, kept])
    adata = AnnData(
        counts,
        obs=pd.DataFrame(
            {"cell_type": given.obs["cell_type"].astype(str), "library_size": size},
            index=given.obs_names,
        ),
        var=pd.DataFrame(index=given.var_names[kept]),
        layers={"counts": counts},
        uns={"synthome": {"label_key": "cell_type", "group_key": "", "scale": "counts"}},
    )
    return adata, genes


def types_alone(train, test):
    """Latents, expected counts and dispersions from the means of the types."""
    base = train[train.obs["condition"] == "base"]
    types = base.obs["cell_type"].to_numpy(str)
    size = base.obs["library_size"].to_numpy(float)
    mu = expected_counts(base.X, size, types)
    theta = np.clip(moment_theta(base.X.toarray().astype(float), mu), 1e-2, 1e5)
    names = np.unique(types)
    rate = np.stack([(mu / size[:, None])[types == t][0] for t in names])

    def seen(part):
        code = np.searchsorted(names, part.obs["cell_type"].to_numpy(str))
        depth = part.obs["library_size"].to_numpy(float)[:, None]
        return np.eye(len(names))[code], np.maximum(depth * rate[code], 1e-8)

    (z, mu), (z_new, mu_new) = seen(train), seen(test)
    return z, z_new, mu, mu_new, theta


def test_the_gene_sets_are_found_as_their_source_says():
    adata, genes = cells()
    assert adata.n_obs == 1342
    assert [len(genes[d]) for d in ("down", "up")] == [33, 50]


def test_planted_genes_are_found_as_well_as_by_a_t_test():
    """On 470 against 469 cells at factor 2, others found 0.64 for the t-test, up and down."""
    adata, genes = cells()
    chosen = np.random.default_rng(0).permutation(1342)[:939]
    tripled = twins(adata[chosen].copy(), genes["down"], genes["up"], 2.0, np.random.default_rng(1))
    z, _, mu, _, theta = types_alone(tripled, tripled[:3])
    table = planted_auprc(
        tripled, genes, mu, theta, z, np.ones((adata.n_vars, z.shape[1])), np.random.default_rng(2)
    )
    found = table.pivot(index="method", columns="direction", values="auprc")
    for direction in ("down", "up"):
        assert found.loc["t_test", direction] == pytest.approx(0.64, abs=0.1)
        assert found.loc["mean_shift", direction] >= 0.9 * found.loc["t_test", direction]


@pytest.mark.slow
def test_a_contrast_among_residuals_reaches_all_genes():
    """Others found 0.58 for signatures and 0.63 for ridge at factor 2, and less for components."""
    adata, genes = cells()
    config = ThreeClassConfig(doses=(2.0,), n_bootstrap=50)
    table = three_class(adata, genes["down"], genes["up"], types_alone, config).accuracy
    found = table.set_index(["representation", "classifier"])["accuracy"]
    assert found["signature", "logistic"] == pytest.approx(0.58, abs=0.05)
    assert 1 / 3 <= found["pca", "logistic"] < found["signature", "logistic"] - 0.1
    assert found["all_genes", "ridge"] == pytest.approx(0.63, abs=0.05)
    assert found["latents+sets", "logistic"] > found["all_genes", "ridge"] - 0.04
    assert found["latents+contrast", "logistic"] > found["all_genes", "ridge"] - 0.04
