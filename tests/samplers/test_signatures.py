import numpy as np
import pytest
from scipy import stats
from signature_cohort import cohort

from synthome.errors import InputError
from synthome.samplers import signatures
from synthome.samplers.signatures import (
    class_of_signature,
    derive_signatures,
    resolve_overlaps,
    signature_blocks,
)


def test_each_class_gets_the_genes_that_mark_it():
    adata = cohort()
    found = derive_signatures(adata.X, adata.obs["label"].to_numpy(), 4)
    assert {c: sorted(genes) for c, genes in found.items()} == {
        "A": [0, 1, 2, 3], "B": [4, 5, 6, 7], "C": [8, 9, 10, 11],
    }  # fmt: skip


def test_without_the_fudge_the_statistic_is_that_of_scipy(monkeypatch):
    monkeypatch.setattr(signatures, "FUDGE", 0.0)
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 2, (9, 20)), rng.normal(0, 1, (31, 20))
    expected = stats.ttest_ind(a, b, equal_var=False).statistic
    np.testing.assert_allclose(signatures._welch(a, b), expected)


def test_a_gene_without_spread_does_not_come_first():
    """Two equal decimals differ by nothing in each class, and Welch's t is infinite."""
    adata = cohort()
    y = adata.obs["label"].to_numpy()
    adata.X[:, 20] = np.where(y == "A", 1e-6, 0.0)
    adata.X[:, 21] = 5.0
    found = derive_signatures(adata.X, y, 4)
    assert not {20, 21} & set(np.concatenate(list(found.values())).tolist())
    with pytest.raises(InputError, match="of one class"):
        derive_signatures(adata.X, np.repeat("A", 60), 4)


def test_an_overlap_goes_to_the_more_specific_signature():
    given = {"wide": ["g1", "g2", "g3", "g2"], "narrow": ["g2", "g4"], "same": ["g4", "g5"]}
    assert resolve_overlaps(given) == {
        "wide": ["g1", "g3"], "narrow": ["g2", "g4"], "same": ["g5"],
    }  # fmt: skip


def test_given_signatures_are_used_where_the_cohort_has_their_genes():
    adata = cohort()
    adata.uns["signatures"] = {"a": np.array(["g3", "absent"]), "other": np.array(["g9"])}
    blocks = signature_blocks(adata, 4)
    assert {name: block.tolist() for name, block in blocks.items()} == {"a": [3], "other": [9]}
    assert class_of_signature(list(blocks), ["A", "B"]) == {"a": "A"}
    adata.uns["signatures"] = {"a": np.array(["absent"])}
    with pytest.raises(InputError, match="None of the 1 genes"):
        signature_blocks(adata, 4)
