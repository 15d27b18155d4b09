"""weights -> synthetic."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.augmentation.nodes import sample
from synthome.pipelines.ingestion.pipeline import Modality


def create_pipeline(system: str, modality: Modality) -> Pipeline:
    """Sampling from the trained weights of ``system``."""
    return Pipeline(
        [
            Node(
                sample,
                ["weights", "transform", "params:sampling"],
                "synthetic",
                name="sample",
            ),
        ],
        namespace=system,
        inputs={"transform": f"{modality}.transform"},
        tags="augmentation",
    )
