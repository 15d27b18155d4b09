import pickle

import pytest
from datasets.test_cohorts import cause
from kedro.io import DataCatalog, DatasetError

from synthome.datasets.cells import (
    CellsFileDataset,
    GeneAliasesDataset,
    GeneSetsDataset,
    PBMCDataset,
    SimulatedContextsDataset,
    SimulatedCortexDataset,
)
from synthome.ingestion.cell_source import CellSource
from synthome.simulate.contexts import FIELDS
from synthome.simulate.cortex import CortexConfig, simulate_cortex
from synthome.tracking.inputs import describe_input

TINY = {"n_obs": 120, "n_vars": 100, "n_types": 2, "rarest": 0.5, "n_down": 4, "n_up": 5}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    simulate_cortex(CortexConfig(**TINY)).write_h5ad(folder / "mine.h5ad")
    return folder / "mine.h5ad"


def test_a_relative_file_starts_where_the_command_is_typed(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    dataset = CellsFileDataset(file="mine.h5ad")
    source = dataset.load()
    assert isinstance(source, CellSource)
    assert (source.n_obs, source.n_vars, source.name) == (120, 100, "mine")
    assert dataset.exists()
    assert not CellsFileDataset(file="none.h5ad").exists()


@pytest.mark.parametrize("file", [None, ""])
def test_without_a_file_the_command_is_shown(file):
    assert "--params=h5ad=FILE,cell_type=COLUMN" in cause(CellsFileDataset(file=file))


def test_the_preview_names_no_cell_and_reads_no_counts(path, monkeypatch):
    monkeypatch.setattr(CellSource, "rows", None)
    preview = CellsFileDataset(file=str(path)).preview()
    assert preview["data"][0][:3] == ["120 cells", "100 genes", "matrices: layers/counts, X"]
    assert "C000001" not in str(preview)


def test_the_simulator_gives_the_same_cells_each_time():
    first, again = (SimulatedCortexDataset(**TINY).load() for _ in range(2))
    assert (first.rows(0, 120) != again.rows(0, 120)).nnz == 0
    assert first.uns["truth"]["gene_sets"]


def test_cells_in_contexts_bring_their_fields_and_the_truth():
    """A later step asks which columns are fields, and the evaluation for what was planted."""
    config = {"n_obs": 120, "n_vars": 200, "n_least": 2}
    first, again = (SimulatedContextsDataset(**config).load() for _ in range(2))
    assert (first.rows(0, 120) != again.rows(0, 120)).nnz == 0
    assert first.found_in == "layers/counts"
    assert first.uns["synthome"]["field_keys"] == list(FIELDS)
    assert set(first.uns["truth"]["effects"]) == set(FIELDS) < set(first.obs)


def test_blood_cells_are_at_hand_without_a_network():
    source = PBMCDataset().load()
    assert (source.n_obs, source.n_vars) == (700, 765)
    assert source.uns["synthome"]["label_key"] == "bulk_labels"


def test_lists_may_be_in_several_files_or_in_none(tmp_path):
    (tmp_path / "als_down.txt").write_text("STMN2\nUNC13A\n")
    (tmp_path / "hd.gmt").write_text("HD_UP\t\tFKBP5\tDDIT4\n")
    files = f"{tmp_path / 'als_down.txt'}+{tmp_path / 'hd.gmt'}"
    dataset = GeneSetsDataset(file=files)
    assert dataset.load() == {"als_down": ["STMN2", "UNC13A"], "HD_UP": ["FKBP5", "DDIT4"]}
    assert dataset.preview()["data"][1] == ["HD_UP", 2, "FKBP5, DDIT4"]
    assert GeneSetsDataset().load() == {}
    assert GeneAliasesDataset().load() == {}
    twice = f"{tmp_path / 'hd.gmt'}+{tmp_path / 'hd.gmt'}"
    assert "'HD_UP' is in" in cause(GeneSetsDataset(file=twice))


def test_a_run_is_told_which_cells_it_read(path):
    source = CellsFileDataset(file=str(path)).load()
    described = describe_input("single_cell.raw_cohort", source)
    assert described.profile["n_obs"] == 120
    assert described.profile["n_vars"] == 100
    assert described.profile["sha256"] == source.sha256


SOURCES = [
    CellsFileDataset(file="x.h5ad", metadata={"a": 1}),
    SimulatedCortexDataset(n_obs=200, seed=3),
    SimulatedContextsDataset(n_obs=1200, seed=3),
    PBMCDataset(),
    GeneSetsDataset(file="x.gmt"),
    GeneAliasesDataset(file="x.tsv"),
]


@pytest.mark.parametrize("dataset", SOURCES, ids=lambda d: type(d).__name__)
def test_sources_travel_to_other_processes_and_are_never_written(dataset):
    assert str(pickle.loads(pickle.dumps(dataset))) == str(dataset)
    with pytest.raises(DatasetError, match="read, never written"):
        dataset.save("x")


@pytest.mark.parametrize("dataset", SOURCES[1:3], ids=lambda d: type(d).__name__)
def test_the_catalog_entry_of_a_simulator_makes_it_again(dataset):
    config, _, _, _ = DataCatalog({"x": dataset}).to_config()
    again = DataCatalog.from_config(config).get("x")
    assert vars(again) | {"_init_args": 0} == vars(dataset) | {"_init_args": 0}


def test_a_damaged_file_is_the_cause_that_the_command_line_shows(path, tmp_path):
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes(path.read_bytes()[:-3000])
    assert "probably cut short" in cause(CellsFileDataset(file=str(cut)))
