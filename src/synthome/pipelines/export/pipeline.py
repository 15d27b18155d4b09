"""synthetic -> synthetic_table."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.export.nodes import to_table


def create_pipeline(system: str) -> Pipeline:
    """The synthetic cohort of ``system`` as CSV, TSV or parquet."""
    return Pipeline(
        [Node(to_table, ["synthetic", "params:export_values"], "synthetic_table", name="to_table")],
        namespace=system,
        parameters={"params:export_values": "params:export_values"},
        tags="export",
    )
