"""Whether two columns of cells can be told apart: how far one of them says what the other is.

For n cells, of which n_ab have category a of one column (r categories) and b of the other (k):

    phi^2 = sum_ab (n_ab - n_a. n_.b / n)^2 / (n_a. n_.b)                              (1)
    phi'^2 = max(0, phi^2 - (r - 1)(k - 1) / (n - 1))                                  (2)
    r' = r - (r - 1)^2 / (n - 1),  k' = k - (k - 1)^2 / (n - 1)                        (3)
    V = sqrt(phi'^2 / min(r' - 1, k' - 1))                                             (4)

Without eqs. 2 and 3 this is the V of Cramer (1946), which is above 0 by chance alone. V is 1 when
each column determines the other. One that determines a coarser one is close to 1 but below it, so
that this is told in words beside the number.

Bergsma (2013), Journal of the Korean Statistical Society 42, 323-328.
doi:10.1016/j.jkss.2012.10.002
"""

from collections.abc import Sequence
from itertools import combinations
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from synthome.ingestion.journal import Journal

Report = dict[str, Any]
Table = Int[np.ndarray, "n_a n_b"]


def cramers_v(table: Table) -> float:
    """Eqs. 1-4: association of two columns, 0 for none, 1 when each determines the other.

    Parameters
    ----------
    table
        Cells with each pair of categories; no row and no column is empty.

    Returns
    -------
    V; NaN when a column has one category, or as many as there are cells.
    """
    n = int(table.sum())
    r, k = table.shape
    if n < 2:
        return nan
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi2 = float((np.square(table - expected) / expected).sum()) / n  # eq. 1
    corrected = max(0.0, phi2 - (r - 1) * (k - 1) / (n - 1))  # eq. 2
    most = min(m - 1 - (m - 1) ** 2 / (n - 1) for m in (r, k))  # eq. 3
    return sqrt(corrected / most) if most > 0 else nan  # eq. 4


def contingency(a: pd.Series, b: pd.Series) -> Table:
    """Cells with each category of ``a`` (rows) and of ``b`` (columns)."""
    row, names_a = pd.factorize(a)
    column, names_b = pd.factorize(b)
    shape = len(names_a), len(names_b)
    at = np.ravel_multi_index((row, column), shape)
    return np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape)


def confounding(
    obs: pd.DataFrame, fields: Sequence[str], donor: str | None, journal: Journal
) -> list[Report]:
    """What each field says of each other one and of the donor, with warnings.

    Parameters
    ----------
    obs
        One row per cell; two or more categories in each field, no missing values.
    fields
        Names of columns.
    donor
        The column with the donor, if there is one.
    journal
        Receives a warning for each field that another one determines. That a donor has one sex is
        no warning; it is one that a sex has one donor.

    Returns
    -------
    For each pair ``a``, ``b``, ``cramers_v`` and ``determined``: ``sex by donor``, ``a by b and b
    by a`` when they are the same variable, or nothing.
    """
    pairs = list(combinations(fields, 2))
    if donor is not None and donor not in fields and obs[donor].nunique() > 1:
        pairs += [(name, donor) for name in fields]
    result = []
    for a, b in pairs:
        table = contingency(obs[a], obs[b])
        a_by_b, b_by_a = (table > 0).sum(axis=0).max() == 1, (table > 0).sum(axis=1).max() == 1
        told = [f"{a} by {b}"] * bool(a_by_b) + [f"{b} by {a}"] * bool(b_by_a)
        result.append(
            {"a": a, "b": b, "cramers_v": cramers_v(table), "determined": " and ".join(told)}
        )
        if b_by_a or (a_by_b and b != donor):
            coarse, fine = (a, b) if a_by_b else (b, a)
            each = (
                "each category of one comes with one category of the other"
                if len(told) == 2
                else f"each category of {fine} comes with one category of {coarse}"
            )
            journal.step(
                "fields",
                f"{a} and {b} cannot be told apart: {each}, so that what is found of one may be "
                "due to the other",
                warning=True,
            )
    return result


def combos(obs: pd.DataFrame, fields: Sequence[str]) -> Report:
    """How many combinations of categories there are of how many possible, and the smallest."""
    sizes = obs.groupby(list(fields), observed=True).size()
    smallest = sizes.index[int(sizes.to_numpy().argmin())]
    names = smallest if isinstance(smallest, tuple) else (smallest,)
    return {
        "present": len(sizes),
        "possible": int(np.prod([obs[name].nunique() for name in fields])),
        "smallest": {
            "n_obs": int(sizes.min()),
            "categories": dict(zip(fields, map(str, names), strict=True)),
        },
    }
