"""Phenotype signatures that a user gives: found among the genes of a bulk cohort, and kept with it.

They are in ``uns["signatures"]``, names of genes by name of signature, through every later step;
``samplers.signatures`` makes blocks of them. Choosing them needs no sample, so that it may come
before the split.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from anndata import AnnData

from synthome.errors import InputError
from synthome.ingestion.gene_sets import match_genes
from synthome.ingestion.journal import some

SIGNATURES = "signatures"
MOST_MISSING = 0.5  # of all genes, beyond which the signatures are those of other data


def with_signatures(
    cohort: AnnData,
    signatures: Mapping[str, Sequence[str]],
    aliases: Mapping[str, str] | None = None,
) -> tuple[AnnData, dict[str, Any]]:
    """A copy of ``cohort`` that carries the signatures, and the report of what was found.

    Without signatures nothing is added, and models derive theirs from the training rows.

    Raises
    ------
    InputError
        If a signature is empty, or more than half of all their genes are not in the cohort.
    """
    if not signatures:
        return cohort, {}
    empty = [name for name, genes in signatures.items() if not len(genes)]
    if empty:
        raise InputError(f"The signature {empty[0]!r} has no genes. Give it some, or leave it out.")
    matched, report = match_genes(signatures, cohort.var, aliases)
    lost = [gene for of in report["sets"].values() for gene in of["not_found"]]
    n_given = sum(of["n_given"] for of in report["sets"].values())
    if len(lost) > MOST_MISSING * n_given:
        raise InputError(
            f"{len(lost):,} of the {n_given:,} genes of the signatures are not among the "
            f"{cohort.n_vars:,} genes of the cohort: {some(lost, 20)}. Give signatures of the same "
            "species and kind of names, or a table of aliases (aliases=FILE)."
        )
    result = cohort.copy()
    result.uns[SIGNATURES] = {name: genes for name, genes in matched.items() if genes}
    return result, report
