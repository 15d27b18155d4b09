import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from synthome.encoding.lookup_table import (
    MARGIN,
    PUBLISHED,
    LookupTable,
    LookupTableConfig,
    symbols,
)
from synthome.errors import InputError

PLAIN = LookupTableConfig(companding_max=4.0, standardise=False)


def draw(n_obs: int = 60, n_vars: int = 23, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.gamma(2.0, 1.5, size=(n_obs, n_vars)) * np.linspace(0.2, 3.0, n_vars)


def companded(z: np.ndarray, companding_max: float, mu: float) -> np.ndarray:
    """The mu-law as G.711 gives it, for values in the range."""
    y = z / companding_max
    return np.sign(y) * np.log1p(mu * np.abs(y)) / np.log1p(mu)


matrices = arrays(
    np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-8.0, 8.0)
)


@given(x=matrices, mu=st.floats(1e-3, 1e5), precision=st.integers(1, 12))
@settings(deadline=None, max_examples=100)
def test_every_value_in_the_range_comes_back_within_half_a_step(x, mu, precision):
    """In the companded domain by the formula of G.711, in units of z by the step that is there."""
    config = LookupTableConfig(
        companding_max=8.0, mu=mu, float_precision=precision, standardise=False
    )
    table = LookupTable.fit(x, config)
    back = table.decode(table.encode(x))
    off = np.abs(companded(back, 8.0, mu) - companded(x, 8.0, mu))
    assert off.max() <= 0.5 / 2**precision + 1e-12
    assert (np.abs(back - x) <= table.half_steps(table.integers(x)) + 1e-11).all()
    assert table.clipped_fraction(x) == 0.0


def test_the_bound_is_reached_at_the_edges_of_the_bins():
    """A bound that no value comes near would show nothing: just inside an edge, it is reached."""
    table = LookupTable.fit(np.zeros((1, 255)), PLAIN)
    integers = np.arange(1, 256)[None]
    outer = (256.0 ** ((integers + 0.5 - 1e-9) / 256) - 1) * 4 / 255
    np.testing.assert_array_equal(table.integers(outer), integers)
    ratio = np.abs(table.values(integers) - outer) / table.half_steps(integers)
    np.testing.assert_allclose(ratio, 1.0, atol=1e-6)


def test_integers_and_values_are_those_of_the_formula():
    x = draw()
    config = LookupTableConfig(companding_max=9.0, mu=100.0, float_precision=6)
    table = LookupTable.fit(x, config)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = np.rint(64 * companded(z, 9.0, 100.0)).astype(int)
    np.testing.assert_array_equal(table.integers(x), expected)
    size = 9.0 * (101.0 ** (np.abs(expected) / 64) - 1) / 100.0
    back = np.sign(expected) * size * x.std(axis=0) + x.mean(axis=0)
    np.testing.assert_allclose(table.values(expected), back, rtol=1e-12)


def test_a_text_is_symbols_in_patches_joined_by_the_separator():
    """Against a loop over values, with a dictionary."""
    x = draw(n_vars=25)
    for config in (LookupTableConfig(), LookupTableConfig(patch_size=5, separator="#")):
        table = LookupTable.fit(x, config)
        symbol = dict(zip(table.order.tolist(), table.alphabet, strict=True))
        for row, text in zip(table.integers(x).tolist(), table.encode(x), strict=True):
            size = config.patch_size
            patches = [row[i : i + size] for i in range(0, len(row), size)]
            expected = config.separator.join("".join(symbol[i] for i in p) for p in patches)
            assert text == expected
            assert len(text) == table.text_length


@pytest.mark.parametrize("n_vars", [1, 9, 10, 11, 20, 21])
@pytest.mark.parametrize("n_obs", [0, 1, 3])
def test_texts_survive_the_round_trip_whatever_the_number_of_genes_and_rows(n_vars, n_obs):
    table = LookupTable.fit(draw(n_vars=n_vars), LookupTableConfig())
    x = draw(n_vars=n_vars, seed=1)[:n_obs]
    texts = table.encode(x)
    back = table.decode(texts)
    assert back.shape == x.shape
    assert table.encode(back) == texts
    np.testing.assert_array_equal(back, table.values(table.integers(x)))
    np.testing.assert_array_equal(back, table.from_codes(table.codes(x)))


@pytest.mark.parametrize(("precision", "separator"), [(15, " "), (8, "\U0001f600")])
def test_symbols_and_separators_beyond_the_first_plane_are_written_whole(precision, separator):
    """In UTF-16 they would be two units each."""
    x = draw(n_vars=21)
    config = LookupTableConfig(float_precision=precision, separator=separator)
    table = LookupTable.fit(x, config)
    texts = table.encode(x)
    assert max("".join(texts) + table.alphabet) > "\uffff"
    assert {len(text) for text in texts} == {23}
    np.testing.assert_array_equal(table.decode(texts), table.values(table.integers(x)))


