"""Cells as they would be in other contexts, from trained weights."""

from synthome.pipelines.counterfactual.pipeline import create_pipeline as create_pipeline
