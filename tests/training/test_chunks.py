"""Minibatches streamed from chunks: every row once, in an order of seed and epoch alone."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training.chunked import FakeChunk, cells, in_chunks

from synthome.csr import CSRRows
from synthome.errors import InputError
from synthome.training.chunks import ChunkStream

SIZES = [10, 3, 25, 1, 17, 0, 8]
N_OBS = sum(SIZES)


def stream(sizes=SIZES, batch_size=7, seed=0, **options):
    """A stream whose two arrays are the number of each cell, and its library size."""
    matrix = cells(sum(sizes))
    chunks, _ = in_chunks(matrix, sizes)
    library_size = np.asarray(matrix.sum(axis=1)).ravel()
    return ChunkStream(chunks, (np.arange(sum(sizes)), library_size), batch_size, seed, **options)


def numbers(minibatches):
    """Which cells each minibatch holds."""
    return [number.tolist() for _, number, *_ in minibatches]


def joined(lists):
    return [number for part in lists for number in part]


@settings(deadline=None, max_examples=30)  # each starts threads
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(lambda s: sum(s) >= 3),
    batch_size=st.integers(1, 15),
    n_ranks=st.integers(1, 3),
    epoch=st.integers(0, 2),
    shuffle=st.booleans(),
)
def test_ranks_share_every_row_once(sizes, batch_size, n_ranks, epoch, shuffle):
    """As many minibatches of the same sizes for each, or collective operations would wait for ever.

    Fewer than n_ranks rows are left out. All are full but the last, and none has a single row,
    unless batch_size is 1 or a rank has no more.
    """
    parts = [
        numbers(stream(sizes, batch_size, shuffle=shuffle, rank=r, n_ranks=n_ranks).epoch(epoch))
        for r in range(n_ranks)
    ]
    lengths = [[len(rows) for rows in part] for part in parts]
    assert all(own == lengths[0] for own in lengths)
    assert len(lengths[0]) == stream(sizes, batch_size, n_ranks=n_ranks).n_minibatches
    seen = joined(map(joined, parts))
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(sum(sizes)))
    assert sum(sizes) - len(seen) == sum(sizes) % n_ranks
    *full, last = lengths[0]
    assert set(full) <= {batch_size}
    assert last <= batch_size + 1
    assert last <= batch_size or (sum(sizes) // n_ranks) % batch_size == 1
    assert last > 1 or batch_size == 1 or len(lengths[0]) == 1


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_values_and_arrays_are_of_the_same_rows(layout):
    """SciPy's slice of the whole matrix is the reference, to the bit."""
    matrix = cells(N_OBS)
    n_read = 0
    for values, number, library_size in stream(layout=layout).epoch(0):
        assert isinstance(values, CSRRows if layout == "sparse" else torch.Tensor)
        dense = values.dense() if layout == "sparse" else values
        np.testing.assert_array_equal(dense.numpy(), matrix[number.numpy()].toarray())
        np.testing.assert_array_equal(dense.sum(dim=1).numpy(), library_size.numpy())
        assert number.dtype == torch.int64
        n_read += len(values)
    assert n_read == N_OBS


def test_codes_of_several_fields_come_as_rows():
    """An array may have any further axes, and keeps its type."""
    codes = np.arange(2 * N_OBS, dtype=np.int16).reshape(N_OBS, 2)
    chunks, _ = in_chunks(cells(N_OBS), SIZES)
    for values, own in ChunkStream(chunks, (codes,), 7, 0).epoch(0):
        assert own.dtype == torch.int16
        row = values.dense()[:, 0].int() - 1
        torch.testing.assert_close(own.int(), torch.stack([2 * row, 2 * row + 1], dim=1))


def test_only_seed_and_epoch_decide_the_order():
    """Neither what is loaded ahead, nor the number of threads, nor an epoch before."""
    one = stream()
    expected = numbers(one.epoch(1))
    for other in (one, stream(prefetch=0), stream(prefetch=5), stream(layout="dense")):
        assert numbers(other.epoch(1)) == expected
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert numbers(one.epoch(1)) == expected
    finally:
        torch.set_num_threads(before)
    for other in (one.epoch(0), one.epoch(2), stream(seed=1).epoch(1)):
        changed = numbers(other)
        assert changed != expected
        assert sorted(joined(changed)) == sorted(joined(expected))
    chunk, another = (numbers(stream([30], seed=seed).epoch(0)) for seed in (0, 1))
    assert chunk != another  # the rows of a chunk too


