"""The study of a generator on one page: four questions answered in words, then figures and tables.

Augment? Does temperature help? What does privacy cost? What does the published check say?
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from synthome.reporting import study_tables, views
from synthome.reporting.board_words import FIGURES, TERMS
from synthome.reporting.content import LIMITS, FigureWords, Section
from synthome.reporting.dose import DoseVerdict
from synthome.reporting.facts import CohortFacts
from synthome.reporting.page import COLOURS, asset, data_uri, page_environment
from synthome.reporting.privacy import privacy_answer
from synthome.reporting.published import published_words
from synthome.reporting.temperature import temperature_answer

WORDS = FIGURES | {
    "published": FigureWords(
        "The published five-seed check",
        "Each mark is a seed. Copied patients and noise stand beside the generators: what they "
        "reach as well, a generator proves nothing by reaching.",
        "Scores of the published check for each generator, copied patients and noise, one mark "
        "per seed. The table has the means.",
    ),
}
QUESTIONS = {
    "augment": "Should synthetic patients be added to real ones?",
    "temperature": "Does temperature help?",
    "privacy": "What does privacy cost?",
    "published": "What does the published check say?",
}


@dataclass(frozen=True)
class StudyResults:
    """Tables and documents of the study."""

    dose: pd.DataFrame
    few_shot: pd.DataFrame
    verdict: DoseVerdict
    biomarkers: Mapping[str, Any]
    temperature: pd.DataFrame
    chosen: Mapping[str, float]
    privacy: pd.DataFrame
    reference: Mapping[str, Mapping[str, Any]]
    published: pd.DataFrame


def render_study(
    title: str,
    results: StudyResults,
    figures: Mapping[str, Figure | bytes],
    facts: CohortFacts,
    run: Mapping[str, Any] | None = None,
    identifiers: Iterable[str] = (),
) -> str:
    """Write the page.

    Parameters
    ----------
    figures
        Figure, PNG or SVG bytes by name: dose, few_shot, temperature, privacy_curve, published.
    run
        ``command``, ``parameters`` (nested), ``versions``, and any of ``content.RUN_WORDS``.
    identifiers
        Ids of samples and patients, blacked out wherever they occur in what is said of the run.
    """
    hide = views.redactor(identifiers)
    shown = {
        name: views.figure_view(name, data_uri(name, figure), WORDS)
        for name, figure in figures.items()
    }
    run = run or {}
    return (
        page_environment()
        .get_template("study.html.jinja")
        .render(
            title=title,
            facts=facts,
            fact_rows=views.fact_rows(facts),
            run_rows=views.run_rows(run, hide),
            parameters=[(k, hide(v)) for k, v in views.flatten(run.get("parameters") or {})],
            versions=sorted((run.get("versions") or {}).items()),
            command=hide(str(run.get("command") or "")),
            answers=answers(results),
            sections=[views.section_view(section, shown) for section in _sections(results, shown)],
            limits=LIMITS,
            glossary=sorted(TERMS.items(), key=lambda item: item[0].lower()),
            colours=COLOURS,
            css=asset("report.css"),
        )
    )


def answers(results: StudyResults) -> list[dict[str, str]]:
    """The four questions, each with a sentence or a few, and the advice as one word."""
    said = {
        "augment": results.verdict.sentence,
        "temperature": temperature_answer(results.temperature, results.chosen),
        "privacy": privacy_answer(results.privacy, results.reference),
        "published": published_words(results.published),
    }
    return [
        {
            "key": key,
            "question": question,
            "text": said[key],
            "word": results.verdict.advice if key == "augment" else "",
        }
        for key, question in QUESTIONS.items()
    ]


def _sections(results: StudyResults, shown: Mapping[str, Any]) -> list[Section]:
    def drawn(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in shown)

    return [
        Section(
            "Adding synthetic patients",
            (),
            study_tables.dose_table(results.dose),
            "Means over folds. Dose 0 is real rows alone; there stand also a tuned and a "
            "class-weighted classifier, which need no synthetic rows.",
            drawn("dose"),
        ),
        Section(
            "With very few real patients",
            (study_tables.few_shot_words(results.few_shot),),
            study_tables.few_shot_table(results.few_shot),
            "Means over folds of balanced accuracy and AUC, real rows alone and with synthetic "
            "ones.",
            drawn("few_shot"),
        ),
        Section(
            "Genes that a classifier relies on",
            (study_tables.biomarker_words(results.biomarkers),),
            study_tables.biomarker_table(results.biomarkers),
            "Share of the folds in which permuting the gene in held-out real patients costs a "
            "forest most, after learning from real or from synthetic patients.",
        ),
        Section(
            "Temperature",
            (),
            study_tables.temperature_table(results.temperature),
            "Means over folds; the attack is pooled over folds.",
            drawn("temperature"),
        ),
        Section(
            "Privacy",
            (),
            study_tables.privacy_table(results.privacy, results.reference),
            "Learning from synthetic patients (AUC) and the strongest attack (AUC) with 95 % "
            "intervals, by knob and setting; last, where there is one, the attack by somebody who "
            "holds a public cohort. Epsilon is that of another generator, dp_vae, which learns "
            "the scored genes alone and no co-expression; what it promises at 10 or more is weak, "
            "whatever these attacks find.",
            drawn("privacy_curve"),
        ),
        Section(
            "The published check",
            (),
            study_tables.published_table(results.published),
            "Means over the seeds. Labels are clusters of all patients; no diagnosis enters, "
            "nothing is held out.",
            drawn("published"),
        ),
    ]
