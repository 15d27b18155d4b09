import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from ingestion.folders import real_cohort
from scipy import sparse

from synthome.anndata_schema import field_keys, label_key
from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.cells import CellsConfig, as_validated, validate_cells
from synthome.reporting.views import validation_view
from synthome.simulate.contexts import FIELDS, ContextsConfig, simulate_contexts

CONFIG = CellsConfig(cell_type="kind", min_cells_per_type=3)


def cells(n_obs=60, n_vars=15, seed=0) -> AnnData:
    """Cells of three types and four donors, none of them empty."""
    counts = np.random.default_rng(seed).poisson(0.6, (n_obs, n_vars))
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(np.array(["neuron", "glia", "blood"])[np.arange(n_obs) % 3]),
            "donor": [f"d{i // 3 % 4}" for i in range(n_obs)],
            "lane": [1, 2] * (n_obs // 2),
            "good": [True] * (n_obs - 3) + [False] * 3,
        },
        index=[f"c{i:03d}" for i in range(n_obs)],
    )
    x = sparse.csr_matrix(counts, dtype=np.float32)
    return AnnData(x, obs=obs, var=pd.DataFrame(index=[f"G{j}" for j in range(n_vars)]))


def validated(adata: AnnData, **choices) -> tuple[AnnData, dict]:
    return validate_cells(CellSource.of(adata), CONFIG.model_copy(update=choices))


def told(report: dict, step: str) -> str:
    return " ".join(entry["why"] for entry in report["steps"] if entry["step"] == step)


def test_the_sheet_is_put_in_order_and_the_counts_stay_where_they_are():
    adata = cells()
    cohort, report = validated(adata, donor="donor", batch="lane")
    assert cohort.X is None
    assert cohort.shape == adata.shape
    np.testing.assert_array_equal(cohort.obs["library_size"], adata.X.sum(axis=1).A1)
    np.testing.assert_array_equal(cohort.obs["source_row"], np.arange(60))
    assert cohort.obs["lane"].tolist()[:2] == ["1", "2"]
    facts = cohort.uns["synthome"]
    keys = ("label_key", "group_key", "batch_key", "scale", "counts_in")
    assert [facts[k] for k in keys] == ["kind", "donor", "lane", "counts", "X"]
    assert report["classes"] == {"neuron": 20, "glia": 20, "blood": 20}
    assert report["n_groups"] == 4
    assert report["warnings"] == []
    assert report["scale"]["evidence"]["share_of_zeros"] == pytest.approx(
        1 - adata.X.nnz / np.prod(adata.shape)
    )


def test_the_report_is_shown_like_that_of_a_bulk_cohort_and_names_no_cell():
    _, report = validated(cells(), donor="donor", where="good")
    view = validation_view("The cells", report, str)
    assert [step["kept_samples"] for step in view["steps"]][:2] == [60, 57]
    assert "c00" not in str(report)
    assert "d0" not in str(report)


def test_empty_and_poor_cells_are_left_out_and_counted():
    adata = cells()
    dense = adata.X.toarray()
    dense[[3, 7]] = 0
    dense[9] = 0
    dense[9, 2] = 1
    adata.X = sparse.csr_matrix(dense)
    cohort, report = validated(adata, min_counts=2)
    assert not {"c003", "c007", "c009"} & set(cohort.obs_names)
    assert told(report, "empty cells") == "2 cells without any count left out"
    assert told(report, "poor cells").startswith("1 cell with fewer than 2 counts")
    np.testing.assert_array_equal(
        cohort.obs["library_size"], dense.sum(axis=1)[cohort.obs["source_row"]]
    )


def test_cells_that_are_all_empty_are_an_error():
    adata = cells()
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    with pytest.raises(InputError, match="None of the 60 cells has 1 count or more"):
        validated(adata)
    with pytest.raises(InputError, match=r"has 500 counts or more; the richest has \d\d\."):
        validated(cells(), min_counts=500)


def test_repeated_genes_are_summed_as_in_bulk_cohorts():
    adata = cells()
    names = adata.var_names.to_list()
    names[4], names[6], names[7] = "G2", "ENSG00000000003.12", "ENSG00000000003.13"
    adata.var_names = names
    cohort, report = validated(adata)
    expected = ["G0", "G1", "G2", "G3", "G5", "ENSG00000000003", *names[8:]]
    assert cohort.var_names.tolist() == expected
    assert report["symbols"]["repeated_genes"] == 2
    assert "2 genes with more than one row summed" in told(report, "repeated genes")
    block = as_validated(CellSource.of(adata), cohort).rows(0, 60).toarray()
    dense = adata.X.toarray()
    np.testing.assert_array_equal(block[:, 2], dense[:, 2] + dense[:, 4])
    np.testing.assert_array_equal(
        block[:, cohort.var_names.get_loc("ENSG00000000003")], dense[:, 6] + dense[:, 7]
    )


