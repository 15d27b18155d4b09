"""Combinations of categories: read, drawn, and written to cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from numpy.testing import assert_array_equal
from scipy import sparse, stats

from synthome.anndata_schema import labels
from synthome.errors import InputError, NotApplicable
from synthome.fields import Fields
from synthome.models import combinations as models_combinations
from synthome.models.combinations import (
    ROWS_AT_A_TIME,
    blocks,
    combination_names,
    combinations_of,
    counted_cells,
    draw_combinations,
    label_first,
    made_cells,
    missing_cells,
    need_counts,
    some_rows,
    training_rows,
)
from synthome.models.depths import Depths
from synthome.models.persistence import like_training
from synthome.training.chunks import ChunkStream

COMBINATIONS = np.array([[0, 0], [0, 2], [1, 1], [2, 0]])
N_CELLS = np.array([30, 10, 5, 7])


@pytest.fixture
def cells() -> AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, (40, 6)).astype(np.float32)
    obs = pd.DataFrame(
        {"assay": ["v2", "v3"] * 20, "kind": ["a", "a", "b", "b"] * 10, "library_size": 100.0},
        index=[f"c{i}" for i in range(40)],
    )
    uns = {"synthome": {"label_key": "kind", "field_keys": ["assay", "kind"], "scale": "counts"}}
    var = pd.DataFrame(index=[f"g{j}" for j in range(6)])
    x = np.log1p(1e4 * counts / 100.0)
    return AnnData(x, obs=obs, var=var, layers={"counts": sparse.csr_matrix(counts)}, uns=uns)


def fields(cells: AnnData) -> Fields:
    return Fields.of(cells.obs, label_first(cells))


def test_the_label_is_the_first_field(cells):
    """And the only one where no others were named."""
    assert label_first(cells) == ["kind", "assay"]
    del cells.uns["synthome"]["field_keys"]
    assert label_first(cells) == ["kind"]


def test_counts_sizes_and_codes_are_those_of_the_cells(cells):
    """By the names of the genes; a library is never smaller than the counts seen of it."""
    cells.obs.loc["c3", "library_size"] = 2.0
    turned = cells[:, ["g5", "g0", "g1", "g2", "g3", "g4"]].copy()
    counts, size, codes = counted_cells(turned, like_training(cells), fields(cells))
    dense = cells.layers["counts"].toarray()
    assert_array_equal(counts.toarray(), dense)
    assert size[3] == dense[3].sum()
    assert (np.delete(size, 3) == 100.0).all()
    assert_array_equal(codes[:4], [[0, 0], [0, 1], [1, 0], [1, 1]])


def test_without_library_sizes_the_counts_are_added_up(cells):
    """An empty cell has a size of 1, by which one can divide."""
    del cells.obs["library_size"]
    counts = cells.layers["counts"].toarray()
    counts[7] = 0.0
    cells.layers["counts"] = counts
    size = counted_cells(cells, like_training(cells), fields(cells))[1]
    assert_array_equal(size, np.maximum(counts.sum(axis=1), 1.0))


def test_what_is_not_known_is_refused(cells):
    like, known = like_training(cells), fields(cells)
    with pytest.raises(InputError, match="2 of the 6 genes of the model are missing"):
        counted_cells(cells[:, 2:].copy(), like, known)
    cells.obs["kind"] = "c"
    with pytest.raises(InputError, match="'c' is no category of the field 'kind'"):
        counted_cells(cells, like, known)


def test_cells_without_counts_are_refused_by_the_name_of_the_model(cells):
    need_counts(cells, "it")
    with pytest.raises(NotApplicable, match="^it models counts, .* on the counts scale"):
        need_counts(AnnData(cells.X, obs=cells.obs, uns=cells.uns), "it")


def test_rows_that_are_set_aside_are_not_trained_on(cells):
    """Each cell is on one side, with its own size and codes."""
    counts, _, codes = counted_cells(cells, like_training(cells), fields(cells))
    size, aside = np.arange(40) + 50.0, np.arange(40) % 5 == 0
    kept, held_out = training_rows(counts, size, codes, aside, 0)
    for part, mask in ((kept, ~aside), (held_out, aside)):
        assert_array_equal(part[0].dense(), counts[mask].toarray())
        assert_array_equal(part[1], size[mask])
        assert_array_equal(part[2], codes[mask])
    kept, held_out = training_rows(counts, size, codes, np.zeros(40, dtype=bool), 0)
    assert len(kept[0]) == 40
    assert held_out is None


def test_many_counts_are_streamed_from_the_matrix_as_it_is(cells, monkeypatch):
    """Each cell that is trained on once an epoch, with its own size and codes, from anywhere."""
    monkeypatch.setattr(models_combinations, "MOST_VALUES", 10)
    monkeypatch.setattr(models_combinations, "ROWS_OF_A_CHUNK", 9)
    counts, _, codes = counted_cells(cells, like_training(cells), fields(cells))
    size, aside = np.arange(40) + 50.0, np.arange(40) % 5 == 0
    stream, held_out = training_rows(counts, size, codes, aside, 3)
    assert isinstance(stream, ChunkStream)
    assert [chunk.n_obs for chunk in stream.chunks] == [9, 9, 9, 5]
    assert all(chunk.matrix is counts for chunk in stream.chunks)
    assert_array_equal(held_out[0].dense(), counts[aside].toarray())
    seen = []
    for values, own_size, own_codes in replace(stream, batch_size=6).epoch(0):
        row = (own_size.numpy() - 50).astype(int)
        assert_array_equal(values.dense(), counts[row].toarray())
        assert_array_equal(own_codes, codes[row])
        seen += row.tolist()
    assert sorted(seen) == np.flatnonzero(~aside).tolist()
    first = np.sort(stream.chunks[0].rows)
    assert first[-1] - first[0] > 20  # rows that lie together on disk do not stay together
    other, _ = training_rows(counts, size, codes, aside, 4)
    assert not np.array_equal(first, np.sort(other.chunks[0].rows))


@pytest.mark.parametrize("most_values", [10, 10**6])
def test_some_rows_are_drawn_from_those_that_are_trained_on(cells, monkeypatch, most_values):
    monkeypatch.setattr(models_combinations, "MOST_VALUES", most_values)
    counts, _, codes = counted_cells(cells, like_training(cells), fields(cells))
    size, aside = np.arange(40) + 50.0, np.arange(40) < 20
    rows, _ = training_rows(counts, size, codes, aside, 0)
    values, own_size, own_codes = some_rows(rows, 8, 1)
    row = (own_size.numpy() - 50).astype(int)
    assert len(set(row.tolist())) == 8
    assert row.min() >= 20
    assert_array_equal(values.dense(), counts[row].toarray())
    assert_array_equal(own_codes, codes[row])
    assert len(some_rows(rows, 100, 1)[0]) == 20


def test_combinations_are_those_that_cells_have():
    codes = COMBINATIONS[np.repeat([3, 0, 1, 2], [7, 30, 10, 5])]
    found, place, n_cells = combinations_of(codes)
    assert_array_equal(found, COMBINATIONS)
    assert_array_equal(found[place], codes)
    assert_array_equal(n_cells, N_CELLS)


def test_combinations_are_drawn_as_often_as_cells_of_the_label_had_them():
    """A chi-square test of three to one, and no combination of another label."""
    label = np.array([0, 1, 2, 0] * 1000)
    place = draw_combinations(label, COMBINATIONS, N_CELLS, np.random.default_rng(0))
    assert_array_equal(COMBINATIONS[place, 0], label)
    seen = np.bincount(place[label == 0], minlength=2)
    assert stats.chisquare(seen, [1500, 500]).pvalue > 1e-3


def test_names_of_combinations_sort_as_their_places():
    names = combination_names(np.array([2, 10, 0, 100]))
    assert np.argsort(names).tolist() == [2, 0, 1, 3]


def test_what_is_missing_brings_each_combination_to_the_median():
    """Of 30, 10, 5 and 7 that is 8; or to the number that is asked for."""
    assert_array_equal(np.bincount(missing_cells(N_CELLS, None), minlength=4), [0, 0, 3, 1])
    assert_array_equal(np.bincount(missing_cells(N_CELLS, 12), minlength=4), [0, 2, 7, 5])


def test_made_cells_have_a_column_for_each_field(cells):
    like, known = like_training(cells), fields(cells)
    counts, size, codes = counted_cells(cells, like, known)
    depths = Depths.fit(cells, size, labels(cells))
    made = made_cells(counts, size, codes[::-1].copy(), known, depths, like)
    assert made.obs["synthetic"].all()
    assert labels(made).tolist() == labels(cells)[::-1].tolist()
    assert made.obs["assay"].tolist() == cells.obs["assay"].tolist()[::-1]
    np.testing.assert_allclose(made.X, cells.X, rtol=1e-5)


@pytest.mark.parametrize("n_obs", [0, 1, ROWS_AT_A_TIME, ROWS_AT_A_TIME + 1])
def test_blocks_hold_each_row_once(n_obs):
    parts = [torch.arange(n_obs)[rows] for rows in blocks(n_obs)]
    assert torch.cat([torch.arange(0), *parts]).tolist() == list(range(n_obs))
