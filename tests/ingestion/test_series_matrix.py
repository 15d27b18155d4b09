import gzip

import numpy as np
import pandas as pd
import pytest
from ingestion.geo_server import annotation, series_matrix

from synthome.errors import InputError
from synthome.ingestion.series_matrix import read_annotation, read_series_matrix

SAMPLES = [
    ("GSM1", "CeD_1", ["tissue: duodenum", "disease state: celiac", "age: 12"]),
    ("GSM2", "Ctl_1", ["tissue: duodenum", "disease state: control"]),
    ("GSM3", "CeD_2", ["disease state: celiac", "marsh score: 3: total", "fresh frozen"]),
]
VALUES = pd.DataFrame(
    [[1.5, 2.5, np.nan], [4.0, 5.0, 6.0]], index=["p1", "p2"], columns=["GSM1", "GSM2", "GSM3"]
)


def save(tmp_path, content, name="GSE1_series_matrix.txt.gz"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_samples_are_described_by_their_characteristics(tmp_path):
    """Keys stand in other rows for other samples, and values may hold a colon or no key."""
    samples = read_series_matrix(save(tmp_path, series_matrix(SAMPLES))).samples
    assert samples.index.tolist() == ["GSM1", "GSM2", "GSM3"]
    assert samples["title"].tolist() == ["CeD_1", "Ctl_1", "CeD_2"]
    assert samples["disease_state"].tolist() == ["celiac", "control", "celiac"]
    assert samples["tissue"].tolist() == ["duodenum", "duodenum", ""]
    assert samples["age"].tolist() == ["12", "", ""]
    assert samples["marsh_score"].tolist() == ["", "", "3: total"]
    assert samples["characteristics"].tolist() == ["", "", "fresh frozen"]


def test_contacts_and_protocols_are_left_aside(tmp_path):
    matrix = read_series_matrix(save(tmp_path, series_matrix(SAMPLES)))
    assert not any("contact" in name or "supplementary" in name for name in matrix.samples.columns)
    assert matrix.series["platform_id"] == "GPL16791"


def test_a_key_given_twice_keeps_both_values(tmp_path):
    samples = [("GSM1", "a", ["drug: x", "drug: y"]), ("GSM2", "b", ["drug: x", "drug: x"])]
    frame = read_series_matrix(save(tmp_path, series_matrix(samples))).samples
    assert frame["drug"].tolist() == ["x | y", "x"]


def test_the_table_of_an_array_is_read_with_its_gaps(tmp_path):
    expression = read_series_matrix(save(tmp_path, series_matrix(SAMPLES, VALUES))).expression
    pd.testing.assert_frame_equal(expression, VALUES, check_names=False)


def test_the_empty_table_of_rna_seq_is_none(tmp_path):
    assert read_series_matrix(save(tmp_path, series_matrix(SAMPLES))).expression is None


def test_a_plain_text_file_is_read_too(tmp_path):
    content = gzip.decompress(series_matrix(SAMPLES, VALUES))
    path = save(tmp_path, content, "GSE1_series_matrix.txt")
    assert read_series_matrix(path).expression.shape == (2, 3)


def test_a_file_cut_short_is_told(tmp_path):
    content = gzip.decompress(series_matrix(SAMPLES, VALUES))
    path = save(tmp_path, gzip.compress(content[:-30]))
    with pytest.raises(
        InputError, match=r"cut short: the line !series_matrix_table_end is missing"
    ):
        read_series_matrix(path)


def test_another_file_is_told(tmp_path):
    with pytest.raises(InputError, match="is not such a GEO file"):
        read_series_matrix(save(tmp_path, gzip.compress(b"gene,a\nx,1\n")))


def test_a_row_that_misses_a_sample_is_told(tmp_path):
    text = gzip.decompress(series_matrix(SAMPLES)).decode()
    text = text.replace('\t"Ctl_1"', "")
    with pytest.raises(InputError, match="!Sample_title has 2 values for 3 samples"):
        read_series_matrix(save(tmp_path, gzip.compress(text.encode())))


def test_a_column_without_a_sample_is_told(tmp_path):
    values = VALUES.rename(columns={"GSM3": "GSM9"})
    text = gzip.decompress(series_matrix(SAMPLES, values)).decode()
    text = text.replace('"ID_REF"\t"GSM1"\t"GSM2"\t"GSM3"', '"ID_REF"\t"GSM1"\t"GSM2"\t"GSM9"')
    with pytest.raises(InputError, match="GSM9"):
        read_series_matrix(save(tmp_path, gzip.compress(text.encode())))


def test_probes_with_one_gene_are_annotated(tmp_path):
    content = annotation({"p1": "TP53", "p2": "A /// B", "p3": "", "p4": "ACTB"})
    symbols = read_annotation(save(tmp_path, content, "GPL1.annot.gz"))
    assert symbols.to_dict() == {"p1": "TP53", "p4": "ACTB"}


def test_an_annotation_without_symbols_is_told(tmp_path):
    content = gzip.decompress(annotation({"p1": "TP53"})).replace(b"Gene symbol", b"Spot id")
    with pytest.raises(
        InputError, match="no column of gene symbols; it has: ID, Gene title, Spot id"
    ):
        read_annotation(save(tmp_path, content, "GPL1.annot"))
