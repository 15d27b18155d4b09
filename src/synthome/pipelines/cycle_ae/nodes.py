"""Nodes of cycle_ae: a trained model and prepared cells in, answers and figures out."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from anndata import AnnData

from synthome import __version__
from synthome.anndata_schema import SPLIT, with_provenance
from synthome.augmentation import SamplingConfig
from synthome.evaluation.context_reading import ContextReadingConfig
from synthome.evaluation.held_out_combinations import HeldOutConfig
from synthome.models.registry import GeneratorSettings, from_state
from synthome.reporting import cycle_ae_words
from synthome.rng import generator
from synthome.state_file import State

Document = dict[str, Any]
FIGURES = tuple(cycle_ae_words.FIGURES)
PUBLISHED = "published"


def measure(prepared: AnnData, weights: State, config: ContextReadingConfig) -> Document:
    """Likelihood of held-out cells with their state, with contexts alone, and with neither."""
    from synthome.evaluation.context_reading import held_out_scores

    model: Any = from_state(weights)
    return held_out_scores(model, prepared, config) if _has_likelihood(model) else {}


def hold_out(prepared: AnnData, settings: GeneratorSettings, config: HeldOutConfig) -> pd.DataFrame:
    """Whole combinations left out and predicted, beside the plain baselines and the ceiling."""
    from synthome.evaluation.held_out_combinations import held_out_combinations

    return held_out_combinations(prepared, _fits(settings), config)


def find_planted(
    prepared: AnnData, weights: State, settings: GeneratorSettings, config: ContextReadingConfig
) -> pd.DataFrame:
    """Sign and size of planted effects, where cells are simulated; beside the published model."""
    from synthome.evaluation.context_reading import mean_change, planted_scores

    if "truth" not in prepared.uns:
        return planted_scores({}, prepared, config)
    model: Any = from_state(weights)
    if not _has_likelihood(model):  # it is the published model itself
        return planted_scores({PUBLISHED: lambda *of: model.effect(*of)}, prepared, config)
    train = prepared[prepared.obs[SPLIT] == "train"].copy()
    published: Any = _fits(settings)[PUBLISHED](train)
    return planted_scores(
        {
            "cycle_ae": lambda *of: mean_change(model, *of),
            PUBLISHED: lambda *of: published.effect(*of),
        },
        prepared,
        config,
    )


def read_heads(
    prepared: AnnData, weights: State, config: ContextReadingConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How much each head adds, to which cells, and which genes it moves."""
    from synthome.evaluation.context_reading import HEADS, TOP_GENES, head_table

    model: Any = from_state(weights)
    if not _has_likelihood(model):
        return pd.DataFrame(columns=HEADS), pd.DataFrame(columns=TOP_GENES)
    return head_table(model, prepared, config)


def read_contexts(prepared: AnnData, weights: State, config: ContextReadingConfig) -> pd.DataFrame:
    """How surely contexts are told in real and generated cells, and in the state."""
    from synthome.evaluation.context_reading import context_scores

    model: Any = from_state(weights)
    return context_scores(model, prepared, config) if _has_likelihood(model) else pd.DataFrame()


def test_claims(prepared: AnnData, weights: State, config: ContextReadingConfig) -> pd.DataFrame:
    """Whether the effects of a field are larger than donors differ."""
    from synthome.evaluation.context_reading import claims

    model: Any = from_state(weights)
    return claims(prepared, model.fields, config)


def balance(weights: State, config: SamplingConfig) -> AnnData:
    """Generated cells that bring rare combinations to the median one."""
    rng = generator(config.seed, "balance")
    model: Any = from_state(weights)
    return with_provenance(
        model.balance(rng), code_version=__version__, generator=model.name, seed=config.seed
    )


def answer(
    held_out: Document,
    combinations: pd.DataFrame,
    planted: pd.DataFrame,
    heads: pd.DataFrame,
    head_genes: pd.DataFrame,
    contexts: pd.DataFrame,
    claims: pd.DataFrame,
    fields: Document,
    history: pd.DataFrame,
) -> tuple[Document | bytes, ...]:
    """What the report says and shows of all this: the document of answers, then ``FIGURES``."""
    from synthome.plotting.style import png_bytes
    from synthome.reporting.cycle_ae import CycleAEResults, cycle_ae_answers, cycle_ae_figures

    results = CycleAEResults(
        held_out=held_out,
        combinations=combinations,
        planted=planted,
        heads=heads,
        head_genes=head_genes,
        contexts=contexts,
        claims=claims,
        fields=fields,
        history=history,
    )
    figures = cycle_ae_figures(results)
    return cycle_ae_answers(results).document(), *(png_bytes(figures[name]) for name in FIGURES)


def _has_likelihood(model: Any) -> bool:
    """Whether counts have a law under the model; under the published one they have none."""
    return hasattr(model, "cell_scores")


def _fits(settings: GeneratorSettings) -> dict[str, Callable[[AnnData], Any]]:
    """What is fitted without the held-out cells: the published model, and the chosen one."""
    found: dict[str, Callable[[AnnData], Any]] = {}
    if PUBLISHED in settings.architectures:
        model = settings.architectures[PUBLISHED]
        found[PUBLISHED] = lambda train: model.build(settings.seed).fit(train)
    if settings.architecture != PUBLISHED:
        found["cycle_ae"] = lambda train: settings.build().fit(train)
    return found
