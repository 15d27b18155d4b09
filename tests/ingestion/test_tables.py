import json
import logging

import numpy as np
import pandas as pd
import pytest
from ingestion.folders import counts_table, sheet_table, write_cohort

from synthome.anndata_schema import UNS
from synthome.errors import InputError
from synthome.ingestion.tables import SOURCE_NAME, read_cohort_folder, unique_names

FORMS = {
    "as it should be": (counts_table(), "expression.csv", "samples.csv"),
    "parquet": (counts_table(), "expression.parquet", "samples.parquet"),
    "tabs, packed": (counts_table(), "expression.tsv.gz", "samples.tsv.gz"),
    "genes x samples": (counts_table().T.rename_axis("gene"), "expression.csv", "samples.tsv"),
    "genes x samples, parquet": (counts_table().T, "expression.parquet", "samples.csv"),
}


def told(adata):
    return [entry["why"] for entry in json.loads(adata.uns[UNS]["reading"])]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_cohort(tmp_path, form):
    expression, *names = FORMS[form]
    adata = read_cohort_folder(write_cohort(tmp_path, expression, names=tuple(names)))
    np.testing.assert_array_equal(adata.X, counts_table().to_numpy())
    assert adata.X.dtype == np.float64
    assert adata.obs_names.tolist() == counts_table().index.tolist()
    assert adata.var_names.tolist() == counts_table().columns.tolist()
    assert list(adata.obs.columns) == ["condition", "age", "patient", "sex", "use"]


def test_transposition_is_logged_and_told(tmp_path, caplog):
    folder = write_cohort(tmp_path, counts_table().T.rename_axis("gene"))
    with caplog.at_level(logging.INFO, logger="synthome.ingestion"):
        adata = read_cohort_folder(folder)
    assert any("genes x samples: transposed" in r.getMessage() for r in caplog.records)
    assert any("genes x samples: transposed" in line for line in told(adata))


def test_the_source_is_named_with_its_checksums(tmp_path):
    from synthome.ingestion.files import sha256_of

    folder = write_cohort(tmp_path / "my_cohort")
    facts = read_cohort_folder(folder).uns[UNS]
    assert facts["source"] == "my_cohort"
    assert facts["files"] == {
        name: sha256_of(folder / name) for name in ("expression.csv", "samples.csv")
    }
    assert len(facts["sha256"]) == 64


def test_samples_in_one_table_only_are_left_out_and_counted(tmp_path):
    expression, sheet = counts_table(10), sheet_table(8)
    adata = read_cohort_folder(write_cohort(tmp_path, expression, sheet.iloc[1:]))
    assert adata.n_obs == 7
    assert "7 samples in both tables; only in samples.csv: 0, only in expression.csv: 3" in told(
        adata
    )


def test_annotation_columns_beside_samples_are_left_out_and_told(tmp_path):
    """As featureCounts and many authors write them."""
    frame = counts_table().T.rename_axis("gene_id").reset_index()
    frame.insert(1, "gene_name", [f"name {i}" for i in range(len(frame))])
    frame.insert(2, "Length", 1000)
    write_cohort(tmp_path, frame.set_index("gene_id"))
    adata = read_cohort_folder(tmp_path)
    assert adata.shape == (8, 30)
    assert adata.var_names[0] == "GENE0"
    lines = told(adata)
    assert "columns of text that describe genes left out: gene_name" in lines
    assert any("only in expression.csv: 1" in line for line in lines)


def test_columns_of_the_sheet_inside_the_expression_table_are_no_genes(tmp_path):
    frame = counts_table().assign(condition=["ill", "well"] * 4, age=50.0)
    adata = read_cohort_folder(write_cohort(tmp_path, frame))
    assert adata.n_vars == 30
    assert any("describe samples, not genes, left out: condition, age" in x for x in told(adata))


def test_entrez_ids_are_names(tmp_path):
    frame = counts_table(8, 12).set_axis([str(i) for i in range(100, 112)], axis=1)
    for form in (frame, frame.T.rename_axis("gene")):
        adata = read_cohort_folder(write_cohort(tmp_path, form))
        assert adata.var_names[0] == "100"


