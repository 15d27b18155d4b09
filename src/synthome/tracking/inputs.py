"""Data sets that a run has read, described so that the same data always get the same digest."""

import hashlib
from typing import TYPE_CHECKING, Any

from synthome.tracking.records import Input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

DIGEST_LENGTH = 32  # MLflow keeps 36 characters; the whole sha256 stands in the profile
COLUMNS_SHOWN = 50


def describe_input(name: str, data: Any, path: str = "") -> Input | None:
    """Describe ``data``; None for an absent cohort or for data of an unknown kind.

    Parameters
    ----------
    name
        Name in the catalog.
    data
        An AnnData or a DataFrame.
    path
        Where it was read from, if it is a file.
    """
    if hasattr(data, "n_obs") and hasattr(data, "obs"):
        return _describe_anndata(name, data, path) if data.n_obs else None
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        return _describe_table(name, data, path)
    return None


def _describe_anndata(name: str, adata: "AnnData", path: str) -> Input:
    facts = {key: str(value) for key, value in adata.uns.get("synthome", {}).items()}
    sha256 = facts.get("sha256") or anndata_sha256(adata)
    profile: dict[str, Any] = {"n_obs": adata.n_obs, "n_vars": _n_vars(adata), "sha256": sha256}
    label = facts.get("label_key", "")
    if label in adata.obs:
        profile["classes"] = adata.obs[label].astype(str).value_counts().sort_index().to_dict()
    profile |= {key: facts[key] for key in ("scale", "group_key") if facts.get(key)}
    source = facts.get("source") or path or name
    return Input(name, sha256[:DIGEST_LENGTH], source, _column_types(adata.obs), profile)


def _n_vars(adata: Any) -> int:
    """Genes; of a source of cells those of its largest matrix, for nothing was chosen yet."""
    places = getattr(adata, "places", None)
    return max(len(p.var) for p in places.values()) if places else int(adata.n_vars)


def _describe_table(name: str, table: "pd.DataFrame", path: str) -> Input:
    import pandas as pd

    digest = hashlib.sha256()
    digest.update(pd.util.hash_pandas_object(table, index=True).to_numpy().tobytes())
    digest.update("\n".join(map(str, table.columns)).encode())
    sha256 = digest.hexdigest()
    profile = {"rows": len(table), "columns": table.shape[1], "sha256": sha256}
    return Input(name, sha256[:DIGEST_LENGTH], path or name, _column_types(table), profile)


def anndata_sha256(adata: "AnnData") -> str:
    """Return the sha256 of the values and the names of samples and genes, sparse or dense."""
    import numpy as np

    digest = hashlib.sha256()
    x = adata.X
    parts = (x.data, x.indices, x.indptr) if hasattr(x, "indptr") else (np.asarray(x),)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    for names in (adata.obs_names, adata.var_names):
        digest.update("\n".join(map(str, names)).encode())
    return digest.hexdigest()


def _column_types(table: "pd.DataFrame") -> dict[str, str]:
    kinds = {"i": "long", "u": "long", "f": "double", "b": "boolean"}
    columns = list(table.columns)[:COLUMNS_SHOWN]
    return {str(column): kinds.get(table[column].dtype.kind, "string") for column in columns}
