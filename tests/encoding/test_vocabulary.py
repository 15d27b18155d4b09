import numpy as np
import pytest

from synthome.encoding.lookup_table import LookupTable, LookupTableConfig
from synthome.encoding.vocabulary import Vocabulary
from synthome.errors import InputError

X = np.random.default_rng(0).standard_normal((20, 13))


def words(**options):
    table = LookupTable.fit(X, LookupTableConfig(float_precision=4, **options))
    return table, Vocabulary.of(table, n_classes=3)


@pytest.mark.parametrize("patch_size", [1, 5, 13, 20])
def test_tokens_spell_the_text_of_the_table(patch_size):
    """Independent reference: the characters of ``encode``, looked up one by one."""
    table, vocabulary = words(patch_size=patch_size)
    strings = vocabulary.strings(table)
    spelled = ["".join(strings[t] for t in row) for row in vocabulary.tokens(table.codes(X))]
    assert spelled == table.encode(X)
    assert vocabulary.text_length == table.text_length


def test_tokens_come_back_as_codes():
    table, vocabulary = words()
    codes = table.codes(X)
    np.testing.assert_array_equal(vocabulary.codes(vocabulary.tokens(codes)), codes)


def test_every_token_has_one_number_and_one_name():
    table, vocabulary = words()
    strings = vocabulary.strings(table)
    assert len(strings) == len(set(strings)) == len(vocabulary) == 33 + 1 + 3 + 3
    assert strings[vocabulary.label] == "<LABEL>"
    assert strings[vocabulary.eos] == "<EOS>"
    assert strings[vocabulary.pad] == "<PAD>"
    assert strings[vocabulary.separator] == " "
    assert strings[vocabulary.classes] == ["<C0>", "<C1>", "<C2>"]
    assert vocabulary.n_positions == 14 + 3


def test_a_token_in_the_wrong_place_is_an_error_with_its_place():
    table, vocabulary = words()
    tokens = vocabulary.tokens(table.codes(X))
    for place, token, wanted in ((3, vocabulary.separator, "a symbol"), (10, 0, "the separator")):
        wrong = tokens.copy()
        wrong[2, place] = token
        with pytest.raises(InputError, match=f"place {place} of text 2, where {wanted}"):
            vocabulary.codes(wrong)
    with pytest.raises(InputError, match="has 14 tokens, but these have 13"):
        vocabulary.codes(tokens[:, 1:])
