import numpy as np
import pytest
from scipy import sparse

from synthome.errors import InputError
from synthome.ingestion.count_values import find_counts, look, some_rows
from synthome.ingestion.matrices import in_memory

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.lognormal(-1, 1, 60) * RNG.lognormal(0, 0.5, (300, 1)))
RATE = COUNTS / COUNTS.sum(axis=1, keepdims=True)
SCALED = (np.log1p(1e4 * RATE) - np.log1p(1e4 * RATE).mean(0)) / np.log1p(1e4 * RATE).std(0)
PART = COUNTS[:, :30] / COUNTS.sum(axis=1, keepdims=True)  # of all genes normalised, half are left

LOOKS = {
    "whole numbers >= 0": COUNTS,
    "log1p of counts per 10,000 (log1p CP10k)": np.log1p(1e4 * RATE),
    "log2(1 + x) of counts per 1,000,000": np.log2(1 + 1e6 * RATE),
    "log1p of counts that were divided by the size of their cell": np.log1p(1e4 * PART),
    "counts that were divided by the size of their cell": 1e6 * PART,
    "values that add up to 10,000 in each cell (normalised, without a logarithm)": 1e4 * RATE,
    "scaled values (each gene centred at 0, from": SCALED,
    "negative values (from -2 to": SCALED.clip(min=-2) + 1.5 * (SCALED > -2),
    "logarithms (values with decimals up to": np.log1p(COUNTS + 0.3 * RNG.random(COUNTS.shape)),
    "expected or corrected counts (": np.where(RNG.random(COUNTS.shape) < 0.2, 0.73, 1)
    * COUNTS
    * 20,
    "missing or infinite values": np.where(COUNTS > 0, COUNTS, np.nan),
}


@pytest.mark.parametrize("words", LOOKS)
def test_values_are_called_by_the_name_of_what_made_them(words):
    seen = look(sparse.csr_matrix(LOOKS[words], dtype=np.float32))
    assert seen.words.startswith(words)
    assert seen.is_counts == (words == "whole numbers >= 0")


def test_the_message_says_what_each_matrix_looks_like_and_which_might_be_right():
    places = {
        "X": in_memory(np.log1p(1e4 * RATE)),
        "layers/scaled": in_memory(SCALED),
        "layers/umi": in_memory(COUNTS),
    }
    with pytest.raises(InputError) as error:
        find_counts(places)
    message = str(error.value)
    assert "X holds log1p of counts per 10,000 (log1p CP10k)" in message
    assert "layers/umi has whole numbers >= 0" in message
    assert "--params=layer=umi" in message
    assert find_counts(places, "umi") == ("layers/umi", {})


def test_without_any_counts_the_advice_is_to_keep_them():
    with pytest.raises(InputError, match=r"scaled values.*layers\['counts'\]"):
        find_counts({"X": in_memory(SCALED)})


def test_what_was_passed_over_is_told():
    places = {"X": in_memory(SCALED), "raw/X": in_memory(COUNTS)}
    place, passed = find_counts(places)
    assert place == "raw/X"
    assert passed["X"].startswith("scaled values")
    assert find_counts(places, "raw")[0] == "raw/X"


def test_a_layer_that_is_not_there_lists_those_that_are():
    places = {"X": in_memory(COUNTS), "raw/X": in_memory(COUNTS), "layers/umi": in_memory(COUNTS)}
    with pytest.raises(InputError, match=r"no layer 'cuonts'. The file has: X, raw, umi"):
        find_counts(places, "cuonts")


def test_rows_from_all_over_a_large_matrix_are_looked_at():
    """A file whose first cells are counts and whose last are not is no file of counts."""
    values = np.ones((5000, 2))
    values[-1] = 0.5
    assert some_rows(in_memory(values)).shape == (2000, 2)
    assert not look(some_rows(in_memory(values))).is_counts
