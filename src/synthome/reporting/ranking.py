"""Which generator is best among those that protect their patients, and what else must be said.

The rule is ``safe_and_best``: of the generators whose strongest attack is within ``privacy_limit``
and whose patients are faithful (``unfaithful`` finds no fault), the one from whose rows a
classifier learns most. Without the second condition a collapsed generator could win: a single
patient of each group teaches a classifier well enough. The limit is on the value of the attack and
not on its interval, whose upper end no cohort of forty patients could bring below 0.65; where the
interval reaches beyond the limit, the answer says so.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from synthome.evaluation.metrics import METRICS
from synthome.plotting.pareto import YARDSTICKS, Summaries, badness
from synthome.plotting.scores import Score, format_number, read_scores
from synthome.reporting.phrases import attack_name, capital, listed

UTILITY, ATTACK = "utility/tstr_auc", "privacy/worst_auc"
REAL, NOISE, COPIES = "real", "independent_noise", "copies"
# Noise leaks through the means alone; what is a little above it is no fault of the generator.
MARGIN = 0.05
# With few non-members an attack AUC has a standard deviation of 0.05 to 0.08: this is two of them.
FLOOR_OF_LIMIT = 0.65
LENIENT = 0.70  # a limit above this lets pass what the verdict of a report calls a leak
SLOPES = {  # what is near enough to 1 for a faithful generator, and what it is called
    "fidelity/std_slope": (0.2, "spread"),
    "biology/lfc_slope": (0.25, "size of the differences between the groups"),
}
STRUCTURE = "fidelity/coexpression_r"  # a faithful generator has as much as noise, or more
TINY = 1e-9
Board = Mapping[str, Mapping[str, Score]]


def read_board(summaries: Summaries) -> dict[str, dict[str, Score]]:
    """Read the scores of every generator, in their own order."""
    return {name: read_scores(entries, METRICS) for name, entries in summaries.items()}


def privacy_limit(summaries: Summaries, attack: str = ATTACK) -> float:
    """Largest AUC of the strongest attack that is accepted: ``max(floor + 0.05, 0.65)``.

    The floor is the row of independent noise; without that row, the lowest of the floors that
    stand beside the scores; without any, 0.65 alone.
    """
    return _limit(read_board(summaries), attack)


def safe_and_best(summaries: Summaries, utility: str = UTILITY, attack: str = ATTACK) -> str | None:
    """Name the most useful faithful generator within the privacy limit; None if there is none.

    The yardsticks (real, independent noise, copies) are no candidates, and neither is a generator
    that lacks one of the two scores. Of equally useful ones, the one that leaks less; then by name.
    """
    board = read_board(summaries)
    safe = _within(board, _limit(board, attack), utility, attack)
    return safe[0] if safe else None


def unfaithful(scores: Mapping[str, Score], board: Board) -> list[str]:
    """What is wrong with the patients of a generator, in words; nothing that was not measured."""
    faults = [
        f"{words} {format_number(scores[key].value)} where 1 is right"
        for key, (reach, words) in SLOPES.items()
        if key in scores and scores[key].measured and abs(scores[key].value - 1.0) > reach + TINY
    ]
    own, noise = scores.get(STRUCTURE), board.get(NOISE, {}).get(STRUCTURE)
    if own is not None and noise is not None and badness(own) > badness(noise) + TINY:
        faults.append(
            f"genes move together as in patients at r = {format_number(own.value)}, noise at "
            f"{format_number(noise.value)}"
        )
    return faults


def order(board: Board) -> list[str]:
    """Generators as rows: within the limit by utility, then beyond it, then the yardsticks."""
    safe = _within(board, _limit(board, ATTACK), UTILITY, ATTACK)
    others = [name for name in board if name not in safe and name not in YARDSTICKS]
    others.sort(key=lambda name: (_sortable(board[name].get(UTILITY)), name))
    return [*safe, *others, *(name for name in YARDSTICKS if name in board)]


def better_than_real(score: Score, board: Board) -> bool:
    """Whether a score beats real patients, where larger is better and real patients set the mark.

    The mark is the row of real patients, or else the ceiling beside the score.
    """
    if score.direction != "higher" or score.is_gain or not score.measured:
        return False
    real = board.get(REAL, {}).get(score.key)
    mark = real.value if real is not None and real.measured else score.ceiling
    return score.value > mark + TINY  # False for NaN


def copies_reach(score: Score, board: Board) -> bool:
    """Whether copies of the patients do at least as well, so that the score proves nothing."""
    if not score.measured:
        return False
    copies = board.get(COPIES, {}).get(score.key)
    if copies is not None and copies.measured:
        return badness(copies) <= badness(score) + TINY
    return score.cheat_wins


def strongest_attack(scores: Mapping[str, Score]) -> str:
    """Name the attack with the largest AUC; empty when none was measured on its own."""
    tried = [
        score
        for key, score in scores.items()
        if key.startswith("privacy/") and key.endswith("_auc") and key != ATTACK and score.measured
    ]
    return attack_name(max(tried, key=lambda score: score.value)) if tried else ""


def answer(
    summaries: Summaries, failed: Sequence[str] = (), columns: Iterable[str] = ()
) -> tuple[str, ...]:
    """The answer in words: the headline first, then what must be known before acting on it.

    Parameters
    ----------
    failed
        Names of generators that failed.
    columns
        Keys of the scores in which the best is compared with real patients and with copies.
    """
    board = read_board(summaries)
    limit = _limit(board, ATTACK)
    safe = _within(board, limit, UTILITY, ATTACK)
    sentences = [_best(board, safe[0], limit)] if safe else [_none(board, limit)]
    if safe:
        sentences += _caveats(board, safe, limit, list(columns))
    if limit > LENIENT:
        sentences.append(
            f"The limit of {format_number(limit)} is lenient: noise without structure itself gives "
            "that much away here, because a few patients decide the averages."
        )
    if failed:
        verb = (
            f"{len(failed)} generators failed and are"
            if len(failed) > 1
            else "One generator failed and is"
        )
        sentences.append(f"{verb} not ranked: {listed(failed)}.")
    return tuple(sentences)


def _limit(board: Board, attack: str) -> float:
    noise = board.get(NOISE, {}).get(attack)
    if noise is not None and noise.measured:
        floor = noise.value
    else:
        floors = [scores[attack].floor for scores in board.values() if attack in scores]
        floor = min(filter(math.isfinite, floors), default=-math.inf)
    return max(floor + MARGIN, FLOOR_OF_LIMIT)


def _within(board: Board, limit: float, utility: str, attack: str) -> list[str]:
    """Candidates within the limit, most useful first."""
    pairs = {
        name: (scores[utility], scores[attack])
        for name, scores in board.items()
        if name not in YARDSTICKS and utility in scores and attack in scores
    }
    safe = [
        name
        for name, (useful, leak) in pairs.items()
        if useful.measured
        and leak.measured
        and leak.value <= limit + TINY
        and not unfaithful(board[name], board)
    ]
    return sorted(safe, key=lambda n: (badness(pairs[n][0]), pairs[n][1].value, n))


def _best(board: Board, name: str, limit: float) -> str:
    useful, leak = board[name][UTILITY], board[name][ATTACK]
    real = board.get(REAL, {}).get(UTILITY)
    mark = real.value if real is not None and real.measured else useful.ceiling
    beside = f"; real patients give {format_number(mark)}" if math.isfinite(mark) else ""
    which = strongest_attack(board[name])
    return (
        f"The best faithful generator within the privacy limit is {name}: a classifier that "
        f"learned from its patients alone reaches AUC {useful.text} on real ones{beside}. The "
        f"strongest attack{f' ({which})' if which else ''} reaches AUC {leak.text}, with a limit "
        f"of {format_number(limit)}."
    )


def _none(board: Board, limit: float) -> str:
    pairs = {
        name: (scores[UTILITY], scores[ATTACK])
        for name, scores in board.items()
        if name not in YARDSTICKS and UTILITY in scores and ATTACK in scores
    }
    known = [name for name, pair in pairs.items() if all(score.measured for score in pair)]
    if not known:
        return "No generator can be recommended: none has scores of both utility and privacy."
    least = min(known, key=lambda name: (pairs[name][1].value, name))
    useful, leak = pairs[least]
    private = [name for name in known if pairs[name][1].value <= limit + TINY]
    if private:
        why = "; ".join(f"{name}: {', '.join(unfaithful(board[name], board))}" for name in private)
        faithful = [name for name in known if not unfaithful(board[name], board)]
        nearest = min(faithful, key=lambda name: (pairs[name][1].value, name), default=None)
        beside = (
            ""
            if nearest is None
            else f" The faithful one that leaks least is {nearest}, with an attack AUC of "
            f"{pairs[nearest][1].text} and AUC {pairs[nearest][0].text} in learning from it."
        )
        return (
            f"No generator can be recommended: within the privacy limit of {format_number(limit)} "
            f"there is none whose patients are faithful ({why}).{beside}"
        )
    return (
        f"No generator can be recommended: none of the {len(known)} that were scored is within the "
        f"privacy limit of {format_number(limit)}. The one that leaks least is {least}, "
        f"with an attack AUC of {leak.text} and AUC {useful.text} in learning from it."
    )


def _caveats(board: Board, safe: Sequence[str], limit: float, columns: Sequence[str]) -> list[str]:
    """What qualifies the best: its intervals, its rivals, noise, real patients and copies."""
    name = safe[0]
    useful, leak = board[name][UTILITY], board[name][ATTACK]
    found = []
    if not leak.has_interval:
        found.append("Its attack has no interval, so that it is not known how sure this is.")
    elif leak.high > limit:
        found.append(
            f"The interval of the attack reaches {format_number(leak.high)}, beyond the limit: a "
            "leak of that size is not ruled out."
        )
    rivals = [n for n in safe[1:] if useful.has_interval and board[n][UTILITY].value >= useful.low]
    if rivals:
        found.append(
            f"Within the interval of its AUC of {useful.text}, and so not told apart from it, "
            f"{'is' if len(rivals) == 1 else 'are'} {listed(rivals)}."
        )
    noise = board.get(NOISE, {}).get(UTILITY)
    if noise is not None and noise.measured:
        as_good = badness(noise) <= badness(useful) + TINY
        if as_good or (useful.has_interval and noise.value >= useful.low):
            found.append(
                "Noise without structure "
                f"{'does as well' if as_good else 'lies within the interval of its utility'} "
                f"({format_number(noise.value)}), so that this score does not show that the "
                "generator learned how genes work together."
            )
    seen = [board[name][key] for key in columns if key in board[name]]
    above = [score for score in seen if better_than_real(score, board)]
    if above:
        found.append(
            f"It is better than real patients in {_quoted(above)}. No generator knows more than "
            "the patients it was shown: this is the luck of a small cohort, the smoothing of many "
            "rows, or memory."
        )
    reached = [score for score in seen if copies_reach(score, board)]
    if reached:
        found.append(
            f"Copies of the patients do at least as well in {_quoted(reached)}: "
            f"{'that score' if len(reached) == 1 else 'those scores'} alone cannot call it good."
        )
    return found


def _quoted(scores: Sequence[Score]) -> str:
    return listed([f"“{capital(score.name)}” ({format_number(score.value)})" for score in scores])


def _sortable(score: Score | None) -> float:
    return badness(score) if score is not None and score.measured else math.inf
