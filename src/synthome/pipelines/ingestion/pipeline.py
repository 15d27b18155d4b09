"""raw_cohort -> cohort; raw_external -> external. Of cells in contexts, cohort -> fields too."""

from collections.abc import Callable
from typing import Any, Literal

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.ingestion.nodes import (
    describe_fields,
    validate,
    validate_cells,
    validate_external,
    validate_tissue,
)

Modality = Literal["bulk", "single_cell", "spatial", "contexts"]
VALIDATE: dict[str, Callable[..., Any]] = {
    "bulk": validate,
    "single_cell": validate_cells,
    "spatial": validate_tissue,
    "contexts": validate_cells,
}
DESCRIBE = {
    "contexts": [
        Node(describe_fields, ["cohort", "validation_report"], "fields", name="describe_fields")
    ]
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
            *DESCRIBE.get(modality, []),
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
