"""A place on disk that a node looks after itself, such as the checkpoint of a training run."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError


class PlaceDataset(AbstractDataset[Any, Path]):
    """Loads as the absolute path of a file, whether or not it is there.

    Parameters
    ----------
    filepath
        The file; Kedro makes it relative to the project, wherever the command was typed.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """The path; its folder exists afterwards."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        return self._filepath.absolute()

    def save(self, data: Any) -> NoReturn:  # noqa: ARG002
        """Nothing is saved to a place through the catalog."""
        raise DatasetError("A PlaceDataset is looked after by the node that loads it.")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
