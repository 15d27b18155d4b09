"""A GEO series as a cohort: who is ill from the series matrix, values from it or a supplement.

The table of a series matrix is empty for RNA-seq; the values are then in a supplementary file,
whose columns are named by accession, by title, or by a piece of it. Arrays name probes there; the
annotation of the platform gives their genes.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from pydantic import Field, field_validator

from synthome.config import Config
from synthome.errors import InputError
from synthome.ingestion.column_names import place_columns
from synthome.ingestion.download import fetch
from synthome.ingestion.files import read_table, sha256_of
from synthome.ingestion.genes import merge_repeated
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.series_matrix import SeriesMatrix, read_annotation, read_series_matrix
from synthome.ingestion.sheet import as_ids, typed
from synthome.ingestion.tables import assemble, with_source

NCBI = "https://ftp.ncbi.nlm.nih.gov/geo"
KNOWN_GENES = {"GAPDH", "ACTB", "TP53", "B2M", "EEF2", "RPL3"}
MIN_PLACED = 2


class GEOSource(Config):
    """What to take of a GEO series.

    Parameters
    ----------
    accession
        ``GSE134900``.
    supplementary
        File of the series that holds the values; without it, the table of the series matrix.
    matrix
        Name of the series matrix, when the series has one per platform.
    annotate
        Turn array probes into genes by the annotation of the platform.
    classes
        Classes and the pattern that shows them, tried in this order on title, source and
        characteristics of a sample, upper and lower case alike: ``{control: healthy, celiac:
        celiac|coeliac}``. Two series that word their labels differently get the same classes.
    label
        Column that the classes are written to.
    classes_from
        The one column to look in; all of them without it.
    scale
        Scale of the values when the authors state it; measured otherwise.
    sha256
        Checksums by file name. A file without one is trusted at the first download.
    base_url
        Where the tree of GEO begins.
    """

    accession: str
    supplementary: str | None = None
    matrix: str | None = None
    annotate: bool = True
    classes: dict[str, str] = Field(default_factory=dict)
    label: str = "condition"
    classes_from: str | None = None
    scale: Literal["auto", "counts", "linear", "log"] = "auto"
    sha256: dict[str, str] = Field(default_factory=dict)
    base_url: str = NCBI

    @field_validator("accession")
    @classmethod
    def _is_series(cls, value: str) -> str:
        if not re.fullmatch(r"GSE\d+", value):
            raise ValueError(f"{value!r} is no accession of a GEO series, such as GSE134900")
        return value

    def series_url(self, kind: str, name: str) -> str:
        """Address of a file of the series: ``kind`` is ``matrix`` or ``suppl``."""
        base = self.base_url.rstrip("/")
        return f"{base}/series/{_folder(self.accession)}/{self.accession}/{kind}/{name}"

    def annotation_url(self, platform: str) -> str:
        """Address of the annotation of an array platform (``GPL10558``)."""
        base = self.base_url.rstrip("/")
        return f"{base}/platforms/{_folder(platform)}/{platform}/annot/{platform}.annot.gz"


def read_geo(source: GEOSource, cache: Path, wait: float = 1.0) -> AnnData:
    """Download what is missing, and put a raw cohort together.

    Parameters
    ----------
    source
        What to take.
    cache
        Folder of the downloads; each series has one of its own in it.
    wait
        Seconds before a failed download is tried again.

    Returns
    -------
    Samples x genes; ``obs`` holds title, source and characteristics of each sample.
    """
    folder = cache.expanduser().absolute() / source.accession
    journal = Journal(source.accession)
    files: dict[str, str] = {}

    def get(url: str) -> Path:
        path, notes = fetch(url, folder, source.sha256.get(url.rsplit("/", 1)[-1]), wait)
        for note in notes:
            journal.step("download", note)
        files[path.name] = sha256_of(path)
        return path

    matrix_path = get(source.series_url("matrix", _matrix_name(source)))
    matrix = read_series_matrix(matrix_path)
    if source.supplementary:
        values_path = get(source.series_url("suppl", source.supplementary))
        values = _supplementary(values_path, matrix.samples, journal)
    else:
        values_path, values = matrix_path, _own_table(matrix, source, matrix_path)
        if source.annotate and not _are_genes(values.index):
            values = _annotated(values, matrix, source, get, journal)
    values = _complete(values, matrix.samples, journal)
    sheet = typed(matrix.samples)
    if source.classes:
        sheet = _with_classes(sheet, source, journal)
    adata = assemble(values, sheet, journal, values_path, matrix_path)
    stated: dict[str, str] = {} if source.scale == "auto" else {"scale": source.scale}
    if source.classes:
        stated["label_key"] = source.label
    return with_source(adata, source.accession, files, journal, **stated)


def _folder(accession: str) -> str:
    """GEO keeps a thousand accessions per folder: ``GSE134900`` is in ``GSE134nnn``."""
    return re.sub(r"\d{1,3}$", "nnn", accession)


def _matrix_name(source: GEOSource) -> str:
    return source.matrix or f"{source.accession}_series_matrix.txt.gz"


def _own_table(matrix: SeriesMatrix, source: GEOSource, path: Path) -> pd.DataFrame:
    """The table of the series matrix, which RNA-seq series leave empty."""
    if matrix.expression is None:
        raise InputError(
            f"{path} holds no values (usual for RNA-seq). Name the supplementary file of "
            f"{source.accession} that holds them, as supplementary in the catalog."
        )
    return matrix.expression


def _supplementary(path: Path, samples: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """A supplementary table with its columns (or rows) named by accession."""
    table = read_table(path)
    for note in table.told:
        journal.step("file format", note)
    frame = table.frame
    placed = place_columns(frame.columns, samples)
    ids = as_ids(frame.iloc[:, 0])
    by_row = place_columns(ids, samples)
    if len(by_row.accessions) > len(placed.accessions):
        placed = by_row
        frame = frame.assign(**{str(frame.columns[0]): [placed.accessions.get(i, i) for i in ids]})
    else:
        frame = frame.set_axis(
            [placed.accessions.get(str(c), str(c)) for c in frame.columns], axis=1
        )
    if len(placed.accessions) < MIN_PLACED:
        titles = some(samples["title"]) if "title" in samples else "none"
        raise InputError(
            f"The columns of {path} cannot be matched to samples. Its columns: "
            f"{some(frame.columns)}; accessions of the series: {some(samples.index)}; titles: "
            f"{titles}. Put the table and a sample sheet into a folder and run with --env=cohort."
        )
    journal.step(
        "sample names",
        f"{count(len(placed.accessions), 'column')} of {path.name} matched to samples "
        f"{placed.rule}",
    )
    return frame


def _annotated(
    values: pd.DataFrame,
    matrix: SeriesMatrix,
    source: GEOSource,
    get: Callable[[str], Path],
    journal: Journal,
) -> pd.DataFrame:
    """Probes turned into genes: several probes of a gene are averaged, the rest left out."""
    platform = matrix.series.get("platform_id", "").split(" ")
    if len(platform) != 1 or not platform[0]:
        raise InputError(
            f"{source.accession} has {count(len(platform), 'platform')}: name the series matrix of "
            "one of them, as matrix in the catalog."
        )
    symbols = read_annotation(get(source.annotation_url(platform[0])))
    known = values.index.isin(symbols.index)
    if known.mean() < 0.2:
        raise InputError(
            f"Only {known.sum():,} of {len(values):,} probes of {source.accession} are in the "
            f"annotation of {platform[0]}. Set annotate: false in the catalog to keep the names."
        )
    chosen = values[known]
    names = symbols[~symbols.index.duplicated()].reindex(chosen.index).to_numpy(dtype=object)
    merged, genes, _ = merge_repeated(chosen.to_numpy(dtype=float).T, names, "mean")
    journal.step(
        "probes",
        f"{known.sum():,} of {len(values):,} probes of {platform[0]} have one gene; those of the "
        f"same gene averaged to {count(len(genes), 'gene')}",
    )
    return pd.DataFrame(
        merged.T, index=pd.Index(genes, name="gene", dtype=object), columns=values.columns
    )


def _complete(values: pd.DataFrame, samples: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """Leave out genes with a missing value: a file of GEO cannot be mended by hand."""
    own = [i for i, name in enumerate(values.columns) if name in samples.index]
    if not own:
        return values
    complete = values.iloc[:, own].notna().all(axis=1).to_numpy()
    if complete.all() or not complete.any():
        return values
    journal.step("missing values", f"{count(int((~complete).sum()), 'row')} with gaps left out")
    return values[complete]


def _with_classes(sheet: pd.DataFrame, source: GEOSource, journal: Journal) -> pd.DataFrame:
    """Write the class of each sample, by the first pattern that its description shows."""
    if source.classes_from is not None and source.classes_from not in sheet:
        raise InputError(
            f"{source.accession} has no column {source.classes_from!r}; it has: "
            f"{some(list(sheet.columns), 30)}."
        )
    looked = [source.classes_from] if source.classes_from else list(sheet.columns)
    described = sheet[looked].fillna("").astype(str).agg(" | ".join, axis=1)
    classes = np.full(len(sheet), np.nan, dtype=object)
    for name, pattern in reversed(source.classes.items()):
        classes[described.str.contains(pattern, case=False, regex=True).to_numpy()] = name
    sizes = {name: int((classes == name).sum()) for name in source.classes}
    absent = [name for name, size in sizes.items() if size == 0]
    if absent:
        raise InputError(
            f"No sample of {source.accession} shows the class {absent[0]!r} (pattern "
            f"{source.classes[absent[0]]!r}). The samples differ in: {_differing(sheet)}. Correct "
            "the patterns in the catalog."
        )
    if source.label in sheet:
        sheet = sheet.rename(columns={source.label: f"{source.label}_geo"})
    journal.step(
        "classes",
        f"{source.label} read from the description of the samples: "
        + ", ".join(f"{name} {size}" for name, size in sizes.items()),
    )
    return sheet.assign(**{source.label: classes})


def _differing(sheet: pd.DataFrame) -> str:
    """Columns with a few values, and the values: what a label could be made of."""
    few = {
        str(name): sorted(map(str, set(sheet[name].dropna())))
        for name in sheet.columns
        if 2 <= sheet[name].nunique() <= 8
    }
    return "; ".join(f"{name} ({', '.join(values)})" for name, values in few.items()) or "nothing"


def _are_genes(names: pd.Index) -> bool:
    """Whether names are genes already, and no probes."""
    found = set(names.astype(str))
    ensembl = sum(name.startswith("ENS") for name in found)
    return len(found & KNOWN_GENES) >= 2 or 2 * ensembl > len(found)
