"""split_cohort, synthetic -> scores -> metrics -> figures and report; once for every system."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.evaluation.nodes import (
    FIGURES,
    choose_rows,
    cross_validate,
    plot,
    report,
    score_external,
    summarise,
)
from synthome.pipelines.ingestion.pipeline import Modality

FIGURE_NAMES = [f"figure_{name}" for name in FIGURES]
SHARED = ("external", "external_prepared", "validation_report", "external_report")
CHOOSE = Node(  # of cells, there may be too many for scores that compare all pairs
    choose_rows,
    ["split_cohort", "prepared", "params:evaluation"],
    ["scored_cohort", "scored_prepared"],
    name="choose_rows",
)


def create_pipeline(
    system: str, modality: Modality, answer_figures: Sequence[str] = ()
) -> Pipeline:
    """Evaluation of ``system`` on the data of its modality.

    A system that answers questions of its own has a dataset ``answers``, whose scores and sections
    join those of all systems, with figures ``answer_figures``.
    """
    answers = "answers" if answer_figures else "params:answers"
    shared = ("split_cohort", "prepared", *SHARED)
    cells = modality in ("single_cell", "contexts")
    scored = "scored_cohort" if cells else "split_cohort"
    scored_prepared = "scored_prepared" if cells else "prepared"
    return Pipeline(
        [
            *([CHOOSE] if cells else []),
            Node(
                cross_validate,
                [
                    scored,
                    "synthetic",
                    "weights",
                    "params:generator",
                    "params:sampling",
                    "params:transform",
                    "params:evaluation",
                ],
                ["fold_scores", "attack_scores"],
                name="cross_validate",
            ),
            Node(
                score_external,
                [scored_prepared, "external_prepared", "synthetic", "params:evaluation"],
                "external_scores",
                name="score_external",
            ),
            Node(
                summarise,
                ["fold_scores", "attack_scores", "external_scores", answers],
                "metrics",
                name="summarise",
            ),
            Node(
                plot,
                [scored_prepared, "synthetic", "history", "metrics"],
                FIGURE_NAMES,
                name="plot",
            ),
            Node(
                report,
                [
                    "metrics",
                    "split_cohort",
                    scored_prepared,
                    "external",
                    "synthetic",
                    "history",
                    "validation_report",
                    "external_report",
                    "params:title",
                    "params:generator",
                    "params:sampling",
                    answers,
                    *FIGURE_NAMES,
                    *(f"figure_{name}" for name in answer_figures),
                ],
                "report",
                name="report",
            ),
        ],
        namespace=system,
        inputs={name: f"{modality}.{name}" for name in shared},
        parameters={"params:transform": f"params:{modality}.transform"},
        tags="evaluation",
    )
