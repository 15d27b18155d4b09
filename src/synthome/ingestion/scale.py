"""On which scale values are: raw counts, linear (TPM, CPM, intensities), or log. Measured, told.

===========  ==================================================================================
``counts``   every value is an integer >= 0
``log``      at most 35, since log2 of the deepest library stays below; centred values included
``linear``   above 100: intensities, TPM, normalised or expected counts
===========  ==================================================================================

Between 35 and 100 nothing is certain, and the person is asked.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from synthome.anndata_schema import Scale
from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.journal import Journal, count

LOG_AT_MOST = 35.0
LINEAR_ABOVE = 100.0
EXPECTED_COUNTS = 0.3  # share of integers among non-zero values that RSEM and salmon leave


class Values:
    """A matrix with the names that an error message needs.

    Parameters
    ----------
    matrix
        (n_obs, n_vars).
    samples, genes
        Ids of rows and columns.
    """

    def __init__(
        self, matrix: Float[np.ndarray, "n_obs n_vars"], samples: np.ndarray, genes: np.ndarray
    ) -> None:
        self.matrix, self.samples, self.genes = matrix, samples, genes

    def first(self, wrong: Bool[np.ndarray, "n_obs n_vars"]) -> str:
        """Where the first wrong value stands, in words."""
        row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
        value = self.matrix[row, column]
        return f"{value:g} at sample {self.samples[row]!r}, gene {self.genes[column]!r}"


def refuse_not_finite(values: Values) -> None:
    """Stop at the first missing or infinite value."""
    wrong = ~np.isfinite(values.matrix)
    if wrong.any():
        genes = int(wrong.any(axis=0).sum())
        raise InputError(
            f"The expression table has {count(int(wrong.sum()), 'value')} missing or infinite, in "
            f"{count(genes, 'gene')}; the first is {values.first(wrong)}. Fill the values in, or "
            "leave out those genes or samples."
        )


def measure(matrix: Float[np.ndarray, "n_obs n_vars"]) -> dict[str, Any]:
    """What the values look like, as plain numbers for the report."""
    nonzero = matrix != 0
    n_nonzero = int(nonzero.sum())
    integers = int((matrix == np.rint(matrix)).sum()) - (matrix.size - n_nonzero)
    sums = matrix.sum(axis=1)
    middle = float(np.median(sums))
    spread = float(np.abs(sums - middle).max() / abs(middle)) if middle else float("inf")
    return {
        "smallest": float(matrix.min()),
        "largest": float(matrix.max()),
        "share_of_zeros": 1.0 - n_nonzero / matrix.size,
        "share_of_integers_among_nonzero": integers / n_nonzero if n_nonzero else 1.0,
        "share_of_negatives": float((matrix < 0).mean()),
        "median_sample_sum": middle,
        "largest_departure_from_median_sum": spread,
    }


def guess(evidence: dict[str, Any]) -> tuple[Scale, str]:
    """The scale that the evidence speaks for, and why, in words.

    Raises
    ------
    InputError
        If the evidence is not clear.
    """
    low, high = evidence["smallest"], evidence["largest"]
    integers = evidence["share_of_integers_among_nonzero"]
    if low >= 0 and integers == 1.0:
        return "counts", "every value is an integer >= 0"
    extent = max(abs(low), abs(high))
    if extent <= LOG_AT_MOST:
        centred = ", some below 0" if low < 0 else ""
        return "log", f"values with decimals from {low:.3g} to {high:.3g}{centred}"
    if extent > LINEAR_ABOVE:
        return "linear", _describe_linear(evidence)
    raise InputError(
        f"The values reach from {low:g} to {high:g}: too large for usual log expression, small for "
        "TPM or intensities. Say which it is: --params=scale=log or --params=scale=linear."
    )


def _describe_linear(evidence: dict[str, Any]) -> str:
    """What kind of linear values these seem to be."""
    total = evidence["median_sample_sum"]
    if evidence["largest_departure_from_median_sum"] < 0.01:
        return f"values with decimals, each sample adds up to about {total:,.0f} (TPM or CPM)"
    if evidence["share_of_integers_among_nonzero"] == 1.0:
        return (
            f"whole numbers from {evidence['smallest']:,.0f} to {evidence['largest']:,.0f} "
            "(microarray intensities, background subtracted)"
        )
    if evidence["share_of_integers_among_nonzero"] > EXPECTED_COUNTS and evidence["smallest"] >= 0:
        return (
            "expected counts, as RSEM or salmon write them "
            f"({evidence['share_of_integers_among_nonzero']:.0%} of the non-zero values are "
            "integers)"
        )
    return f"values up to {evidence['largest']:,.0f} with decimals (intensities or normalised)"


def settle_scale(
    values: Values, config: IngestionConfig, journal: Journal, stated: Scale | None = None
) -> tuple[Float[np.ndarray, "n_obs n_vars"], Scale, dict[str, Any]]:
    """Decide the scale, check the values against it, and apply what the person chose for them.

    Parameters
    ----------
    values
        Finite values.
    config
        ``scale`` (``auto`` measures it), ``round_counts``, ``floor``, ``offset``.
    journal
        Receives the decision.
    stated
        Scale that the source itself states; the measurement is used without one.

    Returns
    -------
    The values (changed only by ``round_counts``, ``floor``, ``offset``), the scale, the evidence.
    """
    evidence = measure(values.matrix)
    if config.scale != "auto":
        scale, by, why = config.scale, "you", "as you said"
    elif stated is not None:
        scale, by, why = stated, "source", "as the source says"
    else:
        scale, why = guess(evidence)
        by = "measured"
    matrix = values.matrix
    if scale == "counts":
        matrix = _as_counts(values, config, evidence, journal)
    elif scale == "linear":
        matrix = _as_linear(values, config, journal)
    elif config.floor is not None or config.offset is not None:
        raise InputError("floor and offset are for linear values, but the scale is log.")
    expected = scale == "linear" and "expected counts" in _describe_linear(evidence)
    hint = (
        "; round them with --params=scale=counts,round_counts=true to use them as counts"
        if expected and by == "measured"
        else ""
    )
    large = scale == "log" and evidence["largest"] > LINEAR_ABOVE
    if large:
        hint = f"; but {evidence['largest']:,.0f} is very large for a logarithm"
    journal.step("scale", f"values taken as {scale}: {why}{hint}", warning=bool(hint))
    return matrix, scale, {"scale": scale, "decided_by": by, "why": why, "evidence": evidence}


def refuse_empty_samples(values: Values) -> None:
    """Stop at samples in which no gene is expressed."""
    empty = ~values.matrix.any(axis=1)
    if empty.any():
        ids = [repr(str(sample)) for sample in values.samples[empty]]
        shown = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
        raise InputError(
            f"{count(len(ids), 'sample')} without any expression (all values are 0): {shown}. "
            "Remove such samples from the sample sheet, or export their values again."
        )


def _as_counts(
    values: Values, config: IngestionConfig, evidence: dict[str, Any], journal: Journal
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Raw counts: integers >= 0, rounded only when the person asked for it."""
    if config.floor is not None or config.offset is not None:
        raise InputError("floor and offset are for linear values, but these are counts.")
    matrix = values.matrix
    negative = matrix < 0
    if negative.any():
        raise InputError(
            f"Counts cannot be negative, but {count(int(negative.sum()), 'value')} are; the first "
            f"is {values.first(negative)}. Give the raw counts, or say --params=scale=log for "
            "logarithms."
        )
    whole = np.rint(matrix)
    if config.round_counts:
        changed = int((whole != matrix).sum())
        journal.step("round counts", f"{count(changed, 'value')} rounded to whole counts")
        return whole
    wrong = whole != matrix
    if wrong.any():
        advice = (
            "They look like expected counts (RSEM, salmon): add round_counts=true to round them"
            if evidence["share_of_integers_among_nonzero"] > EXPECTED_COUNTS
            else "Give the raw counts, or say --params=scale=linear for TPM and the like, "
            "scale=log for logarithms; round_counts=true rounds expected counts"
        )
        raise InputError(
            f"Counts must be whole numbers, but {count(int(wrong.sum()), 'value')} are not; the "
            f"first is {values.first(wrong)}. {advice}."
        )
    return matrix


