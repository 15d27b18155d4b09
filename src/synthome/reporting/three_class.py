"""Cells as they are, turned down, turned up: what tells them apart, and what the protocol adds.

The published experiment splits rows at random, so that twins of a cell stand on both sides, fits
the model to perturbed cells, and multiplies counts. Whether that flatters is computed here and not
assumed.
"""

import math

import numpy as np
import pandas as pd

from synthome.plotting.representations import LATENTS, SIGNATURE, in_order, look
from synthome.plotting.three_class import GUESS, PROTOCOLS
from synthome.reporting.detection import dose_words
from synthome.reporting.phrases import joined, listed, percent

PUBLISHED = 0.91  # accuracy of the published experiment, at a factor that was not published
USUAL = 2.0  # the dose that is compared, where it was tried
CLOSE = 0.02  # accuracies nearer than this are called the same
CONTRAST, CEILING = "latents+contrast", "all_genes"


def three_class_answer(accuracy: pd.DataFrame) -> str:
    """Say from which dose on conditions are told apart, by what, and whether the protocol flatters.

    Parameters
    ----------
    accuracy
        ``accuracy`` of ``evaluation.three_class``, of one protocol or of both.
    """
    strict = accuracy[accuracy["protocol"] == "strict"]
    if strict.empty:
        strict = accuracy
    sentences = [
        _from_which_dose(strict),
        _at_the_usual_dose(strict),
        _against_signature(strict),
        _near_the_ceiling(strict),
        protocol_words(accuracy),
        _against_published(accuracy),
    ]
    return joined(sentences)


def usual_dose(table: pd.DataFrame) -> float:
    """The dose at which scores are reported: 2, or the one nearest to it."""
    doses = np.sort(table["dose"].unique())
    return float(doses[np.argmin(np.abs(np.log(doses / USUAL)))])


def shared_dose(table: pd.DataFrame) -> float:
    """The same among the doses that every protocol has, where there is one."""
    names = table["protocol"].unique() if "protocol" in table else []
    of = [set(table.loc[table["protocol"] == name, "dose"]) for name in names]
    common = set.intersection(*of) if of else set()
    return usual_dose(table[table["dose"].isin(common)] if common else table)


def row_of(
    table: pd.DataFrame, representation: str, dose: float, classifier: str = "logistic"
) -> "pd.Series[float] | None":
    """The row of one representation at a dose; None where it was not tried."""
    chosen = table[
        (table["representation"] == representation)
        & np.isclose(table["dose"], dose)
        & (table["classifier"] == classifier)
    ]
    return None if chosen.empty else chosen.iloc[0]


def protocol_words(accuracy: pd.DataFrame) -> str:
    """By how much the published protocol differs from the strict one for the latents."""
    by = {name: _of(accuracy[accuracy["protocol"] == name], LATENTS) for name in PROTOCOLS}
    both = by["strict"].join(by["published"], lsuffix="_s", rsuffix="_p", how="inner")
    if both.empty:
        return ""
    gap = both["accuracy_p"] - both["accuracy_s"]
    # Half widths of two intervals add up in squares: the two runs draw different test rows.
    reach = np.hypot(*((both[f"high_{x}"] - both[f"low_{x}"]) / 2.0 for x in "sp"))
    at = float(gap.abs().idxmax())
    size, limit = float(gap[at]), float(reach[at])
    points = f"{100 * abs(size):.0f} points"
    start = (
        "The published protocol (twins of one cell in training and test, counts multiplied, the "
        "model fitted to changed cells too) puts "
        f"{percent(both.at[at, 'accuracy_p'])} of the rows right at {dose_words(at)} where the "
        f"strict one has {percent(both.at[at, 'accuracy_s'])}"
    )
    if size > limit:
        return f"{start}: it flatters by {points}."
    if size < -limit:
        return f"{start}: it does not flatter here but costs {points}, since twins mislead."
    return f"{start}: a difference within chance, so that it does not flatter here."


