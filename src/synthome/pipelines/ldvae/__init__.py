"""What ldvae answers: which changes are seen, in which cells, by which genes."""

from synthome.pipelines.ldvae.nodes import FIGURES as FIGURES
from synthome.pipelines.ldvae.pipeline import create_pipeline as create_pipeline
