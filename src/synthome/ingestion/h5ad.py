"""A cohort that is an AnnData file already."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import h5py
import pandas as pd
from anndata import AnnData, read_h5ad
from anndata.io import read_elem

from synthome.anndata_schema import COUNTS, provenance
from synthome.errors import InputError
from synthome.ingestion.files import sha256_of
from synthome.ingestion.journal import Journal, count
from synthome.ingestion.tables import SOURCE_NAME, unique_names, with_source


def read_h5ad_cohort(path: str | Path) -> AnnData:
    """Read an ``.h5ad`` file as a raw cohort.

    Parameters
    ----------
    path
        The file. ``layers["counts"]``, where there is one, is what validation reads.

    Returns
    -------
    The file's AnnData with ``var["source_name"]``, and its label, group and scale where
    ``uns["synthome"]`` names them.

    Raises
    ------
    InputError
        If the file is missing, cut short, or not an AnnData file.
    """
    path = Path(path).expanduser().absolute()
    return as_source(open_h5ad(path), path, "sample", ("label_key", "group_key", "scale"))


def as_source(adata: AnnData, path: Path, row: str, facts: Iterable[str]) -> AnnData:
    """The file's AnnData under names that differ, with where it came from.

    ``row`` says what one row is; ``facts`` of ``uns["synthome"]`` are what the file may say itself.
    """
    names = adata.var_names.astype(str).to_numpy(dtype=object)
    adata.var[SOURCE_NAME] = pd.Series(names, index=adata.var_names, dtype=object)
    adata.var_names = unique_names(names)
    adata.obs_names = adata.obs_names.astype(str)
    journal = Journal(path.stem, row=row)
    sizes = f"{count(adata.n_obs, row)} and {count(adata.n_vars, 'gene')}"
    journal.start("read", f"{path.name} has {sizes}", adata.n_obs, adata.n_vars)
    given = provenance(adata)
    own = {key: str(given[key]) for key in facts if key in given}
    return with_source(adata, path.stem, {path.name: sha256_of(path)}, journal, **own)


def open_h5ad(path: Path) -> AnnData:
    """``anndata.read_h5ad`` with one clear message when the file cannot be read."""
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    if path.is_dir() or path.stat().st_size == 0:
        raise InputError(f"{path} is {'a folder' if path.is_dir() else 'empty'}, not an h5ad file.")
    try:
        with warnings.catch_warnings():  # repeated names are handled by the caller
            warnings.filterwarnings("ignore", message=".*names are not unique.*")
            return _read_shared(path) or read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise InputError(
            f"{path} is not a readable AnnData file: {reason}. It was probably cut short while "
            "copied, or is not h5ad; copy or write it again."
        ) from error


def _read_shared(path: Path) -> AnnData | None:
    """A file whose ``X`` is its ``layers["counts"]``, read once; None for any other."""
    with h5py.File(path, "r") as file:
        counts = f"layers/{COUNTS}"
        if "X" not in file or counts not in file or file["X"] != file[counts] or "raw" in file:
            return None
        adata = AnnData(**{key: read_elem(file[key]) for key in file if key != "X"})
    adata.X = adata.layers[COUNTS]
    return adata