def test_another_file_than_the_validated_one_is_refused():
    cohort, _ = validated(cells())
    with pytest.raises(InputError, match="has other genes than when it was validated"):
        as_validated(CellSource.of(cells(n_vars=14)), cohort)


def test_without_the_column_of_types_those_that_exist_are_listed():
    with pytest.raises(InputError, match=r"cell_type=COLUMN. obs has: kind, donor, lane, good"):
        validate_cells(CellSource.of(cells()), CellsConfig())
    with pytest.raises(InputError, match=r"obs has no column 'knid' .* cell_type. It has: kind"):
        validated(cells(), cell_type="knid")


@pytest.mark.parametrize("role", ["batch", "donor", "where", "library_size"])
def test_any_column_that_is_not_there_is_told_by_its_role(role):
    with pytest.raises(InputError, match=f"'none' to use as {role}.*--params={role}=COLUMN"):
        validated(cells(), **{role: "none"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, "scaled|negative"),
        (0.5, "decimals"),
        (np.nan, "missing or infinite"),
    ],
)
def test_values_that_are_no_counts_are_refused_with_what_they_look_like(value, message):
    adata = cells()
    adata.X[5, 0] = value
    with pytest.raises(InputError, match=f"cells: Raw counts.*X holds .*({message})"):
        validated(adata)


def test_a_value_that_the_first_look_missed_is_found_by_the_reading_of_all(monkeypatch):
    monkeypatch.setattr("synthome.ingestion.count_values.LOOK_AT", 8)
    adata = cells()
    adata.X[10, 0] = 0.5
    with pytest.raises(
        InputError, match=r"1 value of X are not; .* 0.5 in cell number 11, gene 'G0'"
    ):
        validated(adata)


def test_a_wrong_value_in_a_cell_that_is_not_asked_for_does_no_harm(monkeypatch):
    monkeypatch.setattr("synthome.ingestion.count_values.LOOK_AT", 8)
    adata = cells()
    adata.X[10, 0] = 0.5
    adata.obs["good"] = np.arange(60) != 10
    cohort, _ = validated(adata, where="good")
    assert cohort.n_obs == 59


def test_a_column_of_ids_is_no_column_of_types_and_is_not_listed():
    adata = cells()
    adata.obs["barcode"] = [f"secret{i}" for i in range(60)]
    with pytest.raises(InputError, match="'barcode' has 60 different values in 60 cells") as error:
        validated(adata, cell_type="barcode")
    assert "secret" not in str(error.value)


def test_small_types_are_left_out_with_a_warning():
    adata = cells()
    adata.obs["kind"] = adata.obs["kind"].astype(str)
    adata.obs.iloc[:2, 0] = "rare"
    cohort, report = validated(adata)
    assert "rare" not in set(cohort.obs["kind"])
    assert report["warnings"][0] == "types with fewer than 3 cells left out: rare 2"
    with pytest.raises(InputError, match="Two or more cell types with at least 21 cells"):
        validated(adata, min_cells_per_type=21)


def test_types_in_fewer_than_three_donors_are_left_out_so_that_donors_stay_whole():
    adata = cells()
    adata.obs["kind"] = adata.obs["kind"].astype(str)
    adata.obs.loc[adata.obs["donor"].isin(["d0", "d1"]), "kind"] = "elsewhere"
    adata.obs.iloc[-20:, 0] = ["neuron", "glia"] * 10
    cohort, report = validated(adata, donor="donor")
    assert "blood" not in set(cohort.obs["kind"])
    assert any("types in fewer than 3 donors" in warning for warning in report["warnings"])


def test_two_donors_cannot_be_held_out_and_are_named_so():
    adata = cells()
    adata.obs["donor"] = ["d0", "d1"] * 30
    cohort, report = validated(adata, donor="donor")
    assert cohort.uns["synthome"]["group_key"] == ""
    assert "too few to hold some of them out whole" in report["warnings"][0]


def test_a_column_of_persons_that_is_not_used_is_pointed_at():
    _, report = validated(cells())
    assert "--params=donor=donor" in report["warnings"][0]


def test_cells_without_a_batch_or_donor_are_one_of_their_own():
    adata = cells()
    adata.obs.loc[adata.obs_names[:4], "donor"] = None
    cohort, report = validated(adata, donor="donor")
    assert (cohort.obs["donor"][:4] == "unknown").all()
    assert "4 cells without a value" in report["warnings"][0]
    adata.obs["lane"] = np.nan
    with pytest.raises(InputError, match="'lane' is empty in all cells. Leave batch out"):
        validated(adata, batch="lane")


