"""All generators on the same folds: one table, one page."""

from synthome.pipelines.leaderboard.pipeline import create_pipeline as create_pipeline
