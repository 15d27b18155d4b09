"""One row of ``metrics.json``, read once: numbers, words, and where they stand on a line.

Figures, verdict and report all read scores here, so that a missing value, a rounding or the name
of a metric is the same wherever it appears.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Registry = Mapping[str, Any]  # key -> name, meaning, best, direction, reference
METRIC_PREFIX_EXTERNAL = "external/"
FAR = 2.0  # the best value is drawn up to this many widths of the other marks away from them
UNITS = (  # by the end of the key: short name, unit and range
    ("_tpr_at_fpr1", "share named", "share of patients, 0 to 1"),
    ("_tpr_at_fpr10", "share named", "share of patients, 0 to 1"),
    ("gain_ari", "gain in ARI", "difference of ARI"),
    ("gain_prior", "gain", "difference of balanced accuracy"),
    ("gain_elbo", "gain in ELBO", "nats per spot"),
    ("gain_auc", "gain in AUC", "difference of AUC"),
    ("gain", "gain", "difference of balanced accuracy"),
    ("gap", "gap", "difference of balanced accuracy"),
    ("auc", "AUC", "AUC, 0 to 1"),
    ("_auprc", "AUPRC", "AUPRC, 0 to 1"),
    ("_aupr", "AUPR", "AUPR, 0 to 1"),
    ("balanced_accuracy", "balanced accuracy", "share correct, 0 to 1"),
    ("_accuracy", "accuracy", "share correct, 0 to 1"),
    ("_f1", "F1", "F1, 0 to 1"),
    ("ece", "error", "difference of shares, 0 to 1"),
    ("_r2", "R²", "R², at most 1"),
    ("_slope", "slope", "ratio"),
    ("_ratio", "ratio", "ratio"),
    ("diversity", "ratio", "ratio"),
    ("density", "ratio", "ratio"),
    ("beyond_range", "ratio", "ratio"),
    ("_r", "r", "correlation, −1 to 1"),
    ("mmd2", "MMD²", "squared distance"),
    ("ks", "distance", "distance, 0 to 1"),
    ("coverage", "share", "share, 0 to 1"),
    ("recovery", "share", "share, 0 to 1"),
    ("_fraction", "share", "share, 0 to 1"),
    ("spatial/elbo", "ELBO", "nats per spot"),
    ("spatial/nll", "NLL", "nats per spot"),
    ("spatial/count_nll", "NLL", "nats per spot"),
    ("elbo", "ELBO", "nats per sample"),
    ("nll", "NLL", "nats per sample"),
    ("_dose", "dose", "factor, at least 1"),
    ("delta_top50", "r", "correlation, −1 to 1"),
    ("e_distance", "E-distance", "squared distance"),
    ("ari", "ARI", "ARI, at most 1, 0 by chance"),
    ("nmi", "NMI", "NMI, 0 to 1"),
    ("coherence", "share", "share beyond chance, at most 1"),
    ("silhouette", "silhouette", "silhouette, −1 to 1"),
    ("davies_bouldin", "index", "ratio, at least 0"),
    ("mixing", "share", "share of chance, 0 to 1"),
    ("_correlation", "r", "correlation, −1 to 1"),
    ("integration", "share", "share beyond chance, at most 1"),
    ("cycle_error", "error", "ratio, at least 0"),
    ("spearman", "r", "rank correlation, −1 to 1"),
)
VARIANTS = re.compile(
    r"(_forest|_logistic|_train|_test|_down|_up|_refined|_estimated)+$"
)  # of a metric, in the same unit
ACRONYMS = {
    "auc": "AUC",
    "r2": "R²",
    "std": "spread",
    "tstr": "train on synthetic, test on real:",
    "c2st": "two-sample classifier",
    "mmd2": "MMD²",
    "lfc": "fold-change",
    "de": "differential-expression",
    "r": "correlation",
    "ari": "ARI",
    "nmi": "NMI",
    "auprc": "AUPRC",
    "elbo": "ELBO",
    "lm": "language model",
    "tpr": "detection rate",
    "fpr10": "10 % false alarms",
    "fpr1": "1 % false alarms",
}


@dataclass(frozen=True)
class Score:
    """A score between its floor, its ceiling and its cheat; what is unknown is NaN."""

    key: str
    value: float
    low: float
    high: float
    floor: float
    ceiling: float
    cheat: float
    n: int | None
    cheat_wins: bool
    name: str
    meaning: str
    best: float
    direction: str  # "higher", "lower" or "target"
    reference: str
    group: str
    protocol: str

    @property
    def measured(self) -> bool:
        """Whether there is a value at all."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether the value comes with an interval: without one, nothing can be claimed."""
        return self.measured and math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def unit(self) -> str:
        """Unit and range in words; empty when the key tells nothing."""
        return self._of_unit[1]

    @property
    def short(self) -> str:
        """What the number is, in a word or two, such as ``AUC``."""
        return self._of_unit[0]

    @property
    def is_gain(self) -> bool:
        """Whether the number is a difference, and so carries its sign."""
        return "_gain" in self.key

    @property
    def _of_unit(self) -> tuple[str, str]:
        key = VARIANTS.sub("", self.key)
        return next(((s, unit) for end, s, unit in UNITS if key.endswith(end)), ("", ""))

    @property
    def text(self) -> str:
        """Value and interval, such as ``0.93 [0.88, 0.97]``."""
        if not self.measured:
            return "not measured"
        if not self.has_interval:
            return f"{format_number(self.value, self.is_gain)} (no interval)"
        width = self.high - self.low
        largest = max(abs(self.low), abs(self.high), abs(self.value))
        decimals = 2 if width >= 0.02 and (self.is_gain or largest >= 0.1) else 3
        value, low, high = (
            format_number(number, self.is_gain, decimals)
            for number in (self.value, self.low, self.high)
        )
        return f"{value} [{low}, {high}]"


