"""The verdict: whether synthetic patients are faithful, useful, safe, and worth adding.

Every answer is one of yes, partly, no, cannot tell. What decides stands in ``rules``; this module
combines the findings and says them so that a patient organisation can read them.

- yes: every rule of the question holds, over its whole interval.
- no: a rule fails over its whole interval, and none holds (for safety: any attack succeeds).
- partly: some hold and the others fail or are unclear (for safety: only a weak leak is possible).
- cannot tell: the intervals span both answers, or nothing was measured.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synthome.evaluation.metrics import METRICS
from synthome.plotting.scores import Score, format_number, read_scores
from synthome.reporting.answers import Advice, AdviceWord, Answer, Evidence, Verdict, Word
from synthome.reporting.facts import CohortFacts
from synthome.reporting.phrases import (
    attack_name,
    capital,
    caveats,
    copies_sentence,
    external_sentence,
    headline,
    listed,
    numbers,
)
from synthome.reporting.rules import (
    RULES,
    Finding,
    Question,
    VerdictConfig,
    attack_limits,
    attacks,
    is_learnable,
    judge,
)

GAIN = "utility/augmentation_gain"


def verdict(
    metrics: Mapping[str, Mapping[str, Any]],
    facts: CohortFacts,
    config: VerdictConfig | None = None,
) -> Verdict:
    """Judge the scores of one generator on one cohort.

    Parameters
    ----------
    metrics
        The content of ``metrics.json``: ``{"group/name": {"value", "interval", "floor",
        "ceiling", "cheat", "n", "cheat_wins", ...}}``; None and NaN are "not measured".
    facts
        The cohort; the sizes of its classes decide about the caveats.
    config
        Thresholds; see ``VerdictConfig``.
    """
    config = config or VerdictConfig()
    scores = read_scores(metrics, METRICS)
    faithful = _by_rules("faithful", scores, facts, config)
    useful = _by_rules("useful", scores, facts, config)
    safe = _safety(scores, config)
    advice = _advice(scores, config)
    copies = tuple(key for key, score in scores.items() if score.cheat_wins)
    return Verdict(
        headline=headline(faithful, useful, safe, advice, scores.get(GAIN)),
        faithful=faithful,
        useful=useful,
        safe=safe,
        augmentation=advice,
        external=external_sentence(scores, facts),
        caveats=caveats(faithful, safe, scores, facts, config),
        copies_win=copies,
        copies_sentence=copies_sentence(len(copies), len(scores)),
    )


def combine(findings: Sequence[Finding]) -> Word:
    """One word for the findings of a question; see the module's own text for the rule."""
    seen = [finding for finding in findings if finding != "missing"]
    if "fails" in seen:
        return "partly" if "holds" in seen else "no"
    if "holds" not in seen:
        return "cannot tell"
    complete = "unclear" not in seen and 2 * len(seen) >= len(findings)
    return "yes" if complete else "partly"


def _by_rules(
    question: Question, scores: Mapping[str, Score], facts: CohortFacts, config: VerdictConfig
) -> Answer:
    evidence = []
    for rule in (rule for rule in RULES if rule.question == question):
        score = scores.get(rule.key)
        if score is None or not score.measured:
            evidence.append(Evidence(key=rule.key, finding="missing", words="was not measured"))
            continue
        limits = rule.limits(score, config)
        finding = judge(score, limits)
        words = rule.said(finding, score, limits)
        if question == "useful" and not is_learnable(score, len(facts.class_sizes), config):
            finding, words = "unclear", "even real patients hardly teach a classifier this label"
        evidence.append(Evidence(key=rule.key, finding=finding, words=words))
    word = combine([item.finding for item in evidence])
    sentence = _sentence(word, [e for e in evidence if e.finding != "missing"], scores)
    return Answer(
        answer=word,
        sentence=sentence,
        evidence=tuple(item for item in evidence if item.finding != "missing"),
        note=_noise_note(question, evidence, scores, config),
    )


def _sentence(word: Word, evidence: Sequence[Evidence], scores: Mapping[str, Score]) -> str:
    """Say the deciding finding first, with its numbers; then the others, in words."""
    if not evidence:
        return "Cannot tell: nothing that would answer this was measured."
    order: list[Finding] = ["fails", "unclear", "holds"]
    groups = {f: [item for item in evidence if item.finding == f] for f in order}
    decisive = next(group for group in groups.values() if group)
    first, *others = _without_repeats(item.words for item in decisive)
    parts = [listed([f"{first} ({numbers(scores[decisive[0].key])})", *others])]
    rest = [groups[f] for f in order if groups[f] and groups[f] is not decisive]
    parts += [listed(_without_repeats(item.words for item in group)) for group in rest]
    return f"{capital(word)}: {'; '.join(parts)}."


def _without_repeats(texts: Iterable[str]) -> list[str]:
    """Drop repeated phrases, and the repeated opening of those that are unclear."""
    first, *others = dict.fromkeys(texts)
    return [first, *(text.removeprefix("it is unclear ") for text in others)]


