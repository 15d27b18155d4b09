"""Gene symbols that a spreadsheet turned into dates, and what they probably were.

About a fifth of the papers with supplementary gene lists have them (Ziemann et al. 2016,
doi:10.1186/s13059-016-1044-7), in the date style of the author's country (Abeysooriya et al. 2021,
doi:10.1371/journal.pcbi.1008984). The genes were renamed for it: SEPT2 is SEPTIN2, MARCH3 is
MARCHF3, MARC1 is MTARC1 (Bruford et al. 2020, doi:10.1038/s41588-020-0669-3).

``2-Sep`` can only be SEPTIN2. ``1-Mar`` is MARCHF1 or MTARC1, and nobody can say which.
"""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

SEPTIN, MARCH, DECEMBER, OCTOBER, APRIL = 9, 3, 12, 10, 4
_MONTHS = {
    "jan": 1, "january": 1, "feb": 2, "february": 2, "mar": 3, "march": 3, "apr": 4, "april": 4,
    "may": 5, "jun": 6, "june": 6, "jul": 7, "july": 7, "aug": 8, "august": 8, "sep": 9, "sept": 9,
    "september": 9, "oct": 10, "october": 10, "nov": 11, "november": 11, "dec": 12, "december": 12,
    "mrz": 3, "mär": 3, "märz": 3, "mars": 3, "mai": 5, "okt": 10, "out": 10, "set": 9, "dez": 12,
    "dic": 12, "déc": 12,
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY_MONTH = re.compile(rf"(\d{{1,2}})[-. /]+({_MONTH})\.?(?:[-. /]+(?:\d{{2}}|\d{{4}}))?", re.I)
_MONTH_DAY = re.compile(rf"({_MONTH})[-. /]+(\d{{1,2}})", re.I)
_ISO = re.compile(r"\d{4}-(\d{2})-(\d{2})(?:[ T]00:00(?::00)?)?")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(?:\d{2}|\d{4})")
_SERIAL = re.compile(r"[34]\d{4}")  # days since 1899-12-30: 1982 to 2036
_MAYBE = re.compile(r"\d[-. /+]|[-. /+]\d")  # every damaged name has this, few sound ones do
_RIKEN = re.compile(r"\d(?:\.\d+)?[eE]\+\d{1,3}")

_NEW = {"SEPT": "SEPTIN", "MARCH": "MARCHF", "MARC": "MTARC"}
_FORMER = {new: former for former, new in _NEW.items()}
_RENAMED = re.compile(rf"({'|'.join([*_NEW, *_FORMER])})(\d{{1,2}})", re.I)

_OTHERS = {
    (SEPTIN, 13): ["SEPTIN7P2"],
    (SEPTIN, 15): ["SELENOF"],  # formerly SEP15
    (MARCH, 1): ["MARCHF1", "MTARC1"],
    (MARCH, 2): ["MARCHF2", "MTARC2"],
    (DECEMBER, 1): ["DELEC1", "BHLHE40"],  # DEC1 is the old symbol of one, an alias of the other
    (DECEMBER, 2): ["BHLHE41"],
    (OCTOBER, 1): ["POU2F1", "SLC22A1"],  # OCT1, an alias of both
    (OCTOBER, 2): ["POU2F2", "SLC22A2"],
    (OCTOBER, 3): ["POU5F1", "SLC22A3"],
    (OCTOBER, 4): ["POU5F1"],
    (OCTOBER, 6): ["POU3F1"],
    (APRIL, 1): ["MAGEH1"],
    (APRIL, 3): ["ATRAID"],
}
_ALIAS_ONLY = (DECEMBER, OCTOBER, APRIL)  # not symbols in their own right: reported, not restored


class Damaged(NamedTuple):
    """A name that a spreadsheet spoiled."""

    found: str
    likely: list[str]  # current HGNC symbols; empty when none is known
    certain: bool  # exactly one original is possible


def inspect(name: str) -> Damaged | None:
    """What ``name`` was before a spreadsheet read it as a date; None when it looks sound."""
    name = name.strip()
    if _RIKEN.fullmatch(name):
        return Damaged(name, [], certain=False)  # a clone id such as 2310009E13, digits lost
    dates = _dates(name)
    if not dates:
        return None
    likely: list[str] = []
    for month, number in dates:
        likely += [symbol for symbol in originals(month, number) if symbol not in likely]
    certain = len(likely) == 1 and len(dates) == 1 and dates[0][0] not in _ALIAS_ONLY
    return Damaged(name, likely, certain)


def originals(month: int, number: int) -> list[str]:
    """Symbols that a spreadsheet reads as the ``number``-th of ``month``."""
    if (month, number) in _OTHERS:
        return _OTHERS[month, number]
    if month == SEPTIN and 1 <= number <= 14:
        return [f"SEPTIN{number}"]
    if month == MARCH and 1 <= number <= 11:
        return [f"MARCHF{number}"]
    return []


def other_name(symbol: str) -> str | None:
    """The former symbol of a gene that was renamed for spreadsheets, or the new one of a former."""
    found = _RENAMED.fullmatch(symbol)
    if not found:
        return None
    family = found[1].upper()
    return f"{_NEW.get(family) or _FORMER[family]}{found[2]}"


def find_damaged(names: Sequence[str]) -> list[Damaged]:
    """Every damaged name among ``names``, in order, repeated when it is repeated.

    Five-digit numbers count as dates only where nearly all other names are words: Entrez ids are
    numbers too.
    """
    numeric = sum(name.isdigit() for name in names)
    entrez = numeric > 0.02 * len(names) + 5
    found = []
    for name in names:
        if name.isdigit() if entrez else not (name.isdigit() or _MAYBE.search(name)):
            continue
        damaged = inspect(name)
        if damaged and not (name.isdigit() and not damaged.likely):
            found.append(damaged)
    return found


def in_case_of(symbol: str, names: Sequence[str]) -> str:
    """``symbol`` in the style of ``names``: mouse and rat tables write Septin2."""
    words = [name for name in names if name[:1].isalpha() and len(name) > 2][:2000]
    titled = sum(word[0].isupper() and word[1:].islower() for word in words if word.isalnum())
    return symbol.capitalize() if words and titled > 0.5 * len(words) else symbol


def _dates(name: str) -> list[tuple[int, int]]:
    """(month, day) that ``name`` may stand for: two when day and month cannot be told apart."""
    if found := _DAY_MONTH.fullmatch(name):
        return [(_MONTHS[found[2].lower()], int(found[1]))]
    if found := _MONTH_DAY.fullmatch(name):
        return [(_MONTHS[found[1].lower()], int(found[2]))]
    if found := _ISO.fullmatch(name):
        return [(int(found[1]), int(found[2]))]
    if found := _SLASHED.fullmatch(name):
        first, second = int(found[1]), int(found[2])
        pairs = {(first, second), (second, first)}
        return sorted(pair for pair in pairs if 1 <= pair[0] <= 12 and 1 <= pair[1] <= 31)
    if _SERIAL.fullmatch(name):
        day = date(1899, 12, 30) + timedelta(days=int(name))
        return [(day.month, day.day)]
    return []
