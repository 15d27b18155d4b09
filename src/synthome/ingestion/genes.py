"""Gene names put in order: versions off, spreadsheet damage reported, repeated genes merged."""

import re
from collections import Counter
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse

from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.symbols import find_damaged, in_case_of

ENSEMBL = re.compile(r"(ENS[A-Z]*[GTP]\d{11})\.\d+(?:_PAR_Y)?|(ENS[A-Z]*[GTP]\d{11})_PAR_Y")


def without_versions(names: np.ndarray) -> tuple[np.ndarray, int]:
    """``ENSG00000141510.17`` without its version; and how many names had one.

    The ``_PAR_Y`` of older GENCODE releases goes too, so that the two copies of a gene of the
    pseudo-autosomal region are merged like any repeated gene.
    """
    found = [ENSEMBL.fullmatch(name) for name in names]
    cleaned = [(hit[1] or hit[2]) if hit else name for hit, name in zip(found, names, strict=True)]
    return np.array(cleaned, dtype=object), sum(hit is not None for hit in found)


def restore_symbols(names: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Put back symbols that a spreadsheet made dates of, where only one original is possible.

    A name with several possible originals stays as it is, and so does one whose original stands
    elsewhere in the table. Repeats of such a name are different genes: they get ``#2``, ``#3``,
    so that they are not merged.

    Returns
    -------
    The names, and ``{"restored": [{"found", "now"}], "unclear": [{"found", "likely", "times"}]}``.
    """
    damaged = find_damaged(list(names))
    if not damaged:
        return names, {"restored": [], "unclear": []}
    present = {name.upper() for name in names}
    restored: dict[str, str] = {}
    unclear: dict[str, list[str]] = {}
    for name, likely, certain in damaged:
        former = likely[0].replace("SEPTIN", "SEPT").replace("MARCHF", "MARCH") if likely else ""
        if certain and likely[0] not in present and former not in present:
            restored[name] = in_case_of(likely[0], list(names))
        else:
            unclear[name] = likely
    times: Counter[str] = Counter()
    result = names.copy()
    for i, name in enumerate(names):
        if name in restored:
            result[i] = restored[name]
        elif name in unclear:
            times[name] += 1
            result[i] = name if times[name] == 1 else f"{name}#{times[name]}"
    report = {
        "restored": [{"found": found, "now": now} for found, now in restored.items()],
        "unclear": [
            {"found": found, "likely": likely, "times": times[found]}
            for found, likely in unclear.items()
        ],
    }
    return result, report


def merge_repeated(
    values: Float[np.ndarray, "n_obs n_vars"], names: np.ndarray, how: Literal["sum", "mean"]
) -> tuple[Float[np.ndarray, "n_obs n_genes"], np.ndarray, np.ndarray]:
    """Merge columns of the same gene; each gene keeps the place of its first column.

    Returns
    -------
    Values, names, and the position of the first column of each gene.
    """
    codes, unique = pd.factorize(names)
    if len(unique) == len(names):
        return values, names, np.arange(len(names))
    n_vars = len(names)
    weights = np.ones(n_vars) if how == "sum" else 1.0 / np.bincount(codes)[codes]
    to_gene = sparse.csr_matrix((weights, (codes, np.arange(n_vars))))  # (n_genes, n_vars)
    first = np.full(len(unique), n_vars)
    np.minimum.at(first, codes, np.arange(n_vars))
    return np.ascontiguousarray((to_gene @ values.T).T), np.asarray(unique, dtype=object), first


def tidy_names(names: np.ndarray, journal: Journal) -> tuple[np.ndarray, dict[str, Any]]:
    """Versions off and symbols restored, each told in the journal.

    Returns
    -------
    The names, and the part of the report.
    """
    names, n_versions = without_versions(names)
    if n_versions:
        journal.step("gene names", f"version taken off {count(n_versions, 'Ensembl id')}")
    names, symbols = restore_symbols(names)
    if symbols["restored"]:
        pairs = [f"{s['found']} is {s['now']}" for s in symbols["restored"]]
        journal.step(
            "gene names",
            f"{count(len(pairs), 'symbol')} damaged by a spreadsheet restored: {some(pairs, 6)}",
        )
    if symbols["unclear"]:
        told = [
            f"{s['found']} ({' or '.join(s['likely']) or 'original unknown'})"
            for s in symbols["unclear"]
        ]
        journal.step(
            "gene names",
            f"{count(len(told), 'symbol')} damaged by a spreadsheet left as they are, since the "
            f"original is not certain: {some(told, 6)}",
            warning=True,
        )
    return names, {"ensembl_versions": n_versions, **symbols}


def tell_repeated(names: np.ndarray, how: str, scale: str, journal: Journal) -> dict[str, Any]:
    """Tell how many genes have more than one column; the part of the report."""
    n_repeated = sum(times > 1 for times in Counter(names).values())
    if n_repeated:
        verb = "averaged" if how == "mean" else "summed"
        journal.step(
            "repeated genes",
            f"{count(n_repeated, 'gene')} with more than one row {verb} ({scale} values)",
            n_vars=len(set(names)),
        )
    return {"repeated_genes": n_repeated, "merged_by": how if n_repeated else ""}


def tidy_genes(
    values: Float[np.ndarray, "n_obs n_vars"], names: np.ndarray, scale: str, journal: Journal
) -> tuple[Float[np.ndarray, "n_obs n_genes"], np.ndarray, np.ndarray, dict[str, Any]]:
    """Versions off, symbols restored, repeated genes merged: each told in the journal.

    Returns
    -------
    Values, names, position of the first column of each gene, and the part of the report.
    """
    names, symbols = tidy_names(names, journal)
    how: Literal["sum", "mean"] = "mean" if scale == "log" else "sum"
    repeated = tell_repeated(names, how, scale, journal)
    values, names, first = merge_repeated(values, names, how)
    return values, names, first, symbols | repeated
