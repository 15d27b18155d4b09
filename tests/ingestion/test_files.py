import gzip
import hashlib

import pandas as pd
import pytest
from ingestion.folders import counts_table, write

from synthome.errors import InputError
from synthome.ingestion.files import digest_of, existing_folder, find_table, read_table, sha256_of


@pytest.mark.parametrize(
    "name",
    [
        "expression.csv",
        "expression.tsv",
        "expression.csv.gz",
        "expression.tsv.gz",
        "expression.parquet",
        "EXPRESSION.CSV",
        "Expression.txt",
    ],
)
def test_the_table_is_found_by_its_stem(tmp_path, name):
    path = tmp_path / name
    path.write_text("x")
    (tmp_path / "expression_old.csv").write_text("x")
    assert find_table(tmp_path, "expression") == path


def test_a_missing_table_says_what_the_folder_has(tmp_path):
    (tmp_path / "counts.csv").write_text("x")
    with pytest.raises(InputError, match=r"no expression table.*expression\.csv.*has counts\.csv"):
        find_table(tmp_path, "expression")


def test_a_workbook_gets_a_hint(tmp_path):
    (tmp_path / "samples.xlsx").write_text("x")
    with pytest.raises(InputError, match=r"Save samples\.xlsx as CSV"):
        find_table(tmp_path, "samples")


def test_two_candidates_are_refused(tmp_path):
    for name in ("expression.csv", "expression.parquet"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"expression\.csv, expression\.parquet: which is meant"):
        find_table(tmp_path, "expression")


def test_a_missing_folder_says_where_the_path_breaks_off(tmp_path):
    with pytest.raises(InputError) as error:
        existing_folder(tmp_path / "nowhere" / "deep")
    assert f"({tmp_path} does)" in str(error.value)


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "x.csv").write_text("x")
    with pytest.raises(InputError, match="is a file; give the folder"):
        existing_folder(tmp_path / "x.csv")


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz"])
def test_every_format_gives_the_same_numbers(tmp_path, name):
    expected = counts_table()
    frame = read_table(write(expected, tmp_path / name)).frame
    if "parquet" not in name:
        frame = frame.set_index("sample_id")
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)


def test_gzipped_parquet_is_read(tmp_path):
    plain = write(counts_table(), tmp_path / "t.parquet")
    packed = tmp_path / "u.parquet.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    pd.testing.assert_frame_equal(read_table(packed).frame, counts_table(), check_dtype=False)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_an_empty_file_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_table(tmp_path / name)


def test_gzip_of_nothing_is_told(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"\n"))
    with pytest.raises(InputError, match="empty inside"):
        read_table(tmp_path / "t.csv.gz")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_gzip_cut_short_is_told(tmp_path, share):
    path = write(counts_table(), tmp_path / "t.csv.gz")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cut short.*gzip -t t\.csv\.gz"):
        read_table(path)


def test_damaged_gzip_is_told(tmp_path):
    path = write(counts_table(), tmp_path / "t.csv.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged|cut short"):
        read_table(path)


def test_a_gz_that_is_no_gzip_is_told(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_text(counts_table().to_csv())
    with pytest.raises(InputError, match=r"content is not gzip.*Rename it to t\.csv"):
        read_table(path)


def test_gzip_without_the_ending_is_read_and_told(tmp_path):
    packed = tmp_path / "t.csv"
    packed.write_bytes(gzip.compress(counts_table().to_csv().encode()))
    table = read_table(packed)
    assert table.frame.shape == (8, 31)
    assert "gzip in spite of its name" in table.told[0]


@pytest.mark.parametrize("keep", [0.2, 0.95])
def test_broken_parquet_is_told(tmp_path, keep):
    path = write(counts_table(), tmp_path / "t.parquet")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_table(path)


def test_text_called_parquet_is_told(tmp_path):
    (tmp_path / "t.parquet").write_text(counts_table().to_csv())
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel workbook"),
        (b"\n <!DOCTYPE html><html>", "web page"),
        (b"<html><body>404", "web page"),
    ],
)
def test_other_things_called_csv_are_named_for_what_they_are(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_table(tmp_path / "t.csv")


def test_checksums_are_those_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    sha = hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(tmp_path / "x") == sha
    assert digest_of({"x": sha}) == sha
    assert digest_of({"a": sha, "b": sha}) == digest_of({"b": sha, "a": sha}) != sha
