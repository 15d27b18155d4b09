"""The rules of the verdict in one table, and the thresholds they use, each with its reason.

A rule holds when the whole interval of its score lies on the good side of a threshold, fails when
the whole interval lies on the bad side, and is unclear when the interval spans both. A score
without an interval is unclear whatever its value: the verdict claims what intervals support.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from synthome.config import Config
from synthome.plotting.scores import Score

Finding = Literal["holds", "fails", "unclear", "missing"]
Question = Literal["faithful", "useful", "safe"]
Limits = tuple[float, float]


class VerdictConfig(Config):
    """Thresholds of the verdict. Each is a choice: change it here and the words follow."""

    # A spread or a fold change within 10 % of the true one changes no sample-size calculation by
    # more than a fifth (variance enters squared); the published VAE, at 0.18 to 0.40, is far out.
    slope_low: float = Field(default=0.90, gt=0)
    slope_high: float = Field(default=1.10, gt=0)
    # Between two halves of the same real cohort, co-expression r moves by a few hundredths.
    coexpression_margin: float = Field(default=0.05, ge=0)
    # A classifier that is right 60 times in 100 pairs has found little to tell real from synthetic.
    c2st_auc: float = Field(default=0.60, gt=0.5, le=1)
    # The loss against training on real rows that a user would still accept.
    utility_margin: float = Field(default=0.05, ge=0)
    # When real data themselves predict no better than this, no generator can be judged by it.
    learnable_auc: float = Field(default=0.60, ge=0.5, le=1)
    learnable_accuracy_over_chance: float = Field(default=0.10, ge=0, le=1)
    # With few non-members a pooled attack AUC has a standard deviation of 0.05 to 0.08, so that
    # values up to 0.60 cannot be told from guessing; 0.70 is a leak that anybody would call one.
    attack_auc: float = Field(default=0.60, gt=0.5, le=1)
    attack_auc_weak: float = Field(default=0.70, gt=0.5, le=1)
    # Share of members named at the price of 10 % false alarms; guessing names 10 %.
    attack_tpr: float = Field(default=0.25, gt=0.1, le=1)
    attack_tpr_weak: float = Field(default=0.40, gt=0.1, le=1)
    # A gain in balanced accuracy below this is not worth the trouble of augmenting.
    worthwhile_gain: float = Field(default=0.02, ge=0)
    # One patient of a class this small moves its hit rate by more than 3 percentage points.
    small_class: int = Field(default=30, ge=1)
    small_cohort: int = Field(default=100, ge=1)


@dataclass(frozen=True)
class Rule:
    """What must hold of one score, and how each outcome is said in the middle of a sentence."""

    question: Question
    key: str
    limits: Callable[[Score, VerdictConfig], Limits]
    holds: str
    below: str
    above: str
    noise_should_fail: bool = False  # where noise passes too, the score shows no structure

    def said(self, finding: Finding, score: Score, limits: Limits) -> str:
        """Say the outcome in words."""
        if finding == "holds":
            return self.holds
        if finding == "fails":
            return self.below if score.high < limits[0] else self.above
        return f"it is unclear whether {self.holds}"


def judge(score: Score, limits: Limits) -> Finding:
    """Compare an interval with the limits between which a rule holds, both included."""
    if not score.measured:
        return "missing"
    low, high = limits
    if not score.has_interval or math.isnan(low) or math.isnan(high):
        return "unclear"
    if low <= score.low and score.high <= high:
        return "holds"
    return "fails" if score.high < low or score.low > high else "unclear"


def _slope_limits(_score: Score, config: VerdictConfig) -> Limits:
    """Give the slopes that count as 1, whatever the ceiling.

    The ceiling of a slope is measured on the few held-out rows, whose noise lowers it; a
    generator draws as many rows as it likes and has no such excuse.
    """
    return config.slope_low, config.slope_high


def _near_ceiling(score: Score, config: VerdictConfig) -> Limits:
    return score.ceiling - config.coexpression_margin, math.inf


def _c2st_limits(score: Score, config: VerdictConfig) -> Limits:
    ceiling = score.ceiling if math.isfinite(score.ceiling) else 0.5
    return -math.inf, max(config.c2st_auc, ceiling)


def _utility_limits(score: Score, config: VerdictConfig) -> Limits:
    return score.ceiling - config.utility_margin, math.inf


RULES: tuple[Rule, ...] = (
    Rule(
        "faithful",
        "fidelity/std_slope",
        _slope_limits,
        holds="genes vary as much as in real patients",
        below="genes vary too little",
        above="genes vary too much",
    ),
    Rule(
        "faithful",
        "fidelity/coexpression_r",
        _near_ceiling,
        holds="genes move together as they do in real patients",
        below="genes do not move together as they do in real patients",
        above="",
        noise_should_fail=True,
    ),
    Rule(
        "faithful",
        "biology/lfc_slope",
        _slope_limits,
        holds="the differences between the groups have their true size",
        below="the differences between the groups are too small",
        above="the differences between the groups are exaggerated",
    ),
    Rule(
        "faithful",
        "fidelity/c2st_auc",
        _c2st_limits,
        holds="they pass for real patients in front of a classifier",
        below="",
        above="a classifier can tell them from real patients",
        noise_should_fail=True,
    ),
    Rule(
        "useful",
        "utility/tstr_auc",
        _utility_limits,
        holds="a classifier trained on them alone ranks real patients about as well as one trained "
        "on real data",
        below="a classifier trained on them alone ranks real patients less well than one trained "
        "on real data",
        above="",
        noise_should_fail=True,
    ),
    Rule(
        "useful",
        "utility/tstr_balanced_accuracy",
        _utility_limits,
        holds="a classifier trained on them alone puts real patients in the right group about as "
        "often as one trained on real data",
        below="a classifier trained on them alone puts real patients in the right group less often "
        "than one trained on real data",
        above="",
        noise_should_fail=True,
    ),
)


def is_learnable(score: Score, n_classes: int, config: VerdictConfig) -> bool:
    """Whether real data predict the label at all, so that synthetic data can be judged by it."""
    if not math.isfinite(score.ceiling):
        return True  # unknown: the rule itself will be unclear
    if score.key.endswith("_auc"):
        return score.ceiling >= config.learnable_auc
    return score.ceiling >= 1.0 / max(n_classes, 2) + config.learnable_accuracy_over_chance


def attack_limits(score: Score, config: VerdictConfig) -> tuple[float, float]:
    """Largest value of an attack score that is safe, and largest that is a weak leak at most."""
    if score.key.endswith("_auc"):
        return config.attack_auc, config.attack_auc_weak
    return config.attack_tpr, config.attack_tpr_weak


def attacks(scores: Mapping[str, Score]) -> list[Score]:
    """Pick the attack scores that decide about safety: AUC, and detection at 10 % false alarms."""
    ends = ("_auc", "_tpr_at_fpr10")
    return [
        score
        for key, score in scores.items()
        if key.startswith("privacy/") and key.endswith(ends) and score.measured
    ]
