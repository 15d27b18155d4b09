"""What a person asks for is understood, or answered with what can be asked."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.errors import InputError
from synthome.fields import Fields
from synthome.models.counterfactual_request import CounterfactualConfig, choose_source

OBS = pd.DataFrame({"type": ["a", "a", "b"], "assay": ["v2", "v3", "v2"]}, index=["x", "y", "z"])
CELLS = AnnData(np.zeros((3, 2)), obs=OBS)
FIELDS = Fields.of(OBS, ["type", "assay"])


def asked(source=None, target=None):
    return CounterfactualConfig.model_validate({"source": source, "target": target})


def test_fields_are_joined_by_plus():
    config = asked("type=a+assay=v2", {"assay": "v3"})
    assert config.source == {"type": "a", "assay": "v2"}
    assert config.target == {"assay": "v3"}


def test_the_cells_of_the_source_are_chosen():
    assert list(choose_source(CELLS, FIELDS, asked("type=a", "assay=v3")).obs_names) == ["x", "y"]
    assert choose_source(CELLS, FIELDS, asked(None, "assay=v3")).n_obs == 3


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (None, None, "Where are the cells to be brought"),
        ("type=c", "assay=v3", "no category of the field .type. that .* these are: a, b"),
        (None, "age=1", "no field 'age'; the model knows: type, assay"),
        ("type=b+assay=v3", "assay=v2", "No cell is type b, assay v3"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(source, target, message):
    with pytest.raises(InputError, match=message):
        choose_source(CELLS, FIELDS, asked(source, target))


def test_a_category_without_a_field_is_refused():
    with pytest.raises(ValueError, match="not of the form field=category"):
        asked("a")
