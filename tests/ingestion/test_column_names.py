import pandas as pd
import pytest

from synthome.ingestion.column_names import place_columns

SAMPLES = pd.DataFrame(
    {
        "title": ["CeD patient 1 [D01]", "CeD patient 10 [D10]", "control 1 [D02]"],
        "source_name_ch1": ["Duodenum"] * 3,
        "description": ["lib_A1", "lib_B1", "lib_C1"],
    },
    index=pd.Index(["GSM11", "GSM12", "GSM13"], name="geo_accession"),
)


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        (["gene", "GSM11", "GSM12", "GSM13"], "by the accession"),
        (["gene", *SAMPLES["title"]], "by the title"),
        (["gene", "lib_A1", "lib_B1", "lib_C1"], "by the description"),
        (["gene", "lib.A1", "lib.B1", "lib.C1"], "by the simplified description"),
        (["gene", "CeD.patient.1..D01.", "CeD.patient.10..D10.", "control.1..D02."],
         "by the simplified title"),
        (["gene", "D01", "D10", "D02"], "by a piece of the title"),
        (["gene", "lib_A1.bam", "lib_B1.bam", "lib_C1.bam"], "by a piece of the description"),
        (["gene", "GSM11_counts", "GSM12_counts", "GSM13_counts"], "by a piece of the accession"),
    ],
)  # fmt: skip
def test_columns_find_their_samples(columns, rule):
    placed = place_columns(columns, SAMPLES)
    assert placed.rule == rule
    assert list(placed.accessions.items()) == list(
        zip(columns[1:], ["GSM11", "GSM12", "GSM13"], strict=True)
    )


def test_a_name_that_fits_two_samples_is_not_placed():
    """Patient 1 is in 'patient 1' and would be in 'patient 10' if letters alone counted."""
    placed = place_columns(["gene", "CeD patient 1", "CeD patient 10", "control 1"], SAMPLES)
    assert placed.accessions == {
        "CeD patient 1": "GSM11", "CeD patient 10": "GSM12", "control 1": "GSM13",
    }  # fmt: skip
    assert place_columns(["gene", "patient", "Duodenum"], SAMPLES).accessions == {}


def test_a_column_that_fits_two_samples_is_nobodys():
    titles = pd.DataFrame({"title": ["biopsy 1 run A", "biopsy 2 run A"]}, index=["GSM1", "GSM2"])
    placed = place_columns(["gene", "biopsy 1", "biopsy 2", "biopsy"], titles)
    assert placed.accessions == {"biopsy 1": "GSM1", "biopsy 2": "GSM2"}


def test_a_few_chance_hits_inside_names_do_not_count():
    assert place_columns(["gene", *"abcdefghij", "D01"], SAMPLES).accessions == {}


def test_order_does_not_matter():
    placed = place_columns(["D02", "gene", "D10", "D01"], SAMPLES)
    assert placed.accessions == {"D02": "GSM13", "D10": "GSM12", "D01": "GSM11"}
