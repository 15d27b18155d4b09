import gzip
import json

import numpy as np
import pandas as pd
import pytest
from ingestion.geo_server import annotation, geo_server, series_matrix
from pydantic import ValidationError

from synthome.anndata_schema import UNS, labels
from synthome.errors import InputError
from synthome.ingestion.align import align_external, validate_external
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.download import CHECKSUMS
from synthome.ingestion.geo import GEOSource, read_geo
from synthome.ingestion.validate import validate_cohort

pytestmark = pytest.mark.network

SUPPLEMENT = "GSE134900_normalized_expr.valerie_celiac.human.csv.gz"
CLASSES = {"control": "non-celiac|healthy", "celiac": "celiac|coeliac"}
GENES = ["GAPDH", "ACTB", "TP53", *(f"GENE{i}" for i in range(37))]
RNG = np.random.default_rng(0)


def samples(n=12, start=3970000, words=("celiac disease", "healthy")):
    return [
        (f"GSM{start + i}", f"Duodenum biopsy {i + 1} [V{i + 1:03d}]",
         ["tissue: duodenum", f"disease state: {words[i % 2]}", f"age: {10 + i}"])
        for i in range(n)
    ]  # fmt: skip


def rna_seq(server):
    """GSE134900: labels in the series matrix, normalised values in a supplement."""
    own = samples()
    values = pd.DataFrame(
        RNG.lognormal(4, 2, size=(40, 12)),
        index=GENES,
        columns=[f"V{i + 1:03d}" for i in range(12)],
    )
    server.series("GSE134900", "matrix", "GSE134900_series_matrix.txt.gz", series_matrix(own))
    server.series("GSE134900", "suppl", SUPPLEMENT, gzip.compress(values.to_csv().encode()))
    return values


def array(server):
    """GSE113469: an array, values by probe in the series matrix, other words for the classes."""
    own = samples(8, 3107000, ("Coeliac on GFD", "Healthy control"))
    probes = [f"ILMN_{i}" for i in range(50)]
    values = pd.DataFrame(
        RNG.normal(8, 2, size=(50, 8)), index=probes, columns=[gsm for gsm, _, _ in own]
    )
    symbols = {f"ILMN_{i}": GENES[i] for i in range(40)} | {
        "ILMN_40": "GAPDH",
        "ILMN_41": "A /// B",
    }
    content = series_matrix(own, values, "GPL10558", "GSE113469")
    server.series("GSE113469", "matrix", "GSE113469_series_matrix.txt.gz", content)
    server.platform("GPL10558", annotation(symbols))
    return values


@pytest.fixture
def server():
    with geo_server() as geo:
        yield geo


def source(server, accession="GSE134900", **options):
    return GEOSource(accession=accession, base_url=server.url, **options)


def told(adata):
    return [entry["why"] for entry in json.loads(adata.uns[UNS]["reading"])]


def test_values_of_the_supplement_meet_labels_of_the_matrix(server, tmp_path):
    values = rna_seq(server)
    raw = read_geo(source(server, supplementary=SUPPLEMENT, classes=CLASSES), tmp_path, wait=0.01)
    assert raw.shape == (12, 40)
    assert raw.obs_names[0] == "GSM3970000"
    np.testing.assert_allclose(raw["GSM3970004", "TP53"].X, values.loc["TP53", "V005"])
    assert raw.obs["condition"].tolist() == ["celiac", "control"] * 6
    assert raw.obs["age"].tolist() == list(range(10, 22))
    assert any("12 columns" in line and "by a piece of the title" in line for line in told(raw))
    adata, report = validate_cohort(raw, IngestionConfig())
    assert labels(adata)[:2].tolist() == ["celiac", "control"]
    assert report["scale"]["scale"] == "linear"
    assert sorted(report["files"]) == [SUPPLEMENT, "GSE134900_series_matrix.txt.gz"]


def test_both_files_come_from_where_geo_has_them(server, tmp_path):
    rna_seq(server)
    read_geo(source(server, supplementary=SUPPLEMENT), tmp_path, wait=0.01)
    assert server.asked == [
        "/series/GSE134nnn/GSE134900/matrix/GSE134900_series_matrix.txt.gz",
        f"/series/GSE134nnn/GSE134900/suppl/{SUPPLEMENT}",
    ]
    assert GEOSource(accession="GSE7").series_url("matrix", "x") == (
        "https://ftp.ncbi.nlm.nih.gov/geo/series/GSEnnn/GSE7/matrix/x"
    )


def test_probes_of_an_array_become_genes(server, tmp_path):
    values = array(server)
    raw = read_geo(source(server, "GSE113469", classes=CLASSES), tmp_path, wait=0.01)
    assert raw.shape == (8, 40)
    np.testing.assert_allclose(
        raw[:, "GAPDH"].X[:, 0], values.loc[["ILMN_0", "ILMN_40"]].mean(), rtol=1e-5
    )
    assert any("41 of 50 probes of GPL10558 have one gene" in line for line in told(raw))
    assert validate_cohort(raw, IngestionConfig())[1]["scale"]["scale"] == "log"


def test_two_series_that_word_things_differently_can_be_compared(server, tmp_path):
    rna_seq(server), array(server)
    main = read_geo(source(server, supplementary=SUPPLEMENT, classes=CLASSES), tmp_path, wait=0.01)
    other = read_geo(source(server, "GSE113469", classes=CLASSES), tmp_path, wait=0.01)
    cohort, _ = validate_cohort(main, IngestionConfig())
    external, report = align_external(validate_external(other, IngestionConfig())[0], cohort)
    assert external.n_vars == 40
    assert report["classes"] == {"celiac": 4, "control": 4}


