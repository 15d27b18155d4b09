import numpy as np
import pytest
from anndata import AnnData

from synthome.anndata_schema import batch_key, group_key, label_key, scale
from synthome.errors import InputError
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.cells import CellsConfig
from synthome.ingestion.prepare_cells import prepare_cells, select_with_sets
from synthome.preprocessing.gene_selection import SelectionConfig
from synthome.preprocessing.splits import SplitConfig
from synthome.simulate.cortex import DOWN, UP, CortexConfig, simulate_cortex

CORTEX = CortexConfig(n_obs=200, n_vars=120, n_types=3, rarest=0.4, n_down=6, n_up=8)
FEW = SelectionConfig(n_top_genes=30)


@pytest.fixture(scope="module")
def cortex() -> AnnData:
    return simulate_cortex(CORTEX)


def test_simulated_cells_need_no_choice_at_all(cortex):
    prepared = prepare_cells(cortex, CellsConfig(), selection_config=FEW)
    assert (label_key(prepared), group_key(prepared), batch_key(prepared)) == (
        "cell_type", "donor", "batch",
    )  # fmt: skip
    assert scale(prepared) == "counts"
    assert set(prepared.obs["fold_0"]) == {-1, 0}
    assert ((prepared.obs["split"] == "test") == (prepared.obs["fold_0"] == 0)).all()
    assert (prepared.obs.groupby("donor")["split"].nunique() == 1).all()
    assert prepared.uns["synthome"]["down_set"] == DOWN
    planted = cortex.uns["truth"]["gene_sets"]
    assert list(prepared.uns["gene_sets"][UP]) == list(planted[UP])
    assert set(planted[DOWN]) | set(planted[UP]) <= set(prepared.var_names)
    counts = cortex[prepared.obs_names, prepared.var_names].X
    assert (prepared.layers["counts"] != counts).nnz == 0
    np.testing.assert_array_equal(
        prepared.obs["library_size"], cortex[prepared.obs_names].X.sum(axis=1).A1
    )


def test_a_file_gives_what_memory_gives(cortex, tmp_path):
    cortex.write_h5ad(tmp_path / "cortex.h5ad")
    config = CellsConfig(cell_type="cell_type", donor="donor", batch="batch")
    sets = {name: list(genes) for name, genes in cortex.uns["truth"]["gene_sets"].items()}
    source = CellSource.open(tmp_path / "cortex.h5ad")
    from_file = prepare_cells(source, config, SplitConfig(n_splits=3), FEW, sets)
    from_memory = prepare_cells(cortex, config, SplitConfig(n_splits=3), FEW)
    assert (from_file.X != from_memory.X).nnz == 0
    assert from_file.obs.equals(from_memory.obs)
    assert set(from_file.obs["fold_0"]) == {0, 1, 2}


def test_the_report_tells_where_the_sets_are_from_and_what_was_found(cortex):
    from synthome.ingestion.cells import validate_cells
    from synthome.preprocessing.splits import assign_folds

    source = CellSource.of(cortex)
    folds = assign_folds(validate_cells(source, CellsConfig())[0], SplitConfig())
    _, planted = select_with_sets(source, folds, FEW)
    assert (planted["origin"], planted["down"], planted["up"]) == ("planted", DOWN, UP)
    lists = {"mine": ["gene00003", "GENE00004", "NOBODY"]}
    _, given = select_with_sets(source, folds, FEW, lists)
    assert (given["origin"], given["down"], given["up"]) == ("given", "", "")
    assert given["sets"]["mine"]["found_by"] == {"in another case": 1, "as written": 1}
    without_truth = CellSource(source.obs, source.places, {"synthome": source.uns["synthome"]})
    _, drawn = select_with_sets(without_truth, folds, SelectionConfig(n_top_genes=None))
    assert (drawn["origin"], drawn["down"]) == ("random", "random_down")
    assert drawn["genes"]["random_up"]
    with pytest.raises(InputError, match="no gene set 'x' to turn down. The list has: mine"):
        select_with_sets(source, folds, SelectionConfig(down="x"), lists)
