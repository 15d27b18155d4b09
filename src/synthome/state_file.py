"""A fitted object on disk: arrays and plain JSON in one safetensors file, never a pickle.

A state is ``(arrays, facts)``: named arrays, and whatever JSON can say. The facts stand in the
header of the file, so one file is enough to rebuild the object.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from synthome.errors import InputError

State = tuple[dict[str, np.ndarray], dict[str, Any]]

_FACTS = "facts"


def write_state(path: Path, state: State) -> None:
    """Write ``state`` to ``path``."""
    from safetensors.numpy import save_file

    arrays, facts = state
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    save_file(whole, path, metadata={_FACTS: json.dumps(facts, default=_plain)})


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays, as h5ad gives them back, for JSON."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a state's facts must be JSON, but hold a {type(value).__name__}")


def read_state(path: Path) -> State:
    """Read what ``write_state`` wrote.

    Raises
    ------
    InputError
        If there is no file, or it is not a whole state file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise InputError(f"There is no file {path}. Train first, for instance with `kedro run`.")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} is not a state file of synthome, or it is damaged ({error}). Train again, or "
            "restore an earlier version from the folder `versions` beside it."
        ) from error
    return arrays, facts
