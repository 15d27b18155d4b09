import gzip

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingestion.folders import real_cohort

from synthome.errors import InputError
from synthome.ingestion.gene_sets import choose_roles, match_genes, read_aliases, read_gene_sets

GMT = "DOWN\tmade up\tSTMN2\tUNC13A\tSTMN2\nUP\t\tFKBP5\tDDIT4\tTLR2\t\n"
TESTS = pd.DataFrame(
    {
        "Symbol": ["A", "B", "C", "D", None, "F"],
        "Ensembl ID": [f"ENSG0000000000{i}" for i in range(6)],
        "log2FoldChange": [1.0, 2.0, -1.0, -0.5, 3.0, 0.1],
        "adj.P.Val": [1e-3, 1e-9, 1e-4, 0.2, 1e-5, float("nan")],
    }
)


def var(*names: str, **columns) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(names))


def test_a_gmt_file_has_a_set_in_each_line(tmp_path):
    path = tmp_path / "lists.gmt"
    path.write_text(GMT)
    expected = {"DOWN": ["STMN2", "UNC13A"], "UP": ["FKBP5", "DDIT4", "TLR2"]}
    assert read_gene_sets(path) == expected
    zipped = tmp_path / "lists.gmt.gz"
    zipped.write_bytes(gzip.compress(GMT.replace("\n", "\r\n").encode()))
    assert read_gene_sets(zipped) == expected
    other_name = tmp_path / "lists.txt"
    other_name.write_text(GMT)
    assert read_gene_sets(other_name) == expected


@pytest.mark.parametrize("head", ["", "gene\n", "# from a paper\n", "\ufeff"])
def test_a_text_has_one_gene_a_line_and_one_set(tmp_path, head):
    path = tmp_path / "als_down.txt"
    path.write_text(head + "STMN2\n UNC13A \n\nSTMN2\n", encoding="utf-8")
    assert read_gene_sets(path) == {"als_down": ["STMN2", "UNC13A"]}


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_table_may_name_the_set_of_each_gene(tmp_path, ending):
    frame = pd.DataFrame({"Set": ["x", "y", "x"], "n": [1, 2, 3], "Gene Symbol": ["A", "B", "C"]})
    path = tmp_path / f"lists.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    assert read_gene_sets(path) == {"x": ["A", "C"], "y": ["B"]}


def test_a_table_without_sets_is_one_and_ids_stand_in_for_missing_symbols(tmp_path):
    path = tmp_path / "lists.csv"
    TESTS[["Symbol", "Ensembl ID"]].to_csv(path, index=False)
    genes = ["A", "B", "C", "D", "ENSG00000000004", "F"]
    assert read_gene_sets(path) == {"lists": genes}


