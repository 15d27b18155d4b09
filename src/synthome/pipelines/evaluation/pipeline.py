"""split_cohort, synthetic -> scores -> metrics -> figures and report; once for every system."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.evaluation.nodes import (
    FIGURES,
    cross_validate,
    plot,
    report,
    score_external,
    summarise,
)

FIGURE_NAMES = [f"figure_{name}" for name in FIGURES]
SHARED = (
    "split_cohort",
    "prepared",
    "external",
    "external_prepared",
    "validation_report",
    "external_report",
)


def create_pipeline(system: str) -> Pipeline:
    """Evaluation of ``system`` on a bulk cohort."""
    return Pipeline(
        [
            Node(
                cross_validate,
                [
                    "split_cohort",
                    "synthetic",
                    "weights",
                    "params:generator",
                    "params:sampling",
                    "params:transform",
                    "params:evaluation",
                ],
                ["fold_scores", "attack_scores"],
                name="cross_validate",
            ),
            Node(
                score_external,
                ["prepared", "external_prepared", "synthetic", "params:evaluation"],
                "external_scores",
                name="score_external",
            ),
            Node(
                summarise,
                ["fold_scores", "attack_scores", "external_scores"],
                "metrics",
                name="summarise",
            ),
            Node(
                plot,
                ["prepared", "synthetic", "history", "metrics"],
                FIGURE_NAMES,
                name="plot",
            ),
            Node(
                report,
                [
                    "metrics",
                    "split_cohort",
                    "prepared",
                    "external",
                    "synthetic",
                    "history",
                    "validation_report",
                    "external_report",
                    "params:title",
                    "params:generator",
                    "params:sampling",
                    *FIGURE_NAMES,
                ],
                "report",
                name="report",
            ),
        ],
        namespace=system,
        inputs={name: f"bulk.{name}" for name in SHARED},
        parameters={"params:transform": "params:bulk.transform"},
        tags="evaluation",
    )