def test_many_rows_are_coded_as_each_row_alone():
    """Blocks of rows are companded at a time; where one ends must not matter."""
    x = draw(n_obs=50, n_vars=1500)
    table = LookupTable.fit(x, LookupTableConfig())
    assert table.encode(x) == [text for row in x for text in table.encode(row[None])]
    codes = np.concatenate([table.codes(row[None]) for row in x])
    np.testing.assert_array_equal(table.codes(x), codes)
    np.testing.assert_array_equal(table.counts, np.bincount(codes.ravel(), minlength=513))
    off = np.abs(table.decode(table.encode(x)) - x)
    assert (off <= table.half_steps(table.integers(x)) * (1 + 1e-9)).all()


def test_symbols_are_given_by_descending_frequency_from_code_point_33():
    x = draw()
    table = LookupTable.fit(x, LookupTableConfig())
    integers, counts = np.unique(table.integers(x), return_counts=True)
    ranked = np.zeros(513, dtype=int)
    ranked[: len(counts)] = np.sort(counts)[::-1]
    np.testing.assert_array_equal(table.counts, ranked)
    assert dict(zip(table.order, table.counts, strict=True)).items() >= {
        (int(i), int(n)) for i, n in zip(integers, counts, strict=True)
    }
    assert sorted(table.order) == list(range(-256, 257))
    assert table.alphabet.startswith("!\"#$%&'()*+")
    codes = table.codes(x)
    assert [table.alphabet[c] for c in codes[0]] == list(table.encode(x)[0].replace(" ", ""))


def test_the_alphabet_holds_what_every_tool_for_text_leaves_alone():
    found = symbols(32769)  # float_precision 14
    assert len(set(found)) == 32769
    assert ord(found[0]) == 33
    assert list(found) == sorted(found)
    assert not {unicodedata.category(c)[0] for c in found} & set("CZM")
    assert found == "".join(found.split())
    for form in ("NFC", "NFKC"):
        assert unicodedata.normalize(form, found) == found
    assert found.encode("utf-8").decode("utf-8") == found
    assert not set("\x7f\x85\xa0\xad\u0300\ud800\ue000µª½ ") & set(found)
    assert "#" not in symbols(100, "#")
    assert len(symbols(100, "#")) == 100


def test_the_range_comes_from_the_training_rows_with_a_margin_and_nothing_is_clipped():
    x = draw()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    table = LookupTable.fit(x, LookupTableConfig())
    assert table.companding_max == pytest.approx(MARGIN * np.abs(z).max())
    assert table.clipped_fraction(x) == 0.0
    assert np.abs(table.order[table.counts > 0]).max() < 256
    wider = np.concatenate([x, x.mean(axis=0)[None] + 1.01 * table.companding_max * x.std(axis=0)])
    assert table.clipped_fraction(wider) == pytest.approx(1 / len(wider))
    assert table.integers(wider)[-1].tolist() == [256] * x.shape[1]


def test_the_published_setting_clips_a_third_of_normal_values():
    """Both numbers have a closed form: P(|z| > 1), and the mean square of what is beyond 1."""
    x = np.random.default_rng(0).normal(size=(500, 400))
    table = LookupTable.fit(x, PUBLISHED)
    assert table.clipped_fraction(x) == pytest.approx(0.3173, abs=0.003)
    lost = ((table.decode(table.encode(x)) - x) ** 2).mean() / x.var()
    assert 1 - lost == pytest.approx(0.8493, abs=0.003)
    ours = LookupTable.fit(x, LookupTableConfig())
    assert 1 - ((ours.decode(ours.encode(x)) - x) ** 2).mean() / x.var() > 0.9998


def test_truncation_makes_the_bin_of_zero_twice_as_wide_and_rounding_does_not():
    c = np.linspace(-0.1, 0.1, 4001)[None]
    x = np.sign(c) * (256.0 ** np.abs(c) - 1) * 4 / 255
    width = {}
    for rounding in ("nearest", "truncate"):
        config = PLAIN.model_copy(update={"rounding": rounding})
        integers = LookupTable.fit(x, config).integers(x)
        width[rounding] = (integers == 0).sum() / (integers == 1).sum()
    assert width["nearest"] == pytest.approx(1.0, abs=0.03)
    assert width["truncate"] == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_gene_comes_back_as_itself(dtype):
    x = draw(n_vars=3).astype(dtype)
    x[:, 1] = 7.3
    table = LookupTable.fit(x, LookupTableConfig())
    assert table.scale[1] == 1.0
    np.testing.assert_array_equal(table.decode(table.encode(x))[:, 1], x[:, 1])
    flat = LookupTable.fit(x[:, [1]], LookupTableConfig())
    np.testing.assert_array_equal(flat.decode(flat.encode(x[:, [1]])), x[:, [1]])


