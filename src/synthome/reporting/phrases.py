"""The sentences of the verdict, from its answers: headline, caveats, external cohort, copies."""

import math
from collections.abc import Iterable, Mapping, Sequence

from synthome.plotting.scores import METRIC_PREFIX_EXTERNAL, Score, format_number
from synthome.reporting.answers import Advice, Answer
from synthome.reporting.facts import CohortFacts
from synthome.reporting.rules import VerdictConfig


def capital(text: str) -> str:
    """Begin with a capital letter."""
    return text[:1].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    """Join as ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def joined(sentences: Iterable[str]) -> str:
    """Sentences one after the other; empty ones are left out."""
    return " ".join(filter(None, sentences))


def percent(share: float, decimals: int = 0) -> str:
    """A share as ``42 %``."""
    return f"{100 * share:.{decimals}f} %"


def numbers(score: Score) -> str:
    """Write value, interval, floor and ceiling, as they stand in a sentence."""
    around = [
        f"{word} {format_number(value)}"
        for word, value in (("floor", score.floor), ("ceiling", score.ceiling))
        if math.isfinite(value)
    ]
    return f"{score.short} {score.text}".strip() + (f"; {', '.join(around)}" if around else "")


def attack_name(score: Score) -> str:
    """Name an attack in the middle of a sentence."""
    return score.name.removeprefix("Attack: ")


def headline(
    faithful: Answer, useful: Answer, safe: Answer, advice: Advice, gain: Score | None
) -> str:
    """Write the verdict in three sentences without a technical word."""
    return f"{_resemblance(faithful)} {_learning(useful)} {_sharing(safe)}; {_adding(advice, gain)}"


def _resemblance(faithful: Answer) -> str:
    held = sum(item.finding == "holds" for item in faithful.evidence)
    failing = [item.words for item in faithful.evidence if item.finding == "fails"]
    if faithful.answer == "yes":
        return "The synthetic patients resemble the real ones on every test that decides here."
    if faithful.answer == "no":
        return f"The synthetic patients do not resemble the real ones: {listed(failing[:2])}."
    if faithful.answer == "cannot tell":
        return "These data cannot tell whether the synthetic patients resemble the real ones."
    if failing:
        why = listed(failing[:2])
        return f"The synthetic patients resemble the real ones only in part: {why}."
    return (
        f"The synthetic patients resemble the real ones on {held} of {len(faithful.evidence)} "
        "tests; the data cannot settle the rest."
    )


def _learning(useful: Answer) -> str:
    subject = "A computer that learned only from them recognises real patients"
    other = "one that learned from real patients"
    if useful.answer == "yes":
        return f"{subject} about as well as {other}."
    if useful.answer == "no":
        return f"{subject} less well than {other}."
    if useful.answer == "cannot tell":
        return "It is not settled whether a computer learns from them what real patients teach."
    if any(item.finding == "fails" for item in useful.evidence):
        return f"{subject} as well as {other} by one measure, and less well by another."
    return f"{subject} about as well as {other} by one measure; by another, it is not settled."


def _sharing(safe: Answer) -> str:
    return {
        "yes": "No attack we ran could tell who took part, so on this evidence the risk of sharing "
        "them is low",
        "partly": "Share them only under a data agreement, since a weak trace of who took part is "
        "not ruled out",
        "no": "Do not share them outside the study, since an attack can tell who took part",
        "cannot tell": "Treat them like patient data, since it is not ruled out that they give "
        "away who took part",
    }[safe.answer]


def _adding(advice: Advice, gain: Score | None) -> str:
    if advice.advice == "augment":
        return "adding them to real data made a classifier better, so augment" + (
            ", but not every kind of classifier gained." if advice.note else "."
        )
    if advice.advice == "cannot tell":
        return "do not add them to real data until a gain is shown."
    if gain is not None and gain.has_interval and gain.high < 0:
        return "adding them to real data made a classifier worse, so do not augment."
    return "adding them to real data brought no gain worth having, so do not augment."


def external_sentence(scores: Mapping[str, Score], facts: CohortFacts) -> str:
    """Say how a classifier does on the external cohort; empty when none was scored."""
    found = {k: s for k, s in scores.items() if k.startswith(METRIC_PREFIX_EXTERNAL) and s.measured}
    if not found:
        return ""
    wanted = ("tstr_auc", "tstr_balanced_accuracy", "utility/tstr_auc")
    keys = [METRIC_PREFIX_EXTERNAL + name for name in wanted]
    score = next((found[key] for key in keys if key in found), next(iter(found.values())))
    who = f"{facts.n_external} samples" if facts.n_external else "samples"
    known = f"; training on real patients gives {format_number(score.ceiling)}"
    sentence = (
        f"{capital(who)} of a cohort that played no part in training were shown to a classifier "
        f"that had learned from synthetic patients alone: {score.short} {score.text}"
    )
    sentence += known if math.isfinite(score.ceiling) else ""
    chance = 0.5 if score.key.endswith("_auc") else 1.0 / max(len(facts.class_sizes), 2)
    if not score.has_interval or score.low <= chance <= score.high:
        sentence += ". That interval includes chance, so it confirms nothing"
    return f"{sentence}."


def caveats(
    faithful: Answer,
    safe: Answer,
    scores: Mapping[str, Score],
    facts: CohortFacts,
    config: VerdictConfig,
) -> tuple[str, ...]:
    """Write what a reader must keep in mind before the numbers are believed."""
    notes = []
    if facts.simulated:
        notes.append(
            "These patients are simulated: the report shows the method and says nothing about any "
            "disease."
        )
    if facts.class_sizes:
        smallest = min(facts.class_sizes, key=lambda name: (facts.class_sizes[name], name))
        size = facts.class_sizes[smallest]
        if 0 < size < config.small_class:
            notes.append(
                f"The smallest group, {smallest}, has only {size} samples: a single one classified "
                f"differently moves the hit rate of that group by {100 / size:.0f} percentage "
                "points. Read the interval before the number."
            )
    if 0 < facts.n_samples < config.small_cohort:
        notes.append(
            f"The cohort has {facts.n_samples} samples. Differences smaller than the intervals "
            "are not differences, and another cohort of this size may give another answer."
        )
    if facts.class_sizes and not facts.group:
        notes.append(
            "No patient column was named, so each sample counts as a patient of its own. If some "
            "patients gave several samples, name the column with group=COLUMN: without it the "
            "scores are too good."
        )
    if not any(key.startswith(METRIC_PREFIX_EXTERNAL) for key in scores):
        notes.append(
            "No external cohort was scored: whether any of this holds for patients of another "
            "clinic is unknown."
        )
    if safe.answer == "no" and faithful.answer in {"yes", "partly"}:
        notes.append(
            "A generator that copies its patients also looks faithful. Since an attack succeeds "
            "here, likeness may owe something to copying."
        )
    notes.append(
        "Safety is judged by the attacks that were run. Other attacks may do better, and this "
        "report is no legal assessment of anonymity."
    )
    return tuple(notes)


def copies_sentence(n_won: int, n_scores: int) -> str:
    """Say on how many scores copies of the patients win, and what follows."""
    if not n_won:
        return (
            "On none of these scores does a generator that merely copies its patients do as well "
            "as the best."
        )
    which = "That score" if n_won == 1 else "Those scores"
    return (
        f"On {n_won} of {n_scores} scores a generator that merely copies its patients wins. "
        f"{which} cannot be used alone to call a generator good."
    )
