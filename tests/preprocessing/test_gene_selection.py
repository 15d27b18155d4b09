import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.preprocessing import gene_selection
from synthome.preprocessing.gene_selection import (
    SelectionConfig,
    _Rows,
    residual_variance,
    select_genes,
)


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


def test_scanpy_ranks_genes_alike_when_library_sizes_are_sums():
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
    np.testing.assert_allclose(selected.var["residual_variance"], found, rtol=1e-4)


def test_many_library_sizes_are_binned_without_harm(monkeypatch):
    raw, split = cells(n_obs=3000, n_vars=20)
    train = (split.obs["split"] == "train").to_numpy()
    rows = _Rows(CellSource.of(raw), split, train)
    split.obs["library_size"] *= np.random.default_rng(0).lognormal(0, 0.2, split.n_obs)
    binned, _ = residual_variance(rows, split, train, 100.0)
    monkeypatch.setattr(gene_selection, "MOST_DEPTHS", 10**6)
    exact, _ = residual_variance(rows, split, train, 100.0)
    assert (binned != exact).any()
    np.testing.assert_allclose(binned, exact, rtol=1e-4)


def test_the_counts_of_the_chosen_genes_are_those_of_the_source():
    raw, split = cells()
    selected = select_genes(CellSource.of(raw), split, SelectionConfig(n_top_genes=10))
    expected = raw[split.obs["source_row"].to_numpy(), selected.var_names].X
    assert (selected.layers["counts"] != expected).nnz == 0
    assert selected.layers["counts"].dtype == np.float32
    assert selected.X is selected.layers["counts"]
    assert selected.n_vars == 10
    assert sorted(selected.var["highly_variable_rank"]) == list(range(10))
    assert list(selected.obs_names) == list(split.obs_names)


def test_blocks_of_any_size_give_the_same_genes():
    raw, split = cells()

    class InSevens(CellSource):
        def blocks(self, n_rows=None):
            return super().blocks(7)

    whole = select_genes(CellSource.of(raw), split, SelectionConfig(n_top_genes=12))
    small = select_genes(InSevens.of(raw), split, SelectionConfig(n_top_genes=12))
    pd.testing.assert_frame_equal(whole.var, small.var)
    assert (whole.X != small.X).nnz == 0


def test_what_held_out_cells_say_changes_no_choice():
    """The genes of a leaky selection would depend on the test cells."""
    raw, split = cells()
    test = split.obs.loc[split.obs["split"] == "test", "source_row"].to_numpy()
    other = changed(raw, test, slice(None), 1000)
    config = SelectionConfig(n_top_genes=12)
    pd.testing.assert_frame_equal(
        select_genes(CellSource.of(raw), split, config).var,
        select_genes(CellSource.of(other), split, config).var,
    )


def test_genes_of_a_set_are_kept_when_enough_training_cells_have_them():
    raw, split = cells()
    raw = changed(raw, slice(None), 5, 0)
    ranks = select_genes(CellSource.of(raw), split, SelectionConfig(n_top_genes=None)).var
    dull = ranks["highly_variable_rank"].idxmax()
    sets = {"mine": [dull, "G005", "not there"], "other": [ranks.index[0]]}
    selected = select_genes(CellSource.of(raw), split, SelectionConfig(n_top_genes=3), sets)
    assert dull in selected.var_names
    assert "G005" not in selected.var_names
    assert not selected.var.loc[dull, "highly_variable"]
    assert selected.var["highly_variable"].sum() == 3
    assert list(selected.uns["gene_sets"]["mine"]) == [dull]


def test_only_the_genes_of_sets_with_a_role_are_kept_when_there_are_roles():
    raw, split = cells()
    ranks = select_genes(CellSource.of(raw), split, SelectionConfig(n_top_genes=None)).var
    dull = ranks["highly_variable_rank"].sort_values().index[-2:]
    sets = {"a": [dull[0]], "b": [dull[1]]}
    config = SelectionConfig(n_top_genes=3)
    selected = select_genes(CellSource.of(raw), split, config, sets, {"up": "a"})
    assert dull[0] in selected.var_names
    assert dull[1] not in selected.var_names
    facts = selected.uns["synthome"]
    assert (facts["up_set"], facts["down_set"]) == ("a", "")


def test_a_set_with_a_role_must_be_seen_in_training_cells():
    raw, split = cells()
    raw = changed(raw, slice(None), 5, 0)
    with pytest.raises(InputError, match="None of the genes of 'a' is seen in 3 of the"):
        select_genes(CellSource.of(raw), split, SelectionConfig(), {"a": ["G005"]}, {"down": "a"})


@given(seed=st.integers(0, 50), n_top=st.sampled_from([15, 30, None]))
@settings(deadline=None, max_examples=8)
def test_without_sets_two_disjoint_ones_are_drawn_of_the_moderate_chosen_genes(seed, n_top):
    raw, split = cells()
    config = SelectionConfig(n_top_genes=n_top, n_random_down=20, n_random_up=40, seed=seed)
    selected = select_genes(CellSource.of(raw), split, config)
    assert selected.var["highly_variable"].all()  # none is added for them
    down, up = (set(selected.uns["gene_sets"][f"random_{role}"]) for role in ("down", "up"))
    assert not down & up
    n_train = (split.obs["split"] == "train").sum()
    share = selected.var["n_train_cells"] / n_train
    moderate = share.between(*gene_selection.MODERATE)
    assert moderate[[*down, *up]].all()
    assert len(down | up) == moderate.sum() // 2
    again = select_genes(CellSource.of(raw), split, config)
    assert set(again.uns["gene_sets"]["random_up"]) == up


def test_a_difference_between_batches_alone_does_not_make_a_gene_variable():
    raw, split = cells(n_obs=400, batches=2)
    plate = np.zeros(raw.n_obs, dtype=int)
    plate[split.obs["source_row"]] = split.obs["plate"].str[1:].astype(int)
    raw = changed(raw, slice(None), 0, np.random.default_rng(1).poisson(1 + 9 * plate))
    source, config = CellSource.of(raw), SelectionConfig(n_top_genes=None)
    apart = select_genes(source, split, config).var.loc["G000"]
    split.uns["synthome"]["batch_key"] = ""
    pooled = select_genes(source, split, config).var.loc["G000"]
    assert pooled["residual_variance"] > 2 * apart["residual_variance"]


def test_genes_that_no_training_cell_has_leave_nothing_to_choose():
    raw, split = cells()
    raw.X = sparse.csr_matrix(raw.shape, dtype="f4")
    with pytest.raises(InputError, match="None of the 40 genes is seen in 3 of the"):
        select_genes(CellSource.of(raw), split, SelectionConfig())
