import itertools
import re

import pytest

from synthome.reporting.answers import Advice, Answer, Evidence
from synthome.reporting.phrases import headline, listed

WORDS = ("yes", "partly", "no", "cannot tell")
FINDINGS = {
    "yes": ("holds", "holds"),
    "partly": ("holds", "fails"),
    "no": ("fails", "fails"),
    "cannot tell": ("unclear", "unclear"),
}


def answer(word):
    evidence = tuple(Evidence(key="a/b", finding=f, words="genes vary") for f in FINDINGS[word])
    return Answer(answer=word, sentence="", evidence=evidence)


@pytest.mark.parametrize(
    ("faithful", "useful", "safe", "advice"),
    list(itertools.product(WORDS, WORDS, WORDS, ("augment", "do not augment", "cannot tell"))),
)
def test_any_verdict_is_three_plain_sentences(faithful, useful, safe, advice):
    text = headline(
        answer(faithful), answer(useful), answer(safe), Advice(advice=advice, sentence=""), None
    )
    sentences = re.findall(r"[^.]+\.", text)
    assert len(sentences) == 3
    assert all(sentence.strip()[0].isupper() for sentence in sentences)
    assert not re.search(r"AUC|R²|slope|TSTR|classifiers? AUC|\d\.\d|None", text)
    assert ("not augment" in text or "do not add" in text) is (advice != "augment")
    if safe != "yes":
        assert "risk of sharing them is low" not in text


def test_items_are_joined_as_in_speech():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
