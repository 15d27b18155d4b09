"""Phenotype signatures: blocks of genes, each of one class, given by the user or derived.

Derived from training rows, for gene j and class c against all other classes,

    t_cj = (m_cj - m_-cj) / sqrt(v_cj / n_c + v_-cj / n_-c + s0²)                            (1)

Welch's t with a fudge s0, so that genes without spread do not come first; each gene belongs to the
class in which its |t| is largest, and each class has its genes of largest |t|: blocks are disjoint.

Of signatures that a user gives, genes that are not in the cohort are left out, and a gene that is
in several belongs to the shortest of them, the first of equals: the most specific one.

Tusher, Tibshirani, Chu (2001), PNAS 98, 5116-5121. doi:10.1073/pnas.091062498 (s0).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int

from synthome.anndata_schema import expression
from synthome.anndata_schema import labels as labels_of
from synthome.errors import InputError
from synthome.ingestion.signatures import SIGNATURES

FUDGE = 0.1  # s0, in natural log units of expression

Columns = Int[np.ndarray, " n_genes"]


def derive_signatures(
    x: Float[np.ndarray, "n_obs n_vars"], y: np.ndarray, n_genes: int
) -> dict[str, Columns]:
    """Columns of the ``n_genes`` genes, at most, of each class, the clearest first: eq. 1.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise InputError(
            "Signatures tell classes apart, but all training rows are of one class. Give "
            "signatures, or use another label column."
        )
    wrong = ~np.isfinite(x)
    if wrong.any():
        raise InputError(
            f"Signatures need finite values, but {int(wrong.sum()):,} are not, in "
            f"{int(wrong.any(axis=0).sum()):,} genes. Fill or drop them first."
        )
    t = np.abs([_welch(x[y == c], x[y != c]) for c in classes])  # (n_classes, n_vars)
    own, clearest = t.argmax(axis=0), t.max(axis=0)
    found = {}
    for k, c in enumerate(classes):
        genes = np.flatnonzero((own == k) & (clearest > 0))
        found[str(c)] = genes[np.argsort(-clearest[genes], kind="stable")][:n_genes]
    return found


def _welch(
    a: Float[np.ndarray, "n n_vars"], b: Float[np.ndarray, "m n_vars"]
) -> Float[np.ndarray, " n_vars"]:
    square = FUDGE**2
    for rows in (a, b):
        if len(rows) > 1:
            square = square + rows.var(axis=0, ddof=1) / len(rows)
    return (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt(square)


def resolve_overlaps(signatures: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Each gene in one signature alone: the shortest that holds it, the first of equals."""
    order = sorted(signatures, key=lambda name: len(signatures[name]))  # stable
    taken: set[str] = set()
    kept: dict[str, list[str]] = {}
    for name in order:
        kept[name] = [g for g in dict.fromkeys(signatures[name]) if g not in taken]
        taken |= set(kept[name])
    return {name: kept[name] for name in signatures}


def signature_blocks(train: AnnData, n_genes: int) -> dict[str, Columns]:
    """Disjoint blocks of columns: of the signatures that the cohort brings, or derived.

    Raises
    ------
    InputError
        If no gene of the given signatures is in ``train``.
    """
    given = train.uns.get(SIGNATURES)
    if not given:
        return derive_signatures(expression(train), labels_of(train), n_genes)
    names = resolve_overlaps({str(k): [str(gene) for gene in v] for k, v in given.items()})
    blocks = {}
    for name, genes in names.items():
        at = train.var_names.get_indexer(pd.Index(genes, dtype=object))
        blocks[name] = at[at >= 0]
    if not any(len(block) for block in blocks.values()):
        n_given = sum(map(len, names.values()))
        raise InputError(
            f"None of the {n_given:,} genes of the signatures ({', '.join(names)}) is among the "
            f"{train.n_vars:,} genes kept for training. Give signatures of genes that this cohort "
            "expresses."
        )
    return {name: block for name, block in blocks.items() if len(block)}


def class_of_signature(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """The class that each signature is named after, whatever the case of letters; others not."""
    by_name = {c.casefold(): c for c in classes}
    return {name: by_name[name.casefold()] for name in names if name.casefold() in by_name}
