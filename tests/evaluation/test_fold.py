import numpy as np
import pytest
from scipy import sparse

from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.fold import PreparedFold
from synthome.models.rare_vae import RareVAEConfig, RareVAEGenerator
from synthome.preprocessing.transform import TransformConfig
from synthome.simulate.cortex import CortexConfig, simulate_cortex

CELLS = CortexConfig(n_obs=120, n_vars=100, n_types=2, rarest=0.8, n_down=3, n_up=3)
CP10K = TransformConfig(target_sum=1e4, min_expression=0, min_fraction=0, n_top_genes=30)


@pytest.fixture(scope="module")
def folds() -> list[PreparedFold]:
    """The same cells, sparse and dense."""
    packed = simulate_cortex(CELLS)
    packed.obs["fold_0"] = np.where(np.arange(120) % 5 == 0, 0, -1)
    dense = packed.copy()
    dense.X = dense.layers["counts"] = packed.X.toarray()
    config = EvaluationConfig(n_coexpression_genes=10)
    return [PreparedFold.of(adata, CP10K, config, 0, 0) for adata in (packed, dense)]


def test_sparse_cells_are_scored_on_the_same_dense_rows_as_dense_cells(folds):
    packed, dense = folds
    assert sparse.issparse(packed.train.X)
    assert isinstance(packed.variable.X, np.ndarray)
    assert packed.variable.var_names.equals(dense.variable.var_names)
    for part in ("train", "test"):
        ours, theirs = getattr(packed.real, part), getattr(dense.real, part)
        np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6)
        np.testing.assert_array_equal(ours.y, theirs.y)
    np.testing.assert_array_equal(packed.real.genes, dense.real.genes)


def test_a_generator_of_bulk_samples_can_be_fitted_to_sparse_cells(folds):
    """It stands beside the models of cells in the same table."""
    config = RareVAEConfig().model_copy(deep=True)
    config = config.model_copy(
        update={"training": config.training.model_copy(update={"max_epochs": 1})}
    )
    drawn = [
        RareVAEGenerator(config, 0).fit(fold.train).sample(5, None, np.random.default_rng(0)).X
        for fold in folds
    ]
    np.testing.assert_allclose(*drawn, rtol=1e-3, atol=1e-3)
