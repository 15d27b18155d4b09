"""Nodes of augmentation: weights in, a labelled synthetic cohort out."""

import json

from anndata import AnnData

from synthome import __version__
from synthome.anndata_schema import with_provenance
from synthome.augmentation import SamplingConfig, draw
from synthome.models.registry import from_state
from synthome.preprocessing.transform import ExpressionTransform
from synthome.rng import generator
from synthome.state_file import State


def sample(weights: State, transform: State, config: SamplingConfig) -> AnnData:
    """Draw a synthetic cohort, in log expression and in the original scale, with provenance."""
    rng = generator(config.seed, "sample")
    synthetic = draw(from_state(weights), config, rng)
    _, facts = weights
    return with_provenance(
        ExpressionTransform.from_state(*transform).to_original(synthetic, rng),
        code_version=__version__,
        generator=facts["generator"],
        parameters=json.dumps(facts["config"]),
        training_seed=facts["seed"],
        sampling=config.model_dump_json(),
        seed=config.seed,
    )
