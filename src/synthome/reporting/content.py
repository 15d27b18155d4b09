"""The standing words of a report: what each figure shows, what the terms mean, what to beware of.

Nothing here knows a system by name: a pipeline passes further sections, captions and terms.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import pandas as pd


@dataclass(frozen=True)
class FigureWords:
    """Title, how to read it, and what a reader who cannot see it should know."""

    title: str
    how_to_read: str
    alt: str


@dataclass(frozen=True)
class Section:
    """A further section of a report: paragraphs, perhaps a table, perhaps figures by name.

    ``plot`` is an interactive figure: ``data`` and ``layout`` of Plotly, as plain JSON.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    table_caption: str = ""
    figures: tuple[str, ...] = ()
    plot: dict[str, Any] | None = None


@dataclass(frozen=True)
class Answers:
    """What a system adds to the report that all systems share, and to its scores.

    Attributes
    ----------
    metrics
        Entries of ``metrics.json`` by key.
    figures
        Words of the system's own figures by name, in the order in which they are drawn.
    """

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    figures: dict[str, FigureWords] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    glossary: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = asdict(self)
        for section, plain in zip(self.sections, found["sections"], strict=True):
            if section.table is not None:
                plain["table"] = json.loads(section.table.to_json(orient="split", index=False))
        return found

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """What ``document`` wrote; nothing from an empty one."""
        sections = []
        for plain in document.get("sections", ()):
            table = plain["table"]
            sections.append(
                Section(
                    plain["title"],
                    tuple(plain["paragraphs"]),
                    None
                    if table is None
                    else pd.DataFrame(table["data"], columns=table["columns"]),
                    plain["table_caption"],
                    tuple(plain["figures"]),
                    plain.get("plot"),
                )
            )
        return cls(
            metrics=dict(document.get("metrics", {})),
            sections=tuple(sections),
            figures={k: FigureWords(**v) for k, v in document.get("figures", {}).items()},
            limits=tuple(document.get("limits", ())),
            glossary=dict(document.get("glossary", {})),
        )


FIGURES: dict[str, FigureWords] = {
    "standing": FigureWords(
        "Where each score stands",
        "Each row is one score on a line of its own; right is better, except where the thin "
        "upright line, the best possible value, stands in the middle. A good generator lies near "
        "the ceiling (diamond) and away from the floor (triangle). Where the cross of the copied "
        "patients lies at the good end too, the score rewards copying: it is marked, and cannot "
        "be used alone.",
        "One row per score, with the generator's value and interval between a floor, a ceiling "
        "and copied patients. All numbers are in the table of scores.",
    ),
    "loss": FigureWords(
        "Training",
        "The loss falls while the model learns. Validation samples take no part in learning; when "
        "their loss (dashed) stops falling, the model begins to memorise. The marked epoch is the "
        "one whose weights were kept.",
        "Training and validation loss against the epoch, with the epoch whose weights were kept.",
    ),
    "pca": FigureWords(
        "A map of the samples (PCA)",
        "Each point is a sample; close points have similar expression in the two main directions "
        "in which real training samples differ. Synthetic points (right) should cover the same "
        "ground as the real ones, class by class. A tight clump inside means too little variety; "
        "points on top of real ones may mean copying.",
        "Real samples on the left, synthetic samples over faded real ones on the right, on the "
        "first two principal components of the real training samples.",
    ),
    "umap": FigureWords(
        "A map of neighbourhoods (UMAP)",
        "As the map above, but bent so that neighbours stay neighbours. Read who lies next to "
        "whom; distances and the size of islands mean nothing. Samples that were placed "
        "afterwards, held out (hollow) or synthetic, lie between their neighbours and so nearer "
        "the middle: compare the synthetic points with the hollow ones.",
        "Real samples on the left, synthetic samples over faded real ones on the right, on a "
        "UMAP of the real training samples.",
    ),
    "moments": FigureWords(
        "Mean and spread of every gene",
        "Each point is a gene. On the dashed line, synthetic and real agree. R² stays near 1 even "
        "when every spread is halved; the slope shows it: below 1, synthetic patients are too "
        "much alike.",
        "Two scatter plots of genes, synthetic against real: mean on the left, standard deviation "
        "on the right, each with the identity line, a fitted line, its slope and R².",
    ),
    "coexpression": FigureWords(
        "Which genes move together",
        "Red: two genes rise and fall together; blue: one rises when the other falls. All panels "
        "show the same genes in the same order. The middle panel is real data again: the third "
        "panel need not look more like the first than the middle one does. Panels of few samples "
        "are speckled by chance.",
        "Three gene-by-gene correlation matrices: real samples, further real samples, synthetic.",
    ),
    "attacks": FigureWords(
        "Can an attack find who took part?",
        "Each attack tries to tell patients whose data were used from patients whose data were "
        "not. At 0.5 it guesses. In the shaded area it succeeds. Copied patients (cross) show "
        "what a success looks like: an attack that misses them too would prove nothing.",
        "AUC of each membership attack with its interval, beside noise and copied patients; 0.5 "
        "is guessing. All numbers are in the table of scores.",
    ),
}

GLOSSARY: dict[str, str] = {
    "AUC": "Take one sample of each of two groups: how often does the method rank them rightly? "
    "0.5 is guessing, 1 is always right.",
    "Balanced accuracy": "The share of samples put in the right class, averaged over the classes, "
    "so that a small class counts as much as a large one.",
    "Ceiling": "The same score for real data against real data: the most that can be asked.",
    "Cheat": "The same score for a generator that hands out copies of its training patients. It "
    "looks perfect and protects nobody.",
    "Co-expression": "Genes that rise and fall together from patient to patient.",
    "External cohort": "Patients of another study, used for nothing but checking.",
    "Floor": "The same score for noise: each gene drawn on its own, with the right mean and "
    "spread in each class, but no connection between genes.",
    "Fold": "One of the equal parts into which patients are divided. Each part is held out once "
    "while everything is learned from the others.",
    "Gene expression": "How active a gene is in a tissue sample, measured as amounts of RNA.",
    "Interval": "The range, in square brackets, in which the true score plausibly lies (95 %). "
    "The fewer the patients, the wider.",
    "Membership attack": "An attempt to tell, from the synthetic data and the record of one "
    "patient, whether that patient's data were used to make them.",
    "Slope": "By how much synthetic values grow when real ones grow by one: 1 is right, 0.5 means "
    "differences are halved.",
    "Synthetic patient": "A row of gene expression drawn by a computer model. No person gave it.",
    "Train on synthetic, test on real": "A classifier learns from synthetic patients alone and is "
    "then asked about real patients whom neither it nor the generator has seen.",
}

LIMITS: tuple[str, ...] = (
    "Synthetic data can show only what the real cohort held: they add no patient, no rare subtype "
    "and no signal that was not there, and they carry its biases and batch effects on.",
    "Results that rest on synthetic rows must be confirmed on real patients before anybody acts "
    "on them. They are no basis for a diagnosis or a treatment.",
)

# What run information is called in the report, in this order.
RUN_WORDS: dict[str, str] = {
    "system": "System",
    "environment": "Data environment",
    "started": "Started",
    "seconds": "Run time",
    "seed": "Random seed",
    "code_version": "Version of synthome",
    "git_commit": "Code commit",
    "machine": "Machine",
}
