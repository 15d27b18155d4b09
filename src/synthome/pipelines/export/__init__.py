"""The synthetic cohort as a plain table, on request."""

from synthome.pipelines.export.pipeline import create_pipeline as create_pipeline
