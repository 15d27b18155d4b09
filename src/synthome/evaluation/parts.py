"""Finished parts of a long comparison on disk, so that an interrupted one goes on where it was.

Each part is a pair of files in a folder named by a fingerprint of all that decides its content. The
JSON file is written last: where it is, the part is whole. Rows of the cohort stand as numbers, and
no sample is named.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import synthome
from synthome.anndata_schema import fold_columns, group_key, label_key, provenance
from synthome.ingestion.atomic import atomic_write

Part = tuple[dict[str, Any], pd.DataFrame]  # facts, and a table
CODE = ("evaluation", "generator.py", "models", "preprocessing", "rng.py", "samplers", "training")


def fingerprint(*facts: Any) -> str:
    """Short digest of whatever JSON can say."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cohort_digest(adata: AnnData) -> str:
    """Digest of all that a score can depend on: values, names, labels, groups, folds, truth."""
    digest = hashlib.sha256()
    for matrix in (adata.X, *(adata.layers[name] for name in sorted(adata.layers))):
        parts = (
            (matrix.data, matrix.indices, matrix.indptr)
            if sparse.issparse(matrix)
            else (np.asarray(matrix),)
        )
        for part in parts:
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
    columns = [label_key(adata), group_key(adata), *fold_columns(adata)]
    for column in filter(None, columns):
        digest.update("\n".join([column, *map(str, adata.obs[column])]).encode())
    for names in (adata.obs_names, adata.var_names):
        digest.update("\n".join(map(str, names)).encode())
    truth = np.asarray(adata.uns.get("truth", {}).get("disease_genes", []), dtype=str)
    digest.update(fingerprint(truth.tolist(), provenance(adata).get("scale")).encode())
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """Version of the package, and a digest of the modules that numbers come from."""
    root = Path(synthome.__file__).parent
    digest = hashlib.sha256()
    for name in CODE:
        for path in sorted([root / name] if name.endswith(".py") else (root / name).rglob("*.py")):
            digest.update(path.read_bytes())
    return f"{synthome.__version__} {digest.hexdigest()}"


def write_part(folder: Path, name: str, facts: Mapping[str, Any], table: pd.DataFrame) -> None:
    """Write a part; whatever interrupts this, there is a whole part or none."""
    with atomic_write(folder / f"{name}.parquet") as path:
        table.to_parquet(path, compression="zstd")
    with atomic_write(folder / f"{name}.json") as path:
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_part(folder: Path, name: str) -> Part | None:
    """The part, or nothing when it is not there or cannot be read."""
    try:
        facts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return facts, pd.read_parquet(folder / f"{name}.parquet")
    except (OSError, ValueError):  # absent, or damaged: it is made again
        return None