def test_gene_names_after_the_samples_are_found_and_told(tmp_path):
    frame = counts_table().T.reset_index(names="symbol")
    frame = frame[[*counts_table().index, "symbol"]]
    frame.to_parquet(tmp_path / "expression.parquet", index=False)
    sheet_table().to_csv(tmp_path / "samples.csv")
    adata = read_cohort_folder(tmp_path)
    assert adata.var_names[0] == "GENE0"
    assert "gene names are in column 'symbol'" in told(adata)


def test_genes_without_names_are_an_error(tmp_path):
    counts_table().T.to_csv(tmp_path / "expression.csv", index=False)
    sheet_table().to_csv(tmp_path / "samples.csv")
    with pytest.raises(InputError, match="none with gene names"):
        read_cohort_folder(tmp_path)


def test_a_gene_without_a_name_is_left_out_and_counted(tmp_path):
    frame = counts_table().T.rename(index={"GENE3": ""}).rename_axis("gene")
    adata = read_cohort_folder(write_cohort(tmp_path, frame))
    assert adata.n_vars == 29
    assert any("genes without a name" in line for line in told(adata))


def test_repeated_genes_are_kept_apart_until_scale_is_known(tmp_path):
    names = ["A", "B", "A", "A"]
    frame = counts_table(8, 4).set_axis(names, axis=1)
    adata = read_cohort_folder(write_cohort(tmp_path, frame))
    assert adata.var_names.tolist() == ["A", "B", "A#2", "A#3"]
    assert adata.var[SOURCE_NAME].tolist() == names
    assert unique_names(np.array(["x", "x"], dtype=object)).tolist() == ["x", "x#2"]


@pytest.mark.parametrize("transposed", [False, True])
def test_text_in_a_cell_is_named_with_its_place(tmp_path, transposed):
    frame = counts_table().astype(object)
    frame.loc["S03", "GENE4"] = "#DIV/0!"
    form = frame.T.rename_axis("gene") if transposed else frame
    with pytest.raises(InputError, match=r"'#DIV/0!' at sample 'S03', gene 'GENE4'"):
        read_cohort_folder(write_cohort(tmp_path, form))


def test_leading_zeros_of_ids_survive(tmp_path):
    index = pd.Index([f"{i:03d}" for i in range(8)], name="sample_id")
    folder = write_cohort(
        tmp_path, counts_table().set_axis(index, axis=0), sheet_table().set_axis(index, axis=0)
    )
    assert read_cohort_folder(folder).obs_names[1] == "001"


def test_decimal_commas_and_semicolons_are_read(tmp_path):
    values = counts_table() + 0.5
    values.to_csv(tmp_path / "expression.csv", sep=";", decimal=",")
    sheet_table().to_csv(tmp_path / "samples.csv", sep=";", decimal=",")
    adata = read_cohort_folder(tmp_path)
    np.testing.assert_array_equal(adata.X, values.to_numpy())
    assert adata.obs["age"].tolist() == sheet_table()["age"].tolist()
    assert "expression.csv writes decimals with a comma" in told(adata)


def test_no_sample_id_reaches_the_log(tmp_path, caplog):
    """Ids of patients may stand in an error that needs them, and nowhere else."""
    index = pd.Index([f"DOE-JANE-{i}" for i in range(8)], name="sample_id")
    expression = counts_table().set_axis(index, axis=0)
    folder = write_cohort(tmp_path, expression, sheet_table().set_axis(index, axis=0).iloc[2:])
    with caplog.at_level(logging.DEBUG):
        adata = read_cohort_folder(folder)
    assert "DOE" not in caplog.text
    assert "DOE" not in str(adata.uns)


def test_a_chromosome_is_no_gene_name(tmp_path):
    frame = counts_table().T.reset_index(names="symbol")
    frame.insert(0, "chr", ["chr1", "chr2", "chrX"] * 10)
    frame.to_csv(tmp_path / "expression.csv", index=False)
    sheet_table().to_csv(tmp_path / "samples.csv")
    assert read_cohort_folder(tmp_path).var_names[0] == "GENE0"


def test_two_columns_of_one_name_are_refused(tmp_path):
    folder = write_cohort(tmp_path)
    text = (folder / "samples.csv").read_text().replace("age", "condition", 1)
    (folder / "samples.csv").write_text(text)
    with pytest.raises(InputError, match=r"samples\.csv has more than one column.*'condition'"):
        read_cohort_folder(folder)
