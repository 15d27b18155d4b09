"""Training: the same for every system."""

from synthome.pipelines.training.pipeline import create_pipeline as create_pipeline
