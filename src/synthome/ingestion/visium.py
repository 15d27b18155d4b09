"""Visium slices as Space Ranger writes them: counts, places of the spots, images.

A folder ``outs`` holds

    filtered_feature_bc_matrix.h5, or the folder filtered_feature_bc_matrix with mtx files
    spatial/tissue_positions.csv, tissue_positions_list.csv (no header) or tissue_positions.parquet
    spatial/scalefactors_json.json, tissue_hires_image.png, tissue_lowres_image.png

The given folder may be ``outs`` itself, may contain it, or may hold several such folders: each is
a section then, under its own name. ``pxl_col_in_fullres`` is x and ``pxl_row_in_fullres`` is y.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import UInt8
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.files import existing_folder, read_bytes, sha256_of
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.tables import SOURCE_NAME, unique_names, with_source
from synthome.ingestion.visium_matrix import read_matrix

MATRIX = "filtered_feature_bc_matrix"
POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet")
COLUMNS = (  # of the positions, in the order of the file without a header
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
XY = ["pxl_col_in_fullres", "pxl_row_in_fullres"]
RESOLUTIONS = ("hires", "lowres")


@dataclass(frozen=True, eq=False)
class Slice:
    """What one ``outs`` holds, spots in tissue alone."""

    name: str
    counts: sparse.csr_matrix  # (n_obs, n_vars)
    spots: pd.DataFrame  # positions by barcode
    genes: pd.DataFrame  # columns id and symbol
    images: dict[str, UInt8[np.ndarray, "height width 3"]]
    scalefactors: dict[str, float]
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 by path in the folder


def read_visium(folder: str | Path) -> AnnData:
    """Read one or several Visium slices.

    Parameters
    ----------
    folder
        ``outs``, a folder that contains it, or a folder of several of these.

    Returns
    -------
    Spots in tissue x genes, raw counts CSR in ``X``; ``obs["section"]``, ``obsm["spatial"]`` in
    pixels of the full-resolution image, images in ``uns["spatial"]``, and where all came from in
    ``uns["synthome"]``.

    Raises
    ------
    InputError
        If a file is missing or damaged, or if barcodes of the counts have no place.
    """
    folder = existing_folder(folder, "visium_dir")
    outs = _find_outs(folder)
    journal = Journal(folder.name)
    slices = [_read_outs(name, path, journal) for name, path in outs.items()]
    counts, genes = _on_shared_genes(slices, journal)
    several = len(slices) > 1
    obs = pd.concat([_sheet(part, several) for part in slices])
    symbols = genes["symbol"].to_numpy(dtype=object)
    adata = AnnData(
        counts,
        obs=obs.drop(columns=XY),
        var=pd.DataFrame(
            {"gene_id": genes["id"].to_numpy(dtype=object), SOURCE_NAME: symbols},
            index=unique_names(symbols),
        ),
        obsm={"spatial": obs[XY].to_numpy(dtype=np.float64)},
        uns={
            "spatial": {
                part.name: {"images": part.images, "scalefactors": part.scalefactors}
                for part in slices
            }
        },
    )
    sizes = f"{count(adata.n_obs, 'spot')} and {count(adata.n_vars, 'gene')}"
    told = f"{count(len(slices), 'Visium slice')} with {sizes}"
    journal.start("read", told, adata.n_obs, adata.n_vars)
    files = {
        f"{part.name}/{name}" if several else name: sha
        for part in slices
        for name, sha in part.files.items()
    }
    source = folder.name if several or folder.name != "outs" else folder.parent.name
    return with_source(adata, source, files, journal, section_key="section")


def _find_outs(folder: Path) -> dict[str, Path]:
    """Every ``outs`` by the name of its section."""
    inside = _outs_of(folder)
    if inside is not None:
        named = folder.parent if folder.name == "outs" else folder
        return {named.name: inside}
    found = {
        path.name: inside
        for path in sorted(folder.iterdir())
        if path.is_dir() and (inside := _outs_of(path)) is not None
    }
    if not found:
        present = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        raise InputError(
            f"{folder} is no output of Space Ranger: neither it nor a folder in it holds "
            f"{MATRIX}.h5 (or the folder {MATRIX}) beside a folder 'spatial'. It has "
            f"{some(present, 6) or 'no files at all'}. Give the folder 'outs'."
        )
    return found


def _outs_of(folder: Path) -> Path | None:
    """``folder`` or its ``outs``, whichever holds a matrix and the places of its spots."""
    for path in (folder, folder / "outs"):
        if path.is_dir() and (path / "spatial").is_dir() and _matrices(path):
            return path
    return None


def _matrices(outs: Path) -> list[Path]:
    """The matrix of ``outs``; its name may have a prefix, as downloads from 10x do."""
    files = sorted(outs.glob(f"*{MATRIX}.h5"))
    return files or [path for path in sorted(outs.glob(f"*{MATRIX}")) if path.is_dir()]


def _read_outs(name: str, outs: Path, journal: Journal) -> Slice:
    """Counts, places and images of one slice."""
    matrices = _matrices(outs)
    if len(matrices) > 1:
        raise InputError(
            f"{outs} holds {some([path.name for path in matrices])}: which is meant? Keep one of "
            "them there."
        )
    matrix = read_matrix(matrices[0], journal)
    places, positions = _read_positions(outs / "spatial")
    spots, rows = _in_tissue(name, places, matrix.barcodes, positions, journal)
    images, factors, seen = _read_images(name, outs / "spatial", journal)
    digests = {
        path.relative_to(outs).as_posix(): sha256_of(path)
        for path in [*matrix.files, positions, *seen]
    }
    return Slice(name, matrix.counts[rows], spots, matrix.genes, images, factors, digests)


def _read_positions(spatial: Path) -> tuple[pd.DataFrame, Path]:
    """One row per barcode, with or without a header in the file; and the file."""
    found = [spatial / name for name in POSITIONS if (spatial / name).is_file()]
    if not found:
        present = some(sorted(path.name for path in spatial.iterdir()), 6) or "no files at all"
        raise InputError(
            f"{spatial} has none of {some(POSITIONS)}; it holds {present}. Copy the one that Space "
            "Ranger wrote."
        )
    path = found[0]
    data, _ = read_bytes(path)
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(io.BytesIO(data))
        else:
            named = data.lstrip(b"\xef\xbb\xbf").startswith(b"barcode")
            table = pd.read_csv(
                io.BytesIO(data),
                header=0 if named else None,
                names=None if named else list(COLUMNS),
                index_col=False,
            )
        table = table.reset_index() if "barcode" not in table else table
        places = table[list(COLUMNS)].astype(dict.fromkeys(COLUMNS[1:4], int) | {"barcode": str})
        places = places.astype(dict.fromkeys(XY, float)).set_index("barcode")
    except (KeyError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"{path} is no table of positions: {reason}. It needs the columns "
            f"{', '.join(COLUMNS)}; copy the file that Space Ranger wrote."
        ) from error
    if not places.index.is_unique:
        twice = places.index[places.index.duplicated()]
        raise InputError(
            f"{path} has {count(len(twice), 'barcode')} more than once, the first being "
            f"{twice[0]!r}. Copy the file that Space Ranger wrote."
        )
    return places, path


def _in_tissue(
    name: str, places: pd.DataFrame, barcodes: np.ndarray, path: Path, journal: Journal
) -> tuple[pd.DataFrame, np.ndarray]:
    """Places of the barcodes of the counts that are in tissue, and their rows."""
    known = np.isin(barcodes, places.index.to_numpy(dtype=object))
    if not known.all():
        raise InputError(
            f"{path} lacks {int((~known).sum()):,} of the {count(len(barcodes), 'barcode')} of the "
            f"counts, the first being {barcodes[~known][0]!r}. Use positions and counts of the "
            "same slice, both as Space Ranger wrote them."
        )
    spots = places.loc[barcodes]
    rows = np.flatnonzero(spots["in_tissue"] == 1)
    if not len(rows):
        raise InputError(f"{path}: none of the {len(barcodes):,} spots is in tissue (in_tissue=1).")
    if len(rows) < len(barcodes):
        told = f"{count(len(barcodes) - len(rows), 'spot')} of {name} outside of tissue left out"
        journal.step("spots", told)
    without = places.index[places["in_tissue"] == 1].difference(pd.Index(barcodes))
    if len(without):
        told = f"{count(len(without), 'spot')} of {name} in tissue without counts left out"
        journal.step("spots", told, warning=True)
    return spots.iloc[rows], rows


def _read_images(
    name: str, spatial: Path, journal: Journal
) -> tuple[dict[str, np.ndarray], dict[str, float], list[Path]]:
    """The images that are there, the scale factors, and the files read."""
    paths = {r: spatial / f"tissue_{r}_image.png" for r in RESOLUTIONS}
    images = {r: _read_image(path) for r, path in paths.items() if path.is_file()}
    if not images:
        journal.step("images", f"no image of {name} in 'spatial'", warning=True)
    seen = [paths[resolution] for resolution in images]
    path = spatial / "scalefactors_json.json"
    if not path.is_file():
        if images:
            raise InputError(
                f"{path} is missing: without scale factors nobody knows where a spot is in the "
                "image. Copy the file that Space Ranger wrote."
            )
        return images, {}, seen
    data, _ = read_bytes(path)
    try:
        factors = {str(key): float(value) for key, value in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not the JSON of Space Ranger ({str(error)[:80]}). Copy it again."
        ) from error
    return images, factors, [*seen, path]


def _read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Red, green and blue."""
    from PIL import Image  # a moment to import, and only needed here

    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(
            f"{path} is not a readable image: {str(error)[:120]}. Copy it again."
        ) from error


def _sheet(part: Slice, several: bool) -> pd.DataFrame:
    """The spots of a slice; barcodes of several slices get their section in front."""
    spots = part.spots.assign(section=part.name)
    spots.index.name = None
    return spots.set_axis(f"{part.name}_" + spots.index, axis=0) if several else spots


def _on_shared_genes(
    slices: Iterable[Slice], journal: Journal
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """The counts of all slices, on the genes (by id) that all of them have."""
    first, *others = slices
    ids = pd.Index(first.genes["id"])
    shared = ids
    for part in others:
        shared = shared[shared.isin(part.genes["id"])]
    if not len(shared):
        raise InputError(
            "The slices have no gene id in common. Were they made with different references? Give "
            "slices of one reference."
        )
    most = max(len(part.genes) for part in (first, *others))
    if len(shared) < most:
        told = f"{count(len(shared), 'gene')} that all slices have are kept, of up to {most:,}"
        journal.step("genes", told, warning=True)
    blocks = [
        part.counts[:, pd.Index(part.genes["id"]).get_indexer(shared)] for part in (first, *others)
    ]
    genes = first.genes.iloc[ids.get_indexer(shared)]
    return sparse.vstack(blocks, format="csr"), genes
