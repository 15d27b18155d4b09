"""From raw data to one validated cohort, and its external validation cohort."""

from synthome.pipelines.ingestion.pipeline import Modality as Modality
from synthome.pipelines.ingestion.pipeline import create_pipeline as create_pipeline
