"""Nodes of the study: the cohort with its folds in, curves, figures and one page out."""

from typing import Any

import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import is_absent
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.published import PublishedConfig
from synthome.evaluation.study import StudyConfig
from synthome.models.registry import GeneratorSettings
from synthome.preprocessing.transform import TransformConfig

Document = dict[str, Any]
FIGURES = ("dose", "few_shot", "temperature", "privacy_curve", "published")


def augment_or_not(
    split_cohort: AnnData,
    settings: GeneratorSettings,
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Document, Document]:
    """Dose and few-shot curves and biomarkers of every fold; the advice, the stable genes."""
    from synthome.evaluation.curves import augmentation_study, biomarker_summary
    from synthome.reporting.dose import dose_verdict

    dose, few_shot, markers = augmentation_study(
        split_cohort, settings.build, transform, config, study
    )
    verdict = dose_verdict(dose, *_sizes(dose))
    return (
        dose,
        few_shot,
        markers,
        verdict.model_dump(mode="json"),
        biomarker_summary(markers, study.n_biomarkers),
    )


def temperature(
    split_cohort: AnnData,
    settings: GeneratorSettings,
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
) -> tuple[pd.DataFrame, Document]:
    """Scores of each architecture at each temperature, and the calibrated temperatures."""
    from synthome.evaluation.knobs import temperature_curve
    from synthome.evaluation.variants import makers

    chosen = makers(settings, study.architectures)
    return temperature_curve(split_cohort, chosen, transform, config, study)


def privacy(
    split_cohort: AnnData,
    settings: GeneratorSettings,
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
) -> pd.DataFrame:
    """Utility and the strongest attack along each knob that the generator has."""
    from synthome.evaluation.knobs import privacy_curve
    from synthome.evaluation.variants import with_epsilon, with_option

    shrunken, private = with_option(settings, "privacy"), with_epsilon()
    return privacy_curve(split_cohort, settings.build, shrunken, transform, config, study, private)


def public_reference(
    split_cohort: AnnData,
    external: AnnData,
    settings: GeneratorSettings,
    transform: TransformConfig,
    config: EvaluationConfig,
    study: StudyConfig,
) -> Document:
    """The attack by somebody who holds a public cohort; nothing without an external cohort."""
    from synthome.evaluation.reference import reference_attack

    if is_absent(external):
        return {}
    return reference_attack(
        split_cohort, external, settings.build, transform, config, study.all_genes
    )


def published(
    prepared: AnnData,
    settings: GeneratorSettings,
    config: EvaluationConfig,
    study: StudyConfig,
    check: PublishedConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The published check of each architecture, of copies and of noise; and its summary."""
    from synthome.evaluation.arms import scored_genes
    from synthome.evaluation.curves import published_seeds
    from synthome.evaluation.published import published_summary
    from synthome.evaluation.variants import makers

    if not study.all_genes:
        prepared = prepared[:, scored_genes(prepared)].copy()
    made = makers(settings, study.architectures)
    table = published_seeds(prepared, made, check, config.n_jobs, config.cluster)
    return table, published_summary(table)


def plot(
    dose: pd.DataFrame,
    few_shot: pd.DataFrame,
    temperature: pd.DataFrame,
    chosen: Document,
    privacy: pd.DataFrame,
    published: pd.DataFrame,
) -> tuple[bytes, ...]:
    """The figures of ``FIGURES``, in that order, as PNG."""
    from synthome.evaluation.metrics import METRICS
    from synthome.plotting import pareto
    from synthome.plotting.dose import dose_figure, few_shot_figure
    from synthome.plotting.published import published_figure
    from synthome.plotting.style import png_bytes
    from synthome.plotting.temperature import temperature_figure

    figures = (
        dose_figure(dose, *_sizes(dose)),
        few_shot_figure(few_shot),
        temperature_figure(temperature, chosen, METRICS),
        pareto.privacy_curve_figure(privacy),
        published_figure(published),
    )
    return tuple(map(png_bytes, figures))


def page(
    split_cohort: AnnData,
    external: AnnData,
    dose: pd.DataFrame,
    few_shot: pd.DataFrame,
    verdict: Document,
    markers: Document,
    temperature: pd.DataFrame,
    chosen: Document,
    privacy: pd.DataFrame,
    reference: Document,
    published: pd.DataFrame,
    title: str,
    settings: GeneratorSettings,
    study: StudyConfig,
    *figures: bytes,
) -> str:
    """The page of the study: four questions in words first."""
    from synthome.reporting.dose import DoseVerdict
    from synthome.reporting.facts import cohort_facts
    from synthome.reporting.run import identifiers, run_facts
    from synthome.reporting.study import StudyResults, render_study

    results = StudyResults(
        dose=dose,
        few_shot=few_shot,
        verdict=DoseVerdict.model_validate(verdict),
        biomarkers=markers,
        temperature=temperature,
        chosen=chosen,
        privacy=privacy,
        reference=reference,
        published=published,
    )
    parameters = {
        "generator": settings.model_dump(mode="json"),
        "study": study.model_dump(mode="json"),
    }
    return render_study(
        title=title,
        results=results,
        figures=dict(zip(FIGURES, figures, strict=True)),
        facts=cohort_facts(split_cohort, external, simulated="truth" in split_cohort.uns),
        run=run_facts(parameters, seed=settings.seed),
        identifiers=identifiers(split_cohort, external),
    )


def _sizes(dose: pd.DataFrame) -> tuple[float, float]:
    """Mean numbers of training and held-out rows of a fold."""
    return float(dose["n_train"].mean()), float(dose["n_test"].mean())
