"""The pipelines that `kedro run --pipeline=NAME` knows."""

from collections.abc import Mapping
from typing import Any

from kedro.pipeline import Pipeline

from synthome.pipelines import (
    augmentation,
    counterfactual,
    cycle_ae,
    evaluation,
    export,
    ingestion,
    ldvae,
    leaderboard,
    omics_lm,
    preprocessing,
    spatial_gvae,
    study,
    training,
)
from synthome.pipelines.ingestion import Modality

SYSTEMS: dict[str, Modality] = {
    "rare_vae": "bulk",
    "omics_lm": "bulk",
    "ldvae": "single_cell",
    "spatial_gvae": "spatial",
    "cycle_ae": "contexts",
}
ANSWERS = {
    "omics_lm": omics_lm,
    "ldvae": ldvae,
    "spatial_gvae": spatial_gvae,
    "cycle_ae": cycle_ae,
}  # systems with questions of their own


def register_pipelines() -> dict[str, Pipeline]:
    """Each system runs from raw data to its report; the shared stages also run alone."""
    read = {name: ingestion.create_pipeline(name) for name in set(SYSTEMS.values())}
    made = {name: preprocessing.create_pipeline(name) for name in read}
    augment = {name: augmentation.create_pipeline(name, of) for name, of in SYSTEMS.items()}
    answer = {name: module.create_pipeline() for name, module in ANSWERS.items()}
    evaluate = {
        name: answer.get(name, Pipeline([]))
        + evaluation.create_pipeline(name, of, ANSWERS[name].FIGURES if name in ANSWERS else ())
        for name, of in SYSTEMS.items()
    }
    systems = {
        name: read[of] + made[of] + training.create_pipeline(name, of) + augment[name]
        + evaluate[name]
        for name, of in SYSTEMS.items()
    }  # fmt: skip
    bulk = read["bulk"] + made["bulk"]
    return {
        **systems,
        "counterfactual": counterfactual.create_pipeline(),
        "rare_vae_study": bulk + study.create_pipeline("rare_vae"),
        "ingestion": _sum(read),
        "preprocessing": _sum(made),
        "augmentation": _sum(augment),
        "evaluation": _sum(evaluate),
        "leaderboard": bulk.to_outputs("bulk.split_cohort") + leaderboard.create_pipeline(),
        "export": sum(map(export.create_pipeline, SYSTEMS), start=Pipeline([])),
        "__default__": _sum(systems),
    }


def _sum(pipelines: Mapping[Any, Pipeline]) -> Pipeline:
    return sum(pipelines.values(), start=Pipeline([]))