@pytest.mark.parametrize("spread", [2.2e-309, 5e-308, 1e-300, 1e-290])
@pytest.mark.parametrize("standardise", [True, False])
def test_a_spread_too_small_to_divide_by_is_none(spread, standardise):
    x = np.array([[spread, 1.0], [0.0, 2.0]])
    for part in (x, x[:, [0]]):
        table = LookupTable.fit(part, LookupTableConfig(standardise=standardise))
        found = table.decode(table.encode(part))
        np.testing.assert_allclose(found, part, rtol=0.02, atol=1e-10)


@given(x=matrices, separator=st.sampled_from(" #\n|é"), precision=st.integers(1, 9))
@settings(deadline=None, max_examples=30)
def test_a_table_is_read_back_exactly(x, separator, precision):
    config = LookupTableConfig(separator=separator, float_precision=precision)
    table = LookupTable.fit(x, config)
    again = LookupTable.from_json(table.to_json())
    assert again.config == config
    assert again.companding_max == table.companding_max
    assert again.alphabet == table.alphabet
    for name in ("order", "counts", "shift", "scale"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert again.encode(x) == table.encode(x)


def test_the_file_names_its_version_and_is_plain_ascii():
    text = LookupTable.fit(draw(), LookupTableConfig()).to_json()
    assert json.loads(text)["format"] == "synthome.LookupTable/1"
    assert text.isascii()


@pytest.mark.parametrize(
    ("key", "damage", "message"),
    [
        ("format", lambda _: "synthome.LookupTable/9", "LookupTable/9.*this version reads"),
        ("alphabet", lambda a: a[0] + a[0] + a[2:], "'!' \\(U\\+0021\\) stands for two"),
        ("alphabet", lambda a: " " + a[1:], "the separator ' ' is one of its symbols"),
        ("alphabet", lambda a: a[:-1], "33 integers, 33 counts and 32 symbols"),
        ("integers", lambda i: [i[1], i[1], *i[2:]], "integers are not -16 ... 16, each once"),
        ("counts", lambda c: c[::-1], "not in the order of their counts"),
        ("counts", lambda c: [-1, *c[1:]], "at 'counts.0'"),
        ("counts", lambda c: [str(c[0]), *c[1:]], "at 'counts.0'"),
        ("companding_max", lambda _: 0.0, "at 'companding_max'"),
        ("companding_max", lambda m: m + 1, "companding_max is 4 in one place and 5"),
        ("shift", lambda s: [float("nan"), *s[1:]], "at 'shift.0'"),
        ("scale", lambda s: s[1:], "5 shifts and 4 scales"),
        ("config", lambda c: c | {"mew": 255}, "at 'config.mew'"),
        ("config", lambda c: c | {"float_precision": 5}, "integers are not -32"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused_with_what_is_wrong(key, damage, message):
    config = LookupTableConfig(float_precision=4, companding_max=4.0)
    saved = json.loads(LookupTable.fit(draw(n_vars=5), config).to_json())
    with pytest.raises(InputError, match=message):
        LookupTable.from_json(json.dumps(saved | {key: damage(saved[key])}))
    del saved[key]
    with pytest.raises(InputError, match=key):
        LookupTable.from_json(json.dumps(saved))


def test_a_table_that_was_cut_is_refused():
    text = LookupTable.fit(draw(), LookupTableConfig()).to_json()
    for wrong in (text[:-20], "", "[]", "not JSON"):
        with pytest.raises(InputError, match="damaged"):
            LookupTable.from_json(wrong)


def published(mapping: dict, key_type: str = "int") -> str:
    return json.dumps({"mapping": mapping, "key_type": key_type})


def test_a_published_table_orders_the_symbols():
    x = draw(n_vars=4)
    text = published({"256": 974441, "-256": 974295, "7": 5, "-3": 9, "252": 9})
    table = LookupTable.from_published(text, x, PUBLISHED)
    assert table.order[:5].tolist() == [256, -256, -3, 252, 7]
    assert table.order[5:8].tolist() == [0, 1, -1]
    assert table.counts[:6].tolist() == [974441, 974295, 9, 9, 5, 0]
    assert (table.companding_max, table.n_vars) == (1.0, 4)
    far = x.mean(axis=0)[None] + np.array([[9.0], [-9.0]]) * x.std(axis=0)
    assert table.encode(far) == ["!!!!", '""""']
    assert LookupTable.from_json(table.to_json()).encode(x) == table.encode(x)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (published({"1": 2}, "float"), "key_type 'float'"),
        (published({"300": 2}), "300, which is not in -256 ... 256"),
        (published({"1": 2, "01": 3}), "the integer 1 twice"),
        (published({"a": 2}), "key 'a'"),
        (published({"1": -2}), "mapping.1"),
        ('{"mapping": {}}', "key_type"),
        ("{", "damaged"),
    ],
)
def test_a_published_table_that_cannot_be_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        LookupTable.from_published(text, draw(), PUBLISHED)


def test_a_published_table_needs_to_be_told_its_range():
    with pytest.raises(InputError, match="set companding_max"):
        LookupTable.from_published(published({"1": 2}), draw(), LookupTableConfig())


def changed(text: str, at: int, character: str) -> str:
    return text[:at] + character + text[at + 1 :]


@pytest.mark.parametrize(
    ("character", "name"),
    [("\u4e00", "'\u4e00' (U+4E00)"), ("\ud800", "(U+D800)"), ("\U0001f600", "(U+1F600)"),
     ("\t", "(U+0009)"), (" ", "' ' (U+0020)")],
)  # fmt: skip
def test_a_character_that_is_no_symbol_is_an_error_with_its_position(character, name):
    table = LookupTable.fit(draw(), LookupTableConfig())
    texts = table.encode(draw())
    texts[3] = changed(texts[3], 13, character)
    with pytest.raises(InputError) as caught:
        table.decode(texts)
    assert name in str(caught.value)
    assert "Text 3 has" in str(caught.value)
    assert "at position 13 (gene 12)" in str(caught.value)
    assert "513 symbols" in str(caught.value)


def test_a_text_that_was_cut_or_shifted_is_an_error():
    table = LookupTable.fit(draw(), LookupTableConfig())
    whole, other = table.encode(draw())[:2]
    with pytest.raises(InputError, match=r"Text 1 has 24 characters, but 23 genes .* have 25"):
        table.decode([whole, other[:-1]])
    shifted = other[:21] + other[22] + other[21] + other[23:]
    with pytest.raises(InputError, match=r"Text 1 has .* at position 21, where the separator ' '"):
        table.decode([whole, shifted])


def test_values_that_are_not_finite_are_named_by_row_and_gene():
    x = draw()
    table = LookupTable.fit(x, LookupTableConfig())
    x[4, 2] = np.nan
    x[5, 1] = np.inf
    for call in (table.encode, table.codes, table.integers, table.clipped_fraction):
        with pytest.raises(InputError, match="2 are not, the first being nan at row 4, gene 2"):
            call(x)
    with pytest.raises(InputError, match="row 4, gene 2"):
        LookupTable.fit(x, LookupTableConfig())


def test_other_genes_and_other_integers_are_refused():
    table = LookupTable.fit(draw(), LookupTableConfig())
    with pytest.raises(InputError, match="fitted on 23 genes, and the matrix has 22"):
        table.encode(draw(n_vars=22))
    with pytest.raises(InputError, match=r"257 is not in -256 \.\.\. 256"):
        table.values(np.full((1, 23), 257))
    for wrong in (-1, 513):
        with pytest.raises(InputError, match=rf"{wrong} is not in 0 \.\.\. 512"):
            table.from_codes(np.full((1, 23), wrong))
    with pytest.raises(InputError, match="0 x 23"):
        LookupTable.fit(draw(n_obs=0), LookupTableConfig())


def test_a_table_of_other_parameters_is_refused_and_each_difference_is_named():
    table = LookupTable.fit(draw(), LookupTableConfig())
    table.check_same(LookupTableConfig())
    table.check_same(LookupTableConfig(companding_max=table.companding_max))
    with pytest.raises(InputError, match="mu is 255.0 in the table and 100.0 in the parameters"):
        table.check_same(LookupTableConfig(mu=100.0))
    with pytest.raises(InputError, match="companding_max is .* 1.0 .*; rounding is 'nearest'"):
        table.check_same(LookupTableConfig(companding_max=1.0, rounding="truncate"))
    with pytest.raises(InputError, match="companding_max is 1.0 in the table and None"):
        LookupTable.fit(draw(), PUBLISHED).check_same(
            PUBLISHED.model_copy(update={"companding_max": None})
        )
