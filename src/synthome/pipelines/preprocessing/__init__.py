"""From a cohort to splits, a fitted transform and log expression."""

from synthome.pipelines.preprocessing.pipeline import create_pipeline as create_pipeline
