"""Combinations of categories: read off counted cells, drawn for labels, written to made cells.

A combination is one category of each field, as a row of codes; the first field is the label.
"""

from contextlib import closing
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, field_keys, label_key, scale
from synthome.csr import CSRRows
from synthome.errors import InputError, NotApplicable
from synthome.fields import Codes, Fields
from synthome.models.depths import Depths
from synthome.rng import generator
from synthome.training.chunks import ChunkStream
from synthome.training.chunks_load import PickedRows

ROWS_AT_A_TIME = 1_024
MOST_VALUES = 2**26  # counts that are held a second time, for minibatches that are quicker
ROWS_OF_A_CHUNK, BATCH_SIZE = 2**14, 256  # where there are more; training sets its own batch size

Rows = tuple[CSRRows, Tensor, Tensor]  # counts, library sizes and codes


def label_first(train: AnnData) -> list[str]:
    """Names of the fields of the cells, the label before the others."""
    label = label_key(train)
    return [label, *(name for name in field_keys(train) if name != label)]


def need_counts(train: AnnData, name: str) -> None:
    """Refuse cells that the model ``name`` cannot be fitted to.

    Raises
    ------
    NotApplicable
        If there are no counts.
    """
    if COUNTS not in train.layers:
        raise NotApplicable(
            f"{name} models counts, but these data are on the {scale(train)} scale and have no "
            f"layers['{COUNTS}']. Give raw counts, or use another model."
        )


def counted_cells(
    adata: AnnData, like: AnnData, fields: Fields
) -> tuple[sparse.csr_matrix, Float[np.ndarray, " n_obs"], Codes]:
    """Counts of the genes of ``like``, library sizes and codes of cells.

    Raises
    ------
    InputError
        If genes of the model are missing, or a category is not known.
    """
    absent = like.var_names[~like.var_names.isin(adata.var_names)]
    if len(absent):
        raise InputError(
            f"{len(absent):,} of the {like.n_vars:,} genes of the model are missing in the data, "
            f"the first being {absent[0]}. Give the cells with the genes of the training."
        )
    if not adata.var_names.equals(like.var_names):
        adata = adata[:, like.var_names]
    counts = sparse.csr_matrix(adata.layers[COUNTS], dtype=np.float32)
    own = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    size = own
    if LIBRARY_SIZE in adata.obs:
        size = np.maximum(adata.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64), own)
    return counts, np.maximum(size, 1.0), fields.encode(adata.obs)


def training_rows(
    counts: sparse.csr_matrix,
    library_size: Float[np.ndarray, " n_obs"],
    codes: Codes,
    aside: Bool[np.ndarray, " n_obs"],
    seed: int,
) -> tuple[Rows | ChunkStream, Rows | None]:
    """What is trained on, and the rows ``aside`` that end training; None without any.

    Beyond ``MOST_VALUES``, what is trained on is a stream of shuffled minibatches from the matrix
    as it is, of which no second copy is made.
    """

    def rows_of(index: Int[np.ndarray, " n_rows"]) -> Rows:
        size = as_tensor(library_size[index])
        return CSRRows.of(counts[index]), size, torch.from_numpy(codes[index])

    kept, others = np.flatnonzero(~aside), np.flatnonzero(aside)
    held_out = rows_of(others) if len(others) else None
    if counts.nnz <= MOST_VALUES:
        return rows_of(kept), held_out
    order = generator(seed, "rows that are streamed").permutation(kept)
    chunks = [
        PickedRows(counts, order[a : a + ROWS_OF_A_CHUNK])
        for a in range(0, len(order), ROWS_OF_A_CHUNK)
    ]
    arrays = library_size[order].astype(np.float32), codes[order]
    return ChunkStream(chunks, arrays, BATCH_SIZE, seed), held_out


def some_rows(rows: Rows | ChunkStream, n_rows: int, seed: int) -> Rows:
    """At most so many of the rows that are trained on, drawn at random."""
    if isinstance(rows, ChunkStream):
        epoch = replace(rows, batch_size=n_rows, seed=seed).epoch(0)
        with closing(epoch):
            return cast(Rows, next(epoch))
    counts, size, codes = rows
    index = torch.from_numpy(generator(seed, "some rows").permutation(len(counts))[:n_rows])
    return counts[index], size[index], codes[index]


def combinations_of(
    codes: Codes,
) -> tuple[
    Int[np.ndarray, "n_combinations n_fields"],
    Int[np.ndarray, " n_obs"],
    Int[np.ndarray, " n_combinations"],
]:
    """The combinations that cells have, the place of each cell among them, and their cells."""
    found, place, n_cells = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    return found, place.ravel(), n_cells


def combination_names(place: Int[np.ndarray, " n_obs"]) -> np.ndarray:
    """Places as names whose order is their own."""
    return np.char.mod("%09d", place)


def draw_combinations(
    label: Int[np.ndarray, " n_obs"],
    combinations: Int[np.ndarray, "n_combinations n_fields"],
    n_cells: Int[np.ndarray, " n_combinations"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " n_obs"]:
    """A place among ``combinations`` for each code of the label, as often as cells had it."""
    place = np.empty(len(label), dtype=np.int64)
    for code in np.unique(label):
        own = np.flatnonzero(combinations[:, 0] == code)
        share = n_cells[own] / n_cells[own].sum()
        rows = np.flatnonzero(label == code)
        place[rows] = rng.choice(own, size=len(rows), p=share)
    return place


def missing_cells(
    n_cells: Int[np.ndarray, " n_combinations"], least: int | None
) -> Int[np.ndarray, " n_missing"]:
    """Places of the cells that bring each combination to ``least``, or to their median."""
    wanted = int(np.median(n_cells)) if least is None else least
    return np.repeat(np.arange(len(n_cells)), np.maximum(wanted - n_cells, 0))


def made_cells(
    counts: sparse.csr_matrix,
    library_size: Float[np.ndarray, " n_obs"],
    codes: Codes,
    fields: Fields,
    depths: Depths,
    like: AnnData,
) -> AnnData:
    """Counts as synthetic cells of the combinations ``codes``, with a column for each field."""
    obs = fields.decode(codes)
    label = obs[fields.names[0]].to_numpy(dtype=str)
    result = depths.wrap(counts, library_size, label, like)
    for name in fields.names:
        result.obs[name] = obs[name].to_numpy(dtype=str)
    return result


def blocks(n_obs: int) -> list[slice]:
    """Rows in parts, so that no dense matrix of all cells is made; one part of no rows."""
    starts = range(0, max(n_obs, 1), ROWS_AT_A_TIME)
    return [slice(a, min(a + ROWS_AT_A_TIME, n_obs)) for a in starts]


def as_tensor(array: np.ndarray) -> Tensor:
    """A copy in single precision."""
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)
