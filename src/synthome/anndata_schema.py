"""What an AnnData means in synthome: where counts, labels, splits and provenance live.

=========================  ======================================================================
``X``                      the values of the stage: as given (cohort) or log expression (prepared)
``layers["counts"]``       raw integers >= 0, when the scale is counts
``obs[label_key]``         the class of a sample, under the user's own column name
``obs["split"]``           ``train`` or ``test``; ``obs["fold_r"]`` the test fold of repeat ``r``
``obs["library_size"]``    sum of the raw values of a sample over all genes of its source
``obs["source_row"]``      row of a cell in its source, of which most genes stay on disk
``obs["section"]``         section of a spot of a tissue; its image is found by this name
``obs["block"]``           compact block of spots, the unit of the folds of a tissue
``obsm["spatial"]``        x and y of a spot, in pixels of the full-resolution image
``obsm["image_features"]`` what the image shows around a spot, one column per feature
``obsp["spatial_connectivities"]``  the spots that each spot reads: ones, without itself
``obs["synthetic"]``       True for a row that no patient gave
``uns["synthome"]``        provenance: label_key, group_key, batch_key, field_keys, scale, source,
                           sha256, seed
``uns["signatures"]``      genes by name of phenotype signature, where a user gave some
=========================  ======================================================================
"""

import re
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from scipy import sparse

from synthome.errors import InputError

UNS = "synthome"
COUNTS = "counts"
SPLIT = "split"
LIBRARY_SIZE = "library_size"
SYNTHETIC = "synthetic"
SOURCE_ROW = "source_row"
FOLD_PREFIX = "fold_"
BLOCK = "block"
SECTION = "section"
SPATIAL = "spatial"
IMAGE_FEATURES = "image_features"
NEIGHBOURS = "spatial_connectivities"
RESERVED_OBS = re.compile(
    rf"^({SPLIT}|{LIBRARY_SIZE}|{SYNTHETIC}|{SOURCE_ROW}|{BLOCK}|{FOLD_PREFIX}\d+)$"
)

Scale = Literal["counts", "linear", "log"]


def provenance(adata: AnnData) -> dict[str, Any]:
    """A copy of ``uns["synthome"]``; empty when there is none."""
    return dict(adata.uns.get(UNS, {}))


def with_provenance(adata: AnnData, **items: Any) -> AnnData:
    """A copy of ``adata`` whose provenance holds ``items`` too."""
    result = adata.copy()
    result.uns[UNS] = provenance(adata) | items
    return result


def label_key(adata: AnnData) -> str:
    """Name of the ``obs`` column that holds the class of each sample.

    Raises
    ------
    InputError
        If the cohort carries no label column.
    """
    key = str(provenance(adata).get("label_key", ""))
    if not key or key not in adata.obs:
        raise InputError(
            "This step needs a label for each sample, but the cohort has none. Name the column of "
            "the sample sheet with --params=label=COLUMN; the sheet has: "
            f"{', '.join(map(str, adata.obs.columns)) or 'no columns'}."
        )
    return key


def labels(adata: AnnData) -> np.ndarray:
    """Class of each sample as text, shape (n_obs,)."""
    return adata.obs[label_key(adata)].astype(str).to_numpy()


def group_key(adata: AnnData) -> str | None:
    """Name of the ``obs`` column whose equal values stay together (patient, donor), if any."""
    return str(provenance(adata).get("group_key", "")) or None


def batch_key(adata: AnnData) -> str | None:
    """Name of the ``obs`` column that holds the experimental batch, if any."""
    return str(provenance(adata).get("batch_key", "")) or None


def field_keys(adata: AnnData) -> tuple[str, ...]:
    """Names of the ``obs`` columns that are metadata fields of the cells; the label without any."""
    found = provenance(adata).get("field_keys", ())
    return tuple(map(str, found)) or (label_key(adata),)


def scale(adata: AnnData) -> Scale:
    """Scale of the values as given: raw counts, linear (such as TPM), or log expression."""
    return provenance(adata).get("scale", "counts" if COUNTS in adata.layers else "log")


def fold_columns(adata: AnnData) -> list[str]:
    """The ``obs`` columns that hold test-fold numbers, one per repeat, in order."""
    found = [c for c in adata.obs.columns if re.fullmatch(rf"{FOLD_PREFIX}\d+", str(c))]
    return sorted(found, key=lambda name: int(name.removeprefix(FOLD_PREFIX)))


def folds_to_test(adata: AnnData, repeat: int) -> list[int]:
    """Numbers of the test folds of a repeat; rows of fold -1 are in no test part."""
    found = adata.obs[f"{FOLD_PREFIX}{repeat}"].unique()
    return sorted(int(fold) for fold in found if fold >= 0)


def expression(adata: AnnData) -> Float[np.ndarray, "n_obs n_vars"]:
    """``X`` dense and in double precision, also where it is stored sparse, as that of cells is."""
    x = adata.X
    return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float64)


def absent() -> AnnData:
    """The cohort that was not given: no samples, no genes."""
    nothing = pd.DataFrame(index=pd.Index([], dtype=str))
    return AnnData(np.zeros((0, 0)), obs=nothing, var=nothing.copy())


def is_absent(adata: AnnData) -> bool:
    """Whether ``adata`` stands for a cohort that was not given."""
    return adata.n_obs == 0
