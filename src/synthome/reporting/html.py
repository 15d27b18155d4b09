"""One self-contained HTML file that opens with the verdict in words.

Images are data URIs, the style is inline, and a content security policy forbids the browser to load
anything from anywhere: what is shown from a disk, an e-mail or a printout is the same. There is no
script, except where a section has an interactive figure: then the one that draws it is inline, and
the policy names it by its hash. All text from outside is escaped by the template.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.scores import METRIC_PREFIX_EXTERNAL, read_scores
from synthome.plotting.standing import KEY_SCORES
from synthome.reporting import views
from synthome.reporting.answers import Verdict
from synthome.reporting.content import FIGURES, GLOSSARY, LIMITS, FigureWords, Section
from synthome.reporting.facts import CohortFacts
from synthome.reporting.page import (
    COLOURS,
    asset,
    data_uri,
    page_environment,
    plot_script,
    script_hash,
)
from synthome.reporting.verdict import GAIN
from synthome.reporting.vocabulary import VOCABULARIES, outside, outside_of

KEY_FIGURE = "standing"
QUESTIONS = (
    ("faithful", "Do they look like real patients?"),
    ("useful", "Can a computer learn from them?"),
    ("safe", "Are they safe to share?"),
)


def render_report(
    *,
    title: str,
    metrics: Mapping[str, Mapping[str, Any]],
    verdict: Verdict,
    facts: CohortFacts,
    figures: Mapping[str, Figure | bytes] | None = None,
    captions: Mapping[str, FigureWords] | None = None,
    validation: Mapping[str, Any] | None = None,
    external_validation: Mapping[str, Any] | None = None,
    history: pd.DataFrame | None = None,
    run: Mapping[str, Any] | None = None,
    sections: Sequence[Section] = (),
    limits: Sequence[str] = (),
    glossary: Mapping[str, str] | None = None,
    identifiers: Iterable[str] = (),
) -> str:
    """Write the report of one run.

    Parameters
    ----------
    title
        First line, such as "FSHD muscle biopsies: synthetic cohort".
    metrics
        The content of ``metrics.json``.
    verdict, facts
        What ``reporting.verdict.verdict`` said, and the cohort it was said of, which also decides
        whether the page speaks of patients, cells or spots (``reporting.vocabulary``).
    figures, captions
        Figure, PNG bytes or SVG bytes by name; the names of ``content.FIGURES`` have captions,
        ``captions`` adds others or replaces them. They appear in the order given.
    validation, external_validation
        Reports of the ingestion of both cohorts: ``steps`` (``step``, ``kept_samples``,
        ``dropped_samples``, ``kept_genes``, ``dropped_genes``, ``why``, ``warning``), ``source``.
    history
        Loss per epoch, for the line that says when training stopped.
    run
        ``command``, ``parameters`` (nested), ``versions``, and any of ``content.RUN_WORDS``.
    sections, limits, glossary
        What a system adds: sections between the scores and the figures, sentences, terms.
    identifiers
        Ids of samples and patients: wherever one occurs in the text that comes from outside
        (validation, run), it is blacked out. Ids that are plain numbers cannot be told from
        counts and stay.
    """
    scores = read_scores(metrics, METRICS)
    images = {name: outside(data_uri(name, figure)) for name, figure in (figures or {}).items()}
    placed = {name for section in sections for name in section.figures}
    unknown = sorted(placed - set(images))
    if unknown:
        raise InputError(
            f"The report's sections ask for figures that were not passed: {', '.join(unknown)}. "
            f"Passed are: {', '.join(images) or 'none'}."
        )
    words = FIGURES | dict(captions or {})
    shown = {name: views.figure_view(name, uri, words) for name, uri in images.items()}
    script = plot_script() if any(section.plot for section in sections) else ""
    hide = outside_of(views.redactor(identifiers))
    beyond = [s for s in scores.values() if s.key.startswith(METRIC_PREFIX_EXTERNAL)]
    external = [s for s in beyond if s.key in KEY_SCORES] or beyond
    named = _marked(facts)
    page = (
        page_environment()
        .get_template("report.html.jinja")
        .render(
            title=outside(title),
            verdict=verdict,
            gain=scores.get(GAIN),
            gains=views.evidence(verdict.augmentation.evidence, scores),
            answers=[
                (key, question, answer, views.evidence(answer.evidence, scores))
                for key, question in QUESTIONS
                for answer in [getattr(verdict, key)]
            ],
            facts=named,
            fact_rows=views.fact_rows(named),
            run_rows=views.run_rows(run or {}, hide),
            training=views.training_line(history),
            parameters=[
                (outside(k), hide(v)) for k, v in views.flatten((run or {}).get("parameters") or {})
            ],
            versions=sorted(((run or {}).get("versions") or {}).items()),
            command=hide(str((run or {}).get("command") or "")),
            groups=views.groups(scores.values()),
            external=[views.strip(score) for score in external if score.measured],
            key_figure=shown.get(KEY_FIGURE) if KEY_FIGURE not in placed else None,
            figures=[v for name, v in shown.items() if name not in placed | {KEY_FIGURE}],
            sections=[views.section_view(section, shown, outside) for section in sections],
            copies=[scores[key].name for key in verdict.copies_win if key in scores],
            rates=[key for key in scores if "_tpr_at_" in key],
            validations=list(
                filter(
                    None,
                    (
                        views.validation_view("The cohort", validation, hide),
                        views.validation_view("The external cohort", external_validation, hide),
                    ),
                )
            ),
            limits=[*limits, *LIMITS],
            glossary=sorted((GLOSSARY | dict(glossary or {})).items(), key=lambda i: i[0].lower()),
            colours=COLOURS,
            css=asset("report.css"),
            script=Markup(outside(script)),
            script_hash=script_hash(script),
        )
    )
    return VOCABULARIES[facts.unit](page)


def _marked(facts: CohortFacts) -> CohortFacts:
    """The facts with every name that comes from outside marked as such."""
    names = ("name", "label", "group", "source", "external_name")
    sizes = ("class_sizes", "external_class_sizes")
    return facts.model_copy(
        update={field: outside(getattr(facts, field)) for field in names}
        | {field: {outside(n): k for n, k in getattr(facts, field).items()} for field in sizes}
    )
