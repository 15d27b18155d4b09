"""Synthetic cohorts from trained weights, without training."""

from synthome.pipelines.augmentation.pipeline import create_pipeline as create_pipeline
