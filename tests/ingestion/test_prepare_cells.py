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


def test_a_set_that_is_to_be_turned_must_be_found_though_others_are(cortex):
    lists = {"mine_down": ["NOBODY"], "mine_up": ["GENE00004"]}
    with pytest.raises(InputError, match="None of the 1 gene of 'mine_down'"):
        prepare_cells(cortex, CellsConfig(), selection_config=FEW, gene_sets=lists)


@pytest.mark.parametrize(("n_cells", "least", "n_folds"), [(4, 3, 4), (4, 10, 5), (30, 3, 5)])
def test_a_small_type_lowers_the_folds_or_is_left_out(cortex, caplog, n_cells, least, n_folds):
    adata = cortex.copy()
    adata.obs["kind"] = np.where(np.arange(200) < n_cells, "rare", "common")
    adata.obs.loc[adata.obs_names[-60:], "kind"] = "other"
    adata.uns["synthome"]["group_key"] = ""
    config = CellsConfig(cell_type="kind", min_cells_per_type=least)
    prepared = prepare_cells(adata, config, SplitConfig(), FEW)
    assert prepared.obs["fold_0"].nunique() == n_folds
    assert ("rare" in set(prepared.obs["kind"])) == (n_cells >= least)
    assert ("4 folds instead of 5" in caplog.text) == (n_folds == 4)
    assert ("types with fewer than 10 cells left out: rare 4" in caplog.text) == (least == 10)


def test_a_type_of_two_cells_allows_no_split(cortex):
    adata = cortex.copy()
    adata.obs["kind"] = np.where(np.arange(200) < 2, "rare", "common")
    adata.uns["synthome"]["group_key"] = ""
    with pytest.raises(InputError, match="'rare' of column 'kind' has 2 samples"):
        prepare_cells(adata, CellsConfig(cell_type="kind", min_cells_per_type=1))
