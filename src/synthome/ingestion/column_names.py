"""Whose column is ``CeD_12.bam``? Names of a supplement matched to the samples of a series.

Authors name columns by accession, by title, by a piece of the title, or with something added.
Each rule is tried on each field of the series matrix, and the one that places most columns is told.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

ENOUGH = 0.8  # of columns or of samples: what a rule that looks inside names must place


class Placed(NamedTuple):
    """Which sample each column belongs to."""

    accessions: dict[str, str]  # column name to geo_accession
    rule: str  # in words


def place_columns(columns: Iterable[str], samples: pd.DataFrame) -> Placed:
    """Match column names to samples, one to one.

    Parameters
    ----------
    columns
        Names of a supplementary table, those of gene columns among them.
    samples
        Sheet of a series matrix, index geo_accession.
    """
    names = [str(column) for column in columns]
    fields = {"accession": [str(index) for index in samples.index]} | {
        str(field): [str(value) for value in samples[field]] for field in samples.columns
    }
    best = Placed({}, "")
    rules: dict[str, Callable[[str], str]] = {"the": str.strip, "the simplified": squeezed}
    for word, key in rules.items():
        for field, values in fields.items():
            found = _equal(names, values, list(samples.index), key)
            if len(found) > len(best.accessions):
                best = Placed(found, f"by {word} {field}")
    if len(best.accessions) == len(samples):
        return best
    for field, values in fields.items():
        found = _contained(names, values, list(samples.index))
        enough = len(found) >= ENOUGH * min(len(names) - 1, len(samples))
        if enough and len(found) > len(best.accessions):
            best = Placed(found, f"by a piece of the {field}")
    return best


def squeezed(name: str) -> str:
    """A name in small letters and digits alone, without the X that R puts before a digit."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^x(?=\d)", "", name.strip().lower()))


def _equal(
    names: list[str], values: list[str], accessions: list[str], key: Callable[[str], str]
) -> dict[str, str]:
    """Columns whose key is that of exactly one sample, and of no other column."""
    own, other = [key(name) for name in names], [key(value) for value in values]
    own_times, other_times = Counter(own), Counter(other)
    accession = dict(zip(other, accessions, strict=True))
    return {
        name: accession[k]
        for name, k in zip(names, own, strict=True)
        if k and own_times[k] == 1 and other_times[k] == 1
    }


def _contained(names: list[str], values: list[str], accessions: list[str]) -> dict[str, str]:
    """Columns that are whole words of exactly one value, or hold one, and the reverse."""
    own, other = [_words(name) for name in names], [_words(value) for value in values]
    pairs = [
        (i, j)
        for i, a in enumerate(own)
        for j, b in enumerate(other)
        if len(a) > 3 and len(b) > 3 and (a in b or b in a)
    ]
    by_name = Counter(i for i, _ in pairs)
    clear = [(i, j) for i, j in pairs if by_name[i] == 1]
    by_value = Counter(j for _, j in clear)
    return {names[i]: accessions[j] for i, j in clear if by_value[j] == 1}


def _words(name: str) -> str:
    """A name as words between single spaces, with one at each end."""
    return f" {' '.join(re.findall('[a-z0-9]+', name.lower()))} "
