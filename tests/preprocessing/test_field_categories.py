import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.errors import InputError
from synthome.preprocessing.field_categories import check_fields_in_training
from synthome.preprocessing.splits import SplitConfig, assign_folds

N = 60


def cells(**columns) -> AnnData:
    """Two types and two assays, five folds in turn."""
    obs = pd.DataFrame(
        {
            "kind": np.array(["T", "B"])[np.arange(N) % 2],
            "assay": np.array(["v2", "v3", "v3"])[np.arange(N) % 3],
            "fold_0": np.arange(N) % 5,
        },
        index=[f"c{i}" for i in range(N)],
    ).assign(**columns)
    uns = {"synthome": {"label_key": "kind", "field_keys": ["kind", "assay"]}}
    return AnnData(obs=obs, uns=uns)


def with_rare(*rows: int) -> list[str]:
    """The column of assays, with a third one in some rows."""
    assay = cells().obs["assay"].to_numpy(dtype=object)
    assay[list(rows)] = "rare"
    return list(assay)


def test_categories_that_every_training_part_has_are_fine():
    check_fields_in_training(cells())
    check_fields_in_training(cells(assay=with_rare(1, 2)))  # one in fold 1, one in fold 2


def test_a_category_that_only_held_out_cells_have_is_named_with_its_field():
    with pytest.raises(InputError, match=r"'rare' of 'assay' \(cells: 2\)\. A model") as error:
        check_fields_in_training(cells(assay=with_rare(3, 8)))  # both in fold 3
    assert "'v2'" not in str(error.value)


def test_rows_that_are_in_no_test_part_may_have_categories_of_their_own():
    """Fold -1 is trained on always."""
    fold = np.where(np.arange(N) % 5 == 0, 0, -1)
    check_fields_in_training(cells(assay=with_rare(3, 8), fold_0=fold))
    with pytest.raises(InputError, match="'rare' of 'assay'"):
        check_fields_in_training(cells(assay=with_rare(5, 10), fold_0=fold))


def test_every_repeat_is_looked_at():
    other = np.arange(N) // 12
    with pytest.raises(InputError, match="'rare' of 'assay'"):
        check_fields_in_training(cells(assay=with_rare(1, 2), fold_1=other))


def test_a_field_that_names_donors_is_refused_where_donors_are_held_out_whole():
    """No training cell is of a held-out donor, so that a field of donors cannot be learnt."""
    adata = cells(donor=[f"d{i % 10}" for i in range(N)])
    adata.uns["synthome"] |= {"group_key": "donor", "field_keys": ["kind", "donor"]}
    folds = assign_folds(adata, SplitConfig())
    with pytest.raises(InputError, match=r"and 5 more\. The cells of one 'donor' stay together"):
        check_fields_in_training(folds)


def test_without_fields_the_label_alone_is_looked_at():
    """The split puts each type on both sides, so that cells without fields never fail here."""
    adata = cells(assay=with_rare(3))
    del adata.uns["synthome"]["field_keys"]
    check_fields_in_training(assign_folds(adata, SplitConfig()))
