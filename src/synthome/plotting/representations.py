"""What a classifier may look at, and what looks for planted genes: one name, colour, mark each.

Representations are those of ``evaluation.representations``. Colours stay apart for every eye
(tests/plotting/test_style.py), and marks and lines differ as well.
"""

from dataclasses import dataclass
from typing import Any

from synthome.plotting.style import CEILING, CHEAT, FLOOR, INK, REAL, SYNTHETIC

ORANGE = "#E69F00"  # of Okabe and Ito


@dataclass(frozen=True)
class Look:
    """How one representation is named and drawn."""

    name: str
    colour: str
    marker: str
    line: str

    def line_style(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot``."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line}


LATENTS = "latents"
SIGNATURE = "signature"
LOOKS: dict[str, Look] = {
    LATENTS: Look("Latents alone", SYNTHETIC, "o", "-"),
    "latents+sets": Look("Latents and gene sets", ORANGE, "P", "-"),
    "latents+contrast": Look("Latents and learnt contrast", CHEAT, "X", "-"),
    SIGNATURE: Look("Signature score", REAL, "s", "--"),
    "pca": Look("Principal components", FLOOR, "^", "-."),
    "all_genes": Look("All genes", CEILING, "D", ":"),
}
CLASSIFIERS = {"logistic": "", "ridge": "", "network": ", published network"}


def look(representation: str, classifier: str = "logistic") -> Look:
    """Name and style of a representation; of one that nobody foresaw, its own name in ink."""
    known = LOOKS.get(representation, Look(representation.replace("_", " "), INK, "*", "-"))
    ending = CLASSIFIERS.get(classifier, f", {classifier.replace('_', ' ')}")
    if classifier == "network":  # the same features in the published classifier
        return Look(known.name + ending, known.colour, "v", ":")
    return Look(known.name + ending, known.colour, known.marker, known.line)


def in_order(representations: list[str]) -> list[str]:
    """The model's own first, then what it stands beside; unknown ones last, each once."""
    names = list(LOOKS)
    found = dict.fromkeys(representations)
    return sorted(found, key=lambda name: names.index(name) if name in names else len(names))
