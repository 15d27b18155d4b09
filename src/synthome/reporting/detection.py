"""From which dose on a change is seen, in which cell types, and by what: sentences and a table.

The signature score is told which genes to look for and the latents are not. Which of the two needs
the smaller dose is said either way, in numbers of cell types and directions.
"""

import math

import numpy as np
import pandas as pd

from synthome.plotting.detection import SETS, TARGET
from synthome.plotting.representations import LATENTS, SIGNATURE, in_order, look
from synthome.reporting.phrases import capital, joined, listed, percent

MOSTLY = 0.75  # of the comparisons with a winner: one is called the better from here on
ALARMS = 0.05  # that a test may raise where nothing was changed
NAMED = 3  # cell types that are named in a sentence


def detection_answer(smallest: pd.DataFrame, power: pd.DataFrame, alarms: pd.DataFrame) -> str:
    """Say from which dose on the latents show a change, and whether a signature score does better.

    Parameters
    ----------
    smallest, power, alarms
        What ``evaluation.detection.smallest_detectable_dose``, ``detection_power`` and
        ``false_alarms`` returned.
    """
    if smallest.empty:
        return (
            "Cannot tell: no cell type has enough held-out cells for two samples. Give more cells, "
            "or name broader types."
        )
    largest = float(power["dose"].max())
    sets = _sets(smallest)
    sentences = [_of_set(smallest, name, largest) for name in sets]
    sentences.append(_cells(power))
    sentences.append(against_signature(smallest))
    sentences.append(_false_alarms(alarms))
    return joined(sentences)


def against_signature(smallest: pd.DataFrame, other: str = SIGNATURE) -> str:
    """Whether the latents or a score of two numbers for each cell need the smaller dose."""
    wide = _wide(smallest)
    if LATENTS not in wide or other not in wide:
        return ""
    ours, theirs = wide[LATENTS].to_numpy(), wide[other].to_numpy()
    n, lost, won = len(wide), int((theirs < ours).sum()), int((ours < theirs).sum())
    medians = f"median {dose_words(np.median(theirs))} against {dose_words(np.median(ours))}"
    told = "It is told which genes to look for, and the latents are not"
    where = f"of {n} comparisons (cell types and directions)"
    decided = lost + won  # where neither is reached, nobody wins
    if 2 * lost >= n and lost >= MOSTLY * decided:
        return (
            f"The plain signature score, two numbers for each cell, wins: it needs a smaller dose "
            f"than the latents in {lost} {where}; {medians}. {told}."
        )
    if 2 * won >= n and won >= MOSTLY * decided:
        return (
            f"The latents win over the plain signature score, two numbers for each cell: they need "
            f"a smaller dose in {won} {where}; for the score, {medians}. {told}."
        )
    return (
        f"Neither the latents nor the plain signature score, two numbers for each cell, is ahead: "
        f"the score needs a smaller dose in {lost} {where} and a larger one in {won}; {medians}. "
        f"{told}."
    )


def detection_table(smallest: pd.DataFrame) -> pd.DataFrame:
    """Smallest dose with its interval, a row for each cell type and direction."""
    views = in_order(smallest["representation"].tolist())
    rows = []
    for (cell_type, name), of in smallest.groupby(["cell_type", "gene_set"], sort=True):
        row = {"Cell type": str(cell_type), "Genes": SETS.get(str(name), str(name))}
        by_view = of.set_index("representation")
        for view in views:
            row[look(view).name] = (
                _with_interval(by_view.loc[view]) if view in by_view.index else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def median_dose(smallest: pd.DataFrame, representation: str, column: str = "dose") -> float:
    """Median over cell types and directions, a dose that was not reached being beyond all others.

    Infinite when half of them were not reached.
    """
    of = smallest.loc[smallest["representation"] == representation, column]
    return float(np.median(of.fillna(np.inf))) if len(of) else math.nan


def dose_words(dose: float) -> str:
    """A factor, as ``2.1 ×``."""
    return f"{dose:.2g} ×" if math.isfinite(dose) else "not reached"


def _of_set(smallest: pd.DataFrame, name: str, largest: float) -> str:
    of = smallest[(smallest["gene_set"] == name) & (smallest["representation"] == LATENTS)]
    if of.empty:
        return ""
    start = capital(SETS.get(name, f"set {name}"))
    seen = of.dropna(subset=["dose"]).sort_values("dose")
    often = f"in {percent(TARGET)} of repeats"
    n = len(of)
    if seen.empty:
        return (
            f"{start}: from the latents, the change is not seen {often} in any of {n} cell types, "
            f"up to {dose_words(largest)}."
        )
    first, last = seen.iloc[0], seen.iloc[-1]
    said = f"{start}: from the latents, the change is seen {often} from {_place(first)} on"
    if len(seen) > 1:
        said += f", and last from {_place(last)} on"
    unseen = sorted(map(str, of.loc[of["dose"].isna(), "cell_type"]))
    if unseen:
        which = f" ({listed(unseen)})" if len(unseen) <= NAMED else ""
        said += (
            f"; in {len(unseen)} of {n} cell types{which} it is not seen, up to "
            f"{dose_words(largest)}"
        )
    return f"{said}."


def _cells(power: pd.DataFrame) -> str:
    least, most = int(power["n_cells"].min()), int(power["n_cells"].max())
    n = str(most) if least == most else f"{least} to {most}"
    return f"Each test compares {n} changed cells with as many others of their type."


def _place(row: "pd.Series[float]") -> str:
    return f"{dose_words(float(row['dose']))} ({row['cell_type']})"


def _false_alarms(alarms: pd.DataFrame) -> str:
    """Whether the tests keep what they promise where nothing was changed."""
    if alarms.empty:
        return ""
    high = alarms[alarms["low"] > ALARMS]
    low, top = alarms["share"].min(), alarms["share"].max()
    between = dict.fromkeys((percent(low, 1), percent(top, 1)))
    said = (
        f"Where nothing was changed, the tests raise an alarm in {' to '.join(between)} of "
        f"repeats, {percent(ALARMS)} being allowed"
    )
    if high.empty:
        return f"{said}."
    names = listed([_lower(look(name).name) for name in high["representation"]])
    return f"{said}: more than is allowed for {names}, whose power is therefore too high."


def _with_interval(row: "pd.Series[float]") -> str:
    dose, low, high = (float(row[name]) for name in ("dose", "low", "high"))
    if not math.isfinite(dose):
        return f"not reached (above {dose_words(low)})" if math.isfinite(low) else "not reached"
    upper = f"{high:.2g}" if math.isfinite(high) else "not reached"
    return f"{dose_words(dose)} [{low:.2g}, {upper}]" if math.isfinite(low) else dose_words(dose)


def _wide(smallest: pd.DataFrame) -> pd.DataFrame:
    """Doses by representation; what was not reached is infinite."""
    keys = ["cell_type", "gene_set"]
    wide = smallest.pivot(index=keys, columns="representation", values="dose")
    return wide.fillna(np.inf)


def _sets(table: pd.DataFrame) -> list[str]:
    found = list(dict.fromkeys(map(str, table["gene_set"])))
    return sorted(found, key=lambda name: list(SETS).index(name) if name in SETS else len(SETS))


def _lower(name: str) -> str:
    return f"the {name[:1].lower()}{name[1:]}"
