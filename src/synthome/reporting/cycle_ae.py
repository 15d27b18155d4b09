"""What a model of contexts was asked, answered in words: sections and scores of the report.

Every sentence is computed from the tables of the experiments. Where a plain average does as well as
the model, the sentence says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from synthome.plotting.conditional import conditional_figure
from synthome.plotting.contexts import (
    context_scores_figure,
    contributions_figure,
    head_genes_figure,
    planted_contexts_figure,
)
from synthome.plotting.style import has_values, or_nothing
from synthome.reporting.content import Answers, Section
from synthome.reporting.cycle_ae_combinations import (
    R2,
    combinations_table,
    counterfactual_answer,
    counterfactual_verdict,
)
from synthome.reporting.cycle_ae_contexts import (
    NOT_SIMULATED,
    claims_answer,
    claims_table,
    contexts_answer,
    contexts_table,
    effects_answer,
    fields_answer,
    heads_table,
    likelihood_words,
)
from synthome.reporting.cycle_ae_scores import combination_scores, context_scores, planted_scores
from synthome.reporting.cycle_ae_words import FIGURES, GLOSSARY, LIMITS, STAR


@dataclass(frozen=True, eq=False)
class CycleAEResults:
    """Tables and documents of the experiments; each may be empty.

    Attributes
    ----------
    held_out, heads, head_genes, planted, contexts, claims
        ``evaluation.context_reading``, the function of each.
    combinations
        ``evaluation.held_out_combinations``.
    fields
        The artefact of ingestion: fields with their categories, and what is confounded.
    history
        Of training.
    """

    held_out: Mapping[str, float]
    combinations: pd.DataFrame
    planted: pd.DataFrame
    heads: pd.DataFrame
    head_genes: pd.DataFrame
    contexts: pd.DataFrame
    claims: pd.DataFrame
    fields: Mapping[str, Any]
    history: pd.DataFrame


def cycle_ae_figures(results: CycleAEResults) -> dict[str, Figure]:
    """The figures by name, in the order of ``cycle_ae_words.FIGURES``."""
    combinations, planted, heads = results.combinations, results.planted, results.heads
    return {
        "counterfactuals": or_nothing(
            has_values(combinations, R2),
            "No combination could be held out.",
            lambda: conditional_figure(_starred(combinations)),
        ),
        "planted_effects": or_nothing(
            has_values(planted, "sign_accuracy"),
            NOT_SIMULATED,
            lambda: planted_contexts_figure(planted),
        ),
        "contributions": or_nothing(
            has_values(heads, "norm"),
            "The published model has no signed heads to show.",
            lambda: contributions_figure(heads, results.history),
        ),
        "head_genes": or_nothing(
            has_values(results.head_genes, "effect"),
            "There is one field only: its categories are the labels."
            if len(heads)
            else "The published model has no signed heads to show.",
            lambda: head_genes_figure(results.head_genes),
        ),
        "contexts": or_nothing(
            has_values(results.contexts, "chance"),
            "Nothing was told from generated cells.",
            lambda: context_scores_figure(results.contexts),
        ),
    }


def cycle_ae_answers(results: CycleAEResults) -> Answers:
    """Scores, sections and words that the shared report takes over."""
    n = int(results.held_out.get("n_cells", 0))
    return Answers(
        metrics=combination_scores(results.combinations)
        | planted_scores(results.planted)
        | context_scores(results.contexts, n),
        sections=_sections(results),
        figures=FIGURES,
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def _sections(results: CycleAEResults) -> tuple[Section, ...]:
    return (
        Section(
            "Contexts, in short",
            (
                counterfactual_verdict(results.combinations),
                claims_answer(results.claims),
                fields_answer(results.fields),
                likelihood_words(results.held_out),
            ),
        ),
        Section(
            "What does each context add?",
            (effects_answer(results.heads, results.planted),),
            heads_table(results.heads),
            "Length over genes of what a head adds, less its mean, and its share of what differs "
            "between cells.",
            ("contributions", "head_genes", "planted_effects"),
        ),
        Section(
            "Are unseen combinations predicted?",
            (counterfactual_answer(results.combinations),),
            combinations_table(results.combinations),
            "Each held-out combination and method: weighted R² and correlation of the predicted "
            "change (1 is perfect), distance of predicted from true cells (0 is best), and lowered "
            "genes that are predicted to fall. A reconstruction is no counterfactual and is not "
            "among them.",
            ("counterfactuals",),
        ),
        Section(
            "Are generated cells what they were asked to be?",
            (contexts_answer(results.contexts),),
            contexts_table(results.contexts),
            "Balanced accuracies on held-out cells, the calibration error of the classifier that "
            "training leans on, and what a cell loses on the way to another category and back.",
            ("contexts",),
        ),
        Section(
            "Is an effect larger than donors differ?",
            (claims_answer(results.claims),),
            claims_table(results.claims),
            "Root mean square of the effects of a field, and what it is when donors swap "
            "categories.",
        ),
    )


def _starred(combinations: pd.DataFrame) -> pd.DataFrame:
    """As ``conditional_figure`` draws it: a star before combinations that tell little."""
    star = np.where(combinations["informative"].astype(bool), "", f"{STAR} ")
    return combinations.assign(
        cell_type=star + combinations["target"].astype(str), condition="held-out combinations"
    )
