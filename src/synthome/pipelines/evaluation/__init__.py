"""Scores, figures and the report of a system, between floor, ceiling and cheat."""

from synthome.pipelines.evaluation.pipeline import create_pipeline as create_pipeline
