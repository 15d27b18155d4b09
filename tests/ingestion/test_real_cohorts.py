"""Reports on real cohorts, compared with what their SOURCE.md says of them."""

from functools import cache
from pathlib import Path

import pytest
from anndata import AnnData
from ingestion.folders import real_cohort

from synthome.errors import InputError
from synthome.ingestion.align import align_external, validate_external
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.tables import read_cohort_folder
from synthome.ingestion.validate import validate_cohort


@cache
def raw(folder: Path) -> AnnData:
    """Each cohort is read once; validation does not change it."""
    return read_cohort_folder(folder)


FSHD = IngestionConfig(label="condition")

COHORTS = [
    ("fshd_gse115650", {"label": "condition"}, (43, 27463), "counts", {"FSHD": 34, "control": 9}),
    ("fshd_gse56787", {"label": "condition"}, (24, 38661), "counts", {"FSHD": 15, "control": 9}),
    ("ibm_gse151757", {"label": "diagnosis"}, (39, 9196), "counts",
     {"IBM": 24, "control_amputee": 9, "TMD": 6}),
    ("tcga_brca_pam50_rnaseq335", {"label": "pam50", "where": "use_for_pam50"}, (844, 335), "log",
     {"LumA": 421, "LumB": 192, "Basal": 141, "Her2": 67, "Normal": 23}),
    ("tcga_coadread_cms_counts", {"label": "cms"}, (63, 16861), "counts",
     {"CMS2": 26, "CMS4": 19, "CMS3": 10, "CMS1": 8}),
    ("als_gse124439_kegg318", {"label": "condition"}, (160, 318), "log",
     {"ALS": 139, "control": 21}),
    ("golub_leukaemia", {"label": "leukaemia", "negatives": "noise"}, (72, 7129), "linear",
     {"ALL": 47, "AML": 25}),
    ("hd_blood_borovecki", {"label": "condition"}, (31, 22283), "linear",
     {"HD": 17, "control": 14}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "choices", "shape", "scale", "classes"), COHORTS)
def test_a_real_cohort_is_read_as_its_source_describes_it(name, choices, shape, scale, classes):
    adata, report = validate_cohort(raw(real_cohort(name)), IngestionConfig(**choices))
    assert adata.shape == shape
    assert report["scale"]["scale"] == scale
    assert report["classes"] == classes
    assert report["same_library_twice"] == 0


def test_negative_intensities_are_refused_until_the_person_chooses():
    given = raw(real_cohort("golub_leukaemia"))
    with pytest.raises(InputError, match="-342 at sample 'S01', gene 'AFFX-BioB-5_at'"):
        validate_cohort(given, IngestionConfig(label="leukaemia"))


def test_the_external_fshd_cohort_shares_the_genes_that_its_source_says():
    cohort, _ = validate_cohort(raw(real_cohort("fshd_gse115650")), FSHD)
    other, _ = validate_external(raw(real_cohort("fshd_gse56787")), FSHD)
    external, report = align_external(other, cohort)
    assert external.shape == (24, 22567)
    assert report["genes_only_cohort"] == 27463 - 22567
    assert report["duplicate_samples"] == 0


def test_the_second_visit_is_found_to_share_libraries_with_the_first():
    """GSE140261 holds the 8 controls of GSE115650 again, with identical counts."""
    config = IngestionConfig(label="condition", group="patient_id")
    cohort, _ = validate_cohort(raw(real_cohort("fshd_gse115650")), config)
    other, _ = validate_external(raw(real_cohort("fshd_gse140261")), config)
    with pytest.raises(InputError, match="8 samples are in the cohort too"):
        align_external(other, cohort)
    _, report = align_external(other, cohort, allow_duplicates=True)
    assert report["duplicate_samples"] == 8


def test_repeated_patients_are_pointed_at():
    """Normals and metastases of TCGA are from patients whose tumours are there too."""
    given = raw(real_cohort("tcga_brca_pam50_rnaseq335"))
    _, report = validate_cohort(given, IngestionConfig(label="pam50"))
    assert any("--params=group=patient_id" in warning for warning in report["warnings"])
