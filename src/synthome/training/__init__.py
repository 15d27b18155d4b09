"""The one training loop of all models."""
