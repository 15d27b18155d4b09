"""Nodes of omics_lm: a trained model and the cohort with its folds in, answers and figures out."""

from typing import Any

import pandas as pd
from anndata import AnnData

from synthome.evaluation.matched import MatchedConfig
from synthome.evaluation.text_code import TextCodeConfig
from synthome.models.registry import GeneratorSettings, from_state
from synthome.preprocessing.transform import TransformConfig
from synthome.reporting import omics_lm_words
from synthome.state_file import State

Document = dict[str, Any]
FIGURES = tuple(omics_lm_words.FIGURES)


def compare(
    split_cohort: AnnData,
    settings: GeneratorSettings,
    transform: TransformConfig,
    config: MatchedConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The language model and its rivals on the same rows; what it answered; attacks."""
    from synthome.evaluation import matched

    published = settings.model_copy(update={"architecture": "published"})
    found = matched.compare(
        split_cohort,
        settings.build,  # type: ignore[arg-type]
        published.build,  # type: ignore[arg-type]
        transform,
        config,
    )
    return found.scores, found.answers, found.attacks


def measure_code(
    prepared: AnnData, weights: State, config: TextCodeConfig
) -> tuple[pd.DataFrame, Document]:
    """What decoding keeps at each precision; what texts say of distances."""
    from synthome.evaluation.text_code import text_code

    return text_code(from_state(weights), prepared, config)


def read_patients(prepared: AnnData, external: AnnData, weights: State) -> pd.DataFrame:
    """What the trained model calls patients it has not seen."""
    from synthome.evaluation import text_code

    return text_code.read_patients(from_state(weights), prepared, external)


def answer(
    scores: pd.DataFrame,
    answers: pd.DataFrame,
    attacks: pd.DataFrame,
    distortion: pd.DataFrame,
    code: Document,
    predictions: pd.DataFrame,
    signature_report: Document,
) -> tuple[Document | bytes, ...]:
    """What the report says and shows of all this: the document of answers, then ``FIGURES``."""
    from synthome.plotting.style import png_bytes
    from synthome.reporting.omics_lm import LMResults, lm_answers, lm_figures

    results = LMResults(
        scores=scores,
        answers=answers,
        attacks=attacks,
        distortion=distortion,
        code=code,
        predictions=predictions,
        signatures=signature_report,
    )
    figures = lm_figures(results)
    return lm_answers(results).document(), *(png_bytes(figures[name]) for name in FIGURES)