def _as_linear(
    values: Values, config: IngestionConfig, journal: Journal
) -> Float[np.ndarray, "n_obs n_vars"]:
    """Linear values: >= 0, if need be by the floor or the offset that the person chose."""
    matrix = values.matrix
    if config.floor is not None:
        if config.floor < 0:
            raise InputError(f"floor={config.floor:g} must not be negative.")
        below = int((matrix < config.floor).sum())
        matrix = np.maximum(matrix, config.floor)
        journal.step("floor", f"{count(below, 'value')} raised to {config.floor:g}, as you said")
    if config.offset is not None:
        matrix = matrix + config.offset
        journal.step("offset", f"{config.offset:g} added to all values, as you said")
    negative = matrix < 0
    if negative.any() and config.negatives == "noise":
        journal.step(
            "negative values",
            f"{count(int(negative.sum()), 'value')} ({negative.mean():.1%}) are negative and taken "
            "as noise around zero, as you said",
        )
    elif negative.any():
        shown = Values(matrix, values.samples, values.genes).first(negative)
        raise InputError(
            f"{count(int(negative.sum()), 'value')} ({negative.mean():.1%}) are negative, the "
            f"first being {shown}; the smallest is {matrix.min():g}, the largest "
            f"{matrix.max():g}. Linear values must be >= 0 before a logarithm. Choose what fits "
            "your data: negatives=noise takes them as noise around zero (old microarrays), "
            "floor=100 raises all smaller values to 100, offset=16 adds a constant, scale=log says "
            "that they are logarithms already (for example --params=negatives=noise)."
        )
    return matrix