def test_library_sizes_over_the_whole_transcriptome_are_taken_from_their_column():
    adata = cells()
    adata.obs["all_genes"] = 1000.0
    cohort, report = validated(adata, library_size="all_genes")
    assert (cohort.obs["library_size"] == 1000).all()
    assert "the genes hold" in told(report, "library size")
    adata.obs["all_genes"] = 1
    _, report = validated(adata, library_size="all_genes")
    assert "smaller than the sum over the genes" in report["warnings"][0]
    adata.obs.loc[adata.obs_names[3], "all_genes"] = 0
    with pytest.raises(InputError, match="above 0 in each cell, but it is not in 1 of 60"):
        validated(adata, library_size="all_genes")


def test_a_column_that_synthome_writes_itself_is_renamed_and_can_still_be_named():
    adata = cells()
    adata.obs["library_size"] = 500.0
    cohort, _ = validated(adata, library_size="library_size")
    assert (cohort.obs["library_size"] == 500).all()
    assert "library_size_sheet" in cohort.obs


def test_barcodes_that_repeat_get_a_number():
    adata = cells()
    adata.obs_names = ["c1", "c1", *adata.obs_names[2:]]
    cohort, report = validated(adata)
    assert cohort.obs_names.is_unique
    assert told(report, "cell names").startswith("1 cell with the name of another")


def test_cells_without_a_type_and_those_not_asked_for_are_left_out():
    adata = cells()
    adata.obs["kind"] = adata.obs["kind"].astype(object)
    adata.obs.iloc[:5, 0] = None
    cohort, report = validated(adata, where="good")
    np.testing.assert_array_equal(cohort.obs["source_row"], np.arange(5, 57))
    assert told(report, "cell type") == "5 cells without a value in 'kind' left out"
    adata.obs["kind"] = None
    with pytest.raises(InputError, match="'kind' is empty in all cells"):
        validated(adata)


def test_a_cohort_without_counts_survives_the_disk(tmp_path):
    from synthome.datasets import AnnDataDataset

    cohort, _ = validated(cells(), donor="donor")
    dataset = AnnDataDataset(str(tmp_path / "cohort.h5ad"))
    dataset.save(cohort)
    again = dataset.load()
    assert again.X is None
    pd.testing.assert_frame_equal(again.obs, cohort.obs, check_names=False)
    assert dict(again.uns["synthome"]) == cohort.uns["synthome"]


def with_fields() -> AnnData:
    """The cells, with an assay, a sex that says the same, a place and gaps."""
    adata = cells()
    adata.obs["assay"] = np.array(["v2", "v3"])[np.arange(60) % 2]
    adata.obs["sex"] = np.array(["F", "M"])[np.arange(60) % 2]
    adata.obs["site"] = "here"
    adata.obs["state"] = np.array(["rest", "rest", "move", None], dtype=object)[
        np.random.default_rng(0).integers(4, size=60)
    ]
    return adata


def test_fields_are_text_without_gaps_and_named_in_the_provenance():
    cohort, report = validated(with_fields(), cell_type=None, fields=["kind", "state", "lane"])
    facts = cohort.uns["synthome"]
    assert (facts["label_key"], facts["field_keys"]) == ("kind", ["kind", "state", "lane"])
    assert field_keys(cohort) == ("kind", "state", "lane")
    n = int(with_fields().obs["state"].isna().sum())
    assert (cohort.obs["state"] == "missing").sum() == n > 0
    assert set(cohort.obs["lane"]) == {"1", "2"}
    assert f"{n} cells without a value in 'state'" in told(report, "fields")
    assert [field["n_missing"] for field in report["fields"]] == [0, n, 0]
    assert [sum(field["categories"].values()) for field in report["fields"]] == [60] * 3
    assert report["combinations"]["possible"] == 3 * 3 * 2


def test_cells_with_a_gap_in_a_field_can_be_left_out():
    adata = with_fields()
    cohort, report = validated(adata, fields=["state"], missing="drop")
    given = adata.obs["state"].notna().to_numpy()
    np.testing.assert_array_equal(cohort.obs["source_row"], np.flatnonzero(given))
    assert cohort.uns["synthome"]["field_keys"] == ["kind", "state"]
    assert f"{(~given).sum()} cells without a value in 'state' left out" == told(report, "fields")


def test_a_cell_without_a_type_is_left_out_under_any_policy_and_counted():
    adata = with_fields()
    adata.obs["kind"] = adata.obs["kind"].astype(object)
    adata.obs.iloc[:5, 0] = None
    cohort, report = validated(adata, fields=["kind", "assay"])
    assert cohort.n_obs == 55
    assert [field["n_missing"] for field in report["fields"]] == [5, 0]


