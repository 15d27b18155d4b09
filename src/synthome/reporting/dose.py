"""Whether to add synthetic rows before training a classifier, and how many: one word, one sentence.

The bar is the best classifier on real rows alone, tuned ones included, chosen *after* seeing its
scores, which can only make it harder to beat. Against it stand all doses of all classifiers at
once. Choosing the best of m of them is no free choice: each interval is taken at level 1 - 0.05 / m
(Bonferroni), so that with 95 % confidence all m hold together, whichever is then picked.
"""

import math

import numpy as np
import pandas as pd

from synthome.config import Config
from synthome.errors import InputError
from synthome.evaluation.rates import resampled_interval
from synthome.plotting.dose import KIND_NAMES, METRIC_NAMES, best_baseline, paired_gains
from synthome.plotting.scores import format_number
from synthome.reporting.answers import AdviceWord
from synthome.reporting.rules import VerdictConfig

ALPHA = 0.05  # the risk that any of the intervals misses
DEFAULT = "until a gain is shown, the default stands: do not augment."


class DoseVerdict(Config):
    """The word, the choice that does best, its gain, and the sentence that says it.

    ``dose`` and ``kind`` name the best choice even where the word is not "augment"; ``interval``
    is simultaneous over the ``n_choices`` that were tried.
    """

    advice: AdviceWord
    sentence: str
    dose: float | None = None  # synthetic rows, as a multiple of the real ones
    kind: str = ""
    baseline: str = ""
    gain: float | None = None
    interval: tuple[float, float] | None = None
    n_choices: int = 0


def dose_verdict(
    table: pd.DataFrame,
    n_train: float,
    n_test: float,
    metric: str = "balanced_accuracy",
    config: VerdictConfig | None = None,
) -> DoseVerdict:
    """Augment only if some dose beats real rows alone with its whole simultaneous interval.

    Do not augment when every dose of every classifier is shown to gain less than is worthwhile;
    otherwise the folds cannot tell.

    Parameters
    ----------
    table
        ``evaluation.utility.dose_curve`` of every fold, with columns ``repeat`` and ``fold``.
    n_train, n_test
        Mean number of real rows on both sides of a fold, for the corrected resampled t interval.
    metric
        The score that decides: balanced_accuracy, auc or aupr.
    config
        Gives the smallest gain that is worth the trouble.
    """
    try:
        baseline = best_baseline(table, metric)
    except InputError:
        return DoseVerdict(
            advice="cannot tell",
            sentence=f"Cannot tell: nothing was scored on real rows alone; {DEFAULT}",
        )
    gains = paired_gains(table, metric, baseline)
    tried = {key: rows["gain"].to_numpy(float) for key, rows in gains.groupby(["kind", "dose"])}
    if not tried:
        return DoseVerdict(
            advice="cannot tell",
            sentence=f"Cannot tell: no dose of synthetic rows was tried; {DEFAULT}",
            baseline=baseline,
        )
    found = [
        (float(values.mean()), *simultaneous_interval(values, n_train, n_test, len(tried)), *key)
        for key, values in tried.items()
    ]
    shown = [row for row in found if row[1] > 0.0]
    gain, low, high, kind, dose = max(shown or found, key=lambda row: (row[0], -row[4]))
    worthwhile = (config or VerdictConfig()).worthwhile_gain
    known = math.isfinite(low) and math.isfinite(high)
    if shown:
        advice: AdviceWord = "augment"
    elif all(row[2] < worthwhile for row in found):  # False for NaN
        advice = "do not augment"
    else:
        advice = "cannot tell"
    return DoseVerdict(
        advice=advice,
        sentence=_sentence(
            advice,
            f"a {KIND_NAMES.get(kind, kind)} with {dose:g} × as many synthetic rows as real ones",
            f"{METRIC_NAMES.get(metric, metric).replace('Bal', 'bal')} {_signed(gain)}"
            + (f" [{_signed(low)}, {_signed(high)}]" if known else " (no interval)"),
            f"the best classifier on real rows alone ({KIND_NAMES.get(baseline, baseline)})",
            len(tried),
        ),
        dose=float(dose),
        kind=str(kind),
        baseline=baseline,
        gain=gain,
        interval=(low, high) if known else None,
        n_choices=len(tried),
    )


def simultaneous_interval(
    gains: np.ndarray, n_train: float, n_test: float, n_choices: int
) -> tuple[float, float]:
    """Corrected resampled t interval at level 1 - 0.05 / ``n_choices``.

    Where folds agree exactly, ``resampled_interval`` applies the rule of three, 3 / n, which is
    -ln(0.05) / n and knows no level; it is widened to -ln(0.05 / m) / n.
    """
    low, high = resampled_interval(gains, n_train, n_test, level=1.0 - ALPHA / n_choices)
    if len(gains) and np.ptp(gains) == 0.0:
        mean, reach = float(gains[0]), (high - low) / 2.0
        reach *= math.log(ALPHA / n_choices) / math.log(ALPHA)
        low, high = mean - reach, mean + reach
    return low, high


def _sentence(advice: AdviceWord, what: str, numbers: str, bar: str, n_choices: int) -> str:
    choices = f"{n_choices} choice{'s' if n_choices > 1 else ''} of dose and classifier"
    allowed = f"interval widened for {choices}" if n_choices > 1 else "one choice tried"
    if advice == "augment":
        return f"Augment: {what} beats {bar} ({numbers}; {allowed})."
    if advice == "do not augment":
        return (
            f"Do not augment: none of {choices} gains anything that matters over {bar}; at best, "
            f"{what}: {numbers}."
        )
    return (
        f"Cannot tell: at best, {what} may or may not beat {bar} ({numbers}; {allowed}); {DEFAULT}"
    )


def _signed(value: float) -> str:
    return format_number(value, signed=True, decimals=2)
