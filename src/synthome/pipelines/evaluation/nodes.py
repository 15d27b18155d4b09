"""Nodes of evaluation: what exists in, scores, figures and one report out."""

from functools import partial
from typing import Any

import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import SPLIT, is_absent
from synthome.augmentation import SamplingConfig
from synthome.evaluation.config import EvaluationConfig
from synthome.models.registry import GeneratorSettings, from_state
from synthome.preprocessing.transform import TransformConfig
from synthome.state_file import State

Scores = dict[str, Any]
Document = dict[str, Any]
FIGURES = ("standing", "loss", "pca", "umap", "moments", "coexpression", "attacks")


def choose_rows(
    split_cohort: AnnData, prepared: AnnData, config: EvaluationConfig
) -> tuple[AnnData, AnnData]:
    """The rows that are scored, before and after preparation."""
    from synthome.evaluation.some_rows import some_rows

    rows = some_rows(split_cohort, config.max_obs, config.seed)
    return split_cohort[rows].copy(), prepared[rows].copy()


def cross_validate(
    split_cohort: AnnData,
    synthetic: AnnData,
    weights: State,
    settings: GeneratorSettings,
    sampling: SamplingConfig,
    transform: TransformConfig,
    config: EvaluationConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the generator and the controls on every fold; in the first, the released rows."""
    from synthome.evaluation import protocol

    return protocol.cross_validate(
        split_cohort,
        partial(settings.build, temperature=sampling.temperature),
        transform,
        config,
        released=synthetic,
        draw_released=partial(from_state(weights).sample, temperature=sampling.temperature),
    )


def score_external(
    prepared: AnnData, external_prepared: AnnData, synthetic: AnnData, config: EvaluationConfig
) -> Scores:
    """Scores on the external cohort; none without one."""
    from synthome.evaluation.external import score_external

    if is_absent(external_prepared):
        return {}
    train = prepared[prepared.obs[SPLIT] == "train"].copy()
    return score_external(train, external_prepared, synthetic, config)


def summarise(
    fold_scores: pd.DataFrame,
    attack_scores: pd.DataFrame,
    external_scores: Scores,
    answers: Document,
) -> Scores:
    """All scores of the run: value, interval, floor, ceiling and cheat under each key."""
    from synthome.evaluation.summary import summarise

    found = summarise(fold_scores, attack_scores) | external_scores
    return found | answers.get("metrics", {})


def plot(
    prepared: AnnData, synthetic: AnnData, history: pd.DataFrame, metrics: Scores
) -> tuple[bytes, ...]:
    """The figures of ``FIGURES``, in that order, as PNG."""
    from synthome.evaluation.metrics import METRICS
    from synthome.plotting import attacks, coexpression, embedding, moments, standing
    from synthome.plotting import history as losses
    from synthome.plotting.style import png_bytes
    from synthome.reporting.vocabulary import VOCABULARIES, unit_of

    figures = (
        standing.standing_figure(metrics, METRICS),
        losses.loss_curves(history),
        embedding.pca_figure(prepared, synthetic),
        embedding.umap_figure(prepared, synthetic),
        moments.moments_figure(prepared, synthetic),
        coexpression.coexpression_figure(prepared, synthetic),
        attacks.attacks_figure(metrics, METRICS),
    )
    say = VOCABULARIES[unit_of(prepared)]
    return tuple(png_bytes(say.figure(figure)) for figure in figures)


def report(
    metrics: Scores,
    split_cohort: AnnData,
    prepared: AnnData,
    external: AnnData,
    synthetic: AnnData,
    history: pd.DataFrame,
    validation_report: dict[str, Any],
    external_report: dict[str, Any],
    title: str,
    settings: GeneratorSettings,
    sampling: SamplingConfig,
    answers: Document,
    *figures: bytes,
) -> str:
    """The report: verdict in words first, then the system's own answers, then what it rests on."""
    from synthome.reporting.content import Answers
    from synthome.reporting.facts import cohort_facts
    from synthome.reporting.html import render_report
    from synthome.reporting.run import identifiers, run_facts
    from synthome.reporting.verdict import verdict

    facts = cohort_facts(
        split_cohort,
        external,
        synthetic,
        n_genes_scored=int(prepared.var["highly_variable"].sum()),
        simulated="truth" in split_cohort.uns,
    )
    has_external = not is_absent(external)
    parameters = {
        "generator": settings.model_dump(mode="json"),
        "sampling": sampling.model_dump(mode="json"),
    }
    own = Answers.from_document(answers)
    return render_report(
        title=title,
        metrics=metrics,
        verdict=verdict(metrics, facts),
        facts=facts,
        figures=dict(zip((*FIGURES, *own.figures), figures, strict=True)),
        captions=own.figures,
        sections=own.sections,
        limits=own.limits,
        glossary=own.glossary,
        validation=validation_report,
        external_validation=external_report if has_external else None,
        history=history,
        run=run_facts(parameters, seed=settings.seed),
        identifiers=identifiers(split_cohort, external),
    )
