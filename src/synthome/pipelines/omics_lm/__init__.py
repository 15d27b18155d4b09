"""What omics_lm answers: how well a language model reads patients, and how safe its text is."""

from synthome.pipelines.omics_lm.nodes import FIGURES as FIGURES
from synthome.pipelines.omics_lm.pipeline import create_pipeline as create_pipeline
