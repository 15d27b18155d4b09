import numpy as np
import pandas as pd
import pytest

from synthome.ingestion.sheet import as_ids, as_text, is_missing, nearest_first, storable, typed


def column(*cells):
    return typed(pd.DataFrame({"x": list(cells)}, dtype=object))["x"]


def test_numbers_become_numbers_and_gaps_stay_gaps():
    pd.testing.assert_series_equal(column("1", "", "2.5"), pd.Series([1, np.nan, 2.5], name="x"))


def test_whole_numbers_stay_whole():
    assert column("1", "2").dtype == np.int64


def test_leading_zeros_mark_an_id():
    assert column("007", "012").tolist() == ["007", "012"]


def test_mixed_cells_stay_text():
    assert column("1", "two").tolist() == ["1", "two"]


def test_decimal_commas_are_understood_when_the_file_has_them():
    frame = typed(pd.DataFrame({"x": ["1,5", "2"]}, dtype=object), decimal_comma=True)
    assert frame["x"].tolist() == [1.5, 2.0]


def test_true_and_false_become_truth_values():
    assert column("TRUE", "false").tolist() == [True, False]


def test_a_class_called_none_is_a_class():
    """Readers of spreadsheets make a missing value of it."""
    assert column("None", "mild").tolist() == ["None", "mild"]
    assert not is_missing(pd.Series(["None", "unknown"])).any()


def test_words_for_nothing_are_missing():
    assert is_missing(pd.Series(["", " ", "NA", "n/a", "NaN", "null", "#N/A", None, np.nan])).all()


def test_ids_are_text_without_spaces_and_without_a_decimal_point():
    assert as_ids(pd.Series([" a ", 12.0, 7, None, np.nan])).tolist() == ["a", "12", "7", "", ""]


def test_text_of_whole_numbers_with_gaps_has_no_point():
    """0 and 1 with gaps arrive as 0.0 and 1.0, but the classes are 0 and 1."""
    assert as_text(pd.Series([1.0, np.nan, 0.0])).fillna("?").tolist() == ["1", "?", "0"]
    assert as_text(pd.Series([1, None, 0], dtype="Int8")).fillna("?").tolist() == ["1", "?", "0"]


def test_every_column_of_a_sheet_can_be_stored(tmp_path):
    """Categories, dates, mixed columns and nullable numbers all reach h5ad and come back."""
    from anndata import AnnData, read_h5ad

    sheet = pd.DataFrame(
        {
            "category": pd.Categorical(["a", None, "b"]),
            "when": pd.to_datetime(["2020-01-01", None, "2021-05-06"]),
            "mixed": ["a", 1, True],
            "whole": pd.array([1, None, 3], dtype="Int8"),
            "flag": [True, False, True],
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "text": ["x", None, "z"],
        },
        index=["s1", "s2", "s3"],
    )
    from synthome.datasets.adata import AnnDataDataset

    dataset = AnnDataDataset(str(tmp_path / "x.h5ad"))
    dataset.save(AnnData(np.zeros((3, 1)), obs=storable(sheet)))
    obs = read_h5ad(tmp_path / "x.h5ad").obs
    assert obs["category"].astype(str).tolist() == ["a", "nan", "b"]
    assert obs["when"].astype(str).tolist()[0] == "2020-01-01T00:00:00"
    assert obs["mixed"].tolist() == ["a", "1", "True"]
    assert np.isnan(obs["whole"].iloc[1])
    assert obs["flag"].tolist() == [True, False, True]
    assert obs["text"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("asked", "nearest"), [("conditon", "condition"), ("Condition", "condition"), ("gender", "sex")]
)
def test_the_nearest_name_comes_first_and_none_is_lost(asked, nearest):
    names = ["age", "sex", "condition"]
    ordered = nearest_first(asked, names)
    assert sorted(ordered) == sorted(names)
    if nearest != "sex":
        assert ordered[0] == nearest


def test_categories_become_the_text_that_their_values_become():
    values = pd.Series(["a ", None, "NA", "1.0", "a "], dtype="category")
    expected = as_text(values.astype(object))
    pd.testing.assert_series_equal(as_text(values), expected)
    numbers = pd.Series([1.0, 2.0, np.nan]).astype("category")
    assert as_text(numbers).tolist()[:2] == ["1", "2"]
    assert as_text(numbers).isna().tolist() == [False, False, True]
