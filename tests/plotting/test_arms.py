import numpy as np
import pytest
from scipy import sparse

from synthome.errors import InputError
from synthome.plotting.arms import read_arms


def test_rows_go_to_the_arm_of_their_split(cohort, synthetic):
    arms = read_arms(cohort, synthetic)
    assert (len(arms.train), len(arms.test), len(arms.synthetic)) == (27, 9, 60)
    np.testing.assert_array_equal(arms.test, cohort.X[27:])
    assert arms.classes == ["case", "control"]


def test_without_a_split_all_rows_are_training_rows(cohort, synthetic):
    del cohort.obs["split"]
    arms = read_arms(cohort, synthetic)
    assert (len(arms.train), len(arms.test)) == (36, 0)


def test_genes_are_matched_by_name_not_by_place(cohort, synthetic):
    shuffled = synthetic[:, ::-1].copy()
    np.testing.assert_array_equal(
        read_arms(cohort, shuffled).synthetic, read_arms(cohort, synthetic).synthetic
    )


def test_only_the_genes_that_are_scored_are_shown(cohort, synthetic):
    cohort.var["highly_variable"] = [i < 7 for i in range(cohort.n_vars)]
    assert read_arms(cohort, synthetic).genes.tolist() == [f"gene_{i}" for i in range(7)]


def test_sparse_and_dense_values_are_the_same(cohort, synthetic):
    thin = cohort.copy()
    thin.X = sparse.csr_matrix(cohort.X)
    np.testing.assert_allclose(read_arms(thin, synthetic).train, read_arms(cohort, synthetic).train)


def test_cohorts_that_share_no_genes_are_refused(cohort, synthetic):
    synthetic.var_names = [f"other_{i}" for i in range(synthetic.n_vars)]
    with pytest.raises(InputError, match="there are 0 shared genes"):
        read_arms(cohort, synthetic)
