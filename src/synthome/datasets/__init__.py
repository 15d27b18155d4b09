"""Kedro datasets: how each kind of thing is read, written and previewed.

Everything that is written is written whole or not at all (``AtomicDataset``). Modules here are
imported whenever a catalog is read, so heavy libraries are imported when data are.
"""

from synthome.datasets.adata import AnnDataDataset
from synthome.datasets.base import AtomicDataset
from synthome.datasets.cells import (
    CellsFileDataset,
    GeneAliasesDataset,
    GeneSetsDataset,
    PBMCDataset,
    SimulatedContextsDataset,
    SimulatedCortexDataset,
)
from synthome.datasets.cohorts import (
    CohortFolderDataset,
    GEODataset,
    H5ADCohortDataset,
    SimulatedCohortDataset,
)
from synthome.datasets.documents import FigureDataset, HTMLDataset, JSONDataset
from synthome.datasets.place import PlaceDataset
from synthome.datasets.state import StateDataset
from synthome.datasets.table import TableDataset
from synthome.datasets.tissues import (
    SimulatedTissueDataset,
    TissueFileDataset,
    VisiumDataset,
)
from synthome.datasets.versions import prune_versions

__all__ = [
    "AnnDataDataset",
    "AtomicDataset",
    "CellsFileDataset",
    "CohortFolderDataset",
    "FigureDataset",
    "GEODataset",
    "GeneAliasesDataset",
    "GeneSetsDataset",
    "H5ADCohortDataset",
    "HTMLDataset",
    "JSONDataset",
    "PBMCDataset",
    "PlaceDataset",
    "SimulatedCohortDataset",
    "SimulatedContextsDataset",
    "SimulatedCortexDataset",
    "SimulatedTissueDataset",
    "StateDataset",
    "TableDataset",
    "TissueFileDataset",
    "VisiumDataset",
    "prune_versions",
]
