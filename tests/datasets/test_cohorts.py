import pickle
import warnings

import numpy as np
import pytest
from ingestion.folders import counts_table, sheet_table, write_cohort
from ingestion.geo_server import geo_server
from ingestion.test_geo import CLASSES, SUPPLEMENT, rna_seq
from kedro.io import DataCatalog, DatasetError

from synthome.anndata_schema import UNS, is_absent
from synthome.datasets.cohorts import (
    CohortFolderDataset,
    GEODataset,
    H5ADCohortDataset,
    SimulatedCohortDataset,
)
from synthome.errors import InputError


def cause(dataset):
    with pytest.raises(DatasetError) as error:
        dataset.load()
    assert isinstance(error.value.__cause__, InputError)
    return str(error.value.__cause__)


def test_a_folder_is_read(tmp_path):
    dataset = CohortFolderDataset(folder=str(write_cohort(tmp_path)))
    assert dataset.load().shape == (8, 30)
    assert dataset.exists()


def test_a_relative_folder_starts_where_the_command_is_typed(tmp_path, monkeypatch):
    write_cohort(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert CohortFolderDataset(folder="mine").load().shape == (8, 30)


@pytest.mark.parametrize("folder", [None, ""])
def test_without_a_folder_the_command_is_shown(folder):
    assert "--params=cohort_dir=DIR,label=COLUMN" in cause(CohortFolderDataset(folder=folder))


def test_an_optional_folder_may_be_absent():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert is_absent(CohortFolderDataset(folder=None, optional=True).load())
        assert is_absent(H5ADCohortDataset(optional=True).load())


def test_an_optional_folder_that_is_named_must_exist(tmp_path):
    dataset = CohortFolderDataset(folder=str(tmp_path / "none"), optional=True)
    assert "does not exist" in cause(dataset)


def test_the_preview_of_a_folder_names_nobody(tmp_path):
    preview = CohortFolderDataset(folder=str(write_cohort(tmp_path))).preview()
    assert ["condition", "text", "ill: 4, well: 4", 0] in preview["data"]
    assert "S00" not in str(preview)
    assert CohortFolderDataset(folder=None).preview()["data"][0][2] == "no folder given"


def test_an_anndata_file_is_a_cohort(tmp_path):
    from anndata import AnnData

    path = tmp_path / "mine.h5ad"
    AnnData(counts_table().to_numpy(float), obs=sheet_table().drop(columns="sex")).write_h5ad(path)
    dataset = H5ADCohortDataset(file=str(path))
    assert dataset.load().uns[UNS]["source"] == "mine"
    assert dataset.exists()
    assert dataset.preview()["data"][0][0] == "8 samples"
    assert "cohort_file" in cause(H5ADCohortDataset())


@pytest.mark.network
def test_a_geo_series_is_downloaded_once(tmp_path):
    with geo_server() as server:
        rna_seq(server)
        dataset = GEODataset(
            "GSE134900", path=str(tmp_path), base_url=server.url, supplementary=SUPPLEMENT,
            classes=CLASSES,
        )  # fmt: skip
        assert dataset.preview()["data"][0][2] == "GSE134900 is not downloaded yet"
        assert dataset.load().shape == (12, 40)
        assert dataset.load().shape == (12, 40)
        assert len(server.asked) == 2
    preview = dataset.preview()
    assert ["disease_state", "text", "celiac disease: 6, healthy: 6", 0] in preview["data"]


def test_a_wrong_entry_for_geo_is_told_before_any_download():
    message = cause(GEODataset("GSE1", suplementary="x.csv.gz", scale="lin"))
    assert "suplementary" in message
    assert "scale" in message


def test_the_simulator_gives_the_same_cohort_each_time():
    dataset = SimulatedCohortDataset(n_obs=24, n_vars=400)
    first, again = dataset.load(), dataset.load()
    np.testing.assert_array_equal(first.X, again.X)
    assert first.shape == (24, 400)
    other = SimulatedCohortDataset(cohort="external", n_obs=24, n_vars=400).load()
    assert not np.array_equal(first.X, other.X)


SOURCES = [
    CohortFolderDataset(folder="x", metadata={"a": 1}),
    H5ADCohortDataset(file="x.h5ad"),
    GEODataset("GSE1", supplementary="x.csv.gz", classes={"a": "b"}),
    SimulatedCohortDataset(cohort="external", n_obs=24),
]


@pytest.mark.parametrize("dataset", SOURCES, ids=lambda d: type(d).__name__)
def test_sources_travel_to_other_processes_and_are_never_written(dataset):
    assert str(pickle.loads(pickle.dumps(dataset))) == str(dataset)
    with pytest.raises(DatasetError, match="read, never written"):
        dataset.save("x")


@pytest.mark.parametrize("dataset", SOURCES[2:], ids=lambda d: type(d).__name__)
def test_the_catalog_entry_of_a_source_makes_it_again(dataset):
    config, _, _, _ = DataCatalog({"x": dataset}).to_config()
    again = DataCatalog.from_config(config).get("x")
    assert vars(again) | {"_init_args": 0} == vars(dataset) | {"_init_args": 0}


def test_an_input_error_is_the_cause_that_the_command_line_shows(tmp_path):
    catalog = DataCatalog({"raw": CohortFolderDataset(folder=str(tmp_path / "none"))})
    with pytest.raises(DatasetError) as error:
        catalog.load("raw")
    causes, cause = [], error.value.__cause__
    while cause is not None:
        causes.append(type(cause))
        cause = cause.__cause__
    assert causes[-1] is InputError
