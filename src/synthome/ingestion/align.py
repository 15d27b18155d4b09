"""A second cohort beside the first: the genes both have, the classes both have, nobody twice."""

from typing import Any

import numpy as np
from anndata import AnnData

from synthome.anndata_schema import (
    COUNTS,
    group_key,
    is_absent,
    label_key,
    labels,
    provenance,
    scale,
    with_provenance,
)
from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.twins import log_values, twins
from synthome.ingestion.validate import Report, validate_cohort


def validate_external(raw: AnnData, config: IngestionConfig) -> tuple[AnnData, Report]:
    """``validate_cohort`` for an external cohort.

    Genes that do not vary here are kept, since the model knows them; ``where`` applies only if the
    external sheet has such a column; a class may be small, since nothing is trained on it.
    """
    if is_absent(raw):
        return validate_cohort(raw, config)
    columns = set(map(str, raw.obs.columns))
    changes: dict[str, Any] = {"drop_constant_genes": False, "min_per_class": 1}
    for name in ("where", "group"):
        if getattr(config, name) not in columns:
            changes[name] = None
    return validate_cohort(raw, config.model_copy(update=changes))


def align_external(
    external: AnnData,
    cohort: AnnData,
    min_shared_genes: int = 20,
    allow_duplicates: bool = False,
) -> tuple[AnnData, Report]:
    """Restrict an external cohort to what it shares with the cohort.

    Parameters
    ----------
    external, cohort
        Both validated.
    min_shared_genes
        Fewer genes in common than this is an error.
    allow_duplicates
        Go on although samples of the cohort occur in the external one.

    Returns
    -------
    ``external`` with the shared genes in the order of ``cohort`` and the classes that ``cohort``
    has, under the cohort's label; and a report of the loss.

    Raises
    ------
    InputError
        If genes, classes or scale do not fit, or a sample is in both cohorts.
    """
    if is_absent(external):
        return external.copy(), {"absent": True}
    journal = Journal(
        str(provenance(external).get("source", "external")), external.n_obs, external.n_vars
    )
    key = label_key(cohort)
    _require_label(external, key)
    external = _on_scale_of(external, cohort, journal)
    kept, classes = _shared_classes(external, cohort, journal)
    genes = _shared_genes(external, cohort, min_shared_genes, journal)
    result = external[kept, genes].copy()
    n_twins = _refuse_twins(result, cohort, genes, allow_duplicates, journal)
    n_groups = _shared_groups(result, cohort, journal)
    report = {
        "n_obs": result.n_obs,
        "genes_shared": result.n_vars,
        "genes_only_cohort": cohort.n_vars - result.n_vars,
        "genes_only_external": external.n_vars - result.n_vars,
        "share_of_cohort_genes": result.n_vars / cohort.n_vars,
        "classes": classes,
        "duplicate_samples": n_twins,
        "shared_groups": n_groups,
        "steps": journal.entries,
        "warnings": [entry["why"] for entry in journal.entries if entry["warning"]],
    }
    return result, report


def _require_label(external: AnnData, key: str) -> None:
    """The external cohort needs the label column of the cohort."""
    if key not in external.obs:
        raise InputError(
            f"The external cohort has no column {key!r}, which is the label of the cohort. It has: "
            f"{some(list(external.obs.columns), 20)}. Give the column the same name in both sample "
            "sheets."
        )


def _on_scale_of(external: AnnData, cohort: AnnData, journal: Journal) -> AnnData:
    """The external cohort on the scale of the cohort: linear and log are turned into each other.

    Counts are not made of anything else, and nothing else of counts: that is the person's choice.
    """
    own, other = scale(cohort), scale(external)
    if own == other:
        return external
    if "counts" in (own, other):
        raise InputError(
            f"The cohort holds {own} values and the external cohort {other} values, so they cannot "
            "be compared. Give both on the same scale (counts at best). If a scale was measured "
            "wrongly, say it: --params=scale=... for the cohort, external_scale=... for the other "
            "(counts, linear or log)."
        )
    result = with_provenance(external, scale=own)
    if own == "linear":
        result.X, formula = np.exp2(external.X), "2**x"
    else:
        result.X, formula = np.log2(np.asarray(external.X) + 1.0), "log2(x + 1)"
    journal.step(
        "scale",
        f"values were {other} and the cohort is {own}: turned by {formula}; if the logarithm had "
        "another base than 2, convert the table yourself",
        warning=True,
    )
    return result


