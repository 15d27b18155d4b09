"""split_cohort, prepared, weights -> who is read rightly, by what, how safely -> answers."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.omics_lm.nodes import (
    FIGURES,
    answer,
    compare,
    measure_code,
    read_patients,
)

SHARED = ("split_cohort", "prepared", "external_prepared", "signature_report")


def create_pipeline() -> Pipeline:
    """The questions of omics_lm, on the cohort and on the trained model."""
    return Pipeline(
        [
            Node(
                compare,
                ["split_cohort", "params:generator", "params:transform", "params:matched"],
                ["matched_scores", "lm_answers", "released_attacks"],
                name="compare",
            ),
            Node(
                measure_code,
                ["prepared", "weights", "params:text_code"],
                ["distortion", "text_code"],
                name="measure_code",
            ),
            Node(
                read_patients,
                ["prepared", "external_prepared", "weights"],
                "predictions",
                name="read_patients",
            ),
            Node(
                answer,
                [
                    "matched_scores",
                    "lm_answers",
                    "released_attacks",
                    "distortion",
                    "text_code",
                    "predictions",
                    "signature_report",
                ],
                ["answers", *(f"figure_{name}" for name in FIGURES)],
                name="answer",
            ),
        ],
        namespace="omics_lm",
        inputs={name: f"bulk.{name}" for name in SHARED},
        parameters={"params:transform": "params:bulk.transform"},
        tags="answers",
    )
