import pytest
from pydantic import ValidationError

from synthome.ingestion.config import CellsConfig, IngestionConfig, split_list


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("batch+sex", ["batch", "sex"]),
        (" batch + sex ", ["batch", "sex"]),
        ("batch", ["batch"]),
        ("", []),
        (None, []),
        (["batch", "sex"], ["batch", "sex"]),
        (7, ["7"]),
    ],
)
def test_a_list_on_the_command_line_is_joined_by_plus(value, names):
    assert split_list(value) == names


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_an_empty_column_name_means_none_given(nothing):
    assert IngestionConfig(label=nothing).label is None


def test_a_column_called_by_a_number_arrives_as_text():
    """Kedro turns --params=label=2 into the integer 2."""
    assert IngestionConfig(label=2).label == "2"


@pytest.mark.parametrize("given", ["cell_type+sex", ["cell_type", "sex"]])
def test_fields_of_cells_are_given_on_the_command_line_or_as_a_list(given):
    assert CellsConfig(fields=given).fields == ["cell_type", "sex"]


def test_cells_have_no_fields_and_keep_gaps_as_a_category_unless_told_otherwise():
    """None is what the command line gives for a name that is not typed."""
    assert CellsConfig(fields=None) == CellsConfig()
    assert (CellsConfig().fields, CellsConfig().missing) == ([], "category")
    with pytest.raises(ValidationError, match="missing"):
        CellsConfig(missing="impute")


def test_a_misspelt_choice_is_refused():
    with pytest.raises(ValidationError, match="lable"):
        IngestionConfig(lable="condition")


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValidationError, match="scale"):
        IngestionConfig(scale="logarithm")
