"""Nodes of the leaderboard: a cohort with folds in, scores, a table, a figure and a page out."""

from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from synthome.evaluation.board_config import BoardConfig
from synthome.evaluation.config import EvaluationConfig
from synthome.preprocessing.transform import TransformConfig

Summaries = dict[str, Any]


def compare(
    split_cohort: AnnData,
    parts: Path,
    board: BoardConfig,
    transform: TransformConfig,
    config: EvaluationConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fit and score every generator on every fold; what was finished before is read."""
    from synthome.evaluation.board import run_board
    from synthome.reporting.run import identifiers
    from synthome.reporting.views import redactor

    found = run_board(split_cohort, board.compared, transform, config, parts)
    hide = redactor(identifiers(split_cohort))
    runs = found.runs.assign(reason=found.runs["reason"].map(hide))
    return found.fold_scores, found.attack_scores, runs


def summarise(
    fold_scores: pd.DataFrame,
    attack_scores: pd.DataFrame,
    runs: pd.DataFrame,
    board: BoardConfig,
) -> tuple[pd.DataFrame, Summaries]:
    """One row and one set of scores per generator."""
    from synthome.evaluation.standings import standings, wide_table

    found = standings(fold_scores, attack_scores, runs, board.generators)
    return wide_table(found), found


def plot(summaries: Summaries) -> bytes:
    """What privacy costs, as PNG."""
    from synthome.evaluation.metrics import METRICS
    from synthome.plotting.pareto import pareto_figure
    from synthome.plotting.style import png_bytes
    from synthome.reporting.leaderboard import privacy_limit

    scores = _ranked(summaries)
    return png_bytes(pareto_figure(scores, registry=METRICS, limit=privacy_limit(scores)))


def report(
    table: pd.DataFrame,
    summaries: Summaries,
    runs: pd.DataFrame,
    split_cohort: AnnData,
    figure: bytes,
    board: BoardConfig,
    config: EvaluationConfig,
    title: str,
) -> str:
    """The page: the answer in words, the table, the figure."""
    from synthome.reporting.board_words import board_texts
    from synthome.reporting.facts import cohort_facts
    from synthome.reporting.leaderboard import render_leaderboard
    from synthome.reporting.run import identifiers, run_facts

    n_genes = int(runs["n_genes"].max())
    compared = {name: made.model_dump(mode="json") for name, made in board.compared.items()}
    parameters = {"generators": compared, "evaluation": config.model_dump(mode="json")}
    return render_leaderboard(
        title=title,
        summaries=_ranked(summaries),
        runs=table[["generator", "status", "reason", "seconds", "n_folds", "epsilon"]],
        figures={"pareto": figure},
        facts=cohort_facts(
            split_cohort, n_genes_scored=n_genes, simulated="truth" in split_cohort.uns
        ),
        texts=board_texts(n_genes),
        run=run_facts(parameters, seed=config.seed),
        identifiers=identifiers(split_cohort),
    )


def _ranked(summaries: Summaries) -> dict[str, Any]:
    """Scores of the generators that went through."""
    return {
        name: standing["metrics"]
        for name, standing in summaries.items()
        if standing["status"] == "ok"
    }
