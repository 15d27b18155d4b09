"""prepared, weights -> domains, test of the image, discordance -> answers and figures."""

from kedro.pipeline import Node, Pipeline

from synthome.pipelines.spatial_gvae.nodes import FIGURES, answer, map_tissue, measure, test_image

TABLES = [
    "held_out_scores",
    "domain_scores",
    "image_gain",
    "tissue_map",
    "domain_genes",
    "spatial_genes",
    "discordance",
    "trajectory",
    "integration",
]


def create_pipeline() -> Pipeline:
    """The questions of spatial_gvae, on the tissue that it was trained on."""
    return Pipeline(
        [
            Node(
                measure,
                ["prepared", "weights", "params:reading"],
                "held_out_scores",
                name="measure",
            ),
            Node(
                test_image,
                ["prepared", "params:generator", "params:reading"],
                ["domain_scores", "image_gain", "tissue_weights", "tissue_latents"],
                name="test_image",
            ),
            Node(
                map_tissue,
                ["prepared", "tissue_weights", "tissue_latents", "params:reading"],
                [
                    "tissue_map",
                    "domain_genes",
                    "spatial_genes",
                    "discordance",
                    "trajectory",
                    "integration",
                ],
                name="map_tissue",
            ),
            Node(
                answer,
                ["cohort", *TABLES, "image_report"],
                ["answers", *(f"figure_{name}" for name in FIGURES)],
                name="answer",
            ),
        ],
        namespace="spatial_gvae",
        inputs={name: f"spatial.{name}" for name in ("cohort", "prepared", "image_report")},
        tags="answers",
    )