def _noise_note(
    question: Question,
    evidence: Sequence[Evidence],
    scores: Mapping[str, Score],
    config: VerdictConfig,
) -> str:
    """Say so when noise does as well as the generator where only structure should help."""
    finding = {item.key: item.finding for item in evidence}
    found = []
    for rule in RULES:
        if rule.question != question or not rule.noise_should_fail or rule.key not in scores:
            continue
        score = scores[rule.key]
        low, high = rule.limits(score, config)
        passes = finding[rule.key] == "holds" and low <= score.floor <= high
        sign = -1.0 if score.direction == "lower" else 1.0
        better = score.measured and sign * (score.floor - score.value) >= 0.0
        if passes or better:
            floor, value = format_number(score.floor), format_number(score.value)
            found.append(f"“{score.name}”: {floor} against {value}")
    if not found:
        return ""
    return (
        f"Noise without any structure does as well on this cohort ({'; '.join(found)}), so that "
        "the generator has not shown that it learned how genes work together."
    )


def _safety(scores: Mapping[str, Score], config: VerdictConfig) -> Answer:
    tried = attacks(scores)
    if not tried:
        return Answer(answer="cannot tell", sentence="Cannot tell: no attack was run.")
    items: list[tuple[Score, Finding, bool, str]] = []  # score, finding, weak at most, words
    for score in tried:
        safe, weak = attack_limits(score, config)
        finding = judge(score, (-math.inf, safe))
        reversed_rule = score.key.endswith("_auc") and score.high < 1.0 - config.attack_auc
        if reversed_rule and finding == "holds":
            finding = "unclear"
            words = "points the wrong way more than chance allows: reversed, it would succeed"
        else:
            words = {
                "holds": "finds next to nothing",
                "fails": "can tell who took part",
                "unclear": "may or may not tell who took part",
                "missing": "was not measured",
            }[finding]
        items.append((score, finding, score.has_interval and score.high <= weak, words))
    findings = [finding for _, finding, _, _ in items]
    if "fails" in findings:
        word: Word = "no"
    elif "unclear" not in findings:
        word = "yes"
    else:
        word = "partly" if all(weak for _, _, weak, _ in items) else "cannot tell"
    decisive = {"no": "fails", "yes": "holds"}.get(word, "unclear")
    chosen = [(score, words) for score, finding, _, words in items if finding == decisive]
    worst, _ = max(chosen, key=lambda item: (item[0].key.endswith("_auc"), item[0].value))
    lead = {
        "yes": f"none of the {len(tried)} attack scores shows who took part; the highest",
        "partly": "a strong leak is ruled out, a weak one is not; the least certain attack",
        "no": "an attack can tell who took part; the strongest",
        "cannot tell": "with so few patients, guessing and a leak look alike; the least certain "
        "attack",
    }[word]
    guess = "0.50" if worst.key.endswith("_auc") else "0.10"
    yardsticks = f"guessing {guess}, noise {format_number(worst.floor)}, copied patients "
    yardsticks += format_number(worst.cheat)
    return Answer(
        answer=word,
        sentence=f"{capital(word)}: {lead} ({attack_name(worst)}) reaches {worst.short} "
        f"{worst.text}, against {yardsticks}.",
        evidence=tuple(
            Evidence(key=score.key, finding=finding, words=said)
            for score, finding, _, said in items
        ),
        note="A clear result holds for the attacks that were run; it is no proof of anonymity.",
    )


def _advice(scores: Mapping[str, Score], config: VerdictConfig) -> Advice:
    """Augment only if the whole interval of the gain lies above zero; otherwise do not."""
    default = "until a gain is shown, the default stands: do not augment."
    gain = scores.get(GAIN)
    if gain is None or not gain.measured:
        return Advice(
            advice="cannot tell", sentence=f"Cannot tell: the gain was not measured; {default}"
        )
    shown = f"gain {gain.text}"
    word: AdviceWord = "do not augment"
    if not gain.has_interval:
        word, said = "cannot tell", f"Cannot tell: {shown}; {default}"
    elif gain.low > 0:
        word = "augment"
        said = f"Augment: with synthetic patients added, the classifier did better ({shown})."
    elif gain.high <= 0:
        change = "worse" if gain.high < 0 else "no better"
        said = f"Do not augment: with synthetic patients added, it did {change} ({shown})."
    elif gain.high < config.worthwhile_gain:
        said = f"Do not augment: whatever adding them changed is too small to matter ({shown})."
    else:
        word = "cannot tell"
        said = f"Cannot tell: adding them may help or harm ({shown}); {default}"
    gains = [s for key, s in scores.items() if key.startswith(GAIN) and s.measured]
    others = [s for s in gains if s.key != GAIN and not (s.has_interval and s.low > 0)]
    note = ""
    if word == "augment" and others:
        listing = "; ".join(f"{score.name}: {score.text}" for score in others)
        note = f"A gain for one classifier is none for all. Not shown here: {listing}."
    return Advice(
        advice=word,
        sentence=said,
        evidence=tuple(
            Evidence(key=s.key, finding=finding, words=words)
            for s in gains
            for finding, words in [_gain_finding(s)]
        ),
        note=note,
    )


def _gain_finding(gain: Score) -> tuple[Finding, str]:
    if not gain.has_interval:
        return "unclear", "measured without an interval"
    if gain.low > 0:
        return "holds", "better with synthetic patients"
    if gain.high < 0:
        return "fails", "worse with synthetic patients"
    return "unclear", "no gain shown"
