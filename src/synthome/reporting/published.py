"""What the published five-seed check says, in two or three sentences for a clinician.

Two numbers carry the publication: the accuracy of a forest trained on synthetic rows, and R² of the
gene means. Its code calls either of them excellent above 0.9, and that is what passing means here.
The sentences say which generators pass, whether copied patients and noise pass as well, and what
passing can therefore tell; the spread between patients, which neither number shows, is named where
its slope leaves 0.9 to 1.1.

RareDisease-Transcriptome-VAE, public code of the publication, commit 2ddc8fb:
src/analyze_quality.py (the word excellent and its limit).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from synthome.errors import InputError
from synthome.evaluation.published import ACCURACY, SUMMARY_COLUMNS
from synthome.plotting.scores import format_number
from synthome.reporting.phrases import capital, listed

EXCELLENT = 0.9
RIGHT_SPREAD = (0.9, 1.1)  # slope of the gene spreads
MEAN_R2 = "mean_r2"
CONTROLS = {  # name -> how it is called, and what passing does not show where it passes
    "copies": (
        "exact copies of the patients",
        "that the synthetic patients are more than the real ones handed out again",
    ),
    "independent_noise": (
        "noise in which no gene knows of another",
        "that a generator has learned how genes work together",
    ),
}


@dataclass(frozen=True)
class Result:
    """Means over seeds of one generator."""

    name: str
    accuracy: float
    accuracy_sd: float
    mean_r2: float
    std_slope: float  # NaN where it was not measured
    coexpression_r: float  # NaN where it was not measured

    @property
    def passes(self) -> bool:
        """Whether the publication would call both numbers excellent."""
        return self.accuracy > EXCELLENT and self.mean_r2 > EXCELLENT

    @property
    def called(self) -> str:
        """Name and numbers, as they stand in a sentence."""
        name = CONTROLS[self.name][0] if self.name in CONTROLS else self.name
        around = f" ± {_percent(self.accuracy_sd)}" if math.isfinite(self.accuracy_sd) else ""
        right = f"{_percent(self.accuracy)}{around} % sorted right"
        return f"{name} ({right}, R² {format_number(self.mean_r2, decimals=3)})"


def published_words(summary: pd.DataFrame) -> str:
    """Say what the published check tells of each generator, of copies and noise, and what not.

    Parameters
    ----------
    summary
        What ``published_summary`` returned.

    Raises
    ------
    InputError
        If a column is missing, or a generator has no accuracy or no R² of gene means.
    """
    results = _read(summary)
    models = [result for result in results if result.name not in CONTROLS]
    controls = [result for result in results if result.name in CONTROLS]
    passed = any(model.passes for model in models)
    opening = (
        "The published check asks how well a computer that learned from synthetic patients sorts "
        "real ones into groups formed without any diagnosis, and whether average gene levels "
        "agree: by it,"
    )
    sentences = []
    if models:
        sentences.append(f"{opening} {_graded(models)}.")
    if controls:
        said = _graded(controls, " as well" if passed else "") + _although(controls)
        sentences.append(f"{capital(said) if models else f'{opening} {said}'}.")
    return " ".join([*sentences, f"{_conclusion(models, controls)}."])


def _graded(results: Sequence[Result], as_well: str = "") -> str:
    """``a and b are excellent; c is not``."""
    passing = [result for result in results if result.passes]
    failing = [result for result in results if not result.passes]
    parts = []
    if passing:
        parts.append(f"{_named(passing)} {_verb(passing)} excellent{as_well}")
    if failing:
        parts.append(f"{_named(failing)} {_verb(failing)} not{'' if passing else ' excellent'}")
    return "; ".join(parts)


def _although(controls: Sequence[Result]) -> str:
    """What failing controls do reach, or how noise that passes could be noticed."""
    failing = [control for control in controls if not control.passes]
    if failing:
        if all(control.mean_r2 > EXCELLENT for control in failing):
            return ", although average gene levels match"
        if all(control.accuracy > EXCELLENT for control in failing):
            return ", although patients are sorted right"
        return ""
    noticed = [c for c in controls if c.name != "copies" and c.coexpression_r <= EXCELLENT]
    if not noticed:
        return ""
    r = format_number(noticed[0].coexpression_r)
    return f" (only the co-expression score, which stands outside this check, notices noise: {r})"


def _conclusion(models: Sequence[Result], controls: Sequence[Result]) -> str:
    """What the check can tell here, and what it cannot."""
    passing = [control for control in controls if control.passes]
    good = [model for model in models if model.passes]
    hidden = " or ".join(CONTROLS[control.name][1] for control in passing)
    never = "that synthetic patients help with a diagnosis or stand for patients not seen before"
    if not controls:
        said = (
            "Without copied patients and noise beside it, nobody can say what this result is worth"
        )
    elif not models:
        said = f"Passing it would not show {hidden}" if passing else "Nothing passes it here"
    elif good and passing:
        said = f"Passing therefore does not show {hidden}, nor {never}"
    elif good:
        said = (
            f"Here the check does tell {listed([m.name for m in good])} from "
            f"{listed([CONTROLS[c.name][0] for c in controls])}, but it does not show {never}"
        )
    elif passing:
        reached = listed([CONTROLS[control.name][0] for control in passing])
        said = (
            f"Falling short of what {reached} reach{'es' if _verb(passing) == 'is' else ''} is a "
            f"warning, but passing would not show {hidden}, nor {never}"
        )
    else:
        said = "Since nothing passes, the check tells nothing apart on this cohort"
    return said + _spread(good)


def _spread(models: Sequence[Result]) -> str:
    """Name the models that pass although their patients are too alike or too different."""
    low, high = RIGHT_SPREAD
    wrong = [
        f"{model.name} are too {'alike' if model.std_slope < low else 'different'} (slope of "
        f"spreads {format_number(model.std_slope)}, 1 is right)"
        for model in models
        if model.std_slope < low or model.std_slope > high
    ]
    if not wrong:
        return ""
    return f"; and neither number shows that the patients of {listed(wrong)}"


def _named(results: Sequence[Result]) -> str:
    return listed([result.called for result in results])


def _verb(results: Sequence[Result]) -> str:
    return "are" if len(results) > 1 or results[0].name == "copies" else "is"


def _percent(share: float) -> str:
    return f"{round(100.0 * share, 1):g}"


def _read(summary: pd.DataFrame) -> list[Result]:
    """Results in the order of the summary."""
    missing = [column for column in SUMMARY_COLUMNS if column not in summary]
    if missing or summary.empty:
        raise InputError(
            "The summary of the published check must have rows and the columns "
            f"{', '.join(SUMMARY_COLUMNS)}, but it has {len(summary)} rows and lacks "
            f"{', '.join(missing) or 'no column'}. Give what published_summary returns."
        )
    mean = summary.pivot(index="generator", columns="metric", values="mean")
    sd = summary.pivot(index="generator", columns="metric", values="sd")
    names = summary["generator"].unique().tolist()
    needed = mean.reindex(index=names, columns=[ACCURACY, MEAN_R2])
    lacking = [name for name in names if needed.loc[name].isna().any()]
    if lacking:
        raise InputError(
            f"The summary of the published check has no {ACCURACY} or no {MEAN_R2} for "
            f"{', '.join(lacking)}. Give the whole summary."
        )
    others = mean.reindex(columns=["std_slope", "coexpression_r"])
    return [
        Result(
            name=name,
            accuracy=float(mean.loc[name, ACCURACY]),
            accuracy_sd=float(sd.loc[name, ACCURACY]),
            mean_r2=float(mean.loc[name, MEAN_R2]),
            std_slope=float(others.loc[name, "std_slope"]),
            coexpression_r=float(others.loc[name, "coexpression_r"]),
        )
        for name in names
    ]
