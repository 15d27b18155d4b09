import numpy as np
import pytest
from anndata import AnnData
from ingestion.folders import counts_table, nothing, sheet_table
from ingestion.test_validate import raw

from synthome.anndata_schema import LIBRARY_SIZE, is_absent, scale
from synthome.errors import InputError
from synthome.ingestion.align import align_external, validate_external
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.validate import validate_cohort

CONFIG = IngestionConfig(label="condition")


def cohort(**kwargs) -> AnnData:
    return validate_cohort(raw(**kwargs), CONFIG)[0]


def external(expression=None, sheet=None, config=CONFIG) -> AnnData:
    expression = counts_table(6, 30, seed=1) if expression is None else expression
    return validate_external(raw(expression, sheet_table(6) if sheet is None else sheet), config)[0]


def test_shared_genes_come_in_the_order_of_the_cohort_and_the_loss_is_told():
    own = [f"GENE{i}" for i in range(29, 4, -1)] + [f"OTHER{i}" for i in range(5)]
    aligned, report = align_external(
        external(counts_table(6, 30, 1).set_axis(own, axis=1)), cohort()
    )
    assert aligned.var_names.tolist() == [f"GENE{i}" for i in range(5, 30)]
    assert (report["genes_shared"], report["genes_only_cohort"], report["genes_only_external"]) == (
        25, 5, 5,
    )  # fmt: skip
    assert report["steps"][-1]["dropped_genes"] == 5
    assert "25 of the 30 genes of the cohort (83%)" in report["steps"][-1]["why"]


def test_the_library_still_counts_all_genes():
    """Otherwise counts per million of the external cohort would grow with every gene lost."""
    expression = counts_table(6, 30, 1).rename(columns={"GENE0": "ONLY_HERE"})
    aligned, _ = align_external(external(expression), cohort())
    np.testing.assert_array_equal(aligned.obs[LIBRARY_SIZE], expression.sum(axis=1))


def test_too_few_shared_genes_show_the_names():
    names = [f"ENSG{i:011d}" for i in range(30)]
    names[:19] = [f"GENE{i}" for i in range(19)]
    expression = counts_table(6, 30, 1).set_axis(names, axis=1)
    with pytest.raises(
        InputError, match=r"19 genes in common; 20 are needed.*GENE0, GENE1.*symbols"
    ):
        align_external(external(expression), cohort())
    assert align_external(external(expression), cohort(), min_shared_genes=19)[0].n_vars == 19


def test_genes_silent_in_the_external_cohort_are_kept():
    """The model knows them; without them it could not be applied."""
    expression = counts_table(6, 30, 1)
    expression["GENE4"] = 0
    assert "GENE4" in align_external(external(expression), cohort())[0].var_names


def test_another_label_column_is_refused():
    with pytest.raises(InputError, match="no column 'condition', which is the label of the cohort"):
        align_external(
            external(
                sheet=sheet_table(6).rename(columns={"condition": "state"}),
                config=IngestionConfig(label="state"),
            ),
            cohort(),
        )


def test_classes_in_other_words_are_refused():
    sheet = sheet_table(6).replace({"ill": "case", "well": "control"})
    with pytest.raises(InputError, match=r"two of the classes of the cohort \(ill, well\).*case"):
        align_external(external(sheet=sheet), cohort())


def test_unknown_classes_are_left_out_and_counted():
    sheet = sheet_table(6)
    sheet.iloc[0, 0] = "unclear"
    aligned, report = align_external(external(sheet=sheet), cohort())
    assert aligned.n_obs == 5
    assert report["classes"] == {"ill": 2, "well": 3}
    assert "unclear" in report["steps"][0]["why"]


def test_a_sample_of_the_cohort_is_found_in_the_external_one():
    expression = counts_table(6, 30, 1)
    expression.iloc[2] = counts_table().iloc[5].to_numpy()
    sheet = sheet_table(6).set_axis([f"E{i}" for i in range(6)], axis=0)
    expression = expression.set_axis(sheet.index, axis=0)
    with pytest.raises(
        InputError, match=r"1 sample is in the cohort too.*E2 is S05.*allow_duplicates"
    ):
        align_external(external(expression, sheet), cohort())
    _, report = align_external(external(expression, sheet), cohort(), allow_duplicates=True)
    assert report["duplicate_samples"] == 1
    assert report["warnings"]


def test_independent_cohorts_are_not_accused():
    assert align_external(external(), cohort())[1]["duplicate_samples"] == 0


def test_patients_of_the_same_name_are_pointed_at():
    config = IngestionConfig(label="condition", group="patient")
    main = validate_cohort(raw(), config)[0]
    _, report = align_external(external(config=config), main)
    assert report["shared_groups"] == 3
    assert report["warnings"]
    assert "P0" not in str(report)


def test_counts_and_logs_do_not_meet():
    with pytest.raises(InputError, match="holds counts values and the external cohort log values"):
        align_external(external(np.log1p(counts_table(6, 30, 1))), cohort())


def test_linear_and_log_are_turned_into_each_other_with_a_warning():
    linear, log = counts_table() * 1.37 + 150, np.log2(counts_table(6, 30, 1) * 1.37 + 150)
    aligned, report = align_external(external(log), cohort(expression=linear))
    np.testing.assert_allclose(aligned.X, np.exp2(log))
    assert scale(aligned) == "linear"
    assert "2**x" in report["warnings"][0]
    aligned, report = align_external(external(np.exp2(log)), cohort(expression=np.log2(linear)))
    np.testing.assert_allclose(aligned.X, np.log2(np.exp2(log) + 1))
    assert scale(aligned) == "log"


def test_no_external_cohort_is_no_problem():
    aligned, report = align_external(nothing(), cohort())
    assert is_absent(aligned)
    assert report == {"absent": True}
    assert is_absent(validate_external(nothing(), CONFIG)[0])


def test_columns_of_the_cohort_alone_are_not_asked_of_the_external_sheet():
    config = IngestionConfig(label="condition", where="use", group="patient", min_per_class=4)
    sheet = sheet_table(6).drop(columns=["use", "patient"])
    adata, _ = validate_external(raw(counts_table(6, 30, 1), sheet), config)
    assert adata.n_obs == 6


def test_inputs_are_not_changed():
    one, other = external(), cohort()
    before = one.copy(), other.copy()
    align_external(one, other)
    for now, then in zip((one, other), before, strict=True):
        np.testing.assert_array_equal(now.X, then.X)
        assert now.uns == then.uns
