"""Where cohorts come from: a folder, an AnnData file, GEO, or the simulator. Read only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from kedro.io.core import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from synthome.datasets.previews import cohort_preview
from synthome.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData
else:
    AnnData = Any


class ReadOnly:
    """What every source has in common: it can be read, never written."""

    def save(self, data: Any) -> NoReturn:  # noqa: ARG002
        """Refuse: raw data are not ours to change."""
        raise DatasetError(f"{type(self).__name__} is a source: it is read, never written.")

    def _exists(self) -> bool:
        return True


class OneFile(ReadOnly):
    """A source that is one file.

    Parameters
    ----------
    file
        Relative to the folder in which the command is typed.
    """

    def __init__(self, file: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._file = file
        self.metadata = metadata

    def _exists(self) -> bool:
        return bool(self._file and Path(self._file).expanduser().exists())

    def _describe(self) -> dict[str, Any]:
        return {"file": self._file}


class Drawn(ReadOnly):
    """A source that a simulator draws, the same at each load.

    Parameters
    ----------
    config
        What the configuration of the simulator takes: ``n_obs``, ``seed``, ...
    """

    def __init__(self, metadata: dict[str, Any] | None = None, **config: Any) -> None:
        self._config = config
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return dict(self._config)

    def _init_config(self) -> dict[str, Any]:
        """The catalog entry that makes this dataset."""
        return {"type": type_of(self), **self._describe()}


class CohortDataset(ReadOnly, AbstractDataset[Any, AnnData]):
    """A source of a raw cohort."""

    def preview(self, nrows: int = 40) -> TablePreview:
        """Size and columns of the cohort."""
        adata = self.load()
        layers = ", ".join(adata.layers) or "none"
        obs = adata.obs.iloc[:, :nrows]
        return cohort_preview(adata.n_obs, adata.n_vars, f"layers: {layers}", obs)


class CohortFolderDataset(CohortDataset):
    """A folder with ``expression`` and ``samples`` as Parquet, CSV or TSV.

    Parameters
    ----------
    folder
        Relative to the folder in which the command is typed. (Kedro rewrites entries that are
        called ``path`` or ``filepath``.)
    optional
        Without a folder, give the cohort that is not there instead of an error.
    """

    def __init__(
        self,
        folder: str | None = None,
        optional: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = folder
        self._optional = optional
        self.metadata = metadata

    def load(self) -> AnnData:
        """Read both tables; see ``ingestion.tables.read_cohort_folder``."""
        if not self._folder:
            return _absent_or_refused(
                self._optional,
                "Which folder holds your cohort? Say --params=cohort_dir=DIR,label=COLUMN: DIR "
                "holds expression.csv and samples.csv (or .tsv, .parquet), COLUMN is the column of "
                "the sample sheet with the class of each sample.",
            )
        from synthome.ingestion.tables import read_cohort_folder

        return read_cohort_folder(self._folder)

    def preview(self, nrows: int = 40) -> TablePreview:
        """The columns of the sample sheet; the expression table is not read for it."""
        from synthome.ingestion.files import existing_folder, find_table
        from synthome.ingestion.tables import read_sheet

        if not self._folder:
            return cohort_preview(0, 0, "no folder given", _no_columns())
        sheet = read_sheet(find_table(existing_folder(self._folder), "samples")).frame
        return cohort_preview(len(sheet), 0, "", sheet.iloc[:, :nrows])

    def _exists(self) -> bool:
        return self._optional or bool(self._folder and Path(self._folder).expanduser().is_dir())

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, "optional": self._optional}


class H5ADCohortDataset(CohortDataset):
    """A cohort in an ``.h5ad`` file.

    Parameters
    ----------
    file
        Relative to the folder in which the command is typed.
    optional
        Without a file, give the cohort that is not there instead of an error.
    """

    def __init__(
        self,
        file: str | None = None,
        optional: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._file = file
        self._optional = optional
        self.metadata = metadata

    def load(self) -> AnnData:
        """Read the file; see ``ingestion.h5ad.read_h5ad_cohort``."""
        if not self._file:
            return _absent_or_refused(
                self._optional,
                "Which file holds your cohort? Say --params=cohort_file=FILE.h5ad,label=COLUMN.",
            )
        from synthome.ingestion.h5ad import read_h5ad_cohort

        return read_h5ad_cohort(self._file)

    def _exists(self) -> bool:
        return self._optional or bool(self._file and Path(self._file).expanduser().is_file())

    def _describe(self) -> dict[str, Any]:
        return {"file": self._file, "optional": self._optional}


class GEODataset(CohortDataset):
    """A series of the Gene Expression Omnibus, downloaded once and verified at each use.

    Parameters
    ----------
    accession
        ``GSE134900``.
    path
        Folder in which downloads are kept. (Kedro makes entries of this name relative to the
        project.)
    options
        Everything else that ``ingestion.geo.GEOSource`` takes: ``supplementary``, ``classes``,
        ``sha256``, ``base_url``, ...
    """

    def __init__(
        self,
        accession: str,
        path: str = "data/01_raw/geo",
        metadata: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._accession = accession
        self._cache = path
        self._options = options
        self.metadata = metadata

    def load(self) -> AnnData:
        """Download what is missing and read it; see ``ingestion.geo.read_geo``."""
        from pydantic import ValidationError

        from synthome.ingestion.geo import GEOSource, read_geo

        try:
            source = GEOSource(accession=self._accession, **self._options)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise InputError(
                f"The catalog entry of {self._accession} is not right: {problems}."
            ) from error
        return read_geo(source, Path(self._cache))

    def preview(self, nrows: int = 40) -> TablePreview:
        """The sample sheet, if the series is in the cache; nothing is downloaded for a preview."""
        from synthome.ingestion.series_matrix import read_series_matrix

        name = self._options.get("matrix") or f"{self._accession}_series_matrix.txt.gz"
        path = Path(self._cache).expanduser() / self._accession / name
        if not path.exists():
            return cohort_preview(0, 0, f"{self._accession} is not downloaded yet", _no_columns())
        samples = read_series_matrix(path).samples
        return cohort_preview(len(samples), 0, "", samples.iloc[:, :nrows])

    def _describe(self) -> dict[str, Any]:
        return {"accession": self._accession, "path": self._cache}

    def _init_config(self) -> dict[str, Any]:
        """The catalog entry that makes this dataset."""
        return {"type": type_of(self), **self._describe(), **self._options}


class SimulatedCohortDataset(Drawn, CohortDataset):
    """A bulk cohort drawn by the simulator, the same at each load.

    Parameters
    ----------
    cohort
        ``main``, or ``external`` for a second study of the same disease.
    config
        What ``simulate.bulk_cohort.BulkCohortConfig`` takes: ``n_obs``, ``seed``, ...
    """

    def __init__(
        self,
        cohort: Literal["main", "external"] = "main",
        metadata: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(metadata, **config)
        self._cohort = cohort

    def load(self) -> AnnData:
        """Draw it."""
        from synthome.simulate.bulk_cohort import BulkCohortConfig, simulate_bulk_cohort

        return simulate_bulk_cohort(BulkCohortConfig(**self._config), cohort=self._cohort)

    def _describe(self) -> dict[str, Any]:
        return {"cohort": self._cohort, **self._config}


def type_of(dataset: Any) -> str:
    """What a catalog entry says as ``type``."""
    return f"{type(dataset).__module__}.{type(dataset).__name__}"


def _absent_or_refused(optional: bool, message: str) -> AnnData:
    """The cohort that is not there, when it may be; else an error."""
    from synthome.anndata_schema import absent

    if not optional:
        raise InputError(message)
    return absent()


def _no_columns() -> Any:
    import pandas as pd

    return pd.DataFrame()
