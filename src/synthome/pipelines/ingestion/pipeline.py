"""raw_cohort -> cohort; raw_external -> external."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.ingestion.nodes import validate, validate_external


def create_pipeline() -> Pipeline:
    """Ingestion of a bulk cohort; the environment decides what the raw datasets read."""
    return Pipeline(
        [
            Node(
                validate,
                ["raw_cohort", "params:ingestion"],
                ["cohort", "validation_report"],
                name="validate",
            ),
            Node(
                validate_external,
                ["raw_external", "cohort", "params:external"],
                ["external", "external_report"],
                name="validate_external",
            ),
        ],
        namespace="bulk",
        tags="ingestion",
    )
