"""A raw cohort in, a validated one and its report out: every check in order, once, here.

Later stages trust what leaves this module: finite values on a known scale, one column per gene,
a label for each sample, and classes large enough to learn from.
"""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, UNS, is_absent, provenance
from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.genes import tidy_genes
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.samples import (
    check_classes,
    check_groups,
    choose_samples,
    follow_renaming,
    hint_at_groups,
    rename_columns,
    require_column,
)
from synthome.ingestion.scale import Values, refuse_empty_samples, refuse_not_finite, settle_scale
from synthome.ingestion.sheet import as_text, storable
from synthome.ingestion.tables import SOURCE_NAME
from synthome.ingestion.twins import log_values, twins_within

Report = dict[str, Any]


def validate_cohort(raw: AnnData, config: IngestionConfig) -> tuple[AnnData, Report]:
    """Check a raw cohort and put it in order.

    Parameters
    ----------
    raw
        Samples x genes as a dataset read them. ``layers["counts"]``, where there is one, is read
        instead of ``X``.
    config
        Label, group, rows to keep, scale.

    Returns
    -------
    The cohort (``X`` float64 as given, ``layers["counts"]`` for counts, the sheet in ``obs``), and
    a report of plain numbers and words: steps, scale, symbols, classes, source.

    Raises
    ------
    InputError
        At the first problem that the person has to mend.
    """
    if is_absent(raw):
        return raw.copy(), {"absent": True}
    name = str(provenance(raw).get("source", "cohort"))
    try:
        return _validate(raw, config, Journal(name, raw.n_obs, raw.n_vars))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _validate(raw: AnnData, config: IngestionConfig, journal: Journal) -> tuple[AnnData, Report]:
    """The checks in order; see ``validate_cohort``."""
    given = provenance(raw)
    journal.resume(given)
    if not journal.entries:
        journal.start(
            "read",
            f"{count(raw.n_obs, 'sample')} and {count(raw.n_vars, 'gene')}",
            raw.n_obs,
            raw.n_vars,
        )

    obs, renamed = rename_columns(raw.obs, journal)
    config = follow_renaming(config, renamed, "label", "group", "where")
    label = _label(config, given, obs)
    group = config.group or str(given.get("group_key", "")) or None
    _refuse_repeated_ids(obs)
    kept, labels = choose_samples(obs, config, label, journal)
    obs = storable(obs.iloc[kept])
    sizes: dict[str, int] = {}
    if labels is not None:
        obs[label] = labels
        sizes = check_classes(labels, str(label), config.min_per_class, journal)
    n_groups = 0
    if group:
        obs[group] = check_groups(obs, group, journal)
        n_groups = int(obs[group].nunique())
    else:
        hint_at_groups(obs, journal)

    matrix, names = _matrix(raw, kept, journal)
    values = Values(matrix, obs.index.to_numpy(), names)
    refuse_not_finite(values)
    matrix, scale, scale_report = settle_scale(values, config, journal, given.get("scale"))
    refuse_empty_samples(Values(matrix, values.samples, names))
    matrix, names, first, symbols = tidy_genes(matrix, names, scale, journal)
    if scale != "log":
        obs[LIBRARY_SIZE] = matrix.sum(axis=1)
    if config.drop_constant_genes:
        varies = _varying(matrix, journal)
        matrix, names, first = matrix[:, varies], names[varies], first[varies]
    n_twins = _tell_twins(matrix, scale, obs, group, journal)

    obs.index.name = None if "sample_id" in obs else "sample_id"
    var = raw.var.iloc[first].drop(columns=SOURCE_NAME, errors="ignore")
    var = var.set_axis(pd.Index(names, name=None if "gene" in var else "gene"), axis=0)
    adata = AnnData(
        matrix,
        obs=obs,
        var=storable(var),
        layers={COUNTS: matrix.copy()} if scale == "counts" else None,
        uns={k: v for k, v in raw.uns.items() if k != UNS},
    )
    adata.uns[UNS] = {k: v for k, v in given.items() if k != "reading"} | {
        "label_key": label or "",
        "group_key": group or "",
        "scale": scale,
    }
    journal.step("done", _summary(adata, sizes, scale))
    report = {
        "source": str(given.get("source", "")),
        "sha256": str(given.get("sha256", "")),
        "files": dict(given.get("files", {})),
        "label": label or "",
        "group": group or "",
        "where": config.where or "",
        "n_obs": adata.n_obs,
        "n_vars": adata.n_vars,
        "n_groups": n_groups,
        "classes": sizes,
        "scale": scale_report,
        "symbols": symbols,
        "same_library_twice": n_twins,
        "steps": journal.entries,
        "warnings": [entry["why"] for entry in journal.entries if entry["warning"]],
    }
    return adata, report


