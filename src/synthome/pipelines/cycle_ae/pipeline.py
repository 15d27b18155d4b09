"""prepared, weights -> held-out combinations, effects, contexts, claims -> answers and figures."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.cycle_ae.nodes import (
    FIGURES,
    answer,
    balance,
    find_planted,
    hold_out,
    measure,
    read_contexts,
    read_heads,
    test_claims,
)

MODEL = ["prepared", "weights"]
TABLES = [
    "held_out_scores",
    "combination_scores",
    "planted_scores",
    "heads",
    "head_genes",
    "context_scores",
    "claims",
]


def create_pipeline() -> Pipeline:
    """The questions of cycle_ae, on held-out combinations and held-out cells."""
    reading = [*MODEL, "params:reading"]
    return Pipeline(
        [
            Node(measure, reading, "held_out_scores", name="measure"),
            Node(
                hold_out,
                ["prepared", "params:generator", "params:held_out"],
                "combination_scores",
                name="hold_out",
            ),
            Node(
                find_planted,
                [*MODEL, "params:generator", "params:reading"],
                "planted_scores",
                name="find_planted",
            ),
            Node(read_heads, reading, ["heads", "head_genes"], name="read_heads"),
            Node(read_contexts, reading, "context_scores", name="read_contexts"),
            Node(test_claims, reading, "claims", name="test_claims"),
            Node(balance, ["weights", "params:sampling"], "balanced", name="balance"),
            Node(
                answer,
                [*TABLES, "fields", "history"],
                ["answers", *(f"figure_{name}" for name in FIGURES)],
                name="answer",
            ),
        ],
        namespace="cycle_ae",
        inputs={name: f"contexts.{name}" for name in ("prepared", "fields")},
        tags="answers",
    )