def test_a_table_of_tests_gives_the_significant_genes_of_each_direction(tmp_path):
    path = tmp_path / "hd.parquet"
    TESTS.to_parquet(path)
    expected = {"hd_up": ["B", "ENSG00000000004", "A"], "hd_down": ["C"]}
    assert read_gene_sets(path) == expected
    assert read_gene_sets(path, most=1) == {"hd_up": ["B"], "hd_down": ["C"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.gmt", "DOWN\tonly a description\n", "set number 1 has no genes"),
        ("x.gmt", "A\t\tG1\nA\t\tG2\n", "two sets called 'A'"),
        ("x.txt", "\n# nothing\n", "holds no genes"),
        ("x.csv", "a,b\n1,2\n", "no column of genes.*it has: a, b"),
        ("x.csv", "", "is empty"),
    ],
)
def test_files_without_genes_are_told(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_gene_sets(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_gene_sets(tmp_path / "none.gmt")
    with pytest.raises(InputError, match="is a folder"):
        read_gene_sets(tmp_path)


def test_each_gene_is_found_by_the_first_rule_that_knows_it():
    sets = {"mine": ["Stmn2", "FKBP5", "SEPT2", "2-Sep", "TDP43", "NOBODY", "ENSG00000000009"]}
    genes = var(
        "Stmn2", "Fkbp5", "Septin2", "Tardbp", "ENSG00000000009.4", symbol=["x1", "x2", "", "", ""]
    )
    matched, report = match_genes(sets, genes, aliases={"tdp43": "TARDBP"})
    assert matched["mine"] == ["Stmn2", "Fkbp5", "Septin2", "Tardbp", "ENSG00000000009.4"]
    facts = report["sets"]["mine"]
    assert (facts["n_given"], facts["n_found"]) == (7, 6)
    assert facts["found_by"] == {
        "as written": 2, "in another case": 1, "by its new or former name": 2, "by alias": 1,
    }  # fmt: skip
    assert facts["not_found"] == ["NOBODY"]
    assert facts["renamed"]["FKBP5"] == ["Fkbp5"]
    assert report["warnings"] == []


def test_symbols_in_a_column_are_found_when_names_are_ids():
    genes = var("ENSG1", "ENSG2", "ENSG3", gene_name=["STMN2", "PAR1", "PAR1"])
    matched, _ = match_genes({"a": ["PAR1"], "b": ["stmn2"]}, genes)
    assert matched == {"a": ["ENSG2", "ENSG3"], "b": ["ENSG1"]}


def test_a_name_as_written_comes_before_the_same_name_in_another_case():
    """Cells of two species together have both."""
    matched, _ = match_genes({"a": ["STMN2"]}, var("Stmn2", "STMN2"))
    assert matched == {"a": ["STMN2"]}


@given(
    names=st.lists(st.text("abcDEF123", min_size=1, max_size=5), min_size=1, unique_by=str.lower)
)
def test_case_alone_never_loses_a_gene(names):
    matched, report = match_genes({"all": [name.swapcase() for name in names]}, var(*names))
    assert matched["all"] == names
    assert report["sets"]["all"]["not_found"] == []


def test_under_half_is_a_warning_and_none_at_all_an_error():
    _, report = match_genes({"mine": ["A", "B", "C"], "other": ["A"]}, var("A"))
    assert report["warnings"] == ["mine: 1 of 3 genes found; not found: B, C"]
    with pytest.raises(InputError, match=r"None of the 2 genes of 'mine' \(B, C\).*1 genes"):
        match_genes({"mine": ["B", "C"]}, var("A"))
    with pytest.raises(InputError, match="None of the 1 gene of 'mine'"):
        match_genes({"mine": ["B"], "other": ["A"]}, var("A"), needed=["mine"])
    assert match_genes({}, var("A"))[0] == {}


LISTS = ["ALS_DOWN_41", "HD_UP", "HD_UP_2"]


@pytest.mark.parametrize(
    ("names", "asked", "roles"),
    [
        (["my_down", "my_up"], (None, None), {"down": "my_down", "up": "my_up"}),
        (LISTS, (None, None), {"down": "ALS_DOWN_41"}),
        (LISTS, (None, "HD_UP"), {"down": "ALS_DOWN_41", "up": "HD_UP"}),
        (["supper", "group"], (None, None), {}),
        (["one"], ("one", "one"), {"down": "one", "up": "one"}),
    ],
)
def test_a_set_is_turned_up_or_down_as_the_person_or_its_name_says(names, asked, roles):
    assert choose_roles(names, *asked) == roles


def test_a_set_to_turn_that_does_not_exist_lists_those_that_do():
    with pytest.raises(InputError, match="no gene set 'dwn' to turn down. The list has: a, b"):
        choose_roles(["a", "b"], "dwn")


def test_aliases_are_a_table_of_two_columns(tmp_path):
    path = tmp_path / "aliases.tsv"
    path.write_text("alias\tsymbol\nTDP43\tTARDBP\nnothing\t\n")
    assert read_aliases(path) == {"TDP43": "TARDBP"}
    pd.DataFrame({"alias": ["TDP43"]}).to_parquet(tmp_path / "one.parquet")
    with pytest.raises(InputError, match="has one column"):
        read_aliases(tmp_path / "one.parquet")


def test_a_table_of_one_column_is_a_list_whatever_its_name(tmp_path):
    pd.DataFrame({"x": ["TDP43"]}).to_parquet(tmp_path / "one.parquet")
    assert read_gene_sets(tmp_path / "one.parquet") == {"one": ["TDP43"]}


def test_the_lists_of_disease_genes_are_read_as_their_source_describes_them():
    folder = real_cohort("genelists_als_hd")
    sizes = {name: len(genes) for name, genes in read_gene_sets(folder / "gene_lists.gmt").items()}
    assert sizes == {
        "HD_UP_BA9_TOP80": 80,
        "HD_UP_BA9_TOP80_EXPRESSED": 80,
        "ALS_DOWN_MOTOR_CORTEX_TOP41_KEGG318": 41,
    }
    full = read_gene_sets(folder / "hd_ba9_gse64810_deseq2.parquet", most=5000)
    assert [len(genes) for genes in full.values()] == pytest.approx([3004, 2476], abs=20)
    down = read_gene_sets(folder / "als_motor_cortex_gse124439_kegg318_welch.parquet")
    assert 66 <= len(down["als_motor_cortex_gse124439_kegg318_welch_down"]) <= 71
    assert len(read_gene_sets(folder / "l1000_landmark_978.tsv")["l1000_landmark_978"]) == 978
