import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthome.ingestion.genes import merge_repeated, restore_symbols, tidy_genes, without_versions
from synthome.ingestion.journal import Journal


def names(*values):
    return np.array(values, dtype=object)


def test_versions_come_off_ensembl_ids_only():
    cleaned, n = without_versions(
        names("ENSG00000141510.17", "ENSMUSG00000059552.9", "ENSG00000182378.10_PAR_Y",
              "ENST00000269305.8", "ENSG00000141510", "AC012345.1", "RP11-34P13.7")
    )  # fmt: skip
    assert cleaned.tolist() == [
        "ENSG00000141510", "ENSMUSG00000059552", "ENSG00000182378", "ENST00000269305",
        "ENSG00000141510", "AC012345.1", "RP11-34P13.7",
    ]  # fmt: skip
    assert n == 4


def test_certain_symbols_are_restored_and_unclear_ones_reported():
    restored, report = restore_symbols(names("TP53", "2-Sep", "1-Mar", "3-Mar"))
    assert restored.tolist() == ["TP53", "SEPTIN2", "1-Mar", "MARCHF3"]
    assert report["restored"] == [
        {"found": "2-Sep", "now": "SEPTIN2"}, {"found": "3-Mar", "now": "MARCHF3"},
    ]  # fmt: skip
    assert report["unclear"] == [{"found": "1-Mar", "likely": ["MARCHF1", "MTARC1"], "times": 1}]


@pytest.mark.parametrize("present", ["SEPTIN2", "SEPT2", "Sept2"])
def test_a_symbol_that_stands_elsewhere_is_not_given_twice(present):
    restored, report = restore_symbols(names("2-Sep", present))
    assert restored.tolist() == ["2-Sep", present]
    assert report["unclear"][0]["likely"] == ["SEPTIN2"]


def test_two_genes_behind_one_unclear_name_are_not_merged():
    """1-Mar twice is MARCHF1 and MTARC1, in whatever order: their sum is no gene."""
    restored, report = restore_symbols(names("1-Mar", "TP53", "1-Mar"))
    assert restored.tolist() == ["1-Mar", "TP53", "1-Mar#2"]
    assert report["unclear"][0]["times"] == 2


def test_one_certain_name_twice_is_one_gene():
    restored, _ = restore_symbols(names("2-Sep", "2-Sep"))
    assert restored.tolist() == ["SEPTIN2", "SEPTIN2"]


@given(
    x=hnp.arrays(np.int64, (4, 7), elements=st.integers(0, 1000)),
    picks=st.lists(st.sampled_from("ABCD"), min_size=7, max_size=7),
    how=st.sampled_from(["sum", "mean"]),
)
def test_merging_agrees_with_pandas(x, picks, how):
    merged, genes, first = merge_repeated(x.astype(float), names(*picks), how)
    expected = pd.DataFrame(x.T.astype(float)).groupby(picks, sort=False).agg(how)
    np.testing.assert_allclose(merged, expected.to_numpy().T, rtol=1e-14)
    assert genes.tolist() == expected.index.tolist()
    assert [picks[i] for i in first] == genes.tolist()
    if how == "sum":
        np.testing.assert_array_equal(merged.sum(axis=1), x.sum(axis=1))


@pytest.mark.parametrize(
    ("scale", "verb", "value"),
    [("counts", "summed", 3), ("linear", "summed", 3), ("log", "averaged", 1.5)],
)
def test_repeated_genes_are_merged_as_their_scale_asks(scale, verb, value):
    journal = Journal("cohort", 1, 3)
    x, genes, first, report = tidy_genes(
        np.array([[1.0, 5.0, 2.0]]), names("A", "B", "A"), scale, journal
    )
    np.testing.assert_array_equal(x, [[value, 5.0]])
    assert genes.tolist() == ["A", "B"]
    assert first.tolist() == [0, 1]
    assert report["repeated_genes"] == 1
    assert journal.entries[-1]["why"] == f"1 gene with more than one row {verb} ({scale} values)"
    assert journal.entries[-1]["dropped_genes"] == 1


def test_sound_genes_need_no_words():
    journal = Journal("cohort", 1, 2)
    tidy_genes(np.array([[1.0, 2.0]]), names("A", "B"), "counts", journal)
    assert journal.entries == []
