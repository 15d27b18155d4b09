import json
import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from ingestion.folders import counts_table, nothing, sheet_table, write_cohort
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, UNS, is_absent, label_key, labels
from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.tables import SOURCE_NAME, read_cohort_folder, unique_names
from synthome.ingestion.validate import validate_cohort


def raw(expression=None, sheet=None, **facts):
    expression = counts_table() if expression is None else expression
    sheet = sheet_table() if sheet is None else sheet
    uns = {UNS: {"source": "cohort", "sha256": "0" * 64, **facts}}
    return AnnData(
        expression.to_numpy(dtype=float),
        obs=sheet.copy(),
        var=pd.DataFrame(
            {SOURCE_NAME: expression.columns.to_numpy()},
            index=unique_names(expression.columns.to_numpy(dtype=object)),
        ),
        uns=uns,
    )


def validate(*args, label="condition", facts=None, **choices):
    return validate_cohort(raw(*args, **(facts or {})), IngestionConfig(label=label, **choices))


def test_a_clean_cohort_passes_as_it_is():
    adata, report = validate()
    np.testing.assert_array_equal(adata.X, counts_table())
    np.testing.assert_array_equal(adata.layers[COUNTS], counts_table())
    np.testing.assert_array_equal(adata.obs[LIBRARY_SIZE], counts_table().sum(axis=1))
    assert label_key(adata) == "condition"
    assert labels(adata).tolist() == sheet_table()["condition"].tolist()
    assert adata.uns[UNS]["scale"] == "counts"
    assert report["classes"] == {"ill": 4, "well": 4}
    assert (report["n_obs"], report["n_vars"]) == (8, 30)


def test_every_column_of_the_sheet_is_kept():
    adata, _ = validate()
    assert list(adata.obs.columns) == [*sheet_table().columns, LIBRARY_SIZE]


def test_the_report_is_plain_json():
    _, report = validate(group="patient", where="use")
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_steps_add_up_from_what_was_read_to_what_is_left(tmp_path):
    expression = counts_table(10)
    expression["DEAD"] = 0
    expression["FLAT"] = 7
    sheet = sheet_table(10)
    sheet.loc["S02", "condition"] = None
    folder = write_cohort(tmp_path, expression.iloc[:-1], sheet)
    adata, report = validate_cohort(
        read_cohort_folder(folder), IngestionConfig(label="condition", where="use")
    )
    steps = report["steps"]
    assert steps[0]["kept_samples"] == 10
    assert sum(s["dropped_samples"] for s in steps) == 10 - adata.n_obs == 2
    assert sum(s["dropped_genes"] for s in steps) == 2
    assert steps[-1]["kept_samples"] == adata.n_obs
    assert steps[-1]["kept_genes"] == adata.n_vars == 30
    lines = [s["why"] for s in steps]
    assert any("2 genes with the same value in every sample left out (1 of them all zero)" in x
               for x in lines)  # fmt: skip


def test_the_library_counts_all_genes_also_those_left_out():
    expression = counts_table()
    expression["FLAT"] = 1000
    adata, _ = validate(expression)
    np.testing.assert_array_equal(adata.obs[LIBRARY_SIZE], expression.sum(axis=1))
    assert "FLAT" not in adata.var_names


def test_constant_genes_stay_on_request():
    expression = counts_table()
    expression["FLAT"] = 7
    assert "FLAT" in validate(expression, drop_constant_genes=False)[0].var_names


def test_inputs_are_not_changed():
    cohort = raw()
    before = cohort.copy()
    validate_cohort(cohort, IngestionConfig(label="condition", group="patient", where="use"))
    np.testing.assert_array_equal(cohort.X, before.X)
    pd.testing.assert_frame_equal(cohort.obs, before.obs)
    assert cohort.uns == before.uns


def test_an_absent_cohort_stays_absent():
    adata, report = validate_cohort(nothing(), IngestionConfig())
    assert is_absent(adata)
    assert report == {"absent": True}


