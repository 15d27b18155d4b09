import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score

from synthome.encoding.distortion import UNCODED, distortion, measure
from synthome.encoding.lookup_table import PUBLISHED, LookupTable, LookupTableConfig


def draw(n_obs: int, seed: int = 0, n_vars: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, np.linspace(0.5, 2.0, n_vars), (n_obs, n_vars))


def test_more_bits_lose_less_and_the_bar_is_met_with_513_symbols():
    table = distortion(draw(400), draw(200, seed=1), (2, 4, 6, 8))
    ours = table[table["setting"] == "default"]
    for name in ("bits_per_gene", "decode_r2", "decode_r2_units", "n_symbols"):
        assert ours[name].is_monotonic_increasing, name
    assert ours["max_error"].is_monotonic_decreasing
    last = ours.iloc[-1]
    assert last["decode_r2"] >= 0.9998
    assert last["n_symbols"] <= 513
    assert last["clipped_train"] == last["clipped_test"] == 0
    assert table["accuracy"].isna().all()


def test_the_published_setting_keeps_less_whatever_the_precision():
    """Of normal values, 31.7 % are beyond 1, and R2 without them is 0.849."""
    table = distortion(draw(400), draw(200, seed=1), (4, 8, 12))
    published = table[table["setting"] == "published"]
    np.testing.assert_allclose(published["clipped_test"], 2 * stats.norm.sf(1), atol=0.01)
    np.testing.assert_allclose(published["clipped_train"], 2 * stats.norm.sf(1), atol=0.01)
    tail = 2 * (2 * stats.norm.sf(1) - stats.norm.pdf(1))  # E (|z| - 1)^2 beyond 1
    assert published["decode_r2"].iloc[-1] == pytest.approx(1 - tail, abs=0.01)
    assert (published["companding_max"] == 1).all()


@pytest.mark.parametrize("config", [LookupTableConfig(float_precision=5), PUBLISHED])
def test_the_numbers_are_those_of_scipy_and_scikit_learn(config):
    train, test = draw(80), draw(40, seed=1)
    table = LookupTable.fit(train, config)
    row = measure(table, train, test)
    _, counts = np.unique(table.integers(test), return_counts=True)
    assert row["n_symbols"] == len(counts)
    assert row["bits_per_gene"] == pytest.approx(stats.entropy(counts, base=2))
    assert row["table_bits"] == pytest.approx(np.log2(2 * 2**config.float_precision + 1))
    back = table.decode(table.encode(test))
    z, of_back = ((x - train.mean(axis=0)) / train.std(axis=0) for x in (test, back))
    assert row["decode_r2"] == pytest.approx(r2_score(z.ravel(), of_back.ravel()))
    lost = ((test - back) ** 2).sum() / ((test - train.mean(axis=0)) ** 2).sum()
    assert row["decode_r2_units"] == pytest.approx(1 - lost)
    assert row["max_error"] == pytest.approx(np.abs(z - of_back).max())
    assert row["clipped_test"] == pytest.approx((np.abs(z) > table.companding_max).mean())


def test_values_that_are_coded_as_they_are_are_judged_in_standard_deviations_too():
    train, test = draw(80), draw(40, seed=1)
    plain = LookupTableConfig(standardise=False)
    row = distortion(train, test, (8,), config=plain).iloc[0]
    back = LookupTable.fit(train, plain)
    off = (back.decode(back.encode(test)) - test) / train.std(axis=0)
    assert row["max_error"] == pytest.approx(np.abs(off).max())


def test_accuracy_is_that_of_decoded_rows_beside_the_uncoded_ones():
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 2
    x = rng.normal(size=(150, 20)) + 1.5 * labels[:, None] * (np.arange(20) < 4)
    calls = []

    def downstream(of_train, y_train, of_test, y_test):
        calls.append((of_train, of_test))
        fitted = LogisticRegression().fit(of_train, y_train)
        return fitted.score(of_test, y_test)

    table = distortion(x[:100], x[100:], (1, 8), downstream=downstream,
                       train_labels=labels[:100], test_labels=labels[100:])  # fmt: skip
    assert table["setting"].tolist() == ["default", "default", "published", "published", UNCODED]
    fine = LookupTable.fit(x[:100], LookupTableConfig())
    np.testing.assert_array_equal(calls[1][0], fine.decode(fine.encode(x[:100])))
    np.testing.assert_array_equal(calls[1][1], fine.decode(fine.encode(x[100:])))
    uncoded = LogisticRegression().fit(x[:100], labels[:100]).score(x[100:], labels[100:])
    accuracy = table["accuracy"].tolist()
    assert accuracy[-1] == uncoded
    assert accuracy[1] == pytest.approx(uncoded, abs=0.021)
    assert table["decode_r2"].iloc[-1] == 1.0


def test_a_precision_out_of_range_is_refused():
    with pytest.raises(ValidationError, match="float_precision"):
        distortion(draw(10), draw(5), (16,))


def test_a_test_part_without_any_spread_has_no_r2():
    flat = np.ones((4, 3))
    assert np.isnan(measure(LookupTable.fit(flat, LookupTableConfig()), flat, flat)["decode_r2"])
