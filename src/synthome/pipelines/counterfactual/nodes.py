"""Nodes of counterfactual: cells and trained weights in, the cells in other contexts out."""

import json
from typing import Any

from anndata import AnnData

from synthome import __version__
from synthome.anndata_schema import with_provenance
from synthome.models.counterfactual_request import CounterfactualConfig, choose_source
from synthome.models.registry import from_state
from synthome.rng import generator
from synthome.state_file import State


def generate(prepared: AnnData, weights: State, config: CounterfactualConfig) -> AnnData:
    """The cells of ``config.source``, with the fields of ``config.target`` changed."""
    model: Any = from_state(weights)
    source = choose_source(prepared, model.fields, config)
    rng = generator(config.seed, "counterfactual")
    return with_provenance(
        model.counterfactual(source, config.target, rng),
        code_version=__version__,
        generator=model.name,
        source_cells=json.dumps(config.source),
        target=json.dumps(config.target),
        seed=config.seed,
    )
