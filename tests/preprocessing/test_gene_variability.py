import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessing.cells import cells, changed

from synthome.ingestion.cell_source import CellSource
from synthome.preprocessing import gene_variability
from synthome.preprocessing.gene_selection import SelectionConfig, _Rows, select_genes
from synthome.preprocessing.gene_variability import normalised_dispersion, residual_variance


def by_brute_force(raw, split, theta):
    """Eqs. 1-3 on a dense matrix."""
    train = (split.obs["split"] == "train").to_numpy()
    x = raw.X.toarray()[split.obs["source_row"].to_numpy()[train]]
    size = split.obs["library_size"].to_numpy()[train]
    plate = split.obs["plate"].to_numpy()[train]
    if not split.uns["synthome"]["batch_key"]:
        plate = np.zeros(len(x))
    result = np.zeros(x.shape[1])
    for b in np.unique(plate):
        c, depth = x[plate == b], size[plate == b]
        mu = np.outer(depth, c.sum(axis=0) / depth.sum())
        with np.errstate(invalid="ignore"):
            r = np.nan_to_num((c - mu) / np.sqrt(mu + mu**2 / theta))
        result += len(c) * np.clip(r, None, np.sqrt(len(c))).var(axis=0) / len(x)
    return result


@given(seed=st.integers(0, 1000), batches=st.integers(1, 3), theta=st.sampled_from([1.0, 100.0]))
@settings(deadline=None, max_examples=15)
def test_the_sparse_variance_is_that_of_the_dense_residuals(seed, batches, theta):
    raw, split = cells(seed=seed, batches=batches)
    train = (split.obs["split"] == "train").to_numpy()
    rows = _Rows(CellSource.of(raw), split, train)
    variance, n_cells = residual_variance(rows, split, train, theta)
    np.testing.assert_allclose(variance, by_brute_force(raw, split, theta), rtol=1e-6, atol=1e-9)
    used = raw.X[split.obs["source_row"].to_numpy()[train]]
    np.testing.assert_array_equal(n_cells, (used > 0).sum(axis=0).A1)


def test_scanpy_finds_the_same_variance_when_library_sizes_are_sums():
    import scanpy as sc

    raw, split = cells(n_obs=300, n_vars=80)
    split.obs["library_size"] = np.asarray(raw.X.sum(axis=1)).ravel()[split.obs["source_row"]]
    selected = select_genes(CellSource.of(raw), split, SelectionConfig(n_top_genes=None))
    train = split.obs.loc[split.obs["split"] == "train", "source_row"].to_numpy()
    theirs = raw[train].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.experimental.pp.highly_variable_genes(
            theirs, flavor="pearson_residuals", n_top_genes=20, theta=100, clip=np.sqrt(len(train))
        )
    found = theirs.var.loc[selected.var_names, "residual_variances"]
    np.testing.assert_allclose(selected.var["variability"], found, rtol=1e-4)


def test_many_library_sizes_are_binned_without_harm(monkeypatch):
    raw, split = cells(n_obs=3000, n_vars=20)
    train = (split.obs["split"] == "train").to_numpy()
    rows = _Rows(CellSource.of(raw), split, train)
    split.obs["library_size"] *= np.random.default_rng(0).lognormal(0, 0.2, split.n_obs)
    binned, _ = residual_variance(rows, split, train, 100.0)
    monkeypatch.setattr(gene_variability, "MOST_DEPTHS", 10**6)
    exact, _ = residual_variance(rows, split, train, 100.0)
    assert (binned != exact).any()
    np.testing.assert_allclose(binned, exact, rtol=1e-4)


def test_scanpy_finds_the_same_dispersion_when_library_sizes_are_sums():
    import scanpy as sc

    raw, split = cells(n_obs=300, n_vars=80)
    split.obs["library_size"] = raw.X.sum(axis=1).A1[split.obs["source_row"]]
    config = SelectionConfig(n_top_genes=15, rule="dispersion", min_cells=2)
    selected = select_genes(CellSource.of(raw), split, config)
    train = split.obs.loc[split.obs["split"] == "train", "source_row"].to_numpy()
    theirs = raw[train].copy()
    sc.pp.normalize_total(theirs, target_sum=1e4)
    sc.pp.log1p(theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.highly_variable_genes(theirs, flavor="seurat", n_top_genes=15)
    assert list(selected.var_names) == list(theirs.var_names[theirs.var["highly_variable"]])
    every = select_genes(CellSource.of(raw), split, config.model_copy(update={"n_top_genes": None}))
    found = theirs.var.loc[every.var_names, "dispersions_norm"]
    assert (found == 1).any()  # a gene without others of similar mean
    np.testing.assert_allclose(every.var["variability"], found, rtol=1e-3, atol=1e-5)


def test_dispersions_of_batches_are_averaged_by_their_cells():
    raw, split = cells(n_obs=300, n_vars=60, batches=2)
    train = (split.obs["split"] == "train").to_numpy()
    pooled, n_cells = normalised_dispersion(_Rows(CellSource.of(raw), split, train), split, train)
    expected = np.zeros(60)
    for plate in ("p0", "p1"):
        rows = train & (split.obs["plate"] == plate).to_numpy()
        one = split[rows].copy()
        one.uns["synthome"]["batch_key"] = ""
        every = np.ones(rows.sum(), dtype=bool)
        alone, _ = normalised_dispersion(_Rows(CellSource.of(raw), one), one, every)
        expected += alone * rows.sum() / train.sum()
    np.testing.assert_allclose(pooled, expected)
    assert n_cells.sum() == (raw.X[split.obs["source_row"].to_numpy()[train]] > 0).sum()


def test_a_difference_between_batches_alone_does_not_make_a_gene_variable():
    raw, split = cells(n_obs=400, batches=2)
    plate = np.zeros(raw.n_obs, dtype=int)
    plate[split.obs["source_row"]] = split.obs["plate"].str[1:].astype(int)
    raw = changed(raw, slice(None), 0, np.random.default_rng(1).poisson(1 + 9 * plate))
    source, config = CellSource.of(raw), SelectionConfig(n_top_genes=None)
    apart = select_genes(source, split, config).var.loc["G000"]
    split.uns["synthome"]["batch_key"] = ""
    pooled = select_genes(source, split, config).var.loc["G000"]
    assert pooled["variability"] > 2 * apart["variability"]
