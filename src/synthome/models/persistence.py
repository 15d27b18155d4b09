"""What generators need in order to be written down and rebuilt: arrays and plain JSON."""

from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import nn

from synthome.anndata_schema import UNS, label_key, provenance

Fitted = TypeVar("Fitted")


def like_training(train: AnnData | None = None, *, facts: dict[str, Any] | None = None) -> AnnData:
    """An AnnData without rows that has the genes, label column and provenance of the training."""
    if train is not None:
        var_names, key, source = train.var_names, label_key(train), provenance(train)
    else:
        assert facts is not None
        var_names, source = pd.Index(facts["var_names"]), facts["provenance"]
        key = source["label_key"]
    return AnnData(
        np.zeros((0, len(var_names)), dtype=np.float32),
        obs=pd.DataFrame({key: []}, index=pd.Index([], dtype=str), dtype=str),
        var=pd.DataFrame(index=var_names),
        uns={UNS: source},
    )


def training_facts(fitted: Any) -> dict[str, Any]:
    """The JSON that ``from_state`` needs of any fitted generator; no sample ids are in it.

    The class of each training row is kept as counts per class, in the order of the names.
    """
    names, sizes = np.unique(fitted.train_labels, return_counts=True)
    return {
        "generator": fitted.name,
        "config": fitted.config.model_dump(mode="json"),
        "seed": fitted.seed,
        "var_names": fitted.like.var_names.tolist(),
        "labels": np.repeat(names, sizes).tolist(),
        "provenance": provenance(fitted.like),
    }


def with_training_facts(generator: Fitted, facts: dict[str, Any]) -> Fitted:
    """The unfitted ``generator`` with the genes, provenance and labels of ``training_facts``."""
    generator.like = like_training(facts=facts)  # type: ignore[attr-defined]
    generator.train_labels = np.array(facts["labels"])  # type: ignore[attr-defined]
    return generator


def load_weights(network: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Fill ``network`` with what ``arrays_of`` filed, ready to be drawn from."""
    weights = tensors_of(arrays, "network")
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    network.eval()


def arrays_of(network: nn.Module, **parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Flat names ``part/key`` for the weights of ``network`` and further groups of arrays."""
    weights = {k: v.detach().cpu().numpy() for k, v in network.state_dict().items()}
    groups = {"network": weights, **parts}
    return {
        f"{part}/{key}": value for part, group in groups.items() for key, value in group.items()
    }


def tensors_of(arrays: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The group of arrays that ``arrays_of`` filed under ``part``."""
    prefix = f"{part}/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
