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

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, UNS, provenance
from synthome.errors import InputError
from synthome.ingestion.cell_sheet import asked_for, filled, give_names, library_sizes
from synthome.ingestion.cell_source import CellSource
from synthome.ingestion.count_values import find_counts
from synthome.ingestion.genes import tell_repeated, tidy_names
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.samples import (
    FALSE,
    TRUE,
    follow_renaming,
    rename_columns,
    require_column,
)
from synthome.ingestion.sheet import as_text, storable
from synthome.ingestion.tables import SOURCE_NAME
from synthome.ingestion.tissue_config import TissueConfig
from synthome.ingestion.tissue_space import (
    FEATURES,
    SPATIAL,
    coordinates,
    image_features,
    refuse_same_place,
    section_images,
)

SECTION, TISSUE = "section", "tissue"  # the latter: label and section where there are none
UNLABELLED = frozenset({"unlabelled", "unlabeled", "undetermined", "unassigned", "unannotated"})
SHEET = "obs"  # what messages call the table of spots

Report = dict[str, Any]


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
        return _validate(raw, config, Journal(name, raw.n_obs, raw.n_vars))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _validate(raw: AnnData, config: TissueConfig, journal: Journal) -> tuple[AnnData, Report]:
    """The checks in order; see ``validate_tissue``."""
    given = provenance(raw)
    journal.resume(given)
    source = CellSource.of(raw)
    place, passed = find_counts({k: p.matrix for k, p in source.places.items()}, config.layer)
    source = source.at(place)
    sizes = f"{count(source.n_obs, 'spot')} and {count(source.n_vars, 'gene')}"
    journal.start("read", f"{sizes}; counts are those of {place}", source.n_obs, source.n_vars)
    for other, words in passed.items():
        journal.step("counts", f"{other} is left aside: it holds {words}")

    obs, config = _columns(raw, given, config, journal)
    everywhere = obs.assign(**{TISSUE: TISSUE})  # a spot stays without a label, a cell does not
    kept = asked_for(everywhere, TISSUE, config.where, journal)
    xy, features = coordinates(raw, kept), image_features(raw, kept)
    sections = _sections(obs, config.section, kept, raw.uns.get(SPATIAL, {}), journal)

    names, symbols = tidy_names(_names(source), journal)
    symbols |= tell_repeated(names, "sum", "counts", journal)
    codes, unique = pd.factorize(names)
    first = np.unique(codes, return_index=True)[1]
    counts = source.merged(codes, pd.Index(unique)).rows(0, source.n_obs)

    _refuse_no_counts(counts, kept, place)
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    rows = np.flatnonzero(filled(totals, kept, config.min_counts, journal))
    rows = rows[_once(counts[rows], xy[rows], sections[rows], journal)]
    counts, xy, sections = counts[rows], xy[rows], sections[rows]

    obs = storable(obs.iloc[rows])
    label = _label(obs, config.labels, journal)
    obs[SECTION] = sections
    _tell_sections(sections, journal)
    _name_spots(obs, journal)
    refuse_same_place(xy, sections, obs.index)
    obs[LIBRARY_SIZE] = library_sizes(obs, totals[rows], config.library_size, journal)
    if config.discordant is not None:
        obs[config.discordant] = _truth(obs[config.discordant], config.discordant)
    images = section_images(raw.uns.get(SPATIAL, {}), sections, xy, journal)

    var = source.var.iloc[first].drop(columns=SOURCE_NAME, errors="ignore")
    tissue = AnnData(
        counts,
        obs=obs,
        var=storable(var).set_axis(pd.Index(unique.astype(str)), axis=0),
        layers={COUNTS: counts},
        obsm={SPATIAL: xy},
        uns={k: v for k, v in raw.uns.items() if k not in (UNS, SPATIAL)},
    )
    if features is not None:
        tissue.obsm[FEATURES] = features[rows]
        journal.step("image features", f"{count(features.shape[1], 'feature')} of {FEATURES!r}")
    if images:
        tissue.uns[SPATIAL] = images
    tissue.uns[UNS] = {k: v for k, v in given.items() if k not in ("files", "reading")} | {
        "label_key": label,
        "group_key": "",
        "batch_key": "",
        "scale": "counts",
        "counts_in": place,
        "section_key": SECTION,
        "discordant_key": config.discordant or "",
    }
    sizes = f"{count(tissue.n_obs, 'spot')} and {count(tissue.n_vars, 'gene')}"
    journal.step("done", f"{sizes}; {_in_words(_sizes(obs[label]))}")
    return tissue, _report(tissue, given, config, journal) | {"symbols": symbols}


