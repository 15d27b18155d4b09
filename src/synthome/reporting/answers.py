"""The shape of a verdict: a word, a sentence, and the evidence behind it, for each question."""

from typing import Literal

from synthome.config import Config
from synthome.reporting.rules import Finding

Word = Literal["yes", "partly", "no", "cannot tell"]
AdviceWord = Literal["augment", "do not augment", "cannot tell"]


class Evidence(Config):
    """One score behind an answer, and what it says."""

    key: str
    finding: Finding
    words: str


class Answer(Config):
    """A word, one sentence with its numbers, the scores behind it, and perhaps a warning."""

    answer: Word
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    note: str = ""


class Advice(Config):
    """Whether to add the synthetic patients to the real ones before training a classifier."""

    advice: AdviceWord
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    note: str = ""


class Verdict(Config):
    """Everything the report says in its opening, and the limits of it."""

    headline: str
    faithful: Answer
    useful: Answer
    safe: Answer
    augmentation: Advice
    external: str
    caveats: tuple[str, ...]
    copies_win: tuple[str, ...]
    copies_sentence: str
