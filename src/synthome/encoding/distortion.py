"""What the text code loses, and what it costs: bits per gene against the quality of decoding.

Of test rows x, coded by a table that was fitted on training rows, with z in standard deviations of
the training rows and z' what comes back:

    bits per gene = - sum_s f_s log2 f_s        f_s: share of symbol s in the test rows       (1)
    decode R2     = 1 - sum (z - z')^2 / sum (z - mean z)^2        over all rows and genes    (2)

Eq. 1 is the entropy of single symbols: what a code without context could reach, and a language
model is to undercut. A fixed number of bits, log2 of the size of the table, is given beside it.

Eq. 2 weighs genes alike, and so one that is all but constant in the training rows can decide it: a
test value at 500 standard deviations is clipped, and outweighs all others. ``decode_r2_units`` is
the same in units of x, about the training mean of each gene.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from synthome.encoding.lookup_table import PUBLISHED, LookupTable, LookupTableConfig
from synthome.preprocessing.scaling import Standardiser

PRECISIONS = (2, 3, 4, 5, 6, 7, 8, 10)
UNCODED = "uncoded"  # the row of the values as they were measured

# Training rows and their labels, test rows and theirs -> accuracy on the test rows.
Downstream = Callable[
    [
        Float[np.ndarray, "n_train n_vars"],
        Shaped[np.ndarray, " n_train"],
        Float[np.ndarray, "n_test n_vars"],
        Shaped[np.ndarray, " n_test"],
    ],
    float,
]


def distortion(
    train: Float[np.ndarray, "n_train n_vars"],
    test: Float[np.ndarray, "n_test n_vars"],
    precisions: Sequence[int] = PRECISIONS,
    *,
    config: LookupTableConfig | None = None,
    downstream: Downstream | None = None,
    train_labels: Shaped[np.ndarray, " n_train"] | None = None,
    test_labels: Shaped[np.ndarray, " n_test"] | None = None,
) -> pd.DataFrame:
    """One row for each precision, with ``config`` and in the published setting.

    Parameters
    ----------
    config
        Choices other than ``float_precision``; the defaults if not given.
    downstream
        Scores decoded rows with their labels; without it, ``accuracy`` is NaN. A row ``uncoded``
        holds what the values themselves reach.

    Returns
    -------
    Columns ``setting`` (default, published, uncoded), ``float_precision``, ``companding_max``,
    ``n_symbols`` (in use in the test rows), ``table_bits``, ``bits_per_gene``, ``decode_r2``,
    ``decode_r2_units``, ``clipped_train``, ``clipped_test`` (shares), ``max_error`` (standard
    deviations) and ``accuracy``.
    """

    def accuracy(of_train: np.ndarray, of_test: np.ndarray) -> float:
        if downstream is None or train_labels is None or test_labels is None:
            return float("nan")
        return float(downstream(of_train, train_labels, of_test, test_labels))

    rows: list[dict[str, Any]] = []
    for setting, choices in (("default", config or LookupTableConfig()), ("published", PUBLISHED)):
        for precision in precisions:
            # Built anew and not copied, so that a precision out of range is refused.
            chosen = LookupTableConfig(**choices.model_dump() | {"float_precision": precision})
            table = LookupTable.fit(train, chosen)
            row = {"setting": setting, "float_precision": precision} | measure(table, train, test)
            decoded = (table.decode(table.encode(x)) for x in (train, test))
            rows.append(row | {"accuracy": accuracy(*decoded)})
    if downstream is not None:
        exact = {"decode_r2": 1.0, "decode_r2_units": 1.0, "max_error": 0.0}
        nothing = {"clipped_train": 0.0, "clipped_test": 0.0}
        rows.append({"setting": UNCODED} | exact | nothing | {"accuracy": accuracy(train, test)})
    return pd.DataFrame(rows)


def measure(
    table: LookupTable,
    train: Float[np.ndarray, "n_train n_vars"],
    test: Float[np.ndarray, "n_test n_vars"],
) -> dict[str, float]:
    """Eqs. 1 and 2 of one table, with what is clipped and the largest error."""
    share = np.bincount(table.codes(test).ravel(), minlength=len(table.alphabet)) / test.size
    used = share[share > 0]
    error = table.decode(table.encode(test)) - test
    spread = Standardiser.fit(train.astype(np.float64, copy=False))  # the table may have none
    z = (test - spread.shift) / spread.scale
    return {
        "companding_max": table.companding_max,
        "n_symbols": len(used),
        "table_bits": float(np.log2(len(table.alphabet))),
        "bits_per_gene": float(-(used * np.log2(used)).sum()),
        "decode_r2": _r2(error / spread.scale, z - z.mean()),
        "decode_r2_units": _r2(error, test - spread.shift),
        "clipped_train": table.clipped_fraction(train),
        "clipped_test": table.clipped_fraction(test),
        "max_error": float(np.abs(error / spread.scale).max()),
    }


def _r2(error: Float[np.ndarray, "n m"], spread: Float[np.ndarray, "n m"]) -> float:
    """Share of the squares that is not lost; NaN where there is nothing to lose."""
    total = float((spread**2).sum())
    return 1.0 - float((error**2).sum()) / total if total else float("nan")
