import anndata as ad
import pytest
from signature_cohort import cohort

from synthome.errors import InputError
from synthome.ingestion.signatures import with_signatures
from synthome.preprocessing.splits import SplitConfig, assign_folds
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig


def test_signatures_travel_with_the_cohort_to_the_model(tmp_path):
    known, report = with_signatures(cohort(), {"A": ["g1", "G2", "absent"], "B": ["g7"]})
    assert report["sets"]["A"]["not_found"] == ["absent"]
    folds = assign_folds(known, SplitConfig(n_splits=3))
    folds.write_h5ad(tmp_path / "cohort.h5ad")
    again = ad.read_h5ad(tmp_path / "cohort.h5ad")
    prepared = ExpressionTransform.fit(again, TransformConfig()).apply(again)
    found = {name: list(genes) for name, genes in prepared.uns["signatures"].items()}
    assert found == {"A": ["g1", "g2"], "B": ["g7"]}


def test_without_signatures_nothing_changes():
    given = cohort()
    same, report = with_signatures(given, {})
    assert same is given
    assert report == {}


def test_half_is_enough_and_less_is_an_error_with_the_names():
    with_signatures(cohort(), {"A": ["g1", "nowhere"]})
    with pytest.raises(InputError, match=r"2 of the 3 genes.*30 genes.*nowhere, neither"):
        with_signatures(cohort(), {"A": ["g1", "nowhere", "neither"]})
    with pytest.raises(InputError, match="'B' has no genes"):
        with_signatures(cohort(), {"A": ["g1"], "B": []})
