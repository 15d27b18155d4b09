"""What spatial_gvae answers: domains, a test of the image, discordance, what lies downstream."""

from synthome.pipelines.spatial_gvae.nodes import FIGURES as FIGURES
from synthome.pipelines.spatial_gvae.pipeline import create_pipeline as create_pipeline
