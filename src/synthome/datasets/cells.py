"""Where cells and gene lists come from: a file, the simulator, scanpy. Read only.

A source of cells leaves the counts where they are: see ``ingestion.cell_source.CellSource``.
"""

from typing import TYPE_CHECKING, Any

from kedro.io.core import AbstractDataset
from kedro_datasets._typing import TablePreview

from synthome.datasets.cohorts import Drawn, OneFile, ReadOnly
from synthome.datasets.previews import cohort_preview, table_preview
from synthome.errors import InputError

if TYPE_CHECKING:
    from synthome.ingestion.cell_source import CellSource
else:
    CellSource = Any

FEW_GENES = 8  # of a set that a preview names


class CellsDataset(ReadOnly, AbstractDataset[Any, CellSource]):
    """A source of cells: it can be read, never written."""

    def preview(self, nrows: int = 40) -> TablePreview:
        """Size, matrices and columns of the cells."""
        source = self.load()
        genes = max(len(place.var) for place in source.places.values())
        holds = f"matrices: {', '.join(source.places)}"
        return cohort_preview(source.n_obs, genes, holds, source.obs.iloc[:, :nrows], row="cell")


class CellsFileDataset(OneFile, CellsDataset):
    """Cells in an ``.h5ad`` file or a zarr store (a folder)."""

    def load(self) -> CellSource:
        """Open it; see ``ingestion.cell_source.CellSource.open``."""
        if not self._file:
            raise InputError(
                "Which file holds your cells? Say --params=h5ad=FILE,cell_type=COLUMN, and where "
                "there are such columns batch=COLUMN,donor=COLUMN: FILE is an .h5ad file or a zarr "
                "folder with raw counts in X, layers['counts'] or raw."
            )
        from synthome.ingestion.cell_source import CellSource

        return CellSource.open(self._file)


class SimulatedCortexDataset(Drawn, CellsDataset):
    """Cells drawn by ``simulate.cortex``, whose ``CortexConfig`` the entry fills."""

    def load(self) -> CellSource:
        """Draw them."""
        from synthome.ingestion.cell_source import CellSource
        from synthome.simulate.cortex import CortexConfig, simulate_cortex

        return CellSource.of(simulate_cortex(CortexConfig(**self._config)))


class SimulatedContextsDataset(Drawn, CellsDataset):
    """Cells drawn by ``simulate.contexts``, whose ``ContextsConfig`` the entry fills."""

    def load(self) -> CellSource:
        """Draw them."""
        from synthome.ingestion.cell_source import CellSource
        from synthome.simulate.contexts import ContextsConfig, simulate_contexts

        return CellSource.of(simulate_contexts(ContextsConfig(**self._config)))


class PBMCDataset(CellsDataset):
    """700 blood cells x 765 genes that come with scanpy, their counts got back exactly."""

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata

    def load(self) -> CellSource:
        """Read them; see ``ingestion.pbmc``."""
        from synthome.ingestion.cell_source import CellSource
        from synthome.ingestion.pbmc import read_pbmc68k_reduced

        return CellSource.of(read_pbmc68k_reduced())

    def _describe(self) -> dict[str, Any]:
        return {}


class GeneSetsDataset(ReadOnly, AbstractDataset[Any, dict[str, list[str]]]):
    """Lists of genes by name; none at all without a file.

    Parameters
    ----------
    file
        GMT, text or table, or several joined by ``+``, relative to the folder in which the command
        is typed.
    """

    def __init__(self, file: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._file = file
        self.metadata = metadata

    def load(self) -> dict[str, list[str]]:
        """Read all of them; see ``ingestion.gene_sets.read_gene_sets``."""
        from synthome.ingestion.config import split_list
        from synthome.ingestion.gene_sets import read_gene_sets

        sets: dict[str, list[str]] = {}
        for file in split_list(self._file):
            found = read_gene_sets(file)
            twice = sorted(set(found) & set(sets))
            if twice:
                raise InputError(
                    f"The gene set {twice[0]!r} is in {file} and in a file before it. Give each "
                    "set a name of its own."
                )
            sets |= found
        return sets

    def preview(self, nrows: int = 40) -> TablePreview:
        """Name and size of each set, and its first genes."""
        rows = [
            [name, len(genes), ", ".join(genes[:FEW_GENES])] for name, genes in self.load().items()
        ]
        return table_preview(["set", "genes", "the first"], rows[:nrows])

    def _describe(self) -> dict[str, Any]:
        return {"file": self._file}


class GeneAliasesDataset(ReadOnly, AbstractDataset[Any, dict[str, str]]):
    """Another name of each gene to the one in use; none at all without a file.

    Parameters
    ----------
    file
        A table of two columns, relative to the folder in which the command is typed.
    """

    def __init__(self, file: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._file = file
        self.metadata = metadata

    def load(self) -> dict[str, str]:
        """Read it; see ``ingestion.gene_sets.read_aliases``."""
        from synthome.ingestion.gene_sets import read_aliases

        return read_aliases(self._file) if self._file else {}

    def _describe(self) -> dict[str, Any]:
        return {"file": self._file}
