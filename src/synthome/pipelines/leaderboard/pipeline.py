"""split_cohort -> scores of every generator -> table, figure and page."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.leaderboard.nodes import compare, plot, report, summarise


def create_pipeline() -> Pipeline:
    """All generators on the folds of the bulk cohort."""
    return Pipeline(
        [
            Node(
                compare,
                ["split_cohort", "parts", "params:board", "params:transform", "params:evaluation"],
                ["fold_scores", "attack_scores", "runs"],
                name="compare",
            ),
            Node(
                summarise,
                ["fold_scores", "attack_scores", "runs", "params:board"],
                ["table", "summaries"],
                name="summarise",
            ),
            Node(plot, "summaries", "figure_pareto", name="plot"),
            Node(
                report,
                [
                    "table",
                    "summaries",
                    "runs",
                    "split_cohort",
                    "figure_pareto",
                    "params:board",
                    "params:evaluation",
                    "params:title",
                ],
                "report",
                name="report",
            ),
        ],
        namespace="leaderboard",
        inputs={"split_cohort": "bulk.split_cohort"},
        parameters={"params:transform": "params:bulk.transform"},
        tags="leaderboard",
    )
