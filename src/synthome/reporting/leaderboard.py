"""All generators of one cohort on one page: the answer in words, a table that sorts, figures.

The page is as self-contained as a report. Its one script, which sorts the table, is inline; the
content security policy names it by its hash, so that no other script could run. Without JavaScript
the table stands in the order of the ranking.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.pareto import YARDSTICKS, Summaries, badness
from synthome.plotting.scores import Score
from synthome.plotting.standing import GROUPS
from synthome.reporting import ranking, views
from synthome.reporting.board_words import COLUMNS, FIGURES, TERMS, Column
from synthome.reporting.content import LIMITS
from synthome.reporting.facts import CohortFacts
from synthome.reporting.page import COLOURS, asset, data_uri, page_environment, script_hash
from synthome.reporting.ranking import privacy_limit, safe_and_best

__all__ = ["privacy_limit", "render_leaderboard", "safe_and_best"]

STATUSES = OK, FAILED, _ = "ok", "failed", "not applicable"
RUN_COLUMNS = ("generator", "status", "reason", "seconds", "n_folds")
EPSILON = "epsilon"  # a column that may be there


def render_leaderboard(
    title: str,
    summaries: Summaries,
    runs: pd.DataFrame,
    figures: Mapping[str, Figure | bytes],
    facts: CohortFacts,
    texts: Mapping[str, str] | None = None,
    run: Mapping[str, Any] | None = None,
    identifiers: Iterable[str] = (),
) -> str:
    """Write the leaderboard of one cohort.

    Parameters
    ----------
    title
        First line, such as "FSHD muscle biopsies: leaderboard".
    summaries
        The content of ``metrics.json`` by generator. ``real``, ``independent_noise`` and
        ``copies`` are yardsticks and are marked so.
    runs
        Columns ``generator``, ``status`` (ok, failed, not applicable), ``reason``, ``seconds`` (fit
        and sample, all folds), ``n_folds``, and maybe ``epsilon``, of a training that was
        differentially private. What is not ok is a row with its reason, and is not
        ranked. Of several rows of one generator, as a resumed run may leave, the last counts.
    figures
        Figure, PNG or SVG bytes by name, in their order; ``board_words.FIGURES`` has captions.
    facts
        The cohort.
    texts
        Sentences by the name of a figure, under which they stand, or by a heading of their own.
    run
        ``command``, ``parameters`` (nested), ``versions``, and any of ``content.RUN_WORDS``.
    identifiers
        Ids of samples and patients, blacked out wherever they occur in reasons, texts and the run.
    """
    hide = views.redactor(identifiers)
    by_name = _runs(runs)
    unranked = [name for name, row in by_name.items() if row["status"] != OK]
    failed = [name for name in unranked if by_name[name]["status"] == FAILED]
    ranked = {name: entries for name, entries in summaries.items() if name not in unranked}
    board = ranking.read_board(ranked)
    names = ranking.order(board)
    names += [name for name in by_name if name not in names and name not in unranked]
    best = safe_and_best(ranked)
    limit = privacy_limit(ranked)
    texts = dict(texts or {})
    shown = [
        views.figure_view(name, data_uri(name, figure), FIGURES)
        | {"said": hide(texts.pop(name, ""))}
        for name, figure in figures.items()
    ]
    headline, *notes = ranking.answer(ranked, failed, [column.key for column in COLUMNS])
    script = asset("sort.js")
    return (
        page_environment()
        .get_template("leaderboard.html.jinja")
        .render(
            title=title,
            facts=facts,
            fact_rows=views.fact_rows(facts),
            run_rows=views.run_rows(run or {}, hide),
            parameters=[
                (k, hide(v)) for k, v in views.flatten((run or {}).get("parameters") or {})
            ],
            versions=sorted(((run or {}).get("versions") or {}).items()),
            command=hide(str((run or {}).get("command") or "")),
            headline=headline,
            notes=notes,
            limit=limit,
            columns=COLUMNS,
            rows=[_row(name, board, by_name, best, limit) for name in names],
            unranked=[
                {
                    "name": name,
                    "status": by_name[name]["status"],
                    "reason": hide(by_name[name]["reason"]),
                    **_time(by_name[name]),
                }
                for name in sorted(unranked, key=lambda name: name not in failed)
            ],
            figures=shown,
            texts=[(heading, hide(text)) for heading, text in texts.items() if text],
            everything=_everything(board, names),
            limits=LIMITS,
            glossary=sorted(TERMS.items(), key=lambda item: item[0].lower()),
            colours=COLOURS,
            css=asset("report.css", "leaderboard.css"),
            script=script,
            script_hash=script_hash(script),
        )
    )


def _runs(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows of ``runs`` by generator, with what is missing made plain."""
    lacking = [column for column in RUN_COLUMNS if column not in runs]
    if lacking:
        raise InputError(
            f"The table of runs lacks {', '.join(lacking)}; it needs {', '.join(RUN_COLUMNS)}."
        )
    wrong = runs[~runs["status"].isin(STATUSES)]
    if len(wrong):
        raise InputError(
            f"The status of {wrong['generator'].iloc[0]} is {wrong['status'].iloc[0]!r}; it must "
            f"be one of: {', '.join(STATUSES)}."
        )
    found: dict[str, dict[str, Any]] = {}
    columns = [*RUN_COLUMNS, *({EPSILON} & set(runs))]
    for row in runs[columns].to_dict("records"):
        reason = row["reason"]
        given = isinstance(reason, str) and reason.strip()
        row["reason"] = reason.strip() if given else "No reason was recorded."
        found[str(row["generator"])] = {str(key): value for key, value in row.items()}
    return found


