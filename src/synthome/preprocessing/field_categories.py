"""Each category of a metadata field must be learnt before it is met: a check of the folds."""

from anndata import AnnData

from synthome.anndata_schema import field_keys, fold_columns, group_key
from synthome.errors import InputError

NAMED = 5  # categories that a message names


def check_fields_in_training(adata: AnnData) -> None:
    """Stop at a category that the training part of some fold does not have.

    Folds are stratified by the label alone, so that a rare category of another field, or one of few
    donors that stay whole, may be held out altogether.

    Parameters
    ----------
    adata
        Cells with fields (``field_keys``; without any, the label) and folds.

    Raises
    ------
    InputError
        If there is such a category; the message names it and its field.
    """
    lost: dict[str, int] = {}
    for column in fold_columns(adata):
        for name in field_keys(adata):
            fold = adata.obs[column].groupby(adata.obs[name].astype(str))
            found = fold.agg(["min", "max", "size"])
            alone = found[(found["min"] == found["max"]) & (found["min"] >= 0)]
            lost |= {f"{value!r} of {name!r}": int(n) for value, n in alone["size"].items()}
    if not lost:
        return
    named = [f"{category} (cells: {n:,})" for category, n in lost.items()][:NAMED]
    more = f" and {len(lost) - NAMED:,} more" if len(lost) > NAMED else ""
    donor = group_key(adata)
    whole = f" The cells of one {donor!r} stay together." if donor else ""
    raise InputError(
        "No training cell of some fold has the category of a field that its held-out cells have: "
        f"{', '.join(named)}{more}.{whole} A model cannot know what it has not seen. Merge the "
        "category with another, leave its cells out with --params=where=COLUMN, or leave the field "
        "out of --params=fields=COLUMN+COLUMN."
    )
