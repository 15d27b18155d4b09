"""Results that people open: JSON, figures, HTML."""

import json
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io.core import Version
from kedro_datasets._typing import HTMLPreview, ImagePreview, JSONPreview

from synthome.datasets.base import AtomicDataset
from synthome.datasets.previews import plain
from synthome.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any

PNG_WITHOUT_DATE = {"Software": None}


class JSONDataset(AtomicDataset[dict[str, Any], dict[str, Any]]):
    """A dict in one ``.json`` file: NumPy numbers as numbers, NaN and infinities as null."""

    def _write(self, data: dict[str, Any], path: Path) -> None:
        text = json.dumps(plain(data), indent=2, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is not readable JSON ({error}). Make it again by running its pipeline, or "
                "restore an earlier version."
            ) from error

    def preview(self) -> JSONPreview:
        """The whole of it."""
        return JSONPreview(json.dumps(self._read(self.existing_path())))


class FigureDataset(AtomicDataset[Figure | bytes, bytes]):
    """A figure as ``.png`` (or ``.svg``, ``.pdf``): matplotlib's, or the bytes of a drawn one.

    It is read back as bytes.

    Parameters
    ----------
    filepath
        The ending says the format.
    dpi
        Dots per inch of a PNG.
    """

    def __init__(
        self,
        filepath: str,
        dpi: int = 150,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, version, metadata)
        self._dpi = dpi

    def _write(self, data: Figure | bytes, path: Path) -> None:
        if isinstance(data, bytes):
            path.write_bytes(data)
            return
        kind = self._filepath.suffix.lstrip(".").lower()
        options: dict[str, Any] = {"png": {"metadata": PNG_WITHOUT_DATE}}.get(kind, {})
        data.savefig(path, format=kind, dpi=self._dpi, bbox_inches="tight", **options)
        _close(data)

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()

    def preview(self) -> ImagePreview:
        """The picture."""
        return ImagePreview(b64encode(self._read(self.existing_path())).decode("ascii"))


class HTMLDataset(AtomicDataset[str, str]):
    """A page in one ``.html`` file."""

    def _write(self, data: str, path: Path) -> None:
        path.write_text(data, encoding="utf-8")

    def _read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")

    def preview(self) -> HTMLPreview:
        """The page."""
        return HTMLPreview(self._read(self.existing_path()))


def _close(figure: Figure) -> None:
    """Let pyplot forget a figure, if pyplot made it, so that it does not stay in memory."""
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)
