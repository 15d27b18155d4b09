"""The standing words of the omics_lm report: what each figure shows, limits, and terms."""

from synthome.reporting.content import FigureWords

# In the order in which they are drawn.
FIGURES: dict[str, FigureWords] = {
    "matched": FigureWords(
        "Who reads patients best?",
        "Each line is a model, each mark the kind of rows that it learned from; right is better, "
        "and the dotted line is guessing. Circles (synthetic patients) are fair to compare: all "
        "models learned from the same rows. Where a circle lies left of the diamond, synthetic "
        "patients taught less than the real ones. On the right, as published, models are asked "
        "about the very patients that the rows were made of. Bars: 95 % intervals.",
        "Balanced accuracy of a language model and four plain classifiers, by the rows they "
        "learned from, under both protocols. All numbers are in the table.",
    ),
    "called": FigureWords(
        "What is taken for what",
        "Each row is a true class; its shares add up to 100 %. A dark diagonal is good. Small "
        "numbers are patients.",
        "Confusion matrices of the language model, rows normalised, one for each protocol.",
    ),
    "distortion": FigureWords(
        "What the text costs, and what it keeps",
        "Each point is an alphabet; the number beside it is its precision. Above: what comes back "
        "when text is read as expression again, on a scale on which each step is ten times less "
        "lost. Below: how well a classifier does on what comes back. The published range cuts "
        "values off, so that a longer alphabet does not help it; a classifier may well do without "
        "what is lost, a reader of the text cannot.",
        "Decode R² and accuracy against bits per gene, for the alphabet used here and the "
        "published range.",
    ),
    "released": FigureWords(
        "Do texts and rows give patients away?",
        "Each attack tries to tell training patients from others. At the dotted line it guesses; "
        "in the shaded area it succeeds. Copied patients (crosses) show what a success looks like. "
        "A text is no protection: what can be read back can be attacked as text too.",
        "AUC of each attack on texts that were written, rows that were drawn, noise and copies.",
    ),
}

LIMITS: tuple[str, ...] = (
    "The language model knows the genes of its signature and nothing else: a patient whose disease "
    "shows in other genes is read as if it did not.",
    "The other genes of a synthetic patient follow from those of the signature by a linear model.",
)

GLOSSARY: dict[str, str] = {
    "Lookup table": "The alphabet: which letter stands for which expression value.",
    "Language model": "A network that was trained to continue texts; here, the text of a patient "
    "with the name of the class.",
    "Signature": "Genes whose expression tells the classes apart.",
    "Edits": "The fewest letters that must be replaced, added or taken away to make one text of "
    "another (Levenshtein distance).",
    "Calibration error (ECE)": "By how much a model's probabilities differ from how often it is "
    "right, on average.",
    "Macro F1": "For each class, how many of its patients were found and how many of those called "
    "so belong to it, in one number; then the average over classes.",
}
