"""A tissue that is an AnnData file: counts, coordinates and images together."""

from contextlib import suppress
from pathlib import Path

import h5py
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import provenance
from synthome.errors import InputError
from synthome.ingestion.cell_source import KEPT_FACTS
from synthome.ingestion.files import sha256_of
from synthome.ingestion.h5ad import open_h5ad
from synthome.ingestion.journal import Journal, count
from synthome.ingestion.tables import SOURCE_NAME, unique_names, with_source

SPATIAL_FACTS = ("section_key", "discordant_key")  # what a file of a tissue may say of itself too


def read_tissue(path: str | Path) -> AnnData:
    """Read an ``.h5ad`` file of a tissue as a whole.

    Parameters
    ----------
    path
        The file: counts in ``X``, ``layers`` or ``raw``, coordinates in ``obsm["spatial"]``, images
        in ``uns["spatial"]`` as scanpy and squidpy keep them. Nothing in it is unpickled.

    Returns
    -------
    The file's AnnData with ``var["source_name"]`` and, in ``uns["synthome"]``, the file's digest
    and the columns that it names itself.

    Raises
    ------
    InputError
        If the file is missing, cut short, not an AnnData file, or of parts that do not fit.
    """
    path = Path(path).expanduser().absolute()
    try:
        adata = open_h5ad(path)
    except InputError:
        _refuse_other_rows(path)
        raise
    names = adata.var_names.astype(str).to_numpy(dtype=object)
    adata.var[SOURCE_NAME] = pd.Series(names, index=adata.var_names, dtype=object)
    adata.var_names = unique_names(names)
    adata.obs_names = adata.obs_names.astype(str)
    journal = Journal(path.stem)
    sizes = f"{count(adata.n_obs, 'spot')} and {count(adata.n_vars, 'gene')}"
    journal.start("read", f"{path.name} has {sizes}", adata.n_obs, adata.n_vars)
    facts = provenance(adata)
    own = {key: str(facts[key]) for key in (*KEPT_FACTS, *SPATIAL_FACTS) if key in facts}
    return with_source(adata, path.stem, {path.name: sha256_of(path)}, journal, **own)


def _refuse_other_rows(path: Path) -> None:
    """Say it when a file cannot be read for rows of ``obsm`` that are not those of ``obs``."""
    with suppress(OSError, KeyError), h5py.File(path, "r") as file:
        n_obs = len(file["obs"][file["obs"].attrs["_index"]])
        for key, entry in file["obsm"].items():
            if isinstance(entry, h5py.Dataset) and len(entry) != n_obs:
                raise InputError(
                    f"{path}: obsm[{key!r}] has {len(entry):,} rows, but there are "
                    f"{count(n_obs, 'spot')} in obs. Compute it for the spots of this file, or "
                    "remove it, and write the file again."
                )
