"""What lies downstream of a latent."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats
from scipy.spatial import cKDTree

from synthome.evaluation.domain_biology import (
    domain_genes,
    estimate_k,
    integration,
    trajectory,
)


def expression():
    rng = np.random.default_rng(0)
    domain = np.repeat(["a", "b", "c"], [40, 30, 30])
    x = rng.poisson(2.0, size=(100, 6)).astype(float)
    x[domain == "b", 2] += 5.0
    adata = AnnData(sparse.csr_matrix(np.log1p(x)), var=pd.DataFrame(index=[*"uvwxyz"]))
    return adata, domain, x


def test_the_gene_of_a_domain_comes_first_with_the_p_value_of_wilcoxon():
    adata, domain, x = expression()
    table = domain_genes(adata, domain)
    first = table[table["domain"] == "b"].iloc[0]
    assert first["gene"] == "w"
    inside, outside = (np.log1p(x[mask, 2]) for mask in (domain == "b", domain != "b"))
    expected = stats.ranksums(inside, outside).pvalue
    np.testing.assert_allclose(first["p_value"], expected, rtol=1e-3)
    np.testing.assert_allclose(first["share_in"], (inside > 0).mean())
    assert first["log2_fold_change"] > 1.0


def test_one_domain_has_no_genes_of_its_own():
    adata, _, _ = expression()
    assert domain_genes(adata, np.full(100, "a")).empty


def test_pseudotime_follows_a_path():
    rng = np.random.default_rng(0)
    along = np.sort(rng.random(200))
    z = np.c_[10.0 * along, np.sin(5 * along), 0.1 * rng.normal(size=(200, 2))]
    domain = np.array(["1", "2", "3", "4"])[np.minimum((along * 4).astype(int), 3)]
    pseudotime, path = trajectory(z, domain, 0)
    assert abs(stats.spearmanr(pseudotime, along).statistic) > 0.95
    links = np.array(path["connectivities"])
    assert path["root"] in ("1", "4")
    assert links[0, 1] > links[0, 3]
    again, _ = trajectory(z, domain, 0)
    np.testing.assert_array_equal(pseudotime, again)


def test_few_spots_or_one_domain_have_no_path():
    z = np.random.default_rng(0).normal(size=(20, 3))
    assert np.isnan(trajectory(z, np.repeat(["1", "2"], 10), 0)[0]).all()
    assert trajectory(np.tile(z, (5, 1)), np.full(100, "1"), 0)[1]["connectivities"] == []


def test_sections_that_lie_apart_do_not_mix():
    rng = np.random.default_rng(0)
    section = np.repeat(["s", "t"], 100)
    mixed = rng.normal(size=(200, 3))
    apart = mixed + 20.0 * (section == "t")[:, None]
    table = integration(mixed, apart, section).set_index("representation")["mixing"]
    assert table["principal components"] < 0.05
    assert table["latent"] > 0.8
    assert integration(mixed, apart, np.full(200, "s")).empty


@pytest.mark.parametrize("k", [3, 5])
def test_the_number_of_clear_domains_is_found(k):
    rng = np.random.default_rng(1)
    xy = rng.random((900, 2))
    band = np.minimum((xy[:, 0] * k).astype(int), k - 1)
    z = rng.normal(size=(k, 8))[band] + rng.normal(size=(900, 8))  # as noisy as spots are
    near = cKDTree(xy).query(xy, k=7)[1][:, 1:]
    edges = (np.ones(5400), (np.repeat(np.arange(900), 6), near.ravel()))
    graph = sparse.csr_matrix(edges, shape=(900, 900))
    assert abs(estimate_k(z, graph, list(range(2, 9))) - k) <= 1