def _row(
    name: str,
    board: ranking.Board,
    runs: Mapping[str, Mapping[str, Any]],
    best: str | None,
    limit: float,
) -> dict[str, Any]:
    scores = board.get(name, {})
    yardstick = YARDSTICKS.get(name)
    run = runs.get(name, {})
    most = max((_whole(row["n_folds"]) for row in runs.values()), default=0)
    folds = _whole(run.get("n_folds", most))
    attack = scores.get(ranking.ATTACK)
    return {
        "name": name,
        "role": yardstick.words if yardstick else "",
        "best": name == best,
        "promise": _promise(run.get(EPSILON)),
        "folds": f"{folds} of {most} folds" if folds < most else "",
        "unscored": not scores,
        "cells": [_cell(column, scores, board, bool(yardstick)) for column in COLUMNS],
        "leaks": bool(not yardstick and attack and attack.value > limit + ranking.TINY),
        **_time(run),
    }


def _cell(
    column: Column, scores: Mapping[str, Score], board: ranking.Board, yardstick: bool
) -> dict[str, Any]:
    """Value, interval in small print, what to sort by, and what must be told of it."""
    score = scores.get(column.key)
    if score is None or not score.measured:
        return {"value": "–", "interval": "", "sort": "", "above": False, "copies": False, "by": ""}
    value, _, interval = score.text.partition(" ")
    privacy = column.key == ranking.ATTACK
    return {
        "value": value,
        "interval": interval,
        "sort": f"{score.value if column.first == 'descending' else badness(score):.6g}",
        "above": not yardstick and ranking.better_than_real(score, board),
        "copies": not yardstick and not privacy and ranking.copies_reach(score, board),
        "by": ranking.strongest_attack(scores) if privacy else "",
    }


def _promise(epsilon: float | None) -> str:
    known = epsilon is not None and math.isfinite(epsilon)
    return f"differentially private, ε = {epsilon:g}" if known else ""


def _time(run: Mapping[str, Any]) -> dict[str, str]:
    seconds = run.get("seconds")
    if seconds is None or not math.isfinite(float(seconds)):
        return {"seconds": "–", "seconds_sort": ""}
    number = float(seconds)
    return {
        "seconds": f"{number:,.0f}" if number >= 10 else f"{number:.1f}",
        "seconds_sort": f"{number:.6g}",
    }


def _whole(value: Any) -> int:
    return int(value) if value is not None and value == value else 0


def _everything(board: ranking.Board, names: list[str]) -> dict[str, Any]:
    """Every score of every generator: scores as rows, under the headings of a report."""
    scored = [name for name in names if board.get(name)]
    keys = dict.fromkeys(key for name in scored for key in board[name])
    order = [*(key for key in METRICS if key in keys), *(key for key in keys if key not in METRICS)]
    groups = []
    for group in dict.fromkeys([*GROUPS, *(key.split("/")[0] for key in order)]):
        rows = []
        for key in (key for key in order if key.split("/")[0] == group):
            first = next(board[name][key] for name in scored if key in board[name])
            texts = [board[name][key].text if key in board[name] else "–" for name in scored]
            rows.append({"name": first.name, "key": key, "unit": first.unit, "texts": texts})
        if rows:
            words = GROUPS.get(group, group.replace("_", " ").capitalize())
            groups.append({"title": words, "rows": rows})
    return {"names": scored, "groups": groups, "n": len(order)}
