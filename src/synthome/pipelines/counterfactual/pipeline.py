"""prepared, weights -> counterfactual."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.counterfactual.nodes import generate


def create_pipeline() -> Pipeline:
    """Counterfactual cells of ``cycle_ae``, without training."""
    return Pipeline(
        [
            Node(
                generate,
                ["prepared", "weights", "params:counterfactual"],
                "counterfactual",
                name="generate",
            )
        ],
        namespace="cycle_ae",
        inputs={"prepared": "contexts.prepared"},
        tags="counterfactual",
    )
