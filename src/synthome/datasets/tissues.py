"""Where tissues come from: an AnnData file, the output of Space Ranger, the simulator. Read only.

A tissue is loaded whole: spots x genes, coordinates and images in one AnnData.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io.core import AbstractDataset
from kedro_datasets._typing import TablePreview

from synthome.datasets.cohorts import Drawn, OneFile, ReadOnly
from synthome.datasets.previews import cohort_preview
from synthome.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData
else:
    AnnData = Any


class TissueDataset(ReadOnly, AbstractDataset[Any, AnnData]):
    """A source of a raw tissue."""

    def preview(self, nrows: int = 40) -> TablePreview:
        """Size, images and columns of the tissue."""
        adata = self.load()
        images = [
            f"{name} {resolution} {image.shape[1]} x {image.shape[0]}"
            for name, section in adata.uns.get("spatial", {}).items()
            for resolution, image in section.get("images", {}).items()
        ]
        holds = f"images: {', '.join(images) or 'none'}"
        return cohort_preview(adata.n_obs, adata.n_vars, holds, adata.obs.iloc[:, :nrows], "spot")


class TissueFileDataset(OneFile, TissueDataset):
    """A tissue in an ``.h5ad`` file."""

    def load(self) -> AnnData:
        """Read it; see ``ingestion.tissue_file.read_tissue``."""
        if not self._file:
            raise InputError(
                "Which file holds your tissue? Say --params=h5ad=FILE, and where there are such "
                "columns labels=COLUMN,section=COLUMN: FILE is an .h5ad file with raw counts in X, "
                "layers['counts'] or raw, and x and y of each spot in obsm['spatial']."
            )
        from synthome.ingestion.tissue_file import read_tissue

        return read_tissue(self._file)


class VisiumDataset(TissueDataset):
    """Visium slices in the folder that Space Ranger wrote.

    Parameters
    ----------
    folder
        ``outs``, a folder that contains it, or a folder of several of these; relative to the folder
        in which the command is typed.
    """

    def __init__(self, folder: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._folder = folder
        self.metadata = metadata

    def load(self) -> AnnData:
        """Read all slices; see ``ingestion.visium.read_visium``."""
        if not self._folder:
            raise InputError(
                "Which folder holds your Visium slices? Say --params=visium_dir=DIR: DIR is the "
                "folder 'outs' of Space Ranger, with filtered_feature_bc_matrix.h5 and a folder "
                "'spatial', or a folder that holds one such folder for each section."
            )
        from synthome.ingestion.visium import read_visium

        return read_visium(self._folder)

    def _exists(self) -> bool:
        return bool(self._folder and Path(self._folder).expanduser().is_dir())

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder}


class SimulatedTissueDataset(Drawn, TissueDataset):
    """A slice drawn by ``simulate.tissue``, whose ``TissueSliceConfig`` the entry fills."""

    def load(self) -> AnnData:
        """Draw it."""
        from synthome.simulate.tissue import TissueSliceConfig, simulate_tissue

        return simulate_tissue(TissueSliceConfig(**self._config))
