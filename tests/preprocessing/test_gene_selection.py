import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessing.cells import cells, changed
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.preprocessing import gene_selection
from synthome.preprocessing.gene_selection import SelectionConfig, select_genes


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


def test_genes_that_no_training_cell_has_leave_nothing_to_choose():
    raw, split = cells()
    raw.X = sparse.csr_matrix(raw.shape, dtype="f4")
    with pytest.raises(InputError, match="None of the 40 genes is seen in 3 of the"):
        select_genes(CellSource.of(raw), split, SelectionConfig())
