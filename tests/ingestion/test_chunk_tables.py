from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.ingestion.chunk_tables import joined, read_genes, read_obs, same_columns


def column(*parts) -> pd.Series:
    """One column of tables put below each other."""
    frames = [pd.DataFrame({"x": part}) for part in parts]
    return joined(frames, [f"c{i}" for i in range(len(parts))])["x"]


def test_categories_of_all_chunks_are_put_together():
    """Codes of different chunks mean the same; no cell changes its category."""
    found = column(pd.Categorical(["T", "B", "T"]), pd.Categorical(["NK", "B", None]))
    assert found.cat.categories.tolist() == ["B", "NK", "T"]
    assert found.astype(object).fillna("-").tolist() == ["T", "B", "T", "NK", "B", "-"]


def test_an_order_that_all_chunks_share_is_kept():
    """Of stages, for example; where chunks disagree, the categories have none."""
    stages = pd.CategoricalDtype(["young", "old"], ordered=True)
    young, old = pd.Series(["young"], dtype=stages), pd.Series(["old"], dtype=stages)
    assert column(young, old).dtype == stages
    other = pd.Series(["old"], dtype=pd.CategoricalDtype(["old"], ordered=True))
    assert not column(young, other).cat.ordered


@pytest.mark.parametrize("text", ["object", "string", "category"])
def test_text_that_repeats_becomes_categorical_and_other_text_stays(text):
    """Whichever way a chunk stores it."""
    repeated = column(pd.Series(["a", "b"], dtype=object), pd.Series(["a", "b"], dtype=text))
    assert repeated.cat.categories.tolist() == ["a", "b"]
    assert repeated.tolist() == ["a", "b", "a", "b"]
    names = column(pd.Series(["a", "b"], dtype=object), pd.Series(["c"], dtype="string"))
    assert names.dtype == object
    assert names.tolist() == ["a", "b", "c"]


def test_numbers_stay_numbers_where_all_chunks_have_them():
    """A chunk without missing values is written as whole numbers."""
    assert column([1, 2], [3, 4]).dtype == np.int64
    np.testing.assert_array_equal(column([1, 2], [np.nan, 4]), [1, 2, np.nan, 4])
    assert column([True], [False]).dtype == bool
    assert column(pd.Categorical([1, 2]), pd.Categorical([3, 2])).tolist() == [1, 2, 3, 2]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2], ["x", "2"], ["1", "2", "x", "2"]),
        ([1.0, np.nan], ["x", "1"], ["1", "-", "x", "1"]),
        ([np.nan, np.nan], ["x", "x"], ["-", "-", "x", "x"]),
        ([True, False], ["True", None], ["True", "False", "True", "-"]),
        (pd.Categorical([1, 2]), pd.Categorical(["1", "x"]), ["1", "2", "1", "x"]),
        ([True, False], [1, 2], ["True", "False", "1", "2"]),
    ],
)
def test_a_column_that_is_text_in_one_chunk_is_text_in_all(first, second, expected):
    """As donors are, whose ids happen to be numbers in some chunks."""
    found = column(first, second).astype(object).fillna("-").tolist()
    assert found == expected


def test_names_that_repeat_get_the_name_of_their_chunk():
    """Row numbers start again in each chunk; barcodes that differ stay as they are."""
    rows = [pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3]})]
    assert joined(rows, ["a", "b"]).index.tolist() == ["a:0", "a:1", "b:0"]
    named = [pd.DataFrame({"x": [1]}, index=["AC"]), pd.DataFrame({"x": [3]}, index=["GT"])]
    assert joined(named, ["a", "b"]).index.tolist() == ["AC", "GT"]


def test_rows_stay_in_order_whatever_the_index():
    """Aligning columns by an index with repeats would multiply or shuffle cells."""
    frames = [pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}, index=["n", "n"])] * 2
    found = joined(frames, ["a", "b"])
    assert found["x"].tolist() == [1, 2, 1, 2]
    assert found["y"].tolist() == ["a", "b", "a", "b"]