def test_without_fields_nothing_is_said_of_them():
    """The models of types alone read what they always read."""
    cohort, report = validated(with_fields())
    assert "field_keys" not in cohort.uns["synthome"]
    assert not {"fields", "combinations", "confounding"} & set(report)
    assert cohort.obs["state"].isna().any()


def test_a_field_of_one_category_is_no_field_and_one_alone_is_an_error():
    cohort, report = validated(with_fields(), fields=["site", "assay"])
    assert cohort.uns["synthome"]["field_keys"] == ["kind", "assay"]
    assert "the field 'site' is left out" in report["warnings"][-1]
    assert [field["used"] for field in report["fields"]] == [True, False, True]
    with pytest.raises(InputError, match="'site' has: here 60"):
        validated(with_fields(), cell_type=None, fields=["site"])


def test_fields_that_say_the_same_are_warned_of_and_a_donor_is_looked_at_though_not_held_out():
    adata = with_fields()
    adata.obs["donor"] = np.array(["d0", "d1"])[np.arange(60) % 2]
    _, report = validated(adata, fields=["kind", "assay", "sex"], donor="donor")
    pairs = {(p["a"], p["b"]): p for p in report["confounding"]}
    assert pairs["sex", "donor"]["determined"] == "sex by donor and donor by sex"
    assert pairs["assay", "sex"]["cramers_v"] == pytest.approx(1)
    assert pairs["kind", "sex"]["determined"] == ""
    apart = [warning for warning in report["warnings"] if "cannot be told apart" in warning]
    assert [warning.split(" cannot")[0] for warning in apart] == [
        "assay and sex", "assay and donor", "sex and donor",
    ]  # fmt: skip


def test_a_field_that_is_not_there_lists_those_that_are():
    with pytest.raises(
        InputError, match="cells: obs has no column 'essay' to use as fields.*assay"
    ):
        validated(with_fields(), fields=["kind", "essay"])


def test_a_field_under_a_name_that_synthome_writes_itself_is_renamed_and_still_found():
    adata = with_fields()
    adata.obs["split"] = adata.obs["assay"]
    cohort, _ = validated(adata, fields=["split"])
    assert cohort.uns["synthome"]["field_keys"] == ["kind", "split_sheet"]


def test_fields_survive_the_disk_and_a_source_names_its_own(tmp_path):
    """What is read from a file is a source again, whose fields hold until others are named."""
    adata = with_fields()
    cohort, _ = validated(adata, fields=["kind", "assay"])
    cohort.write_h5ad(tmp_path / "cohort.h5ad")
    assert field_keys(read_h5ad(tmp_path / "cohort.h5ad")) == ("kind", "assay")

    adata.uns["synthome"] = {"field_keys": ["kind", "assay"]}
    adata.write_h5ad(tmp_path / "mine.h5ad")
    source = CellSource.open(tmp_path / "mine.h5ad")
    assert source.uns["synthome"]["field_keys"] == ["kind", "assay"]
    again, _ = validate_cells(source, CellsConfig())
    assert (label_key(again), field_keys(again)) == ("kind", ("kind", "assay"))
    other, _ = validate_cells(source, CellsConfig(cell_type="kind", fields="sex"))
    assert field_keys(other) == ("kind", "sex")
    adata.uns["synthome"] = {"field_keys": ["kind", "essay"]}
    with pytest.raises(InputError, match="no column 'essay' to use as fields"):
        validated(adata)


def test_simulated_contexts_name_type_assay_and_condition():
    config = ContextsConfig(n_obs=240, n_vars=100, n_least=0, n_interaction_genes=10)
    cohort, report = validate_cells(CellSource.of(simulate_contexts(config)), CellsConfig())
    assert field_keys(cohort) == tuple(FIELDS)
    assert report["combinations"]["possible"] == 5 * 3 * 2
    assert not [step for step in report["steps"] if step["step"] == "fields"]


REAL = [
    ("onek1k_subset", {"cell_type": "cell_type", "donor": "donor"}, 7811, 0),
    ("zeisel2018_telencephalon_subset", {"cell_type": "cell_type"}, 1342, 0),
]


@pytest.mark.parametrize(("name", "choices", "n_obs", "n_empty"), REAL)
def test_real_cells_are_read_as_their_source_describes_them(name, choices, n_obs, n_empty):
    source = CellSource.open(real_cohort(name) / f"{name}.h5ad")
    cohort, report = validate_cells(source, CellsConfig(**choices))
    assert cohort.n_obs == n_obs
    assert source.n_obs - n_obs == n_empty
    assert report["scale"]["counts_in"] == "X"
