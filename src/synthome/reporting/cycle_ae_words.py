"""The standing words of the cycle_ae report: what each figure shows, limits, and terms."""

from synthome.reporting.content import FigureWords

STAR = "*"  # before a held-out combination that tells little

# In the order in which they are drawn.
FIGURES: dict[str, FigureWords] = {
    "counterfactuals": FigureWords(
        "Combinations that were never shown",
        "Each row is a combination of contexts that was left out of everything that was fitted. 0 "
        "(dashed) is no change at all; the ceiling is other true cells of the combination. A model "
        "that lies on the additive baseline (squares) has explained nothing that an average does "
        "not. A star stands before combinations that tell little: few genes change surely, or "
        "true cells themselves predict true cells badly. Bars: spread over halvings of the true "
        "cells.",
        "Weighted R² of the predicted change for each held-out combination, by method.",
    ),
    "planted_effects": FigureWords(
        "Are the planted effects found?",
        "The cells are simulated, so that the effect of each context is known. A coin is right "
        "about the sign of half of the genes (dotted). A context of the published model can only "
        "add: it lowers a gene by adding less than another context does, and never below the base.",
        "Share of right signs, of lowered genes too, and correlation, by field and method.",
    ),
    "contributions": FigureWords(
        "How much each context adds",
        "Dark is much. First column: the length over genes of what a head adds to a cell, less "
        "what it adds on average, mean over all cells. Other columns: the same of the mean of "
        "the cells of one type, so that differences within it cancel. Curves: the first column "
        "while the model was trained; heads of fields hardly move, as their effects are estimated "
        "before and held fixed.",
        "Norm of each head by group of cells, and over epochs.",
    ),
    "head_genes": FigureWords(
        "The genes that each context moves most",
        "Red is more and blue is less than the mean over the categories of the field, in natural "
        "logs: 0.69 is twice as much. At most six categories are drawn, those with the largest "
        "effects. Genes that are rare have uncertain effects.",
        "Bars of the genes that each category moves most, up and down.",
    ),
    "contexts": FigureWords(
        "Who can tell the contexts",
        "Generated cells should be told as surely as real ones (diamonds), by a judge that "
        "training never saw (circles); the classifier that training leaned on (crosses) can be "
        "satisfied without that. From the state (squares), guessing (triangles down) is best: it "
        "is to hold what contexts leave. As many principal components (triangles up) show "
        "what could be told.",
        "Balanced accuracy with which each field is told: real cells, generated ones, the state.",
    ),
}
LIMITS = (
    "A counterfactual cell is what the model expects of a cell in another context. That such a "
    "cell could exist is an assumption; held-out combinations test it for those that do exist.",
    "Effects of two fields that always go together cannot be told apart, by this or any model.",
    "Genes were chosen on training cells, those of held-out combinations among them; every method "
    "here is given the same genes.",
)
GLOSSARY = {
    "Additive baseline": "The mean change of log expression over the other cell types, added to "
    "each cell. It needs no model, and many models do not beat it.",
    "Balanced accuracy": "The share of rows put in the right category, each category counting the "
    "same.",
    "Calibration error": "How far the confidence of a classifier is from the share of cells in "
    "which it is right: 0 is best.",
    "Combination": "One category of each field, such as B cells of one chemistry.",
    "Counterfactual": "A cell as it would be in another context, all else the same.",
    "E-distance": "A distance between two crowds of cells: 0 when they cannot be told apart.",
    "Field": "A column of metadata, such as cell type, assay or sex; its values are categories.",
    "Head": "The part of a prediction that belongs to one field, or to a pair of fields. All heads "
    "add up to the prediction.",
    "Nat": "A unit of information: 1.44 bits.",
    "Permutation test": "How often does chance do as well? Donors swap categories many times, and "
    "the effects are estimated again.",
    "State": "The numbers by which the model describes a cell within its contexts.",
    "Weighted R² of the change": "How much of the change of expression is predicted, genes that "
    "change surely counting most: 1 is perfect. With many cells, no change at all is 0.",
}