def test_no_label_given_lists_the_columns():
    with pytest.raises(InputError, match=r"--params=label=COLUMN.*condition, age, patient, sex"):
        validate(label=None)


def test_the_source_may_name_its_label_and_group():
    adata, report = validate(label=None, facts={"label_key": "condition", "group_key": "patient"})
    assert label_key(adata) == "condition"
    assert report["n_groups"] == 4


def test_errors_name_the_cohort():
    with pytest.raises(InputError, match="^cohort: The sample sheet has no column 'x'"):
        validate(label="x")


def test_repeated_sample_ids_are_refused():
    with pytest.warns(UserWarning, match="not unique"):
        cohort = raw(None, sheet_table().rename(index={"S01": "S00"}))
    with pytest.raises(InputError, match="more than once: S00"):
        validate_cohort(cohort, IngestionConfig(label="condition"))


def test_values_of_samples_left_out_do_not_matter():
    """A missing value in a sample that nobody uses is nobody's problem."""
    expression = counts_table().astype(float)
    expression.loc["S07"] = np.nan
    assert validate(expression, where="use")[0].n_obs == 7
    with pytest.raises(InputError, match="missing or infinite"):
        validate(expression)


def test_an_all_zero_sample_is_named():
    expression = counts_table()
    expression.loc["S03"] = 0
    with pytest.raises(InputError, match="1 sample without any expression.*'S03'"):
        validate(expression)


def test_a_cohort_in_which_nothing_varies_is_refused():
    with pytest.raises(InputError, match="nothing to learn"):
        validate(counts_table() * 0 + 3)


def test_the_layer_of_counts_comes_before_x():
    cohort = raw()
    cohort.layers[COUNTS] = cohort.X.copy()
    cohort.X = np.log1p(cohort.X)
    adata, report = validate_cohort(cohort, IngestionConfig(label="condition"))
    np.testing.assert_array_equal(adata.X, counts_table())
    assert any("layers['counts']" in step["why"] for step in report["steps"])


def test_sparse_values_are_read():
    cohort = raw()
    cohort.X = sparse.csr_matrix(cohort.X)
    adata, _ = validate_cohort(cohort, IngestionConfig(label="condition"))
    np.testing.assert_array_equal(adata.X, counts_table())


def test_the_planted_truth_passes_through():
    cohort = raw()
    cohort.uns["truth"] = {"modules": [1, 2]}
    adata, _ = validate_cohort(cohort, IngestionConfig(label="condition"))
    assert adata.uns["truth"] == {"modules": [1, 2]}


def test_repeated_genes_are_summed_in_counts_and_averaged_in_logs():
    expression = counts_table(8, 3).set_axis(["A", "B", "A"], axis=1)
    adata, report = validate(expression)
    np.testing.assert_array_equal(adata[:, "A"].X[:, 0], expression["A"].sum(axis=1))
    assert report["symbols"]["merged_by"] == "sum"
    logs = np.log1p(expression)
    adata, report = validate(logs)
    np.testing.assert_allclose(adata[:, "A"].X[:, 0], logs["A"].mean(axis=1))
    assert report["symbols"]["merged_by"] == "mean"


def test_damaged_symbols_are_in_the_report():
    expression = counts_table(8, 3).set_axis(["2-Sep", "1-Mar", "TP53"], axis=1)
    adata, report = validate(expression)
    assert adata.var_names.tolist() == ["SEPTIN2", "1-Mar", "TP53"]
    assert report["symbols"]["restored"] == [{"found": "2-Sep", "now": "SEPTIN2"}]
    assert any("MARCHF1 or MTARC1" in warning for warning in report["warnings"])


def test_one_library_under_two_names_is_pointed_at():
    expression = counts_table()
    expression.loc["S05"] = expression.loc["S01"]
    _, report = validate(expression)
    assert report["same_library_twice"] == 1
    assert any("too good" in warning for warning in report["warnings"])
    sheet = sheet_table()
    sheet.loc["S05", "patient"] = sheet.loc["S01", "patient"]
    assert validate(expression, sheet, group="patient")[1]["same_library_twice"] == 0


