import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from ingestion.folders import real_cohort
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.tissue import validate_tissue
from synthome.ingestion.tissue_config import TissueConfig
from synthome.ingestion.tissue_file import read_tissue
from synthome.reporting.views import validation_view
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue

SIZE = (60, 80)  # height and width of the stored image; the full one is ten times that


def section_entry(factor=0.1) -> dict:
    image = np.full((*SIZE, 3), 200, dtype=np.uint8)
    factors = {"tissue_hires_scalef": factor, "spot_diameter_fullres": 55.0}
    return {"images": {"hires": image}, "scalefactors": factors}


def tissue(n_obs=40, n_vars=12, seed=0) -> AnnData:
    """Spots of two sections on a grid of 100 pixels, some of them without a domain."""
    counts = np.random.default_rng(seed).poisson(0.8, (n_obs, n_vars))
    counts[:, 0] += 1
    half = np.arange(n_obs) % (n_obs // 2)
    obs = pd.DataFrame(
        {
            "slide": np.repeat(["s1", "s2"], n_obs // 2),
            "domain": np.array(["cortex", "white matter"])[half // (n_obs // 4)],
            "good": np.arange(n_obs) > 2,
        },
        index=[f"spot{i:02d}" for i in range(n_obs)],
    )
    obs.iloc[[5, 6, 7, 8, 9], 1] = ["unlabelled", "Undetermined", "NA", "nan", ""]
    adata = AnnData(
        sparse.csr_matrix(counts, dtype=np.float32),
        obs=obs,
        var=pd.DataFrame({"place": range(n_vars)}, index=[f"G{j}" for j in range(n_vars)]),
        obsm={"spatial": np.column_stack([half % 5, half // 5]).astype(np.float32) * 100 + 50},
    )
    adata.uns["spatial"] = {name: section_entry() for name in ("s1", "s2")}
    return adata


def validated(adata: AnnData, **choices) -> tuple[AnnData, dict]:
    return validate_tissue(
        adata, TissueConfig(**{"labels": "domain", "section": "slide"} | choices)
    )


def told(report: dict, step: str) -> str:
    return " ".join(entry["why"] for entry in report["steps"] if entry["step"] == step)


def test_counts_places_images_and_sections_are_put_in_order():
    raw = tissue()
    adata, report = validated(raw)
    assert adata.layers["counts"].format == adata.X.format == "csr"
    assert adata.layers["counts"].dtype == np.float32
    np.testing.assert_array_equal(adata.X.toarray(), raw.X.toarray())
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), raw.X.toarray())
    np.testing.assert_array_equal(adata.obs["library_size"], raw.X.sum(axis=1).A1)
    assert adata.obs["section"].tolist() == raw.obs["slide"].tolist()
    assert adata.obsm["spatial"].dtype == np.float64
    np.testing.assert_array_equal(adata.obsm["spatial"], raw.obsm["spatial"])
    image = adata.uns["spatial"]["s2"]["images"]["hires"]
    np.testing.assert_array_equal(image, raw.uns["spatial"]["s2"]["images"]["hires"])
    assert adata.var["place"].tolist() == list(range(12))
    keys = ("label_key", "group_key", "batch_key", "scale", "counts_in", "section_key")
    facts = adata.uns["synthome"]
    assert [facts[k] for k in keys] == ["domain", "", "", "counts", "X", "section"]
    assert facts["discordant_key"] == ""
    assert report["sections"] == {"s1": 20, "s2": 20}
    assert report["images"]["s1"] == {"hires": [60, 80, 3]}
    assert report["warnings"] == []


def test_the_report_is_shown_like_that_of_cells_and_names_no_spot():
    _, report = validated(tissue(), where="good")
    view = validation_view("The tissue", report, str)
    assert [step["kept_samples"] for step in view["steps"]][:2] == [40, 37]
    assert "spot0" not in str(report)


def test_spots_that_are_left_out_are_called_spots():
    raw = tissue()
    dense = raw.X.toarray()
    dense[4] = 0
    raw.X = sparse.csr_matrix(dense)
    raw.obs["total"] = 1.0
    _, report = validated(raw, where="good", min_counts=9, library_size="total")
    words = " ".join(entry["why"] for entry in report["steps"])
    assert "1 spot without any count left out" in words
    assert "with fewer than 9 counts left out" in words
    assert "they are smaller than the sum over the genes" in words
    assert "cell" not in words
    with pytest.raises(InputError, match="None of the 40 spots has 1,000 counts"):
        validated(tissue(), min_counts=1000)


def test_a_spot_without_a_domain_stays_with_an_empty_label():
    adata, report = validated(tissue())
    assert adata.n_obs == 40
    assert (adata.obs["domain"].iloc[5:10] == "").all()
    assert report["n_unlabelled"] == 5
    assert report["classes"] == {"white matter": 20, "cortex": 15}
    assert "5 without one are kept" in told(report, "labels")
    raw = tissue()
    raw.obs["domain"] = "unlabelled"
    with pytest.raises(InputError, match="'domain' has no label in any spot"):
        validated(raw)


def test_without_domains_the_label_is_tissue_and_the_report_says_so():
    raw = tissue()
    raw.obs["tissue"] = "brain"
    adata, report = validated(raw, labels=None)
    assert adata.uns["synthome"]["label_key"] == "tissue"
    assert set(adata.obs["tissue"]) == {"tissue"}
    assert set(adata.obs["tissue_sheet"]) == {"brain"}
    assert "no column of domains" in told(report, "labels")
    assert not report["labelled"]


def test_a_column_section_that_is_not_the_section_gives_way():
    raw = tissue()
    raw.obs["section"] = "old"
    adata, _ = validated(raw)
    assert set(adata.obs["section"]) == {"s1", "s2"}
    assert set(adata.obs["section_sheet"]) == {"old"}


def test_one_section_is_named_by_its_image_or_tissue():
    raw = tissue()[:20].copy()
    raw.uns["spatial"] = {"slice 1/a": section_entry()}
    adata, report = validated(raw, section=None)
    assert set(adata.obs["section"]) == set(adata.uns["spatial"]) == {"slice 1_a"}
    assert "all spots are of one" in told(report, "sections")
    del raw.uns["spatial"]
    adata, report = validated(raw, section=None)
    assert set(adata.obs["section"]) == {"tissue"}
    assert "spatial" not in adata.uns
    assert "no image" in told(report, "images")


def test_several_images_without_a_section_column_point_at_the_column_that_fits():
    with pytest.raises(InputError, match=r"images of 2 sections \(s1, s2\).*slide has such values"):
        validated(tissue(), section=None)


def test_a_column_named_section_is_found_without_being_named():
    raw = tissue()
    raw.obs = raw.obs.rename(columns={"slide": "section"})
    _, report = validated(raw, section=None)
    assert report["sections"] == {"s1": 20, "s2": 20}


def test_a_section_of_one_spot_warns_and_one_that_is_missing_is_an_error():
    raw = tissue()
    raw.obs["slide"] = raw.obs["slide"].astype(object)
    raw.obs.iloc[0, 0] = "s3"
    _, report = validated(raw)
    assert "a section of 1 spot has no neighbours: s3" in report["warnings"][0]
    raw.obs.iloc[0, 0] = None
    with pytest.raises(InputError, match="section=slide is empty for 1 of 40 spots"):
        validated(raw)
    validated(raw, where="good")  # a spot that is left out needs none


@pytest.mark.parametrize("role", ["labels", "section", "where", "library_size", "discordant"])
def test_any_column_that_is_not_there_is_told_by_its_role(role):
    with pytest.raises(InputError, match=f"'none' to use as {role}.*--params={role}=COLUMN"):
        validated(tissue(), **{role: "none"})


def test_counts_in_another_layer_are_found_and_others_described():
    raw = tissue()
    raw.layers["umi"] = raw.X.copy()
    raw.X = raw.X.multiply(0.37).tocsr()
    with pytest.raises(InputError, match=r"X holds .*umi has whole numbers.*--params=layer=umi"):
        validated(raw)
    adata, report = validated(raw, layer="umi")
    np.testing.assert_array_equal(adata.X.toarray(), raw.layers["umi"].toarray())
    assert report["scale"]["decided_by"] == "you"


def test_a_value_that_the_first_look_missed_is_found(monkeypatch):
    monkeypatch.setattr("synthome.ingestion.count_values.LOOK_AT", 8)
    raw = tissue()
    raw.X[10, 0] = 0.5
    with pytest.raises(InputError, match=r"1 value of X are not; .* 0.5 in spot number 11"):
        validated(raw)


def test_spots_in_the_same_place_are_an_error_unless_they_are_the_same_spot_twice():
    raw = tissue()
    raw.obsm["spatial"][3] = raw.obsm["spatial"][1]
    message = r"2 spots are in the same place.*; the first are at x = 150, y = 50"
    with pytest.raises(InputError, match=message) as error:
        validated(raw)
    assert "spot0" not in str(error.value)  # messages reach logs, names do not
    dense = raw.X.toarray()
    dense[3] = dense[1]
    raw.X = sparse.csr_matrix(dense)
    adata, report = validated(raw)
    assert "spot03" not in adata.obs_names
    assert report["warnings"] == ["1 spot left out that repeat another in place and in all counts"]
    del raw.uns["spatial"]
    with pytest.raises(InputError, match="38 spots are in the same place"):
        validated(raw, section=None)  # the two sections lie on one another


def test_barcodes_that_repeat_between_sections_get_their_section_in_front():
    raw = tissue()
    raw.obs_names = [*raw.obs_names[:20], *raw.obs_names[:20]]
    adata, _ = validated(raw)
    assert adata.obs_names.is_unique
    assert adata.obs_names[20] == "s2_spot00"


def test_empty_spots_are_left_out_with_all_that_belongs_to_them():
    raw = tissue()
    dense = raw.X.toarray()
    dense[[0, 4]] = 0
    raw.X = sparse.csr_matrix(dense)
    raw.obsm["image_features"] = np.arange(80.0).reshape(40, 2)
    adata, _ = validated(raw)
    kept = np.setdiff1d(np.arange(40), [0, 4])
    np.testing.assert_array_equal(adata.obsm["spatial"], raw.obsm["spatial"][kept])
    np.testing.assert_array_equal(adata.obsm["image_features"], raw.obsm["image_features"][kept])
    np.testing.assert_array_equal(adata.X.toarray(), dense[kept])


def test_repeated_genes_are_summed():
    raw = tissue()
    names = raw.var_names.to_list()
    names[4] = "G2"
    raw.var_names = names
    adata, report = validated(raw)
    dense = raw.X.toarray()
    assert adata.n_vars == 11
    np.testing.assert_array_equal(adata[:, "G2"].X.toarray()[:, 0], dense[:, 2] + dense[:, 4])
    assert adata.var["place"].tolist() == [0, 1, 2, 3, *range(5, 12)]
    assert report["symbols"]["repeated_genes"] == 1


def test_a_simulated_slice_names_its_own_columns_and_keeps_its_truth():
    raw = simulate_tissue(TissueSliceConfig(n_obs=120, n_vars=60, n_sections=2, image_width=150))
    adata, report = validate_tissue(raw, TissueConfig())
    facts = adata.uns["synthome"]
    assert (facts["label_key"], facts["discordant_key"]) == ("molecular_layer", "discordant")
    assert adata.obs["discordant"].dtype == bool
    assert report["n_discordant"] == raw.obs["discordant"].sum() > 0
    assert adata.uns["truth"]["layer_profile"].shape == (5, 60)
    assert set(adata.uns["spatial"]) == {"S1", "S2"}


def test_the_truth_of_patches_is_true_and_false():
    with pytest.raises(InputError, match="discordant=domain needs a column of true and false"):
        validated(tissue(), discordant="domain")
    raw = tissue()
    raw.obs["planted"] = np.where(raw.obs["good"], "no", "yes")
    adata, report = validated(raw, discordant="planted")
    np.testing.assert_array_equal(adata.obs["planted"], ~raw.obs["good"])
    assert adata.obs["planted"].dtype == bool
    assert report["n_discordant"] == 3


def test_a_validated_tissue_survives_the_disk(tmp_path):
    from synthome.datasets import AnnDataDataset

    adata, _ = validated(tissue())
    dataset = AnnDataDataset(str(tmp_path / "tissue.h5ad"))
    dataset.save(adata)
    again = dataset.load()
    assert (again.obs["domain"] == adata.obs["domain"]).all()
    assert dict(again.uns["synthome"]) == adata.uns["synthome"]
    image = again.uns["spatial"]["s1"]["images"]["hires"]
    np.testing.assert_array_equal(image, adata.uns["spatial"]["s1"]["images"]["hires"])


REAL = [
    ("dlpfc_151673", {"labels": "layer", "library_size": "sum_umi_all_genes"}, 3639, 7, 28),
    ("her2st_labelled", {"labels": "label", "section": "section"}, 1710, 6, 144),
    ("her2st_patient_c_images", {"section": "section"}, 732, 1, 0),
    ("starmap_mpfc", {"labels": "layer", "section": "section"}, 2102, 4, 0),
    ("osmfish_sscortex", {"labels": "cell_type"}, 4076, 6, 0),  # 454 cells stand there twice
    ("verafish_hippocampus", {}, 10994, 1, 0),
]


@pytest.mark.parametrize(("name", "choices", "n_obs", "n_classes", "n_unlabelled"), REAL)
def test_real_tissues_are_read_as_their_source_describes_them(
    name, choices, n_obs, n_classes, n_unlabelled
):
    raw = read_tissue(real_cohort(name) / f"{name}.h5ad")
    adata, report = validate_tissue(raw, TissueConfig(**choices))
    assert adata.n_obs == n_obs
    assert len(report["classes"]) == n_classes
    assert report["n_unlabelled"] == n_unlabelled
