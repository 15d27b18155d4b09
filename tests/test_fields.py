import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.errors import InputError
from synthome.fields import Fields

OBS = pd.DataFrame(
    {
        "kind": pd.Categorical(["T", "B", "T", "T"]),
        "sex": ["F", "M", "M", "F"],
        "stage": [10, 9, 10, 9],
    }
)
FIELDS = Fields.of(OBS, ["sex", "kind"])


def columns(categories: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(categories), min_size=3, max_size=3)


def test_fields_keep_the_order_of_the_person_and_categories_that_of_the_alphabet():
    assert FIELDS.names == ("sex", "kind")
    assert FIELDS.sizes == (2, 2)
    assert FIELDS["kind"].categories == ("B", "T")
    assert FIELDS["kind"].counts == (1, 3)
    assert Fields.of(OBS, ["stage"])["stage"].categories == ("10", "9")  # as text


def test_a_category_that_no_cell_has_is_none():
    """A pandas column remembers categories of rows that are gone."""
    assert Fields.of(OBS[OBS["kind"] == "T"], ["kind"]).sizes == (1,)


@given(kind=columns(["T", "B"]), sex=columns(["F", "M"]))
def test_codes_are_those_of_each_category_row_by_row(kind, sex):
    """A loop over rows is the reference, and decoding gives the names back."""
    obs = pd.DataFrame({"kind": kind, "sex": sex})
    codes = FIELDS.encode(obs)
    expected = [["FM".index(s), "BT".index(k)] for k, s in zip(kind, sex, strict=True)]
    np.testing.assert_array_equal(codes, expected)
    assert FIELDS.decode(codes)[["kind", "sex"]].astype(str).equals(obs)


def test_rows_are_coded_by_name_whatever_the_order_of_columns_and_categories():
    """Codes are those of the training cells, not of the cells at hand."""
    obs = OBS.assign(kind=pd.Categorical(OBS["kind"], ["T", "B", "NK"]))[["kind", "sex"]]
    np.testing.assert_array_equal(FIELDS.encode(obs.iloc[2:]), [[1, 1], [0, 1]])


def test_a_category_that_was_not_in_training_is_an_error_that_lists_those_known():
    with pytest.raises(InputError, match=r"'NK' is no category of the field 'kind' .*: B, T\."):
        FIELDS.encode(OBS.assign(kind=["T", "NK", "B", "T"]))
    with pytest.raises(InputError, match="'X' is no category of the field 'sex'"):
        FIELDS["sex"].code("X")


def test_a_column_that_is_not_there_is_an_error():
    with pytest.raises(InputError, match=r"assay is not a column .* kind, sex, stage"):
        Fields.of(OBS, ["kind", "assay"])
    with pytest.raises(InputError, match="none was named"):
        Fields.of(OBS, [])
    with pytest.raises(InputError, match="no column 'sex', a field of the model"):
        FIELDS.encode(OBS[["kind"]])
    with pytest.raises(InputError, match="no field 'stage'; the model knows: sex, kind"):
        FIELDS["stage"]


def test_a_target_changes_its_fields_and_no_others():
    codes = FIELDS.encode(OBS)
    before = codes.copy()
    changed = FIELDS.with_target(codes, {"kind": "B"})
    np.testing.assert_array_equal(codes, before)
    np.testing.assert_array_equal(changed[:, 0], before[:, 0])
    assert (FIELDS.decode(changed)["kind"] == "B").all()
    with pytest.raises(InputError, match="'NK' is no category"):
        FIELDS.with_target(codes, {"kind": "NK"})
    with pytest.raises(InputError, match="no field 'assay'"):
        FIELDS.with_target(codes, {"assay": "v3"})


def test_fields_survive_json():
    """Weights carry them, so that a reloaded model codes cells as the trained one did."""
    again = Fields.from_state(json.loads(json.dumps(FIELDS.state())))
    assert again == FIELDS
