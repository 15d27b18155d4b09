import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.ingestion.symbols import find_damaged, in_case_of, inspect


@pytest.mark.parametrize(
    ("name", "likely", "certain"),
    [
        ("2-Sep", ["SEPTIN2"], True),
        ("02-Sep", ["SEPTIN2"], True),
        ("Sep-02", ["SEPTIN2"], True),
        ("Sep-2", ["SEPTIN2"], True),
        ("2-Sept", ["SEPTIN2"], True),
        ("2. Sep", ["SEPTIN2"], True),
        ("2/Sep", ["SEPTIN2"], True),
        ("2-Sep-19", ["SEPTIN2"], True),
        ("2019-09-02", ["SEPTIN2"], True),
        ("2019-09-02 00:00:00", ["SEPTIN2"], True),
        ("43710", ["SEPTIN2"], True),  # the number that Excel stores for 2 September 2019
        ("14-Sep", ["SEPTIN14"], True),
        ("15-Sep", ["SELENOF"], True),
        ("13-Sep", ["SEPTIN7P2"], True),
        ("3-Mar", ["MARCHF3"], True),
        ("03. Mrz", ["MARCHF3"], True),
        ("11-Mar", ["MARCHF11"], True),
        ("1-Mar", ["MARCHF1", "MTARC1"], False),
        ("01-Mar", ["MARCHF1", "MTARC1"], False),
        ("2-Mar", ["MARCHF2", "MTARC2"], False),
        ("1-Dec", ["DELEC1", "BHLHE40"], False),
        ("2-Dec", ["BHLHE41"], False),  # DEC2 is an alias only
        ("4-Oct", ["POU5F1"], False),  # OCT4 is an alias only
        ("9/3/2019", ["MARCHF9", "SEPTIN3"], False),  # day and month cannot be told apart
        ("25-Sep", [], False),
        ("1-Feb", [], False),
        ("2.31E+13", [], False),  # a RIKEN clone
    ],
)
def test_damage_is_recognised_with_what_it_was(name, likely, certain):
    damaged = inspect(name)
    assert damaged is not None
    assert sorted(damaged.likely) == sorted(likely)
    assert damaged.certain == certain


@pytest.mark.parametrize(
    "name",
    ["SEPTIN2", "SEPT2", "MARCHF1", "MARCH1", "MARC1", "DEC1", "TP53", "HLA-A", "NKX2-5", "7SK",
     "5_8S_rRNA", "AC012345.1", "ENSG00000141510.17", "MT-ND1", "RP11-34P13.7", "1007_s_at", "NOV",
     "A1BG-AS1", "KRTAP10-1", "H3-3A", "mar-1"[:3], "SEP", "Y_RNA", "U6", "MIR1-1HG"],
)  # fmt: skip
def test_sound_names_are_left_alone(name):
    assert inspect(name) is None


def test_entrez_ids_are_no_dates():
    assert find_damaged([str(i) for i in range(43000, 44000)]) == []


def test_a_number_among_symbols_may_be_a_date():
    found = find_damaged([f"GENE{i}" for i in range(100)] + ["43710", "12345", "99999"])
    assert [(d.found, d.likely) for d in found] == [("43710", ["SEPTIN2"])]


def test_mouse_symbols_keep_their_style():
    assert in_case_of("SEPTIN2", ["Actb", "Gapdh", "Trp53"]) == "Septin2"
    assert in_case_of("SEPTIN2", ["ACTB", "GAPDH", "C1orf112"]) == "SEPTIN2"


@given(st.text(max_size=20))
def test_no_name_breaks_it(name):
    assert inspect(name) is None or inspect(name).found == name.strip()
