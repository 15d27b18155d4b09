"""Nodes of spatial_gvae: a trained model and a prepared tissue in, answers and figures out."""

from typing import Any

import pandas as pd
from anndata import AnnData

from synthome.evaluation.tissue_reading import TissueReadingConfig
from synthome.models.registry import GeneratorSettings, from_state
from synthome.reporting import spatial_gvae_words
from synthome.state_file import State

Document = dict[str, Any]
FIGURES = tuple(spatial_gvae_words.FIGURES)


def measure(prepared: AnnData, weights: State, reading: TissueReadingConfig) -> Document:
    """Likelihood of held-out blocks, and of hidden counts in them."""
    from synthome.evaluation import tissue_reading

    return tissue_reading.held_out(from_state(weights), prepared, reading)


def test_image(
    prepared: AnnData, settings: GeneratorSettings, reading: TissueReadingConfig
) -> tuple[pd.DataFrame, Document, State, pd.DataFrame]:
    """Every arm from every seed; what the image gains; the model and the latents of the map."""
    from synthome.evaluation import tissue_reading
    from synthome.evaluation.image_gain import image_gain

    scores, model, latents = tissue_reading.fit_arms(prepared, settings.build, reading)
    return scores, image_gain(scores), model.state(), tissue_reading.latents_table(latents)


def map_tissue(
    prepared: AnnData,
    tissue_weights: State,
    tissue_latents: pd.DataFrame,
    reading: TissueReadingConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Document, Document, pd.DataFrame]:
    """Domains, their genes, genes that vary in space, discordance, trajectory, integration."""
    from synthome.evaluation import tissue_reading

    latents = tissue_reading.latents_of(tissue_latents)
    return tissue_reading.read_tissue(from_state(tissue_weights), prepared, reading, latents)


def answer(
    cohort: AnnData,
    held_out_scores: Document,
    domain_scores: pd.DataFrame,
    image_gain: Document,
    tissue_map: pd.DataFrame,
    domain_genes: pd.DataFrame,
    spatial_genes: pd.DataFrame,
    discordance: Document,
    trajectory: Document,
    integration: pd.DataFrame,
    image_report: Document,
) -> tuple[Document | bytes, ...]:
    """What the report says and shows of all this: the document of answers, then ``FIGURES``."""
    from synthome.evaluation.tissue_reading import images_of
    from synthome.plotting.style import png_bytes
    from synthome.reporting.spatial_gvae import SpatialResults, spatial_answers, spatial_figures

    results = SpatialResults(
        held_out=held_out_scores,
        domain_scores=domain_scores,
        image_gain=image_gain,
        tissue_map=tissue_map,
        domain_genes=domain_genes,
        spatial_genes=spatial_genes,
        discordance=discordance,
        trajectory=trajectory,
        integration=integration,
        image_report=image_report,
    )
    figures = spatial_figures(results, images_of(cohort))
    return spatial_answers(results).document(), *(png_bytes(figures[name]) for name in FIGURES)
