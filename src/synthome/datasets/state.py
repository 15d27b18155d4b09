"""Fitted objects on disk: arrays and plain facts in one safetensors file, never a pickle."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro_datasets._typing import TablePreview

from synthome.datasets.base import AtomicDataset
from synthome.datasets.previews import table_preview

if TYPE_CHECKING:
    from synthome.state_file import State
else:
    State = tuple[dict[str, Any], dict[str, Any]]


class StateDataset(AtomicDataset[State, State]):
    """``(arrays, facts)`` in one ``.safetensors`` file, the facts as JSON in its header."""

    def _write(self, data: State, path: Path) -> None:
        from synthome.state_file import write_state

        arrays, facts = data
        write_state(path, (dict(arrays), facts))

    def _read(self, path: Path) -> State:
        from synthome.state_file import read_state

        return read_state(path)

    def preview(self, nrows: int = 40) -> TablePreview:
        """Names, types and shapes of the arrays, without reading them."""
        from safetensors import safe_open

        with safe_open(self.existing_path(), framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in sorted(file.keys())}
            rows = [
                [name, part.get_dtype(), " x ".join(map(str, part.get_shape())) or "one number"]
                for name, part in slices.items()
            ]
        return table_preview(["array", "type", "shape"], rows[:nrows])
