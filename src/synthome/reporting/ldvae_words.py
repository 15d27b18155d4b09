"""The standing words of the ldvae report: what each figure shows, limits, and terms."""

from synthome.reporting.content import FigureWords

# In the order in which they are drawn.
FIGURES: dict[str, FigureWords] = {
    "three_class": FigureWords(
        "Told apart, by dose",
        "Each line is one thing that a classifier may look at. The dotted line is guessing. "
        "Latents that lie below the signature score (squares) know less about this change than two "
        "plain averages. Under “strict”, all twins of a cell stay on one side of the split; as "
        "published, they are torn apart, counts are multiplied, and the model was fitted to "
        "changed cells too. Bars: 95 % intervals.",
        "Accuracy against dose for latents, signature score, principal components and all genes, "
        "one panel for each protocol. All numbers are in the table.",
    ),
    "confusion": FigureWords(
        "What is taken for what",
        "Each row is a true condition; its shares add up to 100 %. A dark diagonal is good. Small "
        "numbers are rows of held-out cells.",
        "Confusion matrices of the three conditions, rows normalised, one for each protocol.",
    ),
    "cell_map": FigureWords(
        "A map of the latent space (UMAP)",
        "The same held-out cells three times: by cell type, by condition, and by the cluster that "
        "was found without knowing either. If clusters follow the cell types and colours of the "
        "condition are mixed within each, cell type is what the latents see, and the change is "
        "small beside it. Distances and the size of islands mean nothing.",
        "Three UMAP maps of the latents: cell types, conditions, Leiden clusters.",
    ),
    "power": FigureWords(
        "How often a change is seen",
        "The share of repeats in which a test finds that changed cells differ from others of their "
        "type. From the dashed line (80 %) on, a change counts as seen. At dose 1 nothing is "
        "changed, and the share must be near the dotted line (5 %): more would be false alarms. "
        "The further left a curve rises, the better. Bands: 95 % intervals.",
        "Power against dose for each cell type and direction, a curve for each representation.",
    ),
    "smallest_dose": FigureWords(
        "The smallest change that is seen",
        "Where each curve of the figure above reaches 80 %: the further left, the smaller the "
        "change that is still seen. Hollow marks on the right stand for cell types in which no "
        "dose was enough. Bars: 95 % intervals.",
        "Smallest detectable dose by cell type, one mark for each representation; hollow marks "
        "were not reached. All numbers are in the table.",
    ),
    "planted": FigureWords(
        "Are the changed genes found again?",
        "A method ranks all genes by how much they seem changed; a long bar means that the genes "
        "that were really changed come first. The dashed line is a plain t-test, the bar to reach; "
        "the dotted line is chance. Black lines: spread over draws of cells.",
        "AUPRC of the changed genes by method, down and up apart, with t-test and chance.",
    ),
    "loadings": FigureWords(
        "The genes that make up the factors",
        "Rows are the leading genes of the factors (columns) that answer most to the change. Red "
        "rises with the factor, blue falls; white is near zero or not among the leading genes. A "
        "dot: trainings with other seeds agree. The bars above say how well the whole factor comes "
        "back; trust no factor with a short bar.",
        "Heatmap of loadings, leading genes by factors, with the stability of each factor.",
    ),
    "conditional": FigureWords(
        "Does a change carry over to another cell type?",
        "The change was learned from all other cell types and predicted for one. A mark near the "
        "green diamond, real cells against real cells, could not be better. What the additive "
        "baseline reaches needs no model at all. Compare with no change (triangle), which lies "
        "above 0 by chance where cells are few; an arrow at the left edge is far worse. Bars: "
        "spread over random deals of cells.",
        "Weighted R² of the predicted change for each held-out cell type: model, additive, mean "
        "and no change, with the half-split ceiling. All numbers are in the table.",
    ),
}

LIMITS: tuple[str, ...] = (
    "Changes were made in the computer, by a known factor on known genes. A disease changes more "
    "genes, by different factors, and not in every cell of a type: real changes may be easier or "
    "harder to see.",
    "Power is that of these cells and this number of them. Donors differ from one another, and "
    "intervals over cells do not include that.",
    "A factor is a direction in which genes vary together. It is no pathway and no cause, and "
    "factors that do not come back with another seed are none at all.",
)

GLOSSARY: dict[str, str] = {
    "Additive baseline": "The average change of the other cell types, added to the cells of the "
    "held-out type. It needs no model, and many models do not beat it.",
    "AUPRC": "How well a ranking puts the sought genes first (area under precision and recall): 1 "
    "is perfect, and chance is the share of sought genes among all.",
    "Contrast": "What is unusual about a cell given its latents: the part of its counts that the "
    "model did not expect, added up over genes.",
    "Dose": "The factor by which chosen genes are turned down or up: at 2, half or twice as many "
    "molecules; at 1, nothing is changed.",
    "E-distance": "A distance between two crowds of cells: 0 when they cannot be told apart.",
    "ELBO": "A lower bound of the log-probability that a model gives to a cell, in nats. The "
    "larger, the better the model explains cells.",
    "Factor": "One of the numbers by which the model describes a cell, the same as a latent.",
    "False alarm": "A test that says “changed” where nothing was changed. 5 % are allowed.",
    "Gene set": "A list of genes that are changed together, for example those that are lower in a "
    "disease.",
    "Latent": "One of a few numbers into which a model squeezes the thousands of genes of a cell.",
    "Leiden cluster": "A group of cells that are close to one another in the latent space, found "
    "without being told what they are.",
    "Loading": "By how much a gene rises when a latent rises by one.",
    "Nat": "A unit of information: 1.44 bits.",
    "NLL": "What the counts of a cell cost under a model, in nats (negative log-likelihood). The "
    "smaller, the better.",
    "Power": "The share of repeats in which a real change is seen. 80 % is the usual demand.",
    "Signature score": "The average activity of the genes of a list in a cell: one number for each "
    "list, without any model. It must be told which genes to look for.",
    "Stability": "How far trainings that differ in nothing but the seed agree: 1 is perfect.",
    "Twin": "The same cell twice, as it is and with genes changed. Twins must stay on one side of "
    "a split, because they are no two cells.",
    "Weighted R² of the change": "How much of the change of expression is predicted, genes that "
    "change surely counting most: 1 is perfect. With many cells, no change at all is 0.",
}