def test_randomness_of_the_caller_is_neither_read_nor_moved():
    """A resumed run restores the noise of the model alone."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - must not matter
    expected = numbers(stream().epoch(0))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - must not matter
    noise = torch.get_rng_state()
    assert numbers(stream().epoch(0)) == expected
    torch.testing.assert_close(torch.get_rng_state(), noise)


def test_minibatches_mix_rows_and_chunks_change_places():
    """Cells that lie together on disk rarely come one after the other."""
    sizes = [100] * 5
    order = np.array(joined(numbers(stream(sizes, 20).epoch(0))))
    assert (np.abs(np.diff(order)) == 1).mean() < 0.1
    firsts = {joined(numbers(stream(sizes, 20).epoch(e)))[0] // 100 for e in range(12)}
    assert len(firsts) > 2  # which chunk comes first
    within = [np.array(numbers(stream(sizes, 20).epoch(e))) for e in range(4)]
    same_rows = [{frozenset(rows) for rows in epoch.tolist()} for epoch in within]
    assert not same_rows[0] & same_rows[1]


def test_without_shuffling_the_order_is_that_of_the_file():
    minibatches = numbers(stream(shuffle=False).epoch(3))
    assert joined(minibatches) == list(range(N_OBS))


def test_ranks_together_read_what_one_would_with_their_batches_joined():
    """So the number of GPUs does not change which rows make a step."""
    ranks = [numbers(stream(batch_size=6, rank=r, n_ranks=3).epoch(2)) for r in range(3)]
    one = numbers(stream(batch_size=18).epoch(2))
    assert len(one) == 4
    for t, rows in enumerate(one[:-1]):
        assert set(rows) == set(joined(rank[t] for rank in ranks))


@pytest.mark.parametrize(("n_ranks", "drop_last"), [(1, False), (2, False), (2, True)])
def test_an_epoch_goes_on_from_any_minibatch_to_the_bit(n_ranks, drop_last):
    """Values, arrays and all; a killed run must not see a row twice or never."""
    whole = stream(rank=n_ranks - 1, n_ranks=n_ranks, drop_last=drop_last)
    expected = list(whole.epoch(1))
    assert len(expected) == whole.n_minibatches
    for start in range(len(expected) + 1):
        rest = list(whole.epoch(1, start))
        assert len(rest) == len(expected) - start
        for ours, theirs in zip(rest, expected[start:], strict=True):
            for part in ("indptr", "rows", "indices", "values"):
                assert torch.equal(getattr(ours[0], part), getattr(theirs[0], part))
            assert all(map(torch.equal, ours[1:], theirs[1:]))


def test_chunks_before_the_start_are_not_loaded():
    """Resuming late in an epoch of a terabyte must not read the terabyte."""
    chunks, watch = in_chunks(cells(100), [20] * 5)
    own = ChunkStream(chunks, (), 10, 0)
    list(own.epoch(0))
    whole = watch.loads.copy()
    for start, n_skipped in [(0, 0), (1, 0), (2, 1), (7, 3), (9, 4), (10, 5)]:
        watch.loads.clear()
        list(own.epoch(0, start))
        assert watch.loads == whole[n_skipped:]


def test_epochs_go_on_without_end_from_any_minibatch():
    """As the training loop reads them."""
    own = stream()
    expected = [rows for epoch in range(3) for rows in numbers(own.epoch(epoch))]
    for n_done in (0, 3, own.n_minibatches, own.n_minibatches + 2):
        onwards = own.onwards(n_done)
        read = numbers(next(onwards) for _ in range(own.n_minibatches))
        onwards.close()
        assert read == expected[n_done:][: own.n_minibatches]


@pytest.mark.parametrize("prefetch", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [3, 7, 25])
def test_memory_is_bounded_whatever_the_minibatches(prefetch, batch_size):
    """Neither remainders nor minibatches over several chunks keep a chunk alive."""
    chunks, watch = in_chunks(cells(60), [10] * 6)
    for values, *_ in ChunkStream(chunks, (), batch_size, 0, prefetch=prefetch).epoch(0):
        del values
        time.sleep(0.005)  # while the thread loads what it may
    assert sorted(watch.loads) == list(range(6))
    assert watch.most <= prefetch + 1
    assert watch.alive == 0


def test_dropping_the_last_leaves_full_minibatches():
    sizes = [len(rows) for rows in numbers(stream(drop_last=True).epoch(0))]
    assert sizes == [7] * (N_OBS // 7)


def test_who_stops_early_leaves_no_thread():
    """Closed, dropped, or with an error inside the loop."""
    before = threading.active_count()
    minibatches = stream().epoch(0)
    next(minibatches)
    assert threading.active_count() > before
    minibatches.close()
    assert threading.active_count() == before
    for _ in stream().epoch(0):
        break
    assert threading.active_count() == before
    list(stream().epoch(0))
    assert threading.active_count() == before


def test_a_broken_chunk_stops_the_consumer_with_its_name():
    own = stream()
    own.chunks[4].broken = True
    before = threading.active_count()
    with pytest.raises(InputError, match="Chunk 4 of 7, part 4, cannot be loaded.*disk is gone"):
        list(own.epoch(0))
    assert threading.active_count() == before


def test_other_cells_have_another_digest():
    """A checkpoint of one is not that of the other."""
    digest = stream().digest()
    assert stream(prefetch=3, seed=5, batch_size=9).digest() == digest
    scaled = [FakeChunk(chunk.matrix * 2) for chunk in stream().chunks]
    arrays = (np.ones(N_OBS), np.ones(N_OBS))
    others = [
        stream([10, 25, 3, *SIZES[3:]]),
        replace(stream(), chunks=scaled),
        replace(stream(), arrays=arrays),
        stream(n_ranks=2),
    ]
    assert len({digest, *(other.digest() for other in others)}) == 5


WIDE = FakeChunk(cells(5, 13))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunks": []}, "these 0 have no columns"),
        ({"chunks": [*stream().chunks, WIDE]}, r"\[12, 13\] columns"),
        ({"arrays": (np.arange(5),)}, r"Array 0 of a stream has the shape \(5,\).*64 cells"),
        ({"arrays": (np.array(5),)}, "Array 0"),
        ({"rank": 2, "n_ranks": 2}, "Rank 2 of 2"),
        ({"rank": 0, "n_ranks": 65}, "Rank 0 of 65 cannot have a part of 64 cells"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"batch_size": 65, "drop_last": True}, "batch_size 65 of 64 cells"),
        ({"prefetch": -1}, "prefetch is -1"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(options, message):
    """Before hours of training."""
    with pytest.raises(InputError, match=message):
        replace(stream(), **options)


def test_a_start_beyond_the_epoch_is_refused_at_once():
    """It is of other data: nothing of it would be the same."""
    with pytest.raises(InputError, match="Minibatch 10 of an epoch of 9"):
        stream().epoch(0, 10)
