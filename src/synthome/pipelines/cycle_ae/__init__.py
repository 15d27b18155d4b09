"""What cycle_ae answers: what each context adds, and cells as they would be in others."""

from synthome.pipelines.cycle_ae.nodes import FIGURES as FIGURES
from synthome.pipelines.cycle_ae.pipeline import create_pipeline as create_pipeline
