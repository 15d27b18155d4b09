import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.journal import Journal
from synthome.ingestion.scale import (
    Values,
    guess,
    measure,
    refuse_empty_samples,
    refuse_not_finite,
    settle_scale,
)

RNG = np.random.default_rng(0)
COUNTS = RNG.negative_binomial(2, 0.01, size=(6, 40)).astype(float) + 1
TPM = COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e6
INTENSITY = RNG.lognormal(5, 2, size=(6, 40)) + 200
EXPECTED = np.where(RNG.random((6, 40)) < 0.3, COUNTS + 0.37, COUNTS)


def values(matrix):
    return Values(
        np.asarray(matrix, dtype=float),
        np.array([f"s{i}" for i in range(len(matrix))], dtype=object),
        np.array([f"g{j}" for j in range(np.shape(matrix)[1])], dtype=object),
    )


def settle(matrix, stated=None, **choices):
    journal = Journal("cohort", *np.shape(matrix))
    result = settle_scale(values(matrix), IngestionConfig(**choices), journal, stated)
    return *result, journal


@pytest.mark.parametrize(
    ("matrix", "scale", "words"),
    [
        (COUNTS, "counts", "integer"),
        (TPM, "linear", "adds up to about 1,000,000 (TPM or CPM)"),
        (INTENSITY, "linear", "intensities or normalised"),
        (EXPECTED, "linear", "expected counts, as RSEM"),
        (np.log2(TPM + 1), "log", "values with decimals"),
        (np.log1p(COUNTS), "log", "values with decimals"),
        (np.log2(INTENSITY), "log", "values with decimals"),
        (np.log2(TPM + 1) - np.log2(TPM + 1).mean(axis=0), "log", "some below 0"),
    ],
)  # fmt: skip
def test_the_scale_is_measured_and_the_reason_told(matrix, scale, words):
    _, found, report, journal = settle(matrix)
    assert found == scale == report["scale"]
    assert report["decided_by"] == "measured"
    assert words in report["why"]
    assert journal.entries[-1]["why"].startswith(f"values taken as {scale}")


def test_what_is_not_clear_is_asked():
    with pytest.raises(InputError, match=r"scale=log or --params=scale=linear"):
        guess(measure(RNG.uniform(0, 60, size=(5, 20))))


def test_expected_counts_taken_as_linear_get_a_hint():
    *_, journal = settle(EXPECTED)
    assert journal.entries[-1]["warning"]
    assert "round_counts=true" in journal.entries[-1]["why"]


def test_the_person_has_the_last_word():
    _, scale, report, _ = settle(COUNTS, scale="linear")
    assert scale == "linear"
    assert report["decided_by"] == "you"


def test_the_source_may_state_its_scale():
    assert settle(COUNTS, stated="log")[1] == "log"
    assert settle(COUNTS, stated="log", scale="counts")[1] == "counts"


def test_values_are_not_changed_unless_asked():
    for matrix in (COUNTS, TPM, np.log1p(COUNTS)):
        np.testing.assert_array_equal(settle(matrix)[0], matrix)


def test_counts_with_decimals_show_the_first_place_and_the_cure():
    matrix = EXPECTED.copy()
    matrix[0], matrix[1, 3] = np.rint(matrix[0]), 7.25
    matrix[1, :3] = 5
    with pytest.raises(InputError, match=r"7\.25 at sample 's1', gene 'g3'.*round_counts=true"):
        settle(matrix, scale="counts")


def test_tpm_called_counts_gets_other_advice():
    with pytest.raises(InputError, match=r"say --params=scale=linear for TPM"):
        settle(TPM, scale="counts")


def test_expected_counts_are_rounded_when_asked():
    rounded, scale, _, journal = settle(EXPECTED, scale="counts", round_counts=True)
    np.testing.assert_array_equal(rounded, np.rint(EXPECTED))
    assert scale == "counts"
    n = int((EXPECTED != np.rint(EXPECTED)).sum())
    assert any(f"{n} values rounded" in e["why"] for e in journal.entries)


def test_negative_counts_show_the_first_place():
    matrix = COUNTS.copy()
    matrix[2, 5] = -3
    with pytest.raises(InputError, match=r"cannot be negative.*-3 at sample 's2', gene 'g5'"):
        settle(matrix, scale="counts")


ARRAYS = np.array([[-342.0, 5000.0, 12.0], [80.0, 4000.0, -7.0]])


def test_negative_intensities_are_refused_with_the_choices():
    with pytest.raises(InputError) as error:
        settle(ARRAYS)
    for words in ("2 values (33.3%) are negative", "-342 at sample 's0', gene 'g0'",
                  "negatives=noise", "floor=100", "offset=16", "scale=log"):  # fmt: skip
        assert words in str(error.value)


def test_a_floor_raises_what_lies_below():
    result, scale, _, journal = settle(ARRAYS, floor=100)
    np.testing.assert_array_equal(result, [[100, 5000, 100], [100, 4000, 100]])
    assert scale == "linear"
    assert "4 values raised to 100, as you said" in [e["why"] for e in journal.entries]


def test_an_offset_is_added_and_must_suffice():
    np.testing.assert_array_equal(settle(ARRAYS, offset=400)[0], ARRAYS + 400)
    with pytest.raises(InputError, match="-326 at sample 's0'"):
        settle(ARRAYS, offset=16)


def test_negatives_may_be_left_to_preprocessing():
    result, *_ = settle(ARRAYS, negatives="noise")
    np.testing.assert_array_equal(result, ARRAYS)


def test_a_log_that_is_none_is_believed_with_a_warning():
    _, scale, _, journal = settle(ARRAYS, scale="log")
    assert scale == "log"
    assert journal.entries[-1]["warning"]


@pytest.mark.parametrize("matrix", [COUNTS, np.log1p(COUNTS)])
def test_floor_and_offset_belong_to_linear_values(matrix):
    with pytest.raises(InputError, match="floor and offset are for linear values"):
        settle(matrix, floor=1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_show_the_first_place(bad):
    matrix = COUNTS.copy()
    matrix[3, 7] = matrix[4, 7] = bad
    with pytest.raises(
        InputError, match=r"2 values missing or infinite, in 1 gene.*'s3', gene 'g7'"
    ):
        refuse_not_finite(values(matrix))


def test_empty_samples_are_named():
    matrix = COUNTS.copy()
    matrix[1] = 0
    with pytest.raises(InputError, match=r"1 sample without any expression.*'s1'"):
        refuse_empty_samples(values(matrix))


@given(hnp.arrays(np.int32, (3, 5), elements=st.integers(0, 10**6)))
def test_integers_are_counts_however_large(matrix):
    assert guess(measure(matrix.astype(float)))[0] == "counts"


@given(hnp.arrays(np.float64, (3, 5), elements=st.floats(0.01, 20)))
def test_logs_of_expression_are_logs(matrix):
    matrix = matrix + 0.001  # no whole number
    evidence = measure(matrix)
    if evidence["share_of_integers_among_nonzero"] < 1:
        assert guess(evidence)[0] == "log"


def test_evidence_adds_up():
    evidence = measure(np.array([[0.0, 1.0, 2.5], [0.0, -4.0, 3.0]]))
    assert evidence["share_of_zeros"] == pytest.approx(1 / 3)
    assert evidence["share_of_integers_among_nonzero"] == pytest.approx(3 / 4)
    assert evidence["share_of_negatives"] == pytest.approx(1 / 6)
    assert (evidence["smallest"], evidence["largest"]) == (-4.0, 3.0)
