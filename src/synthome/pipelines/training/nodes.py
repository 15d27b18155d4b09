"""Nodes of training: the training part in, a generator and its loss history out."""

from pathlib import Path

import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import SPLIT
from synthome.models.registry import GeneratorSettings
from synthome.state_file import State


def train(
    prepared: AnnData, settings: GeneratorSettings, checkpoint: Path
) -> tuple[State, pd.DataFrame]:
    """Fit the generator to the training part; a run that was killed goes on where it was."""
    training_part = prepared[prepared.obs[SPLIT] == "train"].copy()
    if settings.ranks > 1:
        from synthome.models.worker import train_in_ranks

        return train_in_ranks(training_part, settings, checkpoint)
    generator = settings.build()
    generator.fit(training_part, checkpoint=checkpoint)
    return generator.state(), generator.history