def test_columns_with_our_names_are_renamed():
    adata, _ = validate(None, sheet_table().assign(split="mine", library_size=1))
    assert adata.obs["split_sheet"].tolist() == ["mine"] * 8
    assert adata.obs["library_size_sheet"].tolist() == [1] * 8
    np.testing.assert_array_equal(adata.obs[LIBRARY_SIZE], counts_table().sum(axis=1))


def test_a_renamed_column_may_still_be_asked_for_by_its_old_name():
    sheet = sheet_table().rename(columns={"condition": "wild/mutant", "patient": "split"})
    adata, report = validate(None, sheet, label="wild/mutant", group="split")
    assert label_key(adata) == "wild_mutant"
    assert report["group"] == "split_sheet"


@pytest.mark.parametrize("name", ["sample_id", "", "a/b", "_index", ".", "index", "gene"])
def test_a_cohort_can_be_stored_whatever_its_columns_are_called(tmp_path, name):
    """h5ad refuses a column that is called like the index."""
    from synthome.datasets.adata import AnnDataDataset

    cohort = raw(None, sheet_table().assign(**{name: list("abcdefgh")}))
    cohort.var["gene"] = "v"
    adata, _ = validate_cohort(cohort, IngestionConfig(label="condition"))
    dataset = AnnDataDataset(str(tmp_path / "x.h5ad"))
    dataset.save(adata)
    assert dataset.load().obs_names.tolist() == adata.obs_names.tolist()


def test_a_sheet_may_own_a_column_called_label():
    sheet = sheet_table().assign(label=[1, 0] * 4)
    adata, _ = validate(None, sheet)
    assert adata.obs["label"].tolist() == [1, 0] * 4
    assert labels(validate(None, sheet, label="label")[0]).tolist() == ["1", "0"] * 4


@pytest.mark.parametrize("kind", ["text", "category", "int", "float with gaps", "bool"])
def test_labels_of_any_kind_become_text(kind):
    column = {
        "text": pd.Series(["1", "0"] * 4),
        "category": pd.Series(["1", "0"] * 4, dtype="category"),
        "int": pd.Series([1, 0] * 4, dtype="int8"),
        "float with gaps": pd.Series([1.0, 0.0] * 3 + [1.0, np.nan]),
        "bool": pd.Series([True, False] * 4),
    }[kind]
    adata, _ = validate(None, sheet_table().assign(kind=column.to_numpy()), label="kind")
    expected = {"True", "False"} if kind == "bool" else {"0", "1"}
    assert set(labels(adata)) == expected
    assert adata.n_obs == (7 if "gaps" in kind else 8)


def test_no_identity_reaches_log_or_report(caplog):
    index = [f"DOE-JANE-{i}" for i in range(8)]
    sheet = sheet_table().set_axis(index, axis=0)
    sheet["patient"] = [f"SSN-{i // 2}" for i in range(8)]
    expression = counts_table().set_axis(index, axis=0)
    expression.iloc[5] = expression.iloc[1]
    sheet.iloc[0, sheet.columns.get_loc("patient")] = None
    with caplog.at_level(logging.DEBUG):
        _, report = validate(expression, sheet, group="patient", where="use")
        validate(expression, sheet)
    for word in ("DOE", "SSN"):
        assert word not in caplog.text
        assert word not in json.dumps(report)


@settings(max_examples=15)
@given(
    order=st.permutations(range(8)),
    genes=st.permutations(range(30)),
)
def test_the_order_of_rows_and_columns_does_not_matter(order, genes):
    """Whatever the order in the files, sample and gene meet at the same value."""
    adata, report = validate(counts_table().iloc[list(order), list(genes)],
                             sheet_table().iloc[list(order)])  # fmt: skip
    pd.testing.assert_frame_equal(
        adata.to_df().loc[counts_table().index, counts_table().columns],
        counts_table().astype(float),
        check_names=False,
    )
    assert report["classes"] == {"ill": 4, "well": 4}
