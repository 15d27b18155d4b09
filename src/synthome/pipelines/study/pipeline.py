"""split_cohort -> dose, temperature, privacy, published check -> figures and one page."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.study.nodes import (
    FIGURES,
    augment_or_not,
    page,
    plot,
    privacy,
    public_reference,
    published,
    temperature,
)

FIGURE_NAMES = [f"figure_{name}" for name in FIGURES]
SHARED = ("split_cohort", "prepared", "external")
CHOICES = ["params:generator", "params:transform", "params:evaluation", "params:study"]


def create_pipeline(system: str) -> Pipeline:
    """Study of ``system`` on a bulk cohort."""
    return Pipeline(
        [
            Node(
                augment_or_not,
                ["split_cohort", *CHOICES],
                ["dose_scores", "few_shot_scores", "biomarkers", "dose_verdict", "stable_genes"],
                name="augment_or_not",
            ),
            Node(
                temperature,
                ["split_cohort", *CHOICES],
                ["temperature_curve", "temperature_chosen"],
                name="temperature",
            ),
            Node(privacy, ["split_cohort", *CHOICES], "privacy_curve", name="privacy"),
            Node(
                public_reference,
                ["split_cohort", "external", *CHOICES],
                "reference_attack",
                name="public_reference",
            ),
            Node(
                published,
                [
                    "prepared",
                    "params:generator",
                    "params:evaluation",
                    "params:study",
                    "params:published_check",
                ],
                ["published_scores", "published_summary"],
                name="published",
            ),
            Node(
                plot,
                [
                    "dose_scores",
                    "few_shot_scores",
                    "temperature_curve",
                    "temperature_chosen",
                    "privacy_curve",
                    "published_scores",
                ],
                FIGURE_NAMES,
                name="plot_study",
            ),
            Node(
                page,
                [
                    "split_cohort",
                    "external",
                    "dose_scores",
                    "few_shot_scores",
                    "dose_verdict",
                    "stable_genes",
                    "temperature_curve",
                    "temperature_chosen",
                    "privacy_curve",
                    "reference_attack",
                    "published_summary",
                    "params:study_title",
                    "params:generator",
                    "params:study",
                    *FIGURE_NAMES,
                ],
                "study_page",
                name="study_page",
            ),
        ],
        namespace=system,
        inputs={name: f"bulk.{name}" for name in SHARED},
        parameters={"params:transform": "params:bulk.transform"},
        tags="study",
    )
