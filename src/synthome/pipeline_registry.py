"""The pipelines that `kedro run --pipeline=NAME` knows."""

from kedro.pipeline import Pipeline

from synthome.pipelines import (
    augmentation,
    evaluation,
    export,
    ingestion,
    leaderboard,
    preprocessing,
    rare_vae,
    study,
)

SYSTEMS = {"rare_vae": rare_vae}
MODALITIES: tuple[ingestion.Modality, ...] = ("bulk", "single_cell")


def register_pipelines() -> dict[str, Pipeline]:
    """Each system runs from raw data to its report; the shared stages also run alone."""
    read = {name: ingestion.create_pipeline(name) for name in MODALITIES}
    made = {name: preprocessing.create_pipeline(name) for name in MODALITIES}
    shared = read["bulk"] + made["bulk"]
    augment = {name: augmentation.create_pipeline(name) for name in SYSTEMS}
    evaluate = {name: evaluation.create_pipeline(name) for name in SYSTEMS}
    systems = {
        name: shared + system.create_pipeline() + augment[name] + evaluate[name]
        for name, system in SYSTEMS.items()
    }
    return {
        **systems,
        **{f"{name}_study": shared + study.create_pipeline(name) for name in SYSTEMS},
        "ingestion": sum(read.values(), start=Pipeline([])),
        "preprocessing": sum(made.values(), start=Pipeline([])),
        "augmentation": sum(augment.values(), start=Pipeline([])),
        "evaluation": sum(evaluate.values(), start=Pipeline([])),
        "leaderboard": shared.to_outputs("bulk.split_cohort") + leaderboard.create_pipeline(),
        "export": sum(map(export.create_pipeline, SYSTEMS), start=Pipeline([])),
        "__default__": sum(systems.values(), start=Pipeline([])),
    }
