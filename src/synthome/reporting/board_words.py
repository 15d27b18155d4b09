"""The standing words of the leaderboard: its columns, its figures, its terms."""

from dataclasses import dataclass
from typing import Literal

from synthome.reporting.content import GLOSSARY, FigureWords


@dataclass(frozen=True)
class Column:
    """A score of the table: its heading, and in which order the best comes first.

    Where ``first`` is ascending, rows are sorted by the distance from the best value.
    """

    key: str
    head: str
    small: str
    first: Literal["ascending", "descending"]


COLUMNS: tuple[Column, ...] = (
    Column("utility/tstr_auc", "TSTR LR", "AUC", "descending"),
    Column("utility/tstr_balanced_accuracy", "TSTR LR", "BA", "descending"),
    Column("utility/tstr_balanced_accuracy_forest", "TSTR forest", "BA", "descending"),
    Column("utility/augmentation_gain", "Gain forest", "BA", "descending"),
    Column("fidelity/std_slope", "Spread", "slope, 1 is right", "ascending"),
    Column("biology/lfc_slope", "Fold change", "slope, 1 is right", "ascending"),
    Column("fidelity/coexpression_r", "Co-expression", "r, held-out", "descending"),
    Column("fidelity/c2st_auc", "C2ST", "AUC, 0.5 is best", "ascending"),
    Column("biology/de_recovery", "DE recovery", "share", "descending"),
    Column("privacy/worst_auc", "Worst attack", "AUC, 0.5 is best", "ascending"),
)

FIGURES: dict[str, FigureWords] = {
    "pareto": FigureWords(
        "What privacy costs",
        "Each point is a generator: up is more useful, left is harder to attack. Filled points are "
        "on the frontier, where no other generator is better in both; faint lines are 95 % "
        "intervals. The yardsticks take no part in it. In the shaded area the strongest attack is "
        "beyond the privacy limit.",
        "Utility against the AUC of the strongest attack, one labelled point per generator, with "
        "intervals, the frontier, guessing at 0.5 and the yardsticks. The table has all numbers.",
    ),
    "privacy_curve": FigureWords(
        "Turning the privacy knob",
        "Each line is one way to buy privacy, from its gentlest to its strongest setting, which "
        "are written beside the points. The higher a line stays while it moves left, the cheaper "
        "the privacy.",
        "Utility against the AUC of the strongest attack, one line per knob with its settings.",
    ),
    "temperature": FigureWords(
        "What the temperature does",
        "Each panel is one score against the temperature T at which synthetic patients are drawn. "
        "Shaded: the published range. Dotted lines: the temperatures that calibration chose for "
        "each class. The green line is the best value there is.",
        "Spread, coverage, two-sample AUC, utility and attack AUC against the temperature, for our "
        "and the published model, with the published range and the chosen temperatures.",
    ),
    "dose": FigureWords(
        "Adding synthetic patients to real ones",
        "How well a classifier does with 0, 1, 2, 5, 10 times as many synthetic as real rows. The "
        "black line is a tuned classifier on real rows alone, and the last panel the gain fold by "
        "fold over the best classifier on real rows. Bars are 95 % intervals of each dose by "
        "itself; the advice uses wider ones, because the best of several doses is picked.",
        "Balanced accuracy and AUC by dose for two classifiers, the tuned baseline on real rows, "
        "and the paired gain over the best baseline, with intervals.",
    ),
    "few_shot": FigureWords(
        "With very few real patients",
        "How well a classifier does with few real rows, alone and joined by what a generator "
        "makes of those rows. Faint points are single folds.",
        "Scores by the number of real training rows, with and without synthetic rows.",
    ),
}

TERMS: dict[str, str] = {
    term: GLOSSARY[term]
    for term in (
        "AUC",
        "Balanced accuracy",
        "Ceiling",
        "Cheat",
        "Co-expression",
        "Floor",
        "Fold",
        "Interval",
        "Membership attack",
        "Slope",
        "Synthetic patient",
        "Train on synthetic, test on real",
    )
} | {
    "BA": "Balanced accuracy.",
    "C2ST": "Classifier two-sample test: how well a classifier tells synthetic from held-out real "
    "patients. 0.5 is guessing and best.",
    "DE recovery": "Share of the genes that differ most between the groups in the training "
    "patients that also differ most in the synthetic ones.",
    "Gain": "What adding synthetic to real training rows changes, above 0 for the better.",
    "LR": "Logistic regression.",
    "TSTR": "Train on synthetic, test on real.",
    "Worst attack": "The largest AUC of all membership attacks: what the most successful "
    "attacker achieves.",
}


def board_texts(n_genes: int) -> dict[str, str]:
    """What must be known of the table as a whole, by heading."""
    return {
        "How the generators were compared": (
            f"Every generator was fitted to the {n_genes:,} most variable genes of the training "
            "patients of a fold, and scored on those genes; rare_vae makes every expressed gene in "
            "its own pipeline. The gains add as many synthetic patients of every group, from "
            "generators that can draw a group on demand. Seconds are those of the processor, for "
            "fitting and drawing in all folds."
        )
    }
