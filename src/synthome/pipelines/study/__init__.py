"""What helps a generator, and what it costs: doses, temperature, privacy, the published check."""

from synthome.pipelines.study.pipeline import create_pipeline as create_pipeline