def test_the_second_reading_needs_no_network(server, tmp_path):
    rna_seq(server)
    choice = source(server, supplementary=SUPPLEMENT)
    first = read_geo(choice, tmp_path, wait=0.01)
    server.files.clear()
    again = read_geo(choice, tmp_path, wait=0.01)
    np.testing.assert_array_equal(first.X, again.X)
    assert len(server.asked) == 2


def test_a_series_without_values_asks_for_the_supplement(server, tmp_path):
    rna_seq(server)
    with pytest.raises(InputError, match="holds no values .usual for RNA-seq.*supplementary"):
        read_geo(source(server), tmp_path, wait=0.01)


def test_classes_that_nobody_shows_list_what_differs(server, tmp_path):
    rna_seq(server)
    choice = source(server, supplementary=SUPPLEMENT, classes={"ill": "Crohn", "well": "healthy"})
    with pytest.raises(
        InputError, match=r"class 'ill' .*disease_state \(celiac disease, healthy\)"
    ):
        read_geo(choice, tmp_path, wait=0.01)


def test_the_first_pattern_that_fits_decides(server, tmp_path):
    """Non-celiac controls are called celiac too, if one looks for the letters alone."""
    rna_seq(server)
    content = series_matrix(samples(words=("celiac disease", "non-celiac")))
    server.series("GSE134900", "matrix", "GSE134900_series_matrix.txt.gz", content)
    raw = read_geo(source(server, supplementary=SUPPLEMENT, classes=CLASSES), tmp_path, wait=0.01)
    assert raw.obs["condition"].tolist() == ["celiac", "control"] * 6


def test_classes_may_be_read_from_one_column(server, tmp_path):
    rna_seq(server)
    choice = source(
        server, supplementary=SUPPLEMENT, classes={"a": "healthy", "b": "celiac"},
        classes_from="disease_state", label="group",
    )  # fmt: skip
    assert read_geo(choice, tmp_path, wait=0.01).obs["group"].tolist() == ["b", "a"] * 6
    with pytest.raises(InputError, match="no column 'diagnosis'; it has: title"):
        read_geo(choice.model_copy(update={"classes_from": "diagnosis"}), tmp_path, wait=0.01)


def test_without_classes_the_characteristics_are_columns_to_choose_from(server, tmp_path):
    rna_seq(server)
    raw = read_geo(source(server, supplementary=SUPPLEMENT), tmp_path, wait=0.01)
    adata, _ = validate_cohort(raw, IngestionConfig(label="disease_state"))
    assert set(labels(adata)) == {"celiac disease", "healthy"}


def test_columns_that_nobody_knows_are_told_with_three_of_each(server, tmp_path):
    rna_seq(server)
    values = pd.DataFrame(1.5, index=GENES, columns=[f"mouse{i}" for i in range(12)])
    server.series("GSE134900", "suppl", SUPPLEMENT, gzip.compress(values.to_csv().encode()))
    with pytest.raises(InputError) as error:
        read_geo(source(server, supplementary=SUPPLEMENT), tmp_path, wait=0.01)
    for shown in ("mouse0", "GSM3970000, GSM3970001, GSM3970002", "Duodenum biopsy 1"):
        assert shown in str(error.value)


def test_samples_as_rows_are_understood(server, tmp_path):
    values = rna_seq(server)
    content = gzip.compress(values.T.rename_axis("sample").to_csv().encode())
    server.series("GSE134900", "suppl", SUPPLEMENT, content)
    raw = read_geo(source(server, supplementary=SUPPLEMENT), tmp_path, wait=0.01)
    assert raw.shape == (12, 40)
    np.testing.assert_allclose(raw["GSM3970004", "TP53"].X, values.loc["TP53", "V005"])


def test_genes_with_gaps_are_left_out_and_counted(server, tmp_path):
    own, values = samples(8, 3107000), array(server)
    values.iloc[3, 2] = np.nan
    content = series_matrix(own, values, "GPL10558", "GSE113469")
    server.series("GSE113469", "matrix", "GSE113469_series_matrix.txt.gz", content)
    raw = read_geo(source(server, "GSE113469", annotate=False), tmp_path, wait=0.01)
    assert raw.n_vars == 49
    assert "1 row with gaps left out" in told(raw)


def test_an_annotation_of_another_platform_is_noticed(server, tmp_path):
    array(server)
    server.platform("GPL10558", annotation({"other_1": "TP53"}))
    with pytest.raises(InputError, match=r"Only 0 of 50 probes.*annotate: false"):
        read_geo(source(server, "GSE113469"), tmp_path, wait=0.01)


@pytest.mark.parametrize("trouble", ["missing", "cut", "checksum"])
def test_a_bad_day_keeps_no_half_file(server, tmp_path, trouble):
    rna_seq(server)
    path = f"/series/GSE134nnn/GSE134900/suppl/{SUPPLEMENT}"
    options = {"supplementary": SUPPLEMENT}
    if trouble == "missing":
        del server.files[path]
    elif trouble == "cut":
        server.cut[path] = 200
    else:
        options["sha256"] = {SUPPLEMENT: "0" * 64}
    words = {"missing": "404", "cut": "3 attempts", "checksum": "another checksum"}
    with pytest.raises(InputError, match=words[trouble]):
        read_geo(source(server, **options), tmp_path, wait=0.01)
    kept = sorted(p.name for p in (tmp_path / "GSE134900").iterdir())
    assert kept == ["GSE134900_series_matrix.txt.gz", CHECKSUMS]


def test_an_accession_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="no accession of a GEO series"):
        GEOSource(accession="GSM123")
