"""A raw tissue in, a validated one and its report out: counts, places, images, sections.

A slice fits in memory, unlike the cells of ``ingestion.cells``, so that the counts of all genes
stay with it. Domains are there for scores alone: a spot without one is kept.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float
from scipy import sparse

from synthome.anndata_schema import (
    COUNTS,
    IMAGE_FEATURES,
    LIBRARY_SIZE,
    SECTION,
    SPATIAL,
    UNS,
    provenance,
)
from synthome.errors import InputError
from synthome.ingestion.cell_sheet import filled, give_names, library_sizes, where_true
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.counted import (
    Report,
    at_counts,
    columns_of,
    genes_of,
    read_all,
    report_of,
    require_columns,
)
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.samples import FALSE, TRUE, follow_renaming
from synthome.ingestion.sheet import as_text, storable
from synthome.ingestion.tissue_config import TissueConfig
from synthome.ingestion.tissue_space import (
    coordinates,
    image_features,
    refuse_same_place,
    section_images,
)

TISSUE = "tissue"  # label and section where there are none
UNLABELLED = frozenset({"unlabelled", "unlabeled", "undetermined", "unassigned", "unannotated"})
COLUMNS = {"labels": "label_key", "section": "section_key", "discordant": "discordant_key"}


def validate_tissue(raw: AnnData, config: TissueConfig) -> tuple[AnnData, Report]:
    """Check counts, places and images, and put the sheet of spots in order.

    Parameters
    ----------
    raw
        Spots (or cells) x genes as a dataset gives them: raw counts in ``X``, a layer or ``raw``,
        ``obsm["spatial"]`` (n_obs, 2), and images in ``uns["spatial"]`` as scanpy keeps them.
    config
        Columns, place of the counts, thresholds.

    Returns
    -------
    The tissue: ``layers["counts"]`` and ``X`` the same CSR of whole numbers, ``obs`` with the label
    (``""`` where there is none), ``section`` and ``library_size``, ``obsm["spatial"]`` float64,
    ``obsm["image_features"]`` where given, ``uns["spatial"]`` with the images by section. And a
    report of plain numbers and words, of the form that ``validate_cells`` gives. Without domains
    the label is a column ``tissue`` that says ``tissue`` throughout.

    Raises
    ------
    InputError
        At the first problem that the person has to mend.
    """
    name = str(provenance(raw).get("source", TISSUE))
    try:
        return _validate(raw, config, Journal(name, raw.n_obs, raw.n_vars, row="spot"))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _validate(raw: AnnData, config: TissueConfig, journal: Journal) -> tuple[AnnData, Report]:
    """The checks in order; see ``validate_tissue``."""
    given = provenance(raw)
    journal.resume(given)
    source = at_counts(CellSource.of(raw), config.layer, journal)
    obs, config = _columns(raw, given, config, journal)
    kept = where_true(obs, config.where, journal)
    xy, features = coordinates(raw, kept), image_features(raw, kept)
    sections = _sections(obs, config.section, kept, raw.uns.get(SPATIAL, {}), journal)

    totals = read_all(source, kept, journal.row)
    rows = np.flatnonzero(filled(totals.counts, kept, config.min_counts, journal))
    n_filled = len(rows)
    genes = genes_of(source, journal)
    counts = source.merged(genes.codes, genes.var.index).rows(0, source.n_obs)
    rows = rows[_once(counts[rows], xy[rows], sections[rows], journal)]
    counts, xy, sections = counts[rows], xy[rows], sections[rows]

    obs = storable(obs.iloc[rows])
    label = _label(obs, config.labels, journal)
    obs[SECTION] = sections
    _tell_sections(sections, journal)
    _name_spots(obs, journal)
    refuse_same_place(xy, sections)
    obs[LIBRARY_SIZE] = library_sizes(obs, totals.counts[rows], config.library_size, journal)
    if config.discordant is not None:
        obs[config.discordant] = _truth(obs[config.discordant], config.discordant)
    images = section_images(raw.uns.get(SPATIAL, {}), sections, xy, journal)

    tissue = AnnData(
        counts,
        obs=obs,
        var=genes.var,
        layers={COUNTS: counts},
        obsm={SPATIAL: xy},
        uns={k: v for k, v in raw.uns.items() if k not in (UNS, SPATIAL)},
    )
    if features is not None:
        tissue.obsm[IMAGE_FEATURES] = features[rows]
        journal.step(
            "image features", f"{count(features.shape[1], 'feature')} of {IMAGE_FEATURES!r}"
        )
    if images:
        tissue.uns[SPATIAL] = images
    tissue.uns[UNS] = {k: v for k, v in given.items() if k not in ("files", "reading")} | {
        "label_key": label,
        "group_key": "",
        "batch_key": "",
        "scale": "counts",
        "counts_in": source.found_in,
        "section_key": SECTION,
        "discordant_key": config.discordant or "",
    }
    sizes = f"{count(tissue.n_obs, 'spot')} and {count(tissue.n_vars, 'gene')}"
    journal.step("done", f"{sizes}; {_in_words(_sizes(obs[label]))}")
    report = report_of(tissue, given, config, totals, n_filled, journal)
    return tissue, report | _spatial_report(tissue, config) | {"symbols": genes.symbols}


def _columns(
    raw: AnnData, given: Mapping[str, Any], config: TissueConfig, journal: Journal
) -> tuple[pd.DataFrame, TissueConfig]:
    """The sheet with storable names, and the choices of columns with what the source says."""
    obs, config = columns_of(raw.obs, given, config, COLUMNS, journal)
    if config.section is None and SECTION in obs:
        journal.step("sections", f"column {SECTION!r} is taken as the section of each spot")
        config = config.model_copy(update={"section": SECTION})
    require_columns(obs, config, COLUMNS)
    taken = [SECTION] * (config.section != SECTION) + [TISSUE] * (config.labels is None)
    moved = {name: _free(name, obs) for name in taken if name in obs}
    if moved:
        pairs = [f"{old!r} is now {new!r}" for old, new in moved.items()]
        journal.step("columns", f"renamed, since synthome writes such a column: {some(pairs)}")
    return obs.rename(columns=moved), follow_renaming(
        config, moved, *COLUMNS, "where", "library_size"
    )


def _free(name: str, obs: pd.DataFrame) -> str:
    """A name for a column that has to give way."""
    name = f"{name}_sheet"
    while name in obs:
        name += "_"
    return name


def _sections(
    obs: pd.DataFrame,
    column: str | None,
    kept: Bool[np.ndarray, " n_obs"],
    images: Mapping[str, Any],
    journal: Journal,
) -> np.ndarray:
    """The section of each spot as text, (n_obs,); every spot kept has one."""
    if column is None:
        names = [str(name).replace("/", "_") for name in images]
        if len(names) > 1:
            alike = [
                str(c) for c in obs.columns if set(as_text(obs[c]).dropna()) & set(map(str, images))
            ]
            hint = f"; {some(alike)} has such values" if alike else ""
            raise InputError(
                f"uns['{SPATIAL}'] has images of {count(len(names), 'section')} "
                f"({some(names, 6)}), but nothing says which spot is of which. Name the column "
                f"with --params=section=COLUMN{hint}."
            )
        only = names[0] if names else TISSUE
        journal.step("sections", f"no column of sections: all spots are of one, {only!r}")
        return np.full(len(obs), only, dtype=object)
    text = as_text(obs[column])
    n_missing = int((text.isna() & kept).sum())
    if n_missing:
        raise InputError(
            f"section={column} is empty for {n_missing:,} of {count(int(kept.sum()), 'spot')}. "
            "Fill it in, or leave those spots out."
        )
    return text.str.replace("/", "_").to_numpy(dtype=object)


def _once(
    counts: sparse.csr_matrix,
    xy: Float[np.ndarray, "n_obs 2"],
    sections: np.ndarray,
    journal: Journal,
) -> Bool[np.ndarray, " n_obs"]:
    """Which spots to keep so that none is there twice: same section, same place, same counts."""
    place = pd.DataFrame({"section": sections, "x": xy[:, 0], "y": xy[:, 1]})
    shared = np.flatnonzero(place.duplicated(keep=False))
    place = place.iloc[shared].assign(
        counts=[row.indices.tobytes() + row.data.tobytes() for row in counts[shared]]
    )
    kept = np.ones(len(xy), dtype=bool)
    kept[shared[place.duplicated().to_numpy()]] = False
    n_twice = len(kept) - int(kept.sum())
    if n_twice:
        told = f"{count(n_twice, 'spot')} left out that repeat another in place and in all counts"
        journal.step("same spot twice", told, n_obs=int(kept.sum()), warning=True)
    return kept


def _tell_sections(sections: np.ndarray, journal: Journal) -> None:
    """How many spots each section has; a warning of those with a single one."""
    sizes = _sizes(pd.Series(sections))
    told = f"{count(len(sizes), 'section')}: {_in_words(sizes)}"
    alone = [name for name, size in sizes.items() if size == 1]
    if alone:
        told += f"; a section of 1 spot has no neighbours: {some(alone, 6)}"
    journal.step("sections", told, warning=bool(alone))


def _label(obs: pd.DataFrame, column: str | None, journal: Journal) -> str:
    """Write the label of each spot into ``obs``, ``""`` where there is none; its column."""
    if column is None:
        obs[TISSUE] = TISSUE
        told = f"no column of domains: the label is {TISSUE!r} in all spots, and no score uses it"
        journal.step("labels", told)
        return TISSUE
    text = as_text(obs[column])
    missing = (text.isna() | text.str.lower().isin(UNLABELLED)).to_numpy()
    if missing.all():
        raise InputError(
            f"The column {column!r} has no label in any spot (empty, NA, unlabelled and "
            "undetermined count as none). Name another with --params=labels=COLUMN, or leave it "
            "out."
        )
    obs[column] = text.mask(missing, "")
    told = f"{count(int((~missing).sum()), 'spot')} with a label in {column!r}"
    if missing.any():
        told += f"; {int(missing.sum()):,} without one are kept, and left out of scores"
    journal.step("labels", told)
    return column


def _name_spots(obs: pd.DataFrame, journal: Journal) -> None:
    """Names that differ: of sections put together, each barcode gets its section in front."""
    if obs.index.duplicated().any() and obs[SECTION].nunique() > 1:
        obs.index = pd.Index(obs[SECTION].astype(str) + "_" + obs.index.astype(str))
        journal.step("spot names", "barcodes repeat: the section stands in front of each")
    give_names(obs, journal)


def _truth(column: pd.Series, name: str) -> Bool[np.ndarray, " n_obs"]:
    """The planted patches as true and false."""
    text = as_text(column).str.lower()
    unknown = sorted(set(text.fillna("missing values")) - TRUE - FALSE)
    if unknown:
        raise InputError(
            f"discordant={name} needs a column of true and false, but {name!r} holds "
            f"{some(unknown)}. Leave it out: it is the truth of simulated slices."
        )
    return text.isin(TRUE).to_numpy(dtype=bool)


def _spatial_report(tissue: AnnData, config: TissueConfig) -> Report:
    """What the report of a tissue says beyond that of cells."""
    obs = tissue.obs
    label = tissue.uns[UNS]["label_key"]
    return {
        "labelled": config.labels is not None,
        "section": config.section or "",
        "discordant": config.discordant or "",
        "n_unlabelled": int((obs[label] == "").sum()),
        "sections": _sizes(obs[SECTION]),
        "images": {
            name: {resolution: list(image.shape) for resolution, image in section["images"].items()}
            for name, section in tissue.uns.get(SPATIAL, {}).items()
        },
        "n_image_features": tissue.obsm[IMAGE_FEATURES].shape[1]
        if IMAGE_FEATURES in tissue.obsm
        else 0,
        "n_discordant": int(obs[config.discordant].sum()) if config.discordant else 0,
    }


def _sizes(values: pd.Series) -> dict[str, int]:
    """Spots of each value, most first; those without one are not counted."""
    given = values[values != ""]
    return {str(name): int(size) for name, size in given.value_counts().items()}


def _in_words(sizes: Mapping[str, int]) -> str:
    return some([f"{name} {size:,}" for name, size in sizes.items()], 10)
