"""Which matrix of a file holds raw counts, and what the others look like.

Single-cell files keep counts in ``X``, in ``layers["counts"]`` or in ``raw``, and normalised values
in the others. A look at some two thousand cells tells them apart; the whole is checked when it is
read. What is not counts is described in the words of the tools that make it, so that the person
knows which matrix to ask for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse

from synthome.anndata_schema import COUNTS
from synthome.errors import InputError
from synthome.ingestion.journal import some
from synthome.ingestion.matrices import RowMatrix
from synthome.ingestion.scale import EXPECTED_COUNTS, LOG_AT_MOST

LOOK_AT = 2_000  # cells
STRETCHES = 4  # from places spread over the file
SEARCH = (f"layers/{COUNTS}", "X", "raw/X")  # in this order
EVEN = 2e-3  # relative spread of sums that are meant to be one number
WHOLE, PRECISION = 0.02, 1e-5  # how near to a whole number k a value comes: WHOLE + k PRECISION
NEARLY_ALL = 0.99


@dataclass(frozen=True)
class Look:
    """What a matrix looks like."""

    is_counts: bool
    words: str


def find_counts(
    places: Mapping[str, RowMatrix], layer: str | None = None
) -> tuple[str, dict[str, str]]:
    """The first matrix of ``SEARCH`` that holds raw counts, or the one asked for.

    Parameters
    ----------
    places
        Every matrix of a file by its place: ``X``, ``raw/X``, ``layers/NAME``.
    layer
        ``X``, ``raw`` or the name of a layer; None searches.

    Returns
    -------
    The place, and what the matrices that were passed over look like.

    Raises
    ------
    InputError
        If none holds counts, or the one asked for does not.
    """
    asked = SEARCH if layer is None else (_place_of(layer, places),)
    passed: dict[str, str] = {}
    for name in asked:
        if name not in places:
            continue
        seen = look(some_rows(places[name]))
        if seen.is_counts:
            return name, passed
        passed[name] = seen.words
    others = [name for name in places if name not in passed]
    fit = [name for name in others if look(some_rows(places[name])).is_counts]
    told = "; ".join(f"{name} holds {words}" for name, words in passed.items())
    advice = (
        f"{some(fit)} has whole numbers >= 0: if these are the raw counts, say "
        f"--params=layer={_name_of(fit[0])}"
        if fit
        else "Store the untouched counts in layers['counts'] of the file, as they were before "
        "normalisation, and run again"
    )
    raise InputError(
        f"Raw counts (whole numbers >= 0) are needed, but {told or 'there is no expression'}. "
        f"{advice}."
    )


def look(block: sparse.csr_matrix) -> Look:
    """What some cells look like: (n_obs, n_vars) values as they stand in the file."""
    x = block.data.astype(np.float64)
    if not np.isfinite(x).all():
        return Look(False, "missing or infinite values")
    if not x.size:
        return Look(True, "zeros alone")
    low, high = float(x.min()), float(x.max())
    if low < 0:
        return Look(False, _describe_negative(block, low, high))
    whole = np.rint(x) == x
    if whole.all():
        return Look(True, "whole numbers >= 0")
    return Look(False, _describe_decimals(block, x, float(whole.mean()), low, high))


def some_rows(matrix: RowMatrix) -> sparse.csr_matrix:
    """At most ``LOOK_AT`` rows, from stretches spread over the matrix."""
    n_rows = matrix.shape[0]
    if n_rows <= LOOK_AT:
        return matrix.rows(0, n_rows)
    size = LOOK_AT // STRETCHES
    starts = np.linspace(0, n_rows - size, STRETCHES).astype(int)
    return sparse.vstack([matrix.rows(int(s), int(s) + size) for s in starts], format="csr")


def unit_of_cells(x: sparse.csr_matrix) -> Float[np.ndarray, " n_obs"]:
    """The smallest value of each row: what one molecule became, if counts were scaled per cell."""
    unit = np.ones(x.shape[0])
    filled = np.diff(x.indptr) > 0
    unit[filled] = np.minimum.reduceat(x.data, x.indptr[:-1][filled])
    return unit


def share_of_whole(x: sparse.csr_matrix) -> float:
    """Share of the non-zero values that are a whole multiple of the smallest of their row."""
    multiple = x.data / np.repeat(unit_of_cells(x), np.diff(x.indptr))
    off = np.abs(multiple - np.rint(multiple))
    return float((off < WHOLE + PRECISION * multiple).mean())


def _describe_negative(block: sparse.csr_matrix, low: float, high: float) -> str:
    """Words for values some of which are below zero."""
    mean = np.asarray(block.mean(axis=0)).ravel()
    square = np.asarray(block.multiply(block).mean(axis=0)).ravel()
    std = np.sqrt(np.maximum(square - mean**2, 0))
    varies = std > 0
    if np.median(np.abs(mean[varies]) / std[varies]) < 0.2:
        return f"scaled values (each gene centred at 0, from {low:.3g} to {high:.3g})"
    return f"negative values (from {low:.3g} to {high:.3g}), as residuals and log ratios are"


def _describe_decimals(
    block: sparse.csr_matrix, x: Float[np.ndarray, " nnz"], whole: float, low: float, high: float
) -> str:
    """Words for values >= 0 with decimals."""
    values = block.astype(np.float64)
    total = _even_sum(values)
    if total:
        return f"values that add up to {total:,.0f} in each cell (normalised, without a logarithm)"
    if whole > EXPECTED_COUNTS:
        return (
            f"expected or corrected counts ({whole:.0%} whole, the others with decimals: RSEM, "
            "salmon, ambient RNA removed)"
        )
    if high <= LOG_AT_MOST:
        for base, linear in (("log1p", np.expm1(x)), ("log2(1 + x)", np.exp2(x) - 1)):
            undone = sparse.csr_matrix((linear, values.indices, values.indptr), shape=values.shape)
            total = _even_sum(undone)
            if total:
                cp10k = " (log1p CP10k)" if base == "log1p" and round(total, -2) == 1e4 else ""
                return f"{base} of counts per {total:,.0f}{cp10k}"
            if share_of_whole(undone) > NEARLY_ALL:
                return f"{base} of counts that were divided by the size of their cell"
        return f"logarithms (values with decimals up to {high:.3g})"
    if share_of_whole(values) > NEARLY_ALL:
        return "counts that were divided by the size of their cell"
    return f"values with decimals from {low:.3g} to {high:.3g}"


def _even_sum(values: sparse.csr_matrix) -> float:
    """The sum of all rows, when it is the same; else 0."""
    sums = np.asarray(values.sum(axis=1)).ravel()
    sums = sums[sums > 0]
    middle = float(np.median(sums)) if sums.size else 0.0
    return middle if middle and np.std(sums) < EVEN * middle else 0.0


def _place_of(layer: str, places: Mapping[str, RowMatrix]) -> str:
    """The place that a person means by ``layer``."""
    for name in ({"raw": "raw/X"}.get(layer, layer), f"layers/{layer}"):
        if name in places:
            return name
    raise InputError(
        f"There is no layer {layer!r}. The file has: "
        f"{some([_name_of(name) for name in places], 12)}. Name one with --params=layer=NAME."
    )


def _name_of(place: str) -> str:
    """How a person names a place: ``X``, ``raw``, or the layer."""
    return "raw" if place == "raw/X" else place.removeprefix("layers/")
