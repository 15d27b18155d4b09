import pytest
from pydantic import ValidationError

from synthome.ingestion.config import IngestionConfig, split_list


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("batch+sex", ["batch", "sex"]),
        (" batch + sex ", ["batch", "sex"]),
        ("batch", ["batch"]),
        ("", []),
        (None, []),
        (["batch", "sex"], ["batch", "sex"]),
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


def test_a_misspelt_choice_is_refused():
    with pytest.raises(ValidationError, match="lable"):
        IngestionConfig(lable="condition")


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValidationError, match="scale"):
        IngestionConfig(scale="logarithm")
