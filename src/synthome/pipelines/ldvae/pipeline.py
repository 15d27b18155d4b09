"""prepared, weights -> what is seen, by what, in which cells -> answers and figures."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.ldvae.nodes import (
    FIGURES,
    answer,
    carry_over,
    detect,
    find_planted,
    map_cells,
    measure,
    read_loadings,
    tell_apart,
)

MODEL = ["prepared", "weights"]
TABLES = [
    "held_out_scores",
    "three_class_scores",
    "confusion",
    "cell_map",
    "power",
    "smallest_doses",
    "false_alarms",
    "planted_scores",
    "loadings",
    "factor_responses",
    "enrichment",
    "conditional_scores",
]


def create_pipeline() -> Pipeline:
    """The questions of ldvae, on the cells that it was trained on and on held-out ones."""
    return Pipeline(
        [
            Node(measure, MODEL, "held_out_scores", name="measure"),
            Node(
                tell_apart,
                [*MODEL, "params:generator", "params:strict", "params:published", "params:reading"],
                ["three_class_scores", "confusion"],
                name="tell_apart",
            ),
            Node(
                detect,
                [*MODEL, "params:detection", "params:reading"],
                ["power", "smallest_doses", "false_alarms"],
                name="detect",
            ),
            Node(map_cells, [*MODEL, "params:reading"], "cell_map", name="map_cells"),
            Node(find_planted, [*MODEL, "params:reading"], "planted_scores", name="find_planted"),
            Node(
                read_loadings,
                [*MODEL, "params:generator", "params:reading"],
                ["loadings", "factor_responses", "enrichment"],
                name="read_loadings",
            ),
            Node(
                carry_over,
                [*MODEL, "params:reading", "params:carry_over"],
                "conditional_scores",
                name="carry_over",
            ),
            Node(
                answer,
                ["prepared", *TABLES, "gene_set_report", "params:reading"],
                ["answers", *(f"figure_{name}" for name in FIGURES)],
                name="answer",
            ),
        ],
        namespace="ldvae",
        inputs={name: f"single_cell.{name}" for name in ("prepared", "gene_set_report")},
        tags="answers",
    )