def accuracy_table(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with its interval, a row for each representation, a column for each dose."""
    doses = sorted(accuracy["dose"].unique())
    protocols = [name for name in PROTOCOLS if (accuracy["protocol"] == name).any()]
    rows = []
    for protocol in protocols:
        of = accuracy[accuracy["protocol"] == protocol]
        for view in in_order(of["representation"].tolist()):
            for classifier, found in of[of["representation"] == view].groupby("classifier"):
                row = {"Protocol": protocol, "What is looked at": look(view, str(classifier)).name}
                by_dose = found.set_index("dose")
                for dose in doses:
                    row[f"{dose:g} ×"] = _cell(by_dose, dose)
                rows.append(row)
    return pd.DataFrame(rows)


def _from_which_dose(strict: pd.DataFrame) -> str:
    of = _of(strict, LATENTS)
    start = "Cells as they are, cells with genes turned down and cells with genes turned up"
    seen = of.index[of["low"] > GUESS]
    if len(seen) == 0:
        return (
            f"{start} cannot be told apart from the latents at any dose, up to "
            f"{dose_words(of.index.max())}: no better than guessing ({percent(GUESS)})."
        )
    return (
        f"{start} are told apart from the latents better than by guessing ({percent(GUESS)}) from "
        f"{dose_words(float(seen.min()))} on."
    )


def _at_the_usual_dose(strict: pd.DataFrame) -> str:
    dose = usual_dose(strict)
    ours = row_of(strict, LATENTS, dose)
    if ours is None:
        return ""
    others = []
    for view, words in ((SIGNATURE, "the signature score"), ("pca", "principal components")):
        row = row_of(strict, view, dose)
        if row is not None:
            others.append(f"{words} {percent(row['accuracy'])}")
    everything = row_of(strict, CEILING, dose, "ridge")
    if everything is not None:
        others.append(f"all genes {percent(everything['accuracy'])}")
    against = f"; {listed(others)}" if others else ""
    return f"At {dose_words(dose)} the latents put {_numbers(ours)} of the rows right{against}."


def _against_signature(strict: pd.DataFrame) -> str:
    both = _of(strict, LATENTS).join(
        _of(strict, SIGNATURE), lsuffix="_l", rsuffix="_s", how="inner"
    )
    if both.empty:
        return ""
    lost = int((both["low_s"] > both["high_l"]).sum())
    won = int((both["low_l"] > both["high_s"]).sum())
    n = len(both)
    if lost and not won:
        every = "at every dose" if lost == n else f"at {lost} of {n} doses"
        return (
            f"The two-number signature score does clearly better than all latents {every}, so the "
            "latents alone are not the detector to use where the genes are known."
        )
    if won and not lost:
        every = "at every dose" if won == n else f"at {won} of {n} doses"
        return f"The latents do clearly better than the two-number signature score {every}."
    return "Between the latents and the two-number signature score there is no clear winner."


def _near_the_ceiling(strict: pd.DataFrame) -> str:
    both = _of(strict, CONTRAST).join(
        _of(strict, CEILING, "ridge"), lsuffix="_c", rsuffix="_a", how="inner"
    )
    if both.empty:
        return ""
    gap = both["accuracy_a"] - both["accuracy_c"]
    worst = float(gap.max())
    start = "Joined with a learnt contrast of the residuals, the latents"
    if worst <= CLOSE + 1e-9:
        return f"{start} come within {percent(CLOSE)} of all genes together, at every dose."
    return (
        f"{start} stay {100 * worst:.0f} points below all genes together at "
        f"{dose_words(float(gap.idxmax()))}."
    )


def _against_published(accuracy: pd.DataFrame) -> str:
    """At which dose either protocol has the published accuracy."""
    said = []
    for protocol in PROTOCOLS:
        ours = (accuracy["protocol"] == protocol) & (accuracy["representation"] == LATENTS)
        reached = accuracy[ours].groupby("dose")["accuracy"].max()  # of both classifiers
        if reached.empty:
            continue
        doses = reached.index[reached.round(2) >= PUBLISHED]
        where = (
            f"from {dose_words(float(doses.min()))} on"
            if len(doses)
            else (f"at no dose up to {dose_words(float(reached.index.max()))}")
        )
        said.append(f"{where} under the {protocol} protocol")
    start = f"The published {percent(PUBLISHED)}, whose factor was not published,"
    return f"{start} is reached {' and '.join(said)}."


def _of(table: pd.DataFrame, representation: str, classifier: str = "logistic") -> pd.DataFrame:
    """Accuracy and limits of one representation by dose."""
    chosen = (table["representation"] == representation) & (table["classifier"] == classifier)
    return table[chosen].set_index("dose")[["accuracy", "low", "high"]].sort_index()


def _numbers(row: "pd.Series[float]") -> str:
    low, high = float(row["low"]), float(row["high"])
    around = f" [{100 * low:.0f}, {100 * high:.0f}]" if math.isfinite(low) else ""
    return f"{percent(float(row['accuracy']))}{around}"


def _cell(by_dose: pd.DataFrame, dose: float) -> str:
    return _numbers(by_dose.loc[dose]) if dose in by_dose.index else "–"
