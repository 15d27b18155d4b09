"""weights -> synthetic."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.augmentation.nodes import sample


def create_pipeline(system: str) -> Pipeline:
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
        inputs={"transform": "bulk.transform"},
        tags="augmentation",
    )
