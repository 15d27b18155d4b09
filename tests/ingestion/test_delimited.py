from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.errors import InputError
from synthome.ingestion.delimited import WIDE, parse_delimited


def parse(text, name="t.csv", as_text=False):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_delimited(data, Path(name), text=as_text)


@pytest.mark.parametrize(
    ("separator", "word"), [("\t", "tabs"), (";", "semicolons"), ("|", "bars"), (" ", "spaces")]
)
def test_the_separator_is_found_and_told(separator, word):
    text = "\n".join(separator.join(row) for row in (["id", "a", "b"], ["x", "1", "2"]))
    frame, told = parse(text)
    assert frame.values.tolist() == [["x", 1, 2]]
    assert told == [f"t.csv is separated by {word}"]


def test_the_usual_separator_needs_no_words():
    assert parse("id,a\nx,1\n")[1] == []
    assert parse("id\ta\nx\t1\n", "t.tsv")[1] == []
    assert parse("id\ta\nx\t1\n", "t.tsv.gz")[1] == []


def test_commas_inside_descriptions_do_not_win_over_tabs():
    frame, _ = parse("id\tname\ta\nx\tone, two, three\t1\ny\tfour\t2\n", "t.tsv")
    assert frame.shape == (2, 3)


def test_decimal_commas_between_semicolons_are_read_and_told():
    frame, told = parse("id;a;b\nx;1,5;2,25\ny;3,0;4\n")
    assert frame[["a", "b"]].to_numpy().tolist() == [[1.5, 2.25], [3.0, 4.0]]
    assert told == ["t.csv is separated by semicolons", "t.csv writes decimals with a comma"]


def test_decimal_commas_and_points_together_are_refused():
    with pytest.raises(InputError, match="comma inside"):
        parse("id;a;b\nx;1,5;2.25\n")


def test_quoted_numbers_with_commas_are_refused_rather_than_guessed():
    """ "1,234" is a thousand to one person and a little over one to another."""
    with pytest.raises(InputError, match="between thousands"):
        parse('id,a\nx,"1,234"\n')


def test_the_header_of_r_is_one_name_short():
    frame, _ = parse("a,b\nx,1,2\ny,3,4\n")
    assert list(frame.columns) == ["", "a", "b"]
    assert frame.iloc[:, 0].tolist() == ["x", "y"]


def test_repeated_column_names_stay_as_they_are():
    """pandas would call the second TBCE.1, and nobody would know that a gene is repeated."""
    frame, _ = parse("id,TBCE,TBCE\nx,1,2\n")
    assert list(frame.columns) == ["id", "TBCE", "TBCE"]


def test_the_first_column_keeps_its_zeros():
    assert parse("id,a\n007,1\n008,2\n")[0]["id"].tolist() == ["007", "008"]


def test_all_cells_stay_text_on_request():
    frame, _ = parse("id,a\n007,01\n008,NA\n", as_text=True)
    assert frame["a"].tolist() == ["01", "NA"]


def test_missing_values_in_numbers_are_nan_but_ids_are_text():
    frame, _ = parse("id,a,b\nNA,1,NA\ny,,3\n")
    assert frame["id"].tolist() == ["NA", "y"]
    assert np.isnan(frame["a"][1])
    assert np.isnan(frame["b"][0])


def test_comment_lines_above_the_header_are_skipped_and_told():
    frame, told = parse("# Program:featureCounts v2.0\n#\nid\ta\nx\t1\n", "t.txt")
    assert frame.shape == (1, 2)
    assert told == ["t.txt: 2 comment lines above the header skipped"]


def test_a_trailing_separator_makes_no_column():
    frame, told = parse("id,a,\nx,1,\ny,2,\n")
    assert list(frame.columns) == ["id", "a"]
    assert "1 empty column without a name left out" in told[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_spreadsheets_are_read(encoding):
    frame, _ = parse("id,größe\nx,1\n".encode(encoding))
    assert list(frame.columns) == ["id", "größe"]


def test_latin1_is_told():
    frame, told = parse("id,größe\nx,1\n".encode("latin-1"))
    assert list(frame.columns) == ["id", "größe"]
    assert "Latin-1" in told[0]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems_are_read(newline):
    assert parse(newline.join(["id,a", "x,1", "y,2", ""]))[0].shape == (2, 2)


@pytest.mark.parametrize("text", ["id,a\n", "# only a comment\n", "\n\n"])
def test_a_table_without_rows_is_told(text):
    with pytest.raises(InputError, match="no rows"):
        parse(text)


def test_one_column_without_separator_is_told():
    with pytest.raises(InputError, match="no separator was found"):
        parse("id\nx\ny\n")


def test_a_line_that_is_too_long_is_named_near_the_top():
    with pytest.raises(InputError, match="line 3 has 4 fields where the header has 3"):
        parse("id,a,b\nx,1,2\ny,1,2,3\nz,1,2\n")


def test_a_line_that_is_too_long_is_named_far_below():
    rows = ["id,a,b", *(f"r{i},1,2" for i in range(50)), "odd,1,2,3", "z,1,2"]
    with pytest.raises(InputError, match="line 52 has 4 fields where the header has 3"):
        parse("\n".join(rows))


def test_line_numbers_count_comments_too():
    rows = ["# comment", "id,a,b", *(f"r{i},1,2" for i in range(50)), "odd,1,2,3", "z,1,2"]
    with pytest.raises(InputError, match="line 53 has 4 fields"):
        parse("\n".join(rows))


def test_a_text_file_cut_short_is_told():
    rows = ["id,a,b", *(f"r{i},1,2" for i in range(50)), "last,1"]
    with pytest.raises(InputError, match="ends in a row of 2 fields.*cut short"):
        parse("\n".join(rows))


def test_wide_and_narrow_readers_agree():
    """Tables with many columns take another, quicker way: the numbers must be the same."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, WIDE + 5))
    frame = pd.DataFrame(values, index=["a", "b", "c"], columns=[f"g{i}" for i in range(WIDE + 5)])
    wide, _ = parse(frame.to_csv())
    narrow, _ = parse(frame.iloc[:, :50].to_csv())
    np.testing.assert_array_equal(wide.iloc[:, 1:51].to_numpy(float), values[:, :50])
    np.testing.assert_array_equal(narrow.iloc[:, 1:].to_numpy(float), values[:, :50])


@pytest.mark.parametrize("cell", ["NA", "", "oops"])
def test_the_wide_reader_gives_way_to_cells_that_are_no_numbers(cell):
    n = WIDE + 5
    rows = [",".join(["id", *(f"g{i}" for i in range(n))])]
    rows += [",".join([f"s{r}", *("1" for _ in range(n))]) for r in range(2)]
    rows.append(",".join(["s2", cell, *("1" for _ in range(n - 1))]))
    frame, _ = parse("\n".join(rows))
    assert frame.shape == (3, n + 1)
    assert frame.iloc[2, 1] == "oops" if cell == "oops" else np.isnan(frame.iloc[2, 1])


@given(
    values=st.lists(
        st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 4)), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    separator=st.sampled_from([",", "\t", ";", "|"]),
    quoted=st.booleans(),
)
def test_numbers_survive_a_round_trip(values, separator, quoted):
    frame = pd.DataFrame(
        values, columns=["a", "b", "c"], index=[f"r{i}" for i in range(len(values))]
    )
    text = frame.to_csv(sep=separator, index_label="id", quoting=2 if quoted else 0)
    parsed, _ = parse(text)
    np.testing.assert_array_equal(parsed[["a", "b", "c"]].to_numpy(float), frame.to_numpy())
