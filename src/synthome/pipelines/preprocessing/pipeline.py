"""cohort -> split_cohort -> transform -> prepared; external -> external_prepared."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.preprocessing.nodes import fit_transform, prepare, prepare_external, split


def create_pipeline() -> Pipeline:
    """Preprocessing of a bulk cohort, leak-free by construction."""
    return Pipeline(
        [
            Node(split, ["cohort", "params:split"], "split_cohort", name="split"),
            Node(
                fit_transform,
                ["split_cohort", "params:transform"],
                "transform",
                name="fit_transform",
            ),
            Node(prepare, ["split_cohort", "transform"], "prepared", name="prepare"),
            Node(
                prepare_external,
                ["external", "transform"],
                "external_prepared",
                name="prepare_external",
            ),
        ],
        namespace="bulk",
        inputs={"cohort": "bulk.cohort", "external": "bulk.external"},
        tags="preprocessing",
    )
