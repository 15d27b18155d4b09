import inspect
import json

import numpy as np
import pandas as pd
import pytest

import synthome.datasets as datasets
from synthome.datasets.previews import plain, summary_of

PREVIEWED = [name for name in datasets.__all__ if hasattr(getattr(datasets, name), "preview")]


def test_every_dataset_that_can_be_seen_is_seen():
    assert set(PREVIEWED) == {
        "AnnDataDataset", "CellsFileDataset", "CohortFolderDataset", "FigureDataset", "GEODataset",
        "GeneSetsDataset", "H5ADCohortDataset", "HTMLDataset", "JSONDataset", "PBMCDataset",
        "SimulatedCohortDataset", "SimulatedContextsDataset", "SimulatedCortexDataset",
        "SimulatedTissueDataset", "StateDataset", "TableDataset", "TissueFileDataset",
        "VisiumDataset",
    }  # fmt: skip


@pytest.mark.parametrize("name", PREVIEWED)
def test_kedro_viz_recognises_the_preview(name):
    """It reads the name of the return annotation, and shows nothing for any other name."""
    annotation = inspect.signature(getattr(datasets, name).preview).return_annotation
    assert getattr(annotation, "__name__", str(annotation)) in {
        "TablePreview", "ImagePreview", "JSONPreview", "HTMLPreview",
    }  # fmt: skip


def test_plain_values_are_json():
    value = {
        "a": np.float32(1.5), "b": [np.int8(2), float("nan")], 3: pd.NA, "t": pd.Timestamp(0),
        "s": {1}, "z": np.zeros((2, 2)), "n": None, "f": True,
    }  # fmt: skip
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "a": 1.5, "b": [2, None], "3": None, "t": "1970-01-01 00:00:00", "s": [1],
        "z": [[0.0, 0.0], [0.0, 0.0]], "n": None, "f": True,
    }  # fmt: skip


def test_a_summary_counts_what_may_identify_and_shows_what_does_not():
    n = 60
    obs = pd.DataFrame(
        {
            "patient": [f"DOE-{i}" for i in range(n)],
            "pair": [f"P{i // 2}" for i in range(n)],
            "condition": ["ill"] * 40 + ["well"] * 20,
            "age": np.linspace(20, 80, n),
            "site": [f"site {i % 12}" for i in range(n)],
        }
    )
    rows = {row[0]: row[2] for row in summary_of(obs)}
    assert rows["patient"] == "60 different values"
    assert rows["pair"] == "30 different values"
    assert rows["condition"] == "ill: 40, well: 20"
    assert rows["age"] == "median 50, middle half 35 to 65"
    assert rows["site"].endswith("6 more values")
