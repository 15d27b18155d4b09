"""Tables on disk: Parquet, CSV or TSV, by the name of the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro_datasets._typing import TablePreview

from synthome.datasets.base import AtomicDataset
from synthome.datasets.previews import table_preview
from synthome.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = Any


class TableDataset(AtomicDataset["pd.DataFrame", "pd.DataFrame"]):
    """A DataFrame in ``.parquet``, ``.csv`` or ``.tsv``, the latter two also with ``.gz``.

    An index with a name, or one that is not 0, 1, 2, ..., is kept.
    """

    def _write(self, data: "pd.DataFrame", path: Path) -> None:
        index = not _is_default(data.index)
        kind = self._kind()
        if kind == "parquet":
            data.to_parquet(path, index=index, compression="zstd")
        else:
            separator = "\t" if kind == "tsv" else ","
            compression = "gzip" if self._filepath.suffix == ".gz" else None
            data.to_csv(path, sep=separator, index=index, compression=compression)

    def _read(self, path: Path) -> "pd.DataFrame":
        import pandas as pd

        kind = self._kind()
        try:
            if kind == "parquet":
                return pd.read_parquet(path)
            compression = "gzip" if path.suffix == ".gz" else None
            return pd.read_csv(path, sep="\t" if kind == "tsv" else ",", compression=compression)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} cannot be read as a table ({str(error).splitlines()[0][:120]}). Make it "
                "again by running its pipeline, or restore an earlier version."
            ) from error

    def preview(self, nrows: int = 20) -> TablePreview:
        """The first rows."""
        frame = self._read(self.existing_path()).iloc[:nrows, :200]
        if not _is_default(frame.index):
            frame = frame.reset_index()
        return table_preview([str(name) for name in frame.columns], frame.to_numpy().tolist())

    def _kind(self) -> str:
        """``parquet``, ``csv`` or ``tsv``."""
        name = self._filepath.name.removesuffix(".gz")
        kind = Path(name).suffix.lstrip(".").lower()
        if kind not in ("parquet", "csv", "tsv"):
            raise InputError(
                f"{self._filepath} has no ending that a table can have: parquet, csv, tsv, csv.gz "
                "or tsv.gz."
            )
        return kind


def _is_default(index: Any) -> bool:
    """Whether an index says nothing: 0, 1, 2, ... without a name."""
    import pandas as pd

    return (
        isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    ) and index.name is None
