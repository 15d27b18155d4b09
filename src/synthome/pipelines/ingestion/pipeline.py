"""raw_cohort -> cohort; raw_external -> external."""

from collections.abc import Callable
from typing import Any, Literal

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.ingestion.nodes import (
    validate,
    validate_cells,
    validate_external,
    validate_tissue,
)

Modality = Literal["bulk", "single_cell", "spatial"]
VALIDATE: dict[str, Callable[..., Any]] = {
    "bulk": validate,
    "single_cell": validate_cells,
    "spatial": validate_tissue,
}


def create_pipeline(modality: Modality) -> Pipeline:
    """Ingestion of one modality; the environment decides what the raw datasets read."""
    return Pipeline(
        [
            Node(
                VALIDATE[modality],
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
        namespace=modality,
        tags="ingestion",
    )