def test_the_order_of_columns_is_free_and_their_names_are_not():
    """A column that is missing in one chunk would leave cells without a label."""
    a, b = pd.DataFrame({"x": [1], "y": [2]}), pd.DataFrame({"y": [3], "x": [4]})
    same_columns([Path("a.csv"), Path("b.csv")], [a, b])
    assert joined([a, b], ["a", "b"])["x"].tolist() == [1, 4]
    message = r"b\.csv has other columns than a\.csv: it lacks x and has z"
    with pytest.raises(InputError, match=message):
        same_columns([Path("a.csv"), Path("b.csv")], [a, b.rename(columns={"x": "z"})])


def test_a_table_needs_a_row_for_each_row_of_its_matrix(tmp_path):
    """The pair is named, with both counts."""
    pd.DataFrame({"x": [1, 2], "y": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=r"a\.npz has 3 rows, but a\.parquet has 2\. Row i of both"
    ):
        read_obs(tmp_path / "a.parquet", tmp_path / "a.npz", 3)


def test_a_column_that_stands_twice_is_told(tmp_path):
    """Which of the two is meant cannot be known."""
    pd.DataFrame([[1, 2, 3]], columns=["x", "y", "x"]).to_pickle(tmp_path / "a.pkl")
    with pytest.raises(InputError, match=r"a\.pkl has the column 'x' twice"):
        read_obs(tmp_path / "a.pkl", tmp_path / "a.npz", 1)


NAMES = ["TP53", "MYC", "007"]
FORMS = {
    "genes.txt": "TP53\nMYC\n007\n",
    "one column.txt": "gene_name\nTP53\nMYC\n007\n",
    "windows.csv": '\ufeff"TP53"\r\n"MYC"\r\n"007"\r\n',
    "var.csv": ",feature_id,length\nTP53,E1,5\nMYC,E2,6\n007,E3,7\n",
    "numbered.csv": ",0\n0,TP53\n1,MYC\n2,007\n",
    "ids first.csv": "feature_id,feature_name\nE1,TP53\nE2,MYC\nE3,007\n",
    "any name.csv": "what,length\nTP53,5\nMYC,6\n007,7\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_genes_are_named_by_a_list_or_a_table(tmp_path, form):
    """With and without header, index or row numbers."""
    path = tmp_path / form
    path.write_bytes(FORMS[form].encode())
    assert read_genes(path, 3).index.tolist() == NAMES


@pytest.mark.parametrize("index", ["names", "row numbers"])
@pytest.mark.parametrize("suffix", ["parquet", "pkl"])
def test_genes_are_named_by_the_index_or_a_column_of_a_stored_table(tmp_path, suffix, index):
    """The other columns stay with them."""
    frame = pd.DataFrame({"length": [5, 6, 7], "gene_name": NAMES})
    frame = frame if index == "row numbers" else frame.set_index("gene_name")
    path = tmp_path / f"var.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_pickle(path)
    found = read_genes(path, 3)
    assert found.index.tolist() == NAMES
    assert found["length"].tolist() == [5, 6, 7]


def test_a_gene_that_is_called_like_a_header_is_kept_where_all_lines_are_needed(tmp_path):
    """There is a line for each column: none is left over for a header."""
    (tmp_path / "genes.txt").write_text("GENE\nA\nB\n")
    assert read_genes(tmp_path / "genes.txt", 3).index.tolist() == ["GENE", "A", "B"]


def test_genes_without_a_file_are_numbered():
    """So that column and name can be told from each other."""
    assert read_genes(None, 3).index.tolist() == ["gene_00000", "gene_00001", "gene_00002"]


@pytest.mark.parametrize("content", ["A\nB\n", "A\nB\nC\nD\n", "a,b\nA,1\nB,2\n"])
def test_a_list_of_another_length_is_told(tmp_path, content):
    """A name more at the top would shift all others by one gene, without a trace."""
    (tmp_path / "genes.csv").write_text(content)
    with pytest.raises(InputError, match=r"genes\.csv names \d genes, but the chunks .* have 3\."):
        read_genes(tmp_path / "genes.csv", 3)