def _shared_classes(
    external: AnnData, cohort: AnnData, journal: Journal
) -> tuple[np.ndarray, dict[str, int]]:
    """Positions of external samples whose class the cohort has, and the sizes of those classes."""
    key = label_key(cohort)
    own = sorted(set(labels(cohort)) - {""})
    theirs = external.obs[key].astype(str).to_numpy()
    classes = {name: int((theirs == name).sum()) for name in own if (theirs == name).any()}
    if len(classes) < 2:
        raise InputError(
            f"The external cohort must have at least two of the classes of the cohort "
            f"({', '.join(own)}), but its {key!r} holds {some(sorted(set(theirs)), 8)}. Write the "
            "classes alike in both sample sheets."
        )
    kept = np.flatnonzero(np.isin(theirs, list(classes)))
    if len(kept) < external.n_obs:
        unknown = sorted(set(theirs) - set(classes))
        journal.step(
            "classes",
            f"samples of classes that the cohort does not have left out: {some(unknown, 6)}",
            n_obs=len(kept),
        )
    return kept, classes


def _shared_genes(
    external: AnnData, cohort: AnnData, min_shared_genes: int, journal: Journal
) -> list[str]:
    """Genes of the cohort, in its order, that the external cohort has too."""
    genes = [str(g) for g in cohort.var_names[cohort.var_names.isin(external.var_names)]]
    if len(genes) < min_shared_genes:
        raise InputError(
            f"The cohorts have {count(len(genes), 'gene')} in common; {min_shared_genes} are "
            f"needed. The cohort has names such as {some(cohort.var_names)}, the external cohort "
            f"{some(external.var_names)}. Use the same kind of gene names in both, symbols or "
            "Ensembl ids."
        )
    share = len(genes) / cohort.n_vars
    journal.step(
        "shared genes",
        f"{len(genes):,} of the {count(cohort.n_vars, 'gene')} of the cohort ({share:.0%}) are in "
        f"the external cohort; missing there: {cohort.n_vars - len(genes):,}, left out of its own: "
        f"{external.n_vars - len(genes):,}",
        n_vars=len(genes),
        warning=share < 0.5,
    )
    return genes


def _refuse_twins(
    external: AnnData, cohort: AnnData, genes: list[str], allowed: bool, journal: Journal
) -> int:
    """Stop when a library of the cohort is in the external cohort as well, unless allowed."""
    found = twins(
        log_values(_values(external), scale(external)),
        log_values(_values(cohort[:, genes]), scale(cohort)),
    )
    if not found:
        return 0
    n_samples = len({i for i, _, _ in found})
    if not allowed:
        pairs = [f"{external.obs_names[i]} is {cohort.obs_names[j]}" for i, j, _ in found]
        raise InputError(
            f"Of the external cohort, {count(n_samples, 'sample')} "
            f"{'is' if n_samples == 1 else 'are'} in the cohort too (correlation above 0.9999 on "
            "the log scale), so it is no external validation. In the external cohort and in the "
            f"cohort: {some(pairs)}. Remove them from one of the two, or say "
            "--params=allow_duplicates=true to go on all the same."
        )
    journal.step(
        "same library twice",
        f"{count(n_samples, 'sample')} of the external cohort also in the cohort: allowed by you, "
        "but scores on them are too good",
        warning=True,
    )
    return n_samples


def _shared_groups(external: AnnData, cohort: AnnData, journal: Journal) -> int:
    """How many patients (or other groups) go by the same name in both cohorts."""
    key = group_key(cohort)
    if key is None or key not in external.obs:
        return 0
    shared = set(cohort.obs[key].astype(str)) & set(external.obs[key].astype(str))
    if shared:
        n_obs = int(external.obs[key].astype(str).isin(shared).sum())
        journal.step(
            "shared groups",
            f"{count(len(shared), 'group')} by {key!r} (with {count(n_obs, 'sample')}) go by the "
            "same name in both cohorts: the same persons would make this no external validation",
            warning=True,
        )
    return len(shared)


def _values(adata: AnnData) -> np.ndarray:
    """The values to compare: counts where there are counts."""
    return np.asarray(adata.layers.get(COUNTS, adata.X))
