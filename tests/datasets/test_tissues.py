import pickle

import numpy as np
import pytest
from datasets.test_cohorts import cause
from ingestion.test_visium import write_outs
from kedro.io import DataCatalog, DatasetError

from synthome.datasets import SimulatedTissueDataset, TissueFileDataset, VisiumDataset
from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue
from synthome.tracking.inputs import describe_input

TINY = {"n_obs": 120, "n_vars": 60, "image_width": 100}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    simulate_tissue(TissueSliceConfig(**TINY)).write_h5ad(folder / "mine.h5ad")
    return folder / "mine.h5ad"


def test_a_relative_file_starts_where_the_command_is_typed(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    dataset = TissueFileDataset(file="mine.h5ad")
    adata = dataset.load()
    assert adata.shape == (120, 60)
    assert adata.uns["synthome"]["discordant_key"] == "discordant"
    assert dataset.exists()
    assert not TissueFileDataset(file="none.h5ad").exists()


def test_a_folder_of_space_ranger_is_read(tmp_path):
    write_outs(tmp_path / "P1" / "outs")
    dataset = VisiumDataset(folder=str(tmp_path / "P1"))
    assert dataset.load().n_obs == 12
    assert dataset.exists()
    assert not VisiumDataset(folder=str(tmp_path / "P2")).exists()
    assert "does not exist" in cause(VisiumDataset(folder=str(tmp_path / "P2")))


@pytest.mark.parametrize("given", [None, ""])
def test_without_a_path_the_command_is_shown(given):
    assert "--params=h5ad=FILE" in cause(TissueFileDataset(file=given))
    assert "--params=visium_dir=DIR" in cause(VisiumDataset(folder=given))


def test_the_simulator_gives_the_same_slice_each_time():
    first, again = (SimulatedTissueDataset(**TINY).load() for _ in range(2))
    assert (first.X != again.X).nnz == 0
    images = [a.uns["spatial"]["S1"]["images"]["hires"] for a in (first, again)]
    np.testing.assert_array_equal(*images)


def test_the_preview_tells_sizes_and_images_and_names_no_spot(path):
    preview = TissueFileDataset(file=str(path)).preview()
    size = preview["data"][0]
    assert size[:2] == ["120 spots", "60 genes"]
    assert size[2].startswith("images: S1 hires 100 x ")
    assert "S1_0" not in str(preview)


def test_a_run_is_told_which_tissue_it_read(path):
    adata = TissueFileDataset(file=str(path)).load()
    described = describe_input("spatial.raw_tissue", adata)
    assert described.profile["n_obs"] == 120
    assert described.profile["sha256"] == adata.uns["synthome"]["sha256"]


SOURCES = [
    TissueFileDataset(file="x.h5ad", metadata={"a": 1}),
    VisiumDataset(folder="x"),
    SimulatedTissueDataset(n_obs=200, seed=3),
]


@pytest.mark.parametrize("dataset", SOURCES, ids=lambda d: type(d).__name__)
def test_sources_travel_to_other_processes_and_are_never_written(dataset):
    assert str(pickle.loads(pickle.dumps(dataset))) == str(dataset)
    with pytest.raises(DatasetError, match="read, never written"):
        dataset.save("x")


def test_the_catalog_entry_of_the_simulator_makes_it_again():
    config, _, _, _ = DataCatalog({"x": SOURCES[2]}).to_config()
    again = DataCatalog.from_config(config).get("x")
    assert vars(again) | {"_init_args": 0} == vars(SOURCES[2]) | {"_init_args": 0}
