"""What a model of a tissue was asked, answered in words: sections, scores and maps of the report.

Every sentence is computed from the tables of the experiments. What could not be known, for want of
labels, of an image or of a second section, is said in the place of its answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from synthome.plotting.image_test import SCORES, image_test_figure, with_elbo
from synthome.plotting.interactive_map import how_many, interactive_map
from synthome.plotting.style import has_values, or_nothing
from synthome.plotting.tissue_map import (
    Images,
    discordance_figure,
    domains_figure,
    genes_figure,
    key_genes,
    pseudotime_figure,
)
from synthome.reporting.content import Answers, Section
from synthome.reporting.phrases import joined
from synthome.reporting.spatial_gvae_scores import (
    discordance_entries,
    domain_entries,
    gain_entries,
    held_out_entries,
    map_entries,
    mixing_entries,
)
from synthome.reporting.spatial_gvae_words import FIGURES, GLOSSARY, LIMITS
from synthome.reporting.tissue_biology import (
    domain_genes_answer,
    domain_genes_table,
    held_out_answer,
    held_out_table,
    integration_answer,
    spatial_genes_answer,
    trajectory_answer,
)
from synthome.reporting.tissue_domains import (
    column,
    domains_answer,
    internal_answer,
    labels_answer,
    scores_table,
)
from synthome.reporting.tissue_image import discordance_answer, image_answer, image_table


@dataclass(frozen=True, eq=False)
class SpatialResults:
    """Tables and documents of the experiments on a tissue; each may be empty or not tested.

    Attributes
    ----------
    tissue_map
        One row for each spot: ``section``, ``x``, ``y``, ``label``, ``domain``, ``refined``,
        ``estimated``, ``pseudotime``, ``kl``, ``posterior``, ``q_value``, ``disagrees``,
        ``planted``, and ``denoised:GENE`` and ``observed:GENE`` of key genes.
    domain_scores
        One row for each arm, seed and section.
    image_gain
        The true image minus the best control: ``tested``, ``reason``, ``scores``, ``verdict``.
    discordance
        How many spots disagree with the image: ``tested``, ``reason``, ``n_spots``, ``n_flagged``,
        ``fdr``, ``auprc``, ``base_rate``, ``false_discovery_share``.
    domain_genes, spatial_genes
        Genes of the domains, and genes that vary in space, in all or within a domain.
    trajectory
        ``root``, ``domains``, ``connectivities``.
    integration
        ``representation``, ``mixing``, ``n_sections``; empty with one section.
    held_out
        Nats for each spot of held-out blocks, and of hidden counts.
    image_report
        ``kind`` and ``n_features`` of what the model saw of the image.
    """

    tissue_map: pd.DataFrame
    domain_scores: pd.DataFrame
    image_gain: Mapping[str, Any]
    discordance: Mapping[str, Any]
    domain_genes: pd.DataFrame
    spatial_genes: pd.DataFrame
    trajectory: Mapping[str, Any]
    integration: pd.DataFrame
    held_out: Mapping[str, Any]
    image_report: Mapping[str, Any]

    @property
    def n_sections(self) -> int:
        """Sections that have a spot."""
        return int(self.tissue_map["section"].nunique()) if len(self.tissue_map) else 0


def spatial_figures(results: SpatialResults, images: Images | None = None) -> dict[str, Figure]:
    """The figures by name, in the order of ``spatial_gvae_words.FIGURES``.

    Parameters
    ----------
    images
        Of each section that has one, its histology and the scale of it.
    """
    spots = results.tissue_map
    scores = with_elbo(results.domain_scores)
    tested = any(len(column(scores, name)) for name in SCORES)
    has_arms = tested and "real" in set(results.domain_scores["arm"].astype(str))
    return {
        "domains": or_nothing(
            len(spots), "Nothing to show: no spot.", lambda: domains_figure(spots, images)
        ),
        "image_test": or_nothing(
            has_arms,
            "Nothing to show: the image was not tested.",
            lambda: image_test_figure(results.domain_scores),
        ),
        "discordance": or_nothing(
            has_values(spots, "kl") and bool(results.discordance.get("tested")),
            "Nothing to show: no image that counts could disagree with.",
            lambda: discordance_figure(spots, images),
        ),
        "genes": or_nothing(
            len(spots) and key_genes(spots),
            "Nothing to show: no key gene.",
            lambda: genes_figure(spots),
        ),
        "pseudotime": or_nothing(
            has_values(spots, "pseudotime"),
            "Nothing to show: no order of the spots.",
            lambda: pseudotime_figure(spots, images),
        ),
    }


def spatial_answers(results: SpatialResults) -> Answers:
    """Scores, sections and words that the shared report takes over."""
    return Answers(
        metrics=_scores(results),
        sections=_sections(results),
        figures=FIGURES,
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def _scores(results: SpatialResults) -> dict[str, dict[str, Any]]:
    return (
        domain_entries(results.domain_scores)
        | map_entries(results.tissue_map, results.domain_scores)
        | gain_entries(results.image_gain)
        | discordance_entries(results.discordance)
        | mixing_entries(results.integration)
        | held_out_entries(results.held_out)
    )


def _sections(results: SpatialResults) -> tuple[Section, ...]:
    spots, scores = results.tissue_map, results.domain_scores
    return (
        Section(
            "The latents of the tissue, in short",
            (held_out_answer(results.held_out),),
            held_out_table(results.held_out),
            "Mean over the spots of held-out blocks, in nats for each spot: less is better.",
        ),
        Section(
            "Which domains were found?",
            (
                domains_answer(spots, scores),
                labels_answer(spots, scores),
                internal_answer(scores),
            ),
            scores_table(scores),
            "Scores of the domains, means over trainings and sections. What is called internal "
            "asks no label.",
            ("domains",),
        ),
        *_map_section(spots),
        Section(
            "Did the image help?",
            (image_answer(results.image_gain, results.image_report),),
            image_table(results.image_gain),
            "The true image beside the best of its controls, each a training of its own.",
            ("image_test",),
        ),
        Section(
            "Where do counts and image disagree?",
            (discordance_answer(results.discordance, spots),),
            figures=("discordance",),
        ),
        Section(
            "Which genes make up the domains?",
            (
                domain_genes_answer(results.domain_genes),
                spatial_genes_answer(results.spatial_genes),
            ),
            domain_genes_table(results.domain_genes),
            "Genes that are higher in a domain than in the rest of the tissue at a false discovery "
            "rate of 5 %, and those with the largest log2 fold change.",
            ("genes",),
        ),
        Section(
            "How do the domains follow one another?",
            (trajectory_answer(results.trajectory, spots),),
            figures=("pseudotime",),
        ),
        Section(
            "Do the sections come together?",
            (integration_answer(results.integration, results.n_sections),),
        ),
    )


def _map_section(spots: pd.DataFrame) -> tuple[Section, ...]:
    if spots.empty:
        return ()
    said = joined(
        (
            "Choose above the map what the colours say; drag to move, turn the wheel to come "
            "nearer, and point at a spot to read its section, domain, label and KL.",
            how_many(len(spots)),
        )
    )
    return (Section("The tissue, to look around in", (said,), plot=interactive_map(spots)),)