def format_number(value: float | None, signed: bool = False, decimals: int | None = None) -> str:
    """Write a number with as many decimals as it needs: two, more for small ones and close to 1.

    Minus signs are real ones; what is not there is an en dash.
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 100:
        text = f"{value:,.0f}"
    elif decimals is not None and (size >= 0.5 * 10**-decimals or size == 0.0):
        text = f"{value:.{decimals}f}"
    elif size >= 0.1 or round(value, 2) == value:
        text = f"{value:.{3 if 0.99 < size < 1.0 else 2}f}"  # 0.996 is not 1
    elif size >= 0.001:
        text = f"{value:.3f}"
    else:
        text = f"{value:.1e}"
    if float(text.replace(",", "")) == 0.0:
        text = "0.00"
    elif signed and value > 0:
        text = f"+{text}"
    return text.replace("-", "−")


def read_score(key: str, entry: Mapping[str, Any], registry: Registry | None = None) -> Score:
    """Read one entry of ``metrics.json``, with the words of its metric.

    Parameters
    ----------
    key, entry
        Such as ``"fidelity/std_slope"``, and its value, interval, floor, ceiling and cheat.
    registry
        Words by key, such as ``synthome.evaluation.metrics.METRICS``; a metric that is not in it
        is named after its key.
    """
    interval = entry.get("interval")
    low, high = (None, None) if interval is None or len(interval) != 2 else interval
    words = _words(key, registry or {})
    best = _number(entry.get("best"))
    if not math.isfinite(best):
        best = _number(words["best"])
    n = _number(entry.get("n"))
    return Score(
        key=key,
        value=_number(entry.get("value")),
        low=_number(low),
        high=_number(high),
        floor=_number(entry.get("floor")),
        ceiling=_number(entry.get("ceiling")),
        cheat=_number(entry.get("cheat")),
        n=int(n) if math.isfinite(n) else None,
        cheat_wins=bool(entry.get("cheat_wins", False)),
        name=words["name"],
        meaning=words["meaning"],
        best=best,
        direction=words["direction"],
        reference=words["reference"],
        group=key.split("/")[0],
        protocol=str(entry.get("protocol") or ""),
    )


def read_scores(
    metrics: Mapping[str, Mapping[str, Any]], registry: Registry | None = None
) -> dict[str, Score]:
    """Read every entry of ``metrics.json``, in its own order."""
    return {key: read_score(key, entry, registry) for key, entry in metrics.items()}


def axis_limits(score: Score) -> tuple[float, float]:
    """Left and right end of the line on which a score is drawn: right is better.

    For a metric with a target in the middle, small numbers are left. The line holds every
    number that is known, and a little room on both sides; the best possible value only where it
    is not so far away that all others would shrink to a point.
    """
    known = [v for v in _marks(score) if math.isfinite(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    reach = FAR * (high - low)
    if math.isfinite(score.best) and low - reach <= score.best <= high + reach:
        low, high = min(low, score.best), max(high, score.best)
    room = 0.06 * (high - low) or max(0.05, 0.05 * abs(high))
    low, high = low - room, high + room
    return (high, low) if score.direction == "lower" else (low, high)


def position(value: float, limits: tuple[float, float]) -> float:
    """Where ``value`` lies between the ends of a line: 0 is left, 1 is right."""
    return (value - limits[0]) / (limits[1] - limits[0])


def _marks(score: Score) -> Iterable[float]:
    return (
        score.value,
        score.low,
        score.high,
        score.floor,
        score.ceiling,
        score.cheat,
    )


def _number(value: Any) -> float:
    """Convert to a float; NaN for None, text or infinity."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _words(key: str, registry: Registry) -> dict[str, Any]:
    """Words of a metric from the registry; made from the key itself when it is not there."""
    base = key.removeprefix(METRIC_PREFIX_EXTERNAL)
    metric = registry.get(key) or registry.get(base)
    if metric is not None:
        fields = ("name", "meaning", "best", "direction", "reference")
        return {field: getattr(metric, field) for field in fields}
    parts = key.split("/")[-1].split("_")
    name = " ".join(ACRONYMS.get(part, part) for part in parts)
    lower = parts[-1] in {"mmd2", "fraction"} or key.startswith("privacy/")
    return {
        "name": name[:1].upper() + name[1:],
        "meaning": "",
        "best": None,
        "direction": "target" if parts[-1] == "slope" else "lower" if lower else "higher",
        "reference": "",
    }
