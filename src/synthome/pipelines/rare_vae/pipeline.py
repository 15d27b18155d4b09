"""prepared -> weights and history."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.rare_vae.nodes import train


def create_pipeline() -> Pipeline:
    """Training of rare_vae on the prepared bulk cohort."""
    return Pipeline(
        [
            Node(
                train,
                ["prepared", "params:generator", "checkpoint"],
                ["weights", "history"],
                name="train",
            ),
        ],
        namespace="rare_vae",
        inputs={"prepared": "bulk.prepared"},
        tags="training",
    )
