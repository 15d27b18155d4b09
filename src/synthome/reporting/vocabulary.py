"""What the rows of a cohort are called: the report is written of patients, and said of others.

All texts that systems share, from the meaning of a score to the axis of a figure, speak of
patients. For a cohort of cells or a tissue of spots, a finished page or figure is said again in
other words, here and nowhere else. What comes from outside (names, columns, files, commands) stands
between marks and is left as it is, and so are the sections that a system adds, which know their
rows.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from anndata import AnnData
from matplotlib.figure import Figure
from matplotlib.text import Text

from synthome.anndata_schema import SOURCE_ROW, SPATIAL

Unit = Literal["patient", "cell", "spot"]
Phrases = tuple[tuple[str, str], ...]
OPEN, CLOSE = "\ue000", "\ue001"  # of Unicode's private use area, which no text needs


def _rows(row: str) -> Phrases:
    """What is said alike of all rows that are no patients."""
    phrases = (
        ("in a tissue sample", "in a {0}"),
        ("No person gave it", "It was measured in no {0}"),
        ("real patients whom neither", "real {0}s which neither"),
        ("people who took no part", "{0}s that took no part"),
        ("who took part", "which {0}s took part"),
        ("a person", "a {0}"),
        ("their rows are from anybody", "their rows are from any {0}"),
        ("Planted disease genes", "Planted genes"),
        ("In simulated patients the disease genes", "In simulated {0}s the planted genes"),
        ("patients", "{0}s"),
        ("patient", "{0}"),
        ("samples", "{0}s"),
        ("sample", "{0}"),
    )
    return tuple((phrase, words.format(row)) for phrase, words in phrases)


# Longer phrases come first: of several that begin at a place, the first is taken.
NO_GROUP = (
    "No patient column was named, so each sample counts as a patient of its own. If some patients "
    "gave several samples, name the column with group=COLUMN: without it the scores are too good."
)
CELLS: Phrases = (
    (
        NO_GROUP,
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
    ("the others, who were seen", "the others, which were seen"),
    ("the diagnosis", "the cell type"),
    ("Top genes of the disease", "Top genes of the cell types"),
    *_rows("cell"),
)
SPOTS: Phrases = (
    (
        NO_GROUP,
        "Spots of one tissue are alike, and those that were held out lie in blocks of the same "
        "sections as those that were learned from: for tissue of another donor, the scores are too "
        "good.",
    ),
    (
        "These patients are simulated: the report shows the method and says nothing about any "
        "disease",
        "This tissue is simulated: the report shows the method and says nothing about any real one",
    ),
    (
        "Safety is judged by the attacks that were run",
        "Safety is judged by the attacks that were run, which ask whether a spot was used, and not "
        "whose tissue it is",
    ),
    ("Treat them like patient data", "Treat them like the data of the patient who gave the tissue"),
    ("patients of another clinic", "tissue of another donor"),
    ("Patients of another study", "Tissue of another study"),
    (
        "identifier of a patient or sample",
        "identifier of a spot; sections keep the names that they were given",
    ),
    ("they add no patient, no rare subtype", "they add no donor, no rare structure"),
    (
        "confirmed on real patients before anybody acts on them",
        "confirmed on tissue of further donors before anybody acts on them",
    ),
    (
        "one part of the patients and checked on the others, who were seen",
        "some blocks of the sections and checked on the spots of the others, which were seen",
    ),
    (
        "equal parts into which patients are divided",
        "equal parts to which the blocks of the sections are dealt",
    ),
    ("held-out samples", "held-out spots, in blocks of their own"),
    (
        "The fewer the patients, the wider",
        "The fewer the spots, the wider; since neighbours are alike, it is rather too narrow",
    ),
    ("around a person", "that are alike to a spot"),
    ("recognises real patients", "names the labels of real spots"),
    ("recognising real patients", "naming the labels of real spots"),
    ("the diagnosis", "the label"),
    ("Top genes of the disease", "Top genes of the labels"),
    ("A map of the samples (PCA)", "A map of the spots by expression (PCA)"),
    ("A map of neighbourhoods (UMAP)", "A map of neighbourhoods in expression (UMAP)"),
    ("Read who lies next to whom", "Read which spots lie next to which"),
    *_rows("spot"),
)


@dataclass(frozen=True)
class Vocabulary:
    """Phrases and what is said instead; a phrase that begins a sentence keeps its capital."""

    phrases: Phrases = ()

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


VOCABULARIES: dict[Unit, Vocabulary] = {
    "patient": Vocabulary(),
    "cell": Vocabulary(CELLS),
    "spot": Vocabulary(SPOTS),
}


def outside(text: str) -> str:
    """Mark text that is not ours, so that no word of it is replaced."""
    return f"{OPEN}{text.replace(OPEN, '').replace(CLOSE, '')}{CLOSE}" if text else text


def outside_of(change: Callable[[str], str]) -> Callable[[str], str]:
    """A function that changes text from outside, and marks it."""
    return lambda text: outside(change(text))


def unit_of(adata: AnnData) -> Unit:
    """What a row of a cohort is: only cells know their row in a source, and only spots a place."""
    if SOURCE_ROW in adata.obs:
        return "cell"
    return "spot" if SPATIAL in adata.obsm else "patient"


def _pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Whole phrases, whatever separates their words; "two-sample" names a kind of test."""
    either = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return re.compile(rf"(?<![\w-])(?:{either})(?!\w)", flags=re.IGNORECASE)
