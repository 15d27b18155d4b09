"""A tissue that is an AnnData file: counts, coordinates and images together."""

from contextlib import suppress
from pathlib import Path

import h5py
from anndata import AnnData

from synthome.errors import InputError
from synthome.ingestion.cell_source import KEPT_FACTS
from synthome.ingestion.h5ad import as_source, open_h5ad
from synthome.ingestion.journal import count

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
    return as_source(adata, path, "spot", (*KEPT_FACTS, *SPATIAL_FACTS))


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