def _columns(
    raw: AnnData, given: Mapping[str, Any], config: TissueConfig, journal: Journal
) -> tuple[pd.DataFrame, TissueConfig]:
    """The sheet with storable names, and the choices of columns with what the source says."""
    obs, renamed = rename_columns(raw.obs, journal)
    known = {"labels": "label_key", "section": "section_key", "discordant": "discordant_key"}
    stated = {role: str(given.get(key, "")) or None for role, key in known.items()}
    config = config.model_copy(
        update={role: getattr(config, role) or name for role, name in stated.items()}
    )
    roles = (*known, "where", "library_size")
    config = follow_renaming(config, renamed, *roles)
    if config.section is None and SECTION in obs:
        journal.step("sections", f"column {SECTION!r} is taken as the section of each spot")
        config = config.model_copy(update={"section": SECTION})
    for role in roles:
        if getattr(config, role) is not None:
            require_column(obs, getattr(config, role), role, SHEET)
    taken = [SECTION] * (config.section != SECTION) + [TISSUE] * (config.labels is None)
    moved = {name: _free(name, obs) for name in taken if name in obs}
    if moved:
        pairs = [f"{old!r} is now {new!r}" for old, new in moved.items()]
        journal.step("columns", f"renamed, since synthome writes such a column: {some(pairs)}")
    return obs.rename(columns=moved), follow_renaming(config, moved, *roles)


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


def _refuse_no_counts(
    counts: sparse.csr_matrix, kept: Bool[np.ndarray, " n_obs"], place: str
) -> None:
    """Stop at a value that the first look of ``find_counts`` did not see."""
    values = counts.data
    wrong = ~((values >= 0) & (np.rint(values) == values) & np.isfinite(values))
    wrong &= np.repeat(kept, np.diff(counts.indptr))
    if wrong.any():
        at = int(wrong.argmax())
        row = int(np.searchsorted(counts.indptr, at, side="right"))
        raise InputError(
            f"Counts must be whole numbers >= 0, but {count(int(wrong.sum()), 'value')} of {place} "
            f"are not; the first is {values[at]:g} in spot number {row:,}. Store the untouched "
            "counts in layers['counts'] of the file, or name another layer with "
            "--params=layer=NAME."
        )


def _report(
    tissue: AnnData, given: Mapping[str, Any], config: TissueConfig, journal: Journal
) -> Report:
    """Plain numbers and words, in the form that ``validate_cells`` gives, and what is spatial."""
    facts, obs, counts = tissue.uns[UNS], tissue.obs, tissue.layers[COUNTS]
    label, place = facts["label_key"], facts["counts_in"]
    images = {name: s["images"] for name, s in tissue.uns.get(SPATIAL, {}).items()}
    return {
        "source": str(given.get("source", "")),
        "sha256": str(given.get("sha256", "")),
        "files": dict(given.get("files", {})),
        "label": label,
        "labelled": config.labels is not None,
        "group": "",
        "batch": "",
        "section": config.section or "",
        "where": config.where or "",
        "library_size": config.library_size or "",
        "discordant": config.discordant or "",
        "n_obs": tissue.n_obs,
        "n_vars": tissue.n_vars,
        "n_groups": 0,
        "classes": _sizes(obs[label]),
        "n_unlabelled": int((obs[label] == "").sum()),
        "sections": _sizes(obs[SECTION]),
        "images": {
            name: {resolution: list(image.shape) for resolution, image in section.items()}
            for name, section in images.items()
        },
        "n_image_features": tissue.obsm[FEATURES].shape[1] if FEATURES in tissue.obsm else 0,
        "n_discordant": int(obs[config.discordant].sum()) if config.discordant else 0,
        "scale": {
            "scale": "counts",
            "decided_by": "you" if config.layer else "measured",
            "why": f"every value of {place} is a whole number >= 0",
            "counts_in": place,
            "evidence": {
                "share_of_zeros": 1 - counts.nnz / (tissue.n_obs * tissue.n_vars),
                "median_library_size": float(np.median(obs[LIBRARY_SIZE])),
                "largest": float(counts.data.max()),
                "genes_seen": int(np.count_nonzero(counts.getnnz(axis=0))),
            },
        },
        "steps": journal.entries,
        "warnings": [entry["why"] for entry in journal.entries if entry["warning"]],
    }


def _names(source: CellSource) -> np.ndarray:
    """Gene names as the file has them, before repeated ones were told apart."""
    names = source.var.get(SOURCE_NAME, pd.Series(source.var.index))
    return names.astype(str).to_numpy(dtype=object)


def _sizes(values: pd.Series) -> dict[str, int]:
    """Spots of each value, most first; those without one are not counted."""
    given = values[values != ""]
    return {str(name): int(size) for name, size in given.value_counts().items()}


def _in_words(sizes: Mapping[str, int]) -> str:
    return some([f"{name} {size:,}" for name, size in sizes.items()], 10)
