"""Training of the VAE for rare-disease cohorts."""

from synthome.pipelines.rare_vae.pipeline import create_pipeline as create_pipeline
