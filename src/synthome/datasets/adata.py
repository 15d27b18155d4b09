"""AnnData on disk, as h5ad."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io.core import Version
from kedro_datasets._typing import TablePreview

from synthome.datasets.base import AtomicDataset
from synthome.datasets.previews import cohort_preview

if TYPE_CHECKING:
    from anndata import AnnData
else:
    AnnData = Any

COMPRESS_ABOVE = 32 * 2**20  # bytes; smaller files are quicker without


class AnnDataDataset(AtomicDataset[AnnData, AnnData]):
    """An AnnData in one ``.h5ad`` file.

    Text columns stay text; those with gaps are stored as categories, which can have gaps. What is
    saved is not changed (AnnData itself would turn its columns into categories). Where ``X`` and
    ``layers["counts"]`` are one matrix, the file holds it once under both names.

    Parameters
    ----------
    filepath
        ``.h5ad``.
    compression
        ``auto`` compresses large data, ``gzip`` or ``lzf`` always, None never.
    """

    def __init__(
        self,
        filepath: str,
        compression: str | None = "auto",
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, version, metadata)
        self._compression = compression

    def _write(self, data: AnnData, path: Path) -> None:
        from synthome.anndata_schema import COUNTS

        compression = self._compression
        if compression == "auto":
            compression = "gzip" if _n_bytes(data) > COMPRESS_ABOVE else None
        once = COUNTS in data.layers and data.X is data.layers[COUNTS]
        storable(data, with_x=not once).write_h5ad(
            path, compression=compression, convert_strings_to_categoricals=False
        )
        if once:
            import h5py

            with h5py.File(path, "a") as file:
                file["X"] = file[f"layers/{COUNTS}"]  # a second name, not a second matrix

    def _read(self, path: Path) -> AnnData:
        from synthome.ingestion.h5ad import open_h5ad

        if path.is_file() and path.stat().st_size > COMPRESS_ABOVE:
            gc.collect()  # views of an earlier AnnData form cycles, which keep its matrices
        return open_h5ad(path)

    def preview(self, nrows: int = 40) -> TablePreview:
        """Size and columns, read without the matrix."""
        import h5py
        from anndata.io import read_elem

        with h5py.File(self.existing_path(), "r") as file:
            obs = read_elem(file["obs"])
            n_vars = len(read_elem(file["var"]))
            layers = ", ".join(file["layers"]) if "layers" in file else ""
        return cohort_preview(len(obs), n_vars, f"layers: {layers or 'none'}", obs.iloc[:, :nrows])


def storable(adata: AnnData, with_x: bool = True) -> AnnData:
    """``adata`` with text columns that h5ad can hold; a shallow copy, the matrices shared."""
    import anndata

    obs, var = _storable_frame(adata.obs), _storable_frame(adata.var)
    if obs is adata.obs and var is adata.var and with_x:
        return adata
    return anndata.AnnData(
        X=adata.X if with_x else None,
        obs=obs,
        var=var,
        uns=dict(adata.uns),
        obsm=dict(adata.obsm),
        varm=dict(adata.varm),
        layers=dict(adata.layers),
        obsp=dict(adata.obsp),
        varp=dict(adata.varp),
        raw=adata.raw,
    )


def _storable_frame(frame: Any) -> Any:
    """Text columns with gaps as categories; the same object when there are none."""
    gaps = {
        name: frame[name].astype("category")
        for name in frame.columns
        if frame[name].dtype.kind == "O"
        and not _is_category(frame[name])
        and frame[name].isna().any()
    }
    return frame.assign(**gaps) if gaps else frame


def _is_category(column: Any) -> bool:
    return str(column.dtype) == "category"


def _n_bytes(adata: AnnData) -> int:
    """Size of the matrices in memory."""
    matrices = [adata.X, *adata.layers.values()]
    return sum(m.data.nbytes if hasattr(m, "indptr") else getattr(m, "nbytes", 0) for m in matrices)
