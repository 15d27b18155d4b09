"""What a latent model of cells was asked, answered in words: sections and scores of the report.

Every sentence is computed from the tables of the experiments. Where a plain method does better than
the model, the sentence says so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from synthome.plotting.cell_map import cell_map_figure
from synthome.plotting.conditional import conditional_figure
from synthome.plotting.detection import power_figure, smallest_dose_figure
from synthome.plotting.loadings import loadings_figure, telling_factors
from synthome.plotting.planted import planted_figure
from synthome.plotting.style import nothing_figure
from synthome.plotting.three_class import accuracy_figure, confusion_figure
from synthome.reporting.cell_map import cell_map_answer
from synthome.reporting.conditional import conditional_answer, conditional_table
from synthome.reporting.content import Answers, Section
from synthome.reporting.detection import (
    against_signature,
    detection_answer,
    detection_table,
)
from synthome.reporting.factors import factors_answer, factors_table
from synthome.reporting.gene_sets import gene_sets_answer, gene_sets_table
from synthome.reporting.ldvae_scores import (
    conditional_scores,
    dose_scores,
    likelihood_scores,
    planted_scores,
    three_class_scores,
)
from synthome.reporting.ldvae_words import FIGURES, GLOSSARY, LIMITS
from synthome.reporting.likelihood import Scores, likelihood_answer, likelihood_table
from synthome.reporting.planted import planted_answer, planted_table
from synthome.reporting.three_class import (
    accuracy_table,
    protocol_words,
    shared_dose,
    three_class_answer,
)


@dataclass(frozen=True, eq=False)
class LDVAEResults:
    """Tables and documents of the experiments, each as the function named made it.

    Attributes
    ----------
    held_out
        ``evaluation.reading.held_out_scores``.
    accuracy, confusion
        ``evaluation.three_class``, of the strict and the published protocol, one below the other;
        ``confusion`` with a column ``protocol``.
    cells
        ``evaluation.reading.cell_map``.
    power, smallest, alarms
        ``evaluation.detection``: ``detection_power``, ``smallest_detectable_dose``,
        ``false_alarms``.
    planted
        ``evaluation.planted.planted_auprc``, at ``dose``.
    loadings, responses, enrichment
        ``evaluation.loadings``: ``loading_table`` of ``n_seeds`` trainings, ``factor_response``,
        ``set_enrichment``.
    conditional
        ``evaluation.conditional_shift``, at ``dose``.
    genes, set_names
        The genes that were turned ``down`` and ``up``, and what their set is called.
    gene_sets
        The report of ``ingestion.prepare_cells.select_with_sets``: what of each list was found.
    """

    held_out: Scores
    accuracy: pd.DataFrame
    confusion: pd.DataFrame
    cells: pd.DataFrame
    power: pd.DataFrame
    smallest: pd.DataFrame
    alarms: pd.DataFrame
    planted: pd.DataFrame
    loadings: pd.DataFrame
    responses: pd.DataFrame
    enrichment: pd.DataFrame
    conditional: pd.DataFrame
    genes: Mapping[str, Collection[str]]
    set_names: Mapping[str, str]
    gene_sets: Mapping[str, Any]
    dose: float
    n_seeds: int


def ldvae_figures(results: LDVAEResults) -> dict[str, Figure]:
    """The figures by name, in the order of ``ldvae_words.FIGURES``."""
    shown = telling_factors(results.loadings, results.responses)
    nothing = nothing_figure("Nothing to show: too few held-out cells of each type.")
    has_power, has_conditional = len(results.smallest) > 0, len(results.conditional) > 0
    return {
        "three_class": accuracy_figure(results.accuracy),
        "confusion": confusion_figure(results.confusion, shared_dose(results.confusion)),
        "cell_map": cell_map_figure(results.cells),
        "power": power_figure(results.power) if has_power else nothing,
        "smallest_dose": smallest_dose_figure(results.smallest) if has_power else nothing,
        "planted": planted_figure(results.planted),
        "loadings": loadings_figure(results.loadings, shown, results.genes),
        "conditional": conditional_figure(results.conditional) if has_conditional else nothing,
    }


def ldvae_answers(results: LDVAEResults) -> Answers:
    """Scores, sections and words that the shared report takes over."""
    return Answers(
        metrics=_scores(results),
        sections=_sections(results),
        figures=FIGURES,
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def in_short(results: LDVAEResults) -> tuple[str, ...]:
    """The answers that a reader in a hurry needs."""
    return tuple(
        filter(
            None,
            (
                _what_was_done(results),
                likelihood_answer(results.held_out),
                against_signature(results.smallest),
                protocol_words(results.accuracy),
            ),
        )
    )


def _what_was_done(results: LDVAEResults) -> str:
    down, up = (f"{len(results.genes[d])} genes ({results.set_names[d]})" for d in ("down", "up"))
    return (
        f"In copies of the cells, {down} were turned down and {up} were turned up by a factor, the "
        "dose; at dose 1 nothing is changed."
    )


def _scores(results: LDVAEResults) -> dict[str, dict[str, Any]]:
    return (
        likelihood_scores(results.held_out)
        | three_class_scores(results.accuracy)
        | dose_scores(results.smallest)
        | planted_scores(results.planted, results.dose)
        | conditional_scores(results.conditional, results.dose)
    )


def _sections(results: LDVAEResults) -> tuple[Section, ...]:
    return (
        Section(
            "The latent space, in short",
            in_short(results),
            likelihood_table(results.held_out),
            "What held-out cells cost under the model, in nats for each cell, with 95 % intervals: "
            "less is better. Latents are worth having only where the counts given them cost less "
            "than without.",
        ),
        Section(
            "Which genes were changed?",
            (gene_sets_answer(results.gene_sets),),
            gene_sets_table(results.gene_sets),
            "Lists of genes: how many were given, how many these cells have and by which match, "
            "and how many are in enough training cells to be kept.",
        ),
        Section(
            "From which dose on is a change seen?",
            (detection_answer(results.smallest, results.power, results.alarms),),
            _or_none(detection_table(results.smallest)),
            "Smallest dose that is seen in 80 % of repeats, with its 95 % interval, by cell type, "
            "direction, and what is looked at.",
            ("smallest_dose", "power"),
        ),
        Section(
            "The published experiment: as they are, turned down, turned up",
            (three_class_answer(results.accuracy),),
            accuracy_table(results.accuracy),
            "Share of the rows of held-out cells put in the right condition, with 95 % intervals; "
            "guessing is 33 %.",
            ("three_class", "confusion"),
        ),
        Section(
            "The map of the latent space",
            (cell_map_answer(results.cells, results.dose),),
            figures=("cell_map",),
        ),
        Section(
            "Which genes carry the change?",
            (planted_answer(results.planted, results.dose),),
            planted_table(results.planted),
            "Average precision (AUPRC) of each way to find the changed genes, mean ± spread over "
            "draws of cells.",
            ("planted",),
        ),
        Section(
            "What the latent factors are",
            (
                factors_answer(
                    results.loadings,
                    results.responses,
                    results.enrichment,
                    results.set_names,
                    results.n_seeds,
                ),
            ),
            factors_table(results.loadings, results.responses),
            "Factors that answer most to the change. Effects are in units of the factor's own "
            "spread; * is significant at a false discovery rate of 5 %. A gene with a minus falls "
            "when the factor rises.",
            ("loadings",),
        ),
        Section(
            "Does the change carry over to another cell type?",
            (conditional_answer(results.conditional),),
            _or_none(conditional_table(results.conditional)),
            "Means over held-out cell types: weighted R² and correlation of the predicted change "
            "(1 is perfect), and distance of predicted from true cells (0 is best).",
            ("conditional",),
        ),
    )


def _or_none(table: pd.DataFrame) -> pd.DataFrame | None:
    return None if table.empty else table
