from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingestion.folders import counts_table, sheet_table

from synthome.errors import InputError
from synthome.ingestion.matching import loosened, match_samples

E, S = Path("expression.csv"), Path("samples.csv")


def match(expression, sheet):
    return match_samples(expression, sheet, E, S)


def test_samples_are_found_as_rows_and_as_columns():
    assert not match(counts_table(), sheet_table()).by_columns
    assert match(counts_table().T, sheet_table()).by_columns


def test_ids_are_found_in_any_column_of_the_sheet():
    sheet = sheet_table().reset_index()[["condition", "age", "sample_id", "sex"]]
    found = match(counts_table(), sheet)
    assert found.sheet.place == "column 'sample_id'"
    assert len(found.sheet_rows) == 8


def test_ids_are_found_in_a_column_of_the_expression_table():
    frame = counts_table().reset_index()
    assert match(frame, sheet_table()).expression.column == 0


def test_whole_numbers_match_text():
    sheet = pd.DataFrame({"id": [101, 102, 103], "condition": list("aba")})
    expression = counts_table(3).set_axis(["101", "102", "103"], axis=0)
    assert match(expression, sheet).sheet.place == "column 'id'"


def test_spaces_around_ids_do_not_matter():
    sheet = sheet_table()
    sheet.index = pd.Index([f" {name} " for name in sheet.index], name="sample_id")
    assert len(match(counts_table(), sheet).sheet_rows) == 8


def test_order_is_that_of_the_sheet():
    sheet = sheet_table().iloc[::-1]
    found = match(counts_table(), sheet)
    assert found.sheet_rows.tolist() == list(range(8))
    assert found.positions.tolist() == list(range(7, -1, -1))


def test_names_that_r_changed_match_and_are_marked():
    """R writes TCGA-A1.x for TCGA-A1-x, and X12 for 12."""
    sheet = pd.DataFrame({"condition": list("abab")}, index=["12-A", "13-A", "14-A", "15-A"])
    expression = counts_table(4).set_axis(["X12.A", "X13.A", "X14.A", "X15.A"], axis=0)
    found = match(expression, sheet)
    assert found.loosely
    assert len(found.sheet_rows) == 4


def test_no_id_in_common_shows_three_of_each():
    sheet = sheet_table().rename(index=lambda name: name.replace("S", "patient"))
    with pytest.raises(InputError) as error:
        match(counts_table(), sheet)
    for shown in ("patient00, patient01, patient02 and 5 more", "S00, S01, S02 and 5 more",
                  "GENE0, GENE1, GENE2 and 27 more"):  # fmt: skip
        assert shown in str(error.value)


def test_samples_that_are_called_as_genes_are_ambiguous():
    names = [str(i) for i in range(1, 9)]
    square = pd.DataFrame(1, index=names, columns=names)
    sheet = pd.DataFrame({"condition": ["a", "b"] * 4}, index=names)
    with pytest.raises(InputError, match="not clear whether samples are the rows or the columns"):
        match(square, sheet)


def test_a_few_genes_that_are_called_as_samples_do_no_harm():
    """Samples 1 to 8, and the Entrez ids 2 and 9 among a thousand genes."""
    names = [str(i) for i in range(1, 9)]
    frame = pd.DataFrame(1, index=names, columns=["2", "9", *(str(i) for i in range(1000, 1030))])
    sheet = pd.DataFrame({"condition": ["a", "b"] * 4}, index=names)
    assert not match(frame, sheet).by_columns


@pytest.mark.parametrize("table", ["sheet", "expression"])
def test_repeated_ids_are_refused_with_their_names(table):
    expression, sheet = counts_table(), sheet_table()
    if table == "sheet":
        sheet = pd.concat([sheet, sheet.iloc[:2]])
    else:
        expression = pd.concat([expression, expression.iloc[:2]])
    path = S if table == "sheet" else E
    with pytest.raises(InputError, match=f"{path.name} has sample ids.*more than once.*S00, S01"):
        match(expression, sheet)


def test_repeated_ids_outside_the_cohort_do_no_harm():
    """Two samples of another study under one name are left out anyway."""
    expression = counts_table()
    other = expression.iloc[:2].set_axis(["other", "other"], axis=0)
    assert len(match(pd.concat([expression, other]), sheet_table()).sheet_rows) == 8


@settings(max_examples=30)
@given(st.permutations(range(8)), st.permutations(range(8)), st.booleans(), st.booleans())
def test_rows_meet_whatever_the_order(rows, columns, transposed, indexed):
    """Each sample's values stand beside its own line of the sheet."""
    expression, sheet = counts_table().iloc[list(rows)], sheet_table().iloc[list(columns)]
    own = expression.T if transposed else expression
    found = match(own, sheet if indexed else sheet.reset_index())
    assert found.by_columns == transposed
    names = sheet.index[found.sheet_rows]
    assert (names == expression.index[found.positions]).all()


def test_loosened_names():
    assert loosened(pd.Index(["X12.A", "12-A", "XIST", "a_b", "a..b-"])).tolist() == [
        "12.A", "12.A", "XIST", "a.b", "a.b",
    ]  # fmt: skip
