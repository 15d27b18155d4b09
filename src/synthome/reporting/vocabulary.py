"""What the rows of a cohort are called: the report is written of patients, and said of cells.

All texts of ours, from the meaning of a score to the axis of a figure, speak of patients. For a
cohort of cells, a finished page or figure is said again in other words, here and nowhere else. What
comes from outside (names, columns, files, commands) stands between marks and is left as it is.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from anndata import AnnData
from matplotlib.figure import Figure
from matplotlib.text import Text

from synthome.anndata_schema import SOURCE_ROW

Unit = Literal["patient", "cell"]
OPEN, CLOSE = "\ue000", "\ue001"  # of Unicode's private use area, which no text needs

# Longer phrases come first: of several that begin at a place, the first is taken.
CELLS: tuple[tuple[str, str], ...] = (
    (
        "No patient column was named, so each sample counts as a patient of its own. If some "
        "patients gave several samples, name the column with group=COLUMN: without it the scores "
        "are too good.",
        "No donor column was named, so each cell counts for itself. Cells of one donor are alike: "
        "if they come from several donors, name the column with donor=COLUMN; without it the "
        "scores are too good.",
    ),
    ("Treat them like patient data", "Treat them like the data of the donors"),
    ("patients of another clinic", "cells of another laboratory"),
    ("identifier of a patient or sample", "identifier of a donor or cell"),
    ("they add no patient, no rare subtype", "they add no donor, no rare cell type"),
    (
        "confirmed on real patients before anybody acts on them",
        "confirmed on cells of further donors before anybody acts on them",
    ),
    ("in a tissue sample", "in a cell"),
    ("No person gave it", "It was measured in no cell"),
    ("real patients whom neither", "real cells which neither"),
    ("the others, who were seen", "the others, which were seen"),
    ("patients whose data were used from patients whose data were not",
     "cells whose data were used from cells whose data were not"),
    ("people who took no part", "cells that took no part"),
    ("who took part", "which cells took part"),
    ("a person", "a cell"),
    ("their rows are from anybody", "their rows are from any cell"),
    ("the diagnosis", "the cell type"),
    ("Top genes of the disease", "Top genes of the cell types"),
    ("Planted disease genes", "Planted genes"),
    ("In simulated patients the disease genes", "In simulated cells the planted genes"),
    ("patients", "cells"),
    ("patient", "cell"),
    ("samples", "cells"),
    ("sample", "cell"),
)  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """Phrases and what is said instead; a phrase that begins a sentence keeps its capital."""

    phrases: tuple[tuple[str, str], ...] = ()

    def __call__(self, text: str) -> str:
        """Say ``text`` in these words, and drop the marks of ``outside``."""
        parts = re.split(f"{OPEN}(.*?){CLOSE}", text, flags=re.DOTALL)
        return "".join(part if i % 2 else self._said(part) for i, part in enumerate(parts))

    def figure(self, figure: Figure) -> Figure:
        """Say every text of a figure in these words, in place; return it."""
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_text(self(text.get_text()))
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                names = [label.get_text() for label in axis.get_ticklabels()]
                if (said := [self(name) for name in names]) != names:
                    axis.set_ticklabels(said)  # else they are written anew when it is drawn
        return figure

    def _said(self, text: str) -> str:
        if not self.phrases:
            return text
        instead = {phrase.lower(): words for phrase, words in self.phrases}

        def say(found: re.Match[str]) -> str:
            words = instead[re.sub(r"\s+", " ", found[0]).lower()]
            return words[:1].upper() + words[1:] if found[0][:1].isupper() else words

        return _pattern(phrase for phrase, _ in self.phrases).sub(say, text)


VOCABULARIES: dict[Unit, Vocabulary] = {"patient": Vocabulary(), "cell": Vocabulary(CELLS)}


def outside(text: str) -> str:
    """Mark text that is not ours, so that no word of it is replaced."""
    return f"{OPEN}{text.replace(OPEN, '').replace(CLOSE, '')}{CLOSE}" if text else text


def outside_of(change: Callable[[str], str]) -> Callable[[str], str]:
    """A function that changes text from outside, and marks it."""
    return lambda text: outside(change(text))


def unit_of(adata: AnnData) -> Unit:
    """What a row of a cohort is: only cells know their row in a source."""
    return "cell" if SOURCE_ROW in adata.obs else "patient"


def _pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Whole phrases, whatever separates their words; "two-sample" names a kind of test."""
    either = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return re.compile(rf"(?<![\w-])(?:{either})(?!\w)", flags=re.IGNORECASE)