def _label(config: IngestionConfig, given: dict[str, Any], obs: pd.DataFrame) -> str | None:
    """Name of the label column: as configured, else as the source says, else an error."""
    label = config.label or str(given.get("label_key", "")) or None
    if label is None and not config.keep_unlabelled:
        listed = some(list(obs.columns), 20) or "no columns at all"
        raise InputError(
            f"Which column holds the class of each sample? Name it with --params=label=COLUMN. The "
            f"sample sheet has: {listed}."
        )
    if label is not None:
        require_column(obs, label, "label")
    return label


def _refuse_repeated_ids(obs: pd.DataFrame) -> None:
    """Stop when a sample id occurs twice, or is empty."""
    text = as_text(pd.Series(obs.index.to_numpy()))
    repeated = text[text.duplicated()].dropna().unique()
    if len(repeated):
        raise InputError(
            f"Sample ids must be unique, but these occur more than once: {some(repeated)}. Give "
            "each sample an id of its own."
        )
    if text.isna().any():
        raise InputError(
            f"{count(int(text.isna().sum()), 'sample')} have no id. Fill in the id column of the "
            "sample sheet."
        )


def _matrix(
    raw: AnnData, kept: np.ndarray, journal: Journal
) -> tuple[Float[np.ndarray, "n_obs n_vars"], np.ndarray]:
    """Values of the samples kept, dense float64, and the gene names as the source has them."""
    source = raw.X
    if COUNTS in raw.layers:
        source = raw.layers[COUNTS]
        journal.step("read", "values are those of layers['counts']; X is left aside")
    if source is None:
        raise InputError("The cohort holds no values: X is empty. Store the expression in X.")
    values = source[kept]
    dense = values.toarray() if sparse.issparse(values) else np.asarray(values)
    names = raw.var.get(SOURCE_NAME, raw.var_names)
    return dense.astype(np.float64), np.array([str(name) for name in names], dtype=object)


def _varying(matrix: Float[np.ndarray, "n_obs n_vars"], journal: Journal) -> np.ndarray:
    """Which genes take more than one value, shape (n_vars,) of bool."""
    varies = matrix.max(axis=0) > matrix.min(axis=0)
    n_constant = int((~varies).sum())
    if n_constant:
        n_zero = int((~matrix.any(axis=0)).sum())
        journal.step(
            "constant genes",
            f"{count(n_constant, 'gene')} with the same value in every sample left out "
            f"({n_zero:,} of them all zero)",
            n_vars=int(varies.sum()),
        )
    if not varies.any():
        raise InputError(
            "Every gene has the same value in all samples, so there is nothing to learn. Check the "
            "expression table."
        )
    return varies


def _tell_twins(
    matrix: Float[np.ndarray, "n_obs n_vars"],
    scale: Any,
    obs: pd.DataFrame,
    group: str | None,
    journal: Journal,
) -> int:
    """Warn of pairs that are one library twice and are not kept together by a group."""
    groups = obs[group].to_numpy() if group else np.arange(len(obs))
    apart = [
        (i, j) for i, j, _ in twins_within(log_values(matrix, scale)) if groups[i] != groups[j]
    ]
    if apart:
        journal.step(
            "same library twice",
            f"{count(len(apart), 'pair')} of samples are the same measurement (correlation above "
            "0.9999 on the log scale): one of them in training and one in test makes every score "
            "too good. Remove one, or name the column that keeps them together with "
            "--params=group=COLUMN",
            warning=True,
        )
    return len(apart)


def _summary(adata: AnnData, sizes: dict[str, int], scale: str) -> str:
    """One line about the result."""
    classes = some([f"{name} {size}" for name, size in sizes.items()], 10)
    return (
        f"cohort of {count(adata.n_obs, 'sample')} and {count(adata.n_vars, 'gene')} ({scale})"
        + (f"; {classes}" if classes else "")
    )
