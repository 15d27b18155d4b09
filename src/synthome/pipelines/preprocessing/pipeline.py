"""cohort -> split_cohort -> transform -> prepared; external -> external_prepared.

Of cells, only the sheet is split; then the counts of the genes chosen on the training cells are
collected: cohort -> folds -> split_cohort. Spots get their neighbours and image features there.
"""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.ingestion.pipeline import Modality
from synthome.pipelines.preprocessing.nodes import (
    fit_transform,
    prepare,
    prepare_external,
    read_image,
    select_genes,
    select_tissue,
    split,
    split_contexts,
    split_patients,
    split_tissue,
)

SELECT = Node(
    select_genes,
    ["raw_cohort", "folds", "gene_sets", "gene_aliases", "params:selection"],
    ["split_cohort", "gene_set_report"],
    name="select_genes",
)
SPLIT = {
    "bulk": [
        Node(
            split_patients,
            ["cohort", "signatures", "gene_aliases", "params:split"],
            ["split_cohort", "signature_report"],
            name="split",
        )
    ],
    "single_cell": [
        Node(split, ["cohort", "params:split"], "folds", name="split"),
        SELECT,
    ],
    "contexts": [
        Node(split_contexts, ["cohort", "params:split"], "folds", name="split"),
        SELECT,
    ],
    "spatial": [
        Node(split_tissue, ["cohort", "params:split"], "folds", name="split"),
        Node(
            read_image,
            ["cohort", "params:image", "image_cache"],
            ["image_features", "image_report"],
            name="read_image",
        ),
        Node(
            select_tissue,
            ["folds", "image_features", "params:graph", "params:selection"],
            "split_cohort",
            name="select_genes",
        ),
    ],
}
RAW = {"bulk": [], "single_cell": ["raw_cohort"], "spatial": [], "contexts": ["raw_cohort"]}


def create_pipeline(modality: Modality) -> Pipeline:
    """Preprocessing of one modality, leak-free by construction."""
    shared = ["cohort", "external", *RAW[modality]]
    return Pipeline(
        [
            *SPLIT[modality],
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
        namespace=modality,
        inputs={name: f"{modality}.{name}" for name in shared},
        tags="preprocessing",
    )
