"""prepared -> weights and history; once for every system."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.ingestion.pipeline import Modality
from synthome.pipelines.training.nodes import train


def create_pipeline(system: str, modality: Modality) -> Pipeline:
    """Training of ``system`` on the prepared data of its modality."""
    return Pipeline(
        [
            Node(
                train,
                ["prepared", "params:generator", "checkpoint"],
                ["weights", "history"],
                name="train",
            ),
        ],
        namespace=system,
        inputs={"prepared": f"{modality}.prepared"},
        tags="training",
    )
