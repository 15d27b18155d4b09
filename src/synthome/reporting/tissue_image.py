"""Whether the image of a tissue helped, and where the counts disagree with it, in words."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from synthome.plotting.image_test import ARMS, OURS
from synthome.plotting.image_test import SCORES as NAMES
from synthome.plotting.scores import format_number
from synthome.reporting.phrases import joined, percent

Document = Mapping[str, Any]
VERDICTS = {
    "helps": "The image helped on this tissue: the true image did "
    "better than the best of its controls.",
    "does not help": "The image did not help on this tissue. That is an expected answer: where the "
    "counts tell the structure by themselves, an image has nothing to add.",
    "cannot be told": "Whether the image helps on this tissue cannot be told from these runs.",
    "not tested": "Whether the image helps on this tissue was not tested.",
}
KINDS = {"statistics": "statistics of colour and texture", "encoder": "an image encoder",
         "precomputed": "features that came with the data"}  # fmt: skip


def number(value: Any) -> float:
    """A number of a document; nan where there is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def score_name(name: str) -> str:
    """A score of the test of the image, in words on one line."""
    return " ".join(NAMES.get(name, name.replace("_", " ")).split())


def image_words(report: Document) -> str:
    """Say what the model saw of the image."""
    kind = str(report.get("kind") or "none")
    if kind == "none":
        return "The model saw no image."
    n = number(report.get("n_features"))
    features = f"{int(n):,} numbers for each spot" if math.isfinite(n) else "numbers for each spot"
    return f"The model saw the image as {features}, from {KINDS.get(kind, kind)}."


def image_answer(gain: Document, report: Document) -> str:
    """Say whether the image helped: the true one minus the best control, paired."""
    verdict = str(gain.get("verdict") or "not tested")
    said = [VERDICTS.get(verdict, VERDICTS["cannot be told"]), _finished(gain.get("reason"))]
    scores = gain.get("scores") or {}
    lines = [_gain_line(str(name), score) for name, score in scores.items()]
    if lines:
        said.append(
            "Each control is a training of its own with an image that cannot help, or with none; "
            "pairs share seed and section. The true image minus the best control:"
        )
        said.append(f"{'; '.join(lines)}.")
    said.append(image_words(report))
    return joined(said)


def image_table(gain: Document) -> pd.DataFrame | None:
    """One row for each score: the true image, the best control, and their difference."""
    rows = []
    for name, score in (gain.get("scores") or {}).items():
        arms, best = score.get("arms") or {}, str(score.get("best_control") or "")
        p = number(score.get("p_value"))
        n = number(score.get("n_pairs"))
        rows.append(
            {
                "Score": score_name(str(name)),
                "Image of this tissue": _shown(number(arms.get(OURS))),
                "Best control": _shown(number(arms.get(best))),
                "Which": ARMS.get(best, best) or "–",
                "Gain [95 % interval]": _gain(score),
                "Pairs": f"{int(n)}" if math.isfinite(n) else "–",
                "p": format_number(p),
            }
        )
    return pd.DataFrame(rows) if rows else None


def discordance_answer(summary: Document, spots: pd.DataFrame) -> str:
    """Say how many spots disagree with the image, at which rate of error, against which null."""
    if not summary.get("tested"):
        return joined(
            ("Whether counts disagree with the image anywhere was not tested.",
             _finished(summary.get("reason")))
        )  # fmt: skip
    n, flagged = (number(summary.get(key)) for key in ("n_spots", "n_flagged"))
    n, flagged = (int(v) if math.isfinite(v) else 0 for v in (n, flagged))
    fdr = number(summary.get("fdr"))
    at = f"at a false discovery rate of {percent(fdr)}" if math.isfinite(fdr) else "at no set rate"
    who = f"{flagged:,} of {n:,} spots" + (f" ({percent(flagged / n, 1)})" if n else "")
    said = [
        f"{who if flagged else f'None of {n:,} spots'} "
        f"{'disagrees' if flagged <= 1 else 'disagree'} with the image {at}.",
        "What is compared is the divergence (KL) of the domain that the counts of a spot tell from "
        "the domain that the image around it lets one expect, by what was learned in other blocks. "
        "A spot is called where, with its neighbours, the image of another place of the section, "
        "taken at random, would go with its domain as well as its own does.",
        _where(spots),
        _planted(summary),
    ]
    return joined(said)


def _where(spots: pd.DataFrame) -> str:
    called = spots[spots["disagrees"].astype(bool)] if len(spots) else spots
    if called.empty:
        return ""
    shares = called["domain"].astype(str).value_counts(normalize=True)
    return f"Of these, {percent(float(shares.iloc[0]))} lie in domain {shares.index[0]}."


def _planted(summary: Document) -> str:
    auprc, base, false = (
        number(summary.get(key)) for key in ("auprc", "base_rate", "false_discovery_share")
    )
    if not math.isfinite(auprc):
        return (
            "Where image and counts truly disagree is not known here, so it cannot be said how "
            "many of the calls are right."
        )
    chance = f", chance {format_number(base)}" if math.isfinite(base) else ""
    said = (
        "Disagreements were planted in this simulated tissue: ranking spots by their divergence "
        f"finds them with AUPRC {format_number(auprc)}{chance}"
    )
    bare = number(summary.get("auprc_untrained"))
    if math.isfinite(bare):
        said += f" (principal components without any training, judged alike: {format_number(bare)})"
    if math.isfinite(false):
        allowed = number(summary.get("fdr"))
        more = ", more than was allowed" if false > allowed else ""
        said += f", and {percent(false)} of the calls are false{more}"
    return f"{said}."


def _gain_line(name: str, score: Document) -> str:
    best = str(score.get("best_control") or "")
    n, p = number(score.get("n_pairs")), number(score.get("p_value"))
    against = f" against “{ARMS.get(best, best).lower()}”" if best else ""
    pairs = f", {int(n)} pair{'s' if n != 1 else ''}" if math.isfinite(n) else ""
    chance = f", p {format_number(p)}" if math.isfinite(p) else ""
    words = score_name(name)
    words = words if words[1:2].isupper() else words[:1].lower() + words[1:]
    return f"{words} {_gain(score)}{against}{pairs}{chance}"


def _gain(score: Document) -> str:
    gain, low, high = (number(score.get(key)) for key in ("gain", "low", "high"))
    if not math.isfinite(gain):
        return "not measured"
    text = format_number(gain, signed=True)
    if not math.isfinite(low + high):
        return f"{text} (no interval)"
    return f"{text} [{format_number(low, signed=True)}, {format_number(high, signed=True)}]"


def _shown(value: float) -> str:
    """With a decimal where nats by the hundred differ by little."""
    return format_number(value) if not abs(value) >= 100 else f"{value:,.1f}".replace("-", "−")


def _finished(reason: Any) -> str:
    """A reason as a sentence; empty for none."""
    text = str(reason or "").strip()
    return text and f"{text[:1].upper()}{text[1:].rstrip('.')}."
