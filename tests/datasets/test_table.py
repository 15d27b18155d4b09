import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from synthome.datasets.table import TableDataset
from synthome.errors import InputError

FRAME = pd.DataFrame({"metric": ["a", "b"], "value": [0.1 + 0.2, np.nan], "n": [1, 2]})


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "csv.gz", "tsv.gz"])
def test_tables_come_back(tmp_path, ending):
    dataset = TableDataset(str(tmp_path / f"t.{ending}"))
    dataset.save(FRAME)
    pd.testing.assert_frame_equal(dataset.load(), FRAME)


def test_the_ending_decides_what_is_written(tmp_path):
    TableDataset(str(tmp_path / "t.tsv")).save(FRAME)
    assert (tmp_path / "t.tsv").read_text().splitlines()[0] == "metric\tvalue\tn"
    TableDataset(str(tmp_path / "t.csv.gz")).save(FRAME)
    assert (tmp_path / "t.csv.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_an_index_with_a_name_is_kept(tmp_path):
    frame = FRAME.set_index("metric")
    parquet, csv = TableDataset(str(tmp_path / "t.parquet")), TableDataset(str(tmp_path / "t.csv"))
    parquet.save(frame), csv.save(frame)
    pd.testing.assert_frame_equal(parquet.load(), frame)
    pd.testing.assert_frame_equal(csv.load(), FRAME)


def test_the_preview_is_json_and_short(tmp_path):
    dataset = TableDataset(str(tmp_path / "t.parquet"))
    dataset.save(pd.concat([FRAME] * 50, ignore_index=True))
    preview = json.loads(json.dumps(dataset.preview(3), allow_nan=False))
    assert preview == {
        "index": [0, 1, 2],
        "columns": ["metric", "value", "n"],
        "data": [["a", 0.1 + 0.2, 1], ["b", "", 2], ["a", 0.1 + 0.2, 1]],
    }


def test_an_ending_that_is_no_table_is_told(tmp_path):
    with pytest.raises(DatasetError, match="no ending that a table can have"):
        TableDataset(str(tmp_path / "t.xlsx")).save(FRAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
def test_a_damaged_file_is_told(tmp_path, ending):
    (tmp_path / f"t.{ending}").write_bytes(b"\x00\x01" if ending != "csv" else b"")
    with pytest.raises(DatasetError) as error:
        TableDataset(str(tmp_path / f"t.{ending}")).load()
    assert isinstance(error.value.__cause__, InputError)
