"""Every score by its key: what it asks, what is best, how to read its floor, ceiling and cheat.

Each score stands between three known generators. The *floor* knows no gene-gene structure
(independent noise per class and gene), the *ceiling* is real patients in the place of synthetic
ones, the *cheat* copies training patients. A score on which the cheat does as well as the model
cannot be used alone to call the model good.

The ceiling follows from the reference. Where synthetic rows are compared with held-out rows
(``test``), the training rows stand in their place; where they are compared with the training rows
(``train``), the held-out rows do. It is what real patients reach, sampling noise included.

This module imports nothing, so that reports and pipelines can read it at no cost.
"""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "target"]
Reference = Literal["train", "test", "truth", "external"]
Bounds = tuple[float | None, float | None]

SHARE: Bounds = (0.0, 1.0)
CORRELATION: Bounds = (-1.0, 1.0)
POSITIVE: Bounds = (0.0, None)
ANY: Bounds = (None, None)


@dataclass(frozen=True)
class Metric:
    """A score in words.

    ``direction`` says which side of ``best`` is worse: ``higher`` is better up to ``best``,
    ``lower`` is better down to it, and from a ``target`` both sides lead away. ``bounds`` are the
    values it can take.
    """

    key: str
    name: str
    meaning: str
    best: float | None
    direction: Direction
    reference: Reference
    bounds: Bounds = ANY

    @property
    def group(self) -> str:
        """First part of the key: fidelity, utility, biology, privacy, external, or another."""
        return self.key.split("/")[0]

    def distance(self, value: float) -> float:
        """How far ``value`` is from the best one; beyond the best is no distance.

        Without a best value, of which the gains have none, larger is simply nearer.
        """
        if self.best is None:
            return -value
        off = value - self.best
        if self.direction == "target":
            return abs(off)
        return max(-off if self.direction == "higher" else off, 0.0)

    def clipped(self, value: float) -> float:
        """``value`` within the values that the score can take."""
        low, high = self.bounds
        value = value if low is None else max(value, low)
        return value if high is None else min(value, high)


FIDELITY = (
    Metric(
        "fidelity/mean_r2",
        "Average level of the genes (R²)",
        "Do genes that are high in real patients have a high average in synthetic ones? Close to 1 "
        "for almost any generator, noise and copies included, so a good value proves little.",
        1.0, "higher", "train", SHARE,
    ),
    Metric(
        "fidelity/mean_slope",
        "Average level of the genes (slope)",
        "Are the averages of the genes on the right scale? 1 is right.",
        1.0, "target", "train",
    ),
    Metric(
        "fidelity/std_r2",
        "Spread of the genes (R²)",
        "Do genes that vary more between real patients vary more between synthetic ones? It stays "
        "close to 1 when every spread is halved, so read the slope instead.",
        1.0, "higher", "train", SHARE,
    ),
    Metric(
        "fidelity/std_slope",
        "Spread of the genes (slope)",
        "Do synthetic patients differ from one another as much as real ones? 1 is right, 0.5 is "
        "half the spread: all synthetic patients look alike. Independent noise has the right "
        "spread by construction, and so have copies.",
        1.0, "target", "train",
    ),
    Metric(
        "fidelity/variance_ratio",
        "Total variance within the groups",
        "Variance of all genes added up, within the groups, in synthetic over that in held-out "
        "real patients. 1 is right; below it synthetic patients are too much alike.",
        1.0, "target", "test", POSITIVE,
    ),
    Metric(
        "fidelity/diversity",
        "Diversity of the patients",
        "Average distance between two synthetic patients, over that between two real ones. 1 is "
        "right; well below 1, the generator repeats itself.",
        1.0, "target", "train", POSITIVE,
    ),
    Metric(
        "fidelity/coexpression_r",
        "Genes that move together",
        "Are genes that rise and fall together in patients never shown to the generator also "
        "together in synthetic patients? The ceiling is what the real training patients reach, "
        "and the floor shows how much of it the differences between the groups give by themselves.",
        1.0, "higher", "test", CORRELATION,
    ),
    Metric(
        "fidelity/coexpression_train_r",
        "Genes that move together, against the training patients",
        "The same against the patients that the generator was shown. Copies are perfect here: it "
        "measures memory as well as understanding.",
        1.0, "higher", "train", CORRELATION,
    ),
    Metric(
        "fidelity/coexpression_published_r",
        "Genes that move together, as published",
        "The same for the 50 most variable genes, with the diagonal of ones and every pair counted "
        "twice, which flatters. It is here to compare with published numbers only.",
        1.0, "higher", "train", CORRELATION,
    ),
    Metric(
        "fidelity/module_density",
        "Tightness of gene modules",
        "Groups of genes that act together in the training patients: are they as tight in the "
        "synthetic ones? 1 is right, 0 means that the groups have dissolved.",
        1.0, "target", "train",
    ),
    Metric(
        "fidelity/module_connectivity_r",
        "Order within gene modules",
        "Within these groups, are the pairs that are tightest in held-out patients also tightest "
        "in synthetic ones?",
        1.0, "higher", "test", CORRELATION,
    ),
    Metric(
        "fidelity/c2st_auc",
        "Told apart from real patients",
        "How well does a classifier tell synthetic from held-out real patients? 0.5 is guessing "
        "and best, 1 is always. Below 0.5 there is no signal, which is no better than 0.5. On few "
        "patients this linear classifier sees mostly averages, so that noise may pass.",
        0.5, "lower", "test", SHARE,
    ),
    Metric(
        "fidelity/c2st_train_auc",
        "Told apart from the training patients",
        "The same against the patients that the generator was shown. A generator that matches "
        "their averages, copies first of all, falls below 0.5 for arithmetic reasons: read only "
        "values above 0.5, and those as a fault.",
        0.5, "lower", "train", SHARE,
    ),
    Metric(
        "fidelity/mmd2",
        "Distance between the two crowds (MMD²)",
        "A distance between the distribution of synthetic and of held-out real patients. 0 is "
        "best; a small negative number is as good, and says that none can be seen.",
        0.0, "lower", "test",
    ),
    Metric(
        "fidelity/density",
        "Synthetic patients in real neighbourhoods",
        "How often synthetic patients fall near held-out real ones, compared with real patients. 1 "
        "is right; above it they crowd at the centre. Says little with ten held-out patients.",
        1.0, "target", "test", POSITIVE,
    ),
    Metric(
        "fidelity/coverage",
        "Real patients with a synthetic neighbour",
        "Share of held-out patients that have a synthetic patient nearby, with as many synthetic "
        "as training patients. Says little with ten held-out patients.",
        1.0, "higher", "test", SHARE,
    ),
    Metric(
        "fidelity/density_train",
        "Synthetic patients near training patients",
        "The same density against the patients that the generator was shown, where copies are "
        "at their best.",
        1.0, "target", "train", POSITIVE,
    ),
    Metric(
        "fidelity/coverage_train",
        "Training patients with a synthetic neighbour",
        "The same coverage against the patients that the generator was shown, with as many "
        "synthetic patients as are held out. Copies are at their best here.",
        1.0, "higher", "train", SHARE,
    ),
    Metric(
        "fidelity/ks",
        "Shape of single genes (KS distance)",
        "Largest gap between the distributions of a gene in synthetic and in held-out patients, "
        "averaged over genes. 0 is best; with few patients real data cannot reach it either, so "
        "compare with the ceiling.",
        0.0, "lower", "test", SHARE,
    ),
    Metric(
        "fidelity/beyond_range",
        "Values beyond those seen before",
        "New patients bring values that no earlier patient had. How often do synthetic patients do "
        "so, compared with what chance demands? 1 is right, 0 never leaves the observed range, as "
        "copies do, and 3 does it three times too often.",
        1.0, "target", "train", POSITIVE,
    ),
    Metric(
        "fidelity/interval_coverage",
        "Held-out values inside the synthetic range",
        "Share of the values of held-out patients that lie where the middle 90 % of synthetic "
        "values lie. 0.90 is right; less means that synthetic extremes are too tame.",
        0.9, "target", "test", SHARE,
    ),
)  # fmt: skip

_CLASSIFIERS = (("", "logistic regression"), ("_forest", "random forest"))


def _learned(prefix: str, group: str, reference: Reference, who: str) -> tuple[Metric, ...]:
    """AUC, balanced accuracy and AUPR of both classifiers."""
    teacher = {"tstr": "synthetic patients alone", "trtr": "real patients"}[prefix]
    found = []
    for end, classifier in _CLASSIFIERS:
        start = f"A classifier ({classifier}) learns from {teacher} and meets {who}. "
        words = f"after learning from {teacher} ({classifier})"
        found += [
            Metric(
                f"{group}/{prefix}_auc{end}", f"Ranking real patients {words}",
                start + "How often does it rank a patient of a group above one of the others? 1 "
                "is always, 0.5 is guessing.",
                1.0, "higher", reference, SHARE,
            ),
            Metric(
                f"{group}/{prefix}_balanced_accuracy{end}", f"Recognising real patients {words}",
                start + "What share does it put in the right group, each group counting the same? "
                "1 is all; guessing gives one over the number of groups.",
                1.0, "higher", reference, SHARE,
            ),
            Metric(
                f"{group}/{prefix}_aupr{end}", f"Finding a group {words}",
                start + "When it points at patients of a group, how often is it right (area under "
                "precision and recall)? 1 is always; guessing gives about the share of the group.",
                1.0, "higher", reference, SHARE,
            ),
        ]  # fmt: skip
    return tuple(found)


def _gain(end: str, classifier: str, what: str) -> Metric:
    return Metric(
        f"utility/augmentation_gain{end}",
        f"Gain from adding synthetic patients ({classifier}, {what})",
        f"By how much does the {what} of a {classifier} on held-out patients change when synthetic "
        "patients join the real training patients? Above 0 it helps, below 0 it harms. As many "
        "join of every group (with `augment: proportional`, and from a generator that cannot draw "
        "a group on demand, in the proportions of the training patients). The ceiling is "
        "measured, too: what the second half of the real training patients adds to the first.",
        None, "higher", "test", CORRELATION,
    )  # fmt: skip


UTILITY = (
    *_learned("tstr", "utility", "test", "real patients held out from everything"),
    _gain("", "random forest", "balanced accuracy"),
    _gain("_logistic", "logistic regression", "balanced accuracy"),
    _gain("_auc", "random forest", "AUC"),
    _gain("_auc_logistic", "logistic regression", "AUC"),
)

BIOLOGY = (
    Metric(
        "biology/de_recovery",
        "Top genes of the disease found again",
        "Share of the genes that differ most between the groups in the training patients that also "
        "differ most in the synthetic ones. Copies repeat chance findings too and are near 1; the "
        "ceiling is how many are found in other real patients, often few.",
        1.0, "higher", "train", SHARE,
    ),
    Metric(
        "biology/de_recovery_test",
        "Top genes of the disease confirmed in held-out patients",
        "Share of the genes that differ most between the groups in held-out patients that also "
        "differ most in the synthetic ones. Low where few are held out, for real data too.",
        1.0, "higher", "test", SHARE,
    ),
    Metric(
        "biology/lfc_slope",
        "Size of the differences between the groups",
        "Are the differences between the groups as large in synthetic as in the training patients? "
        "1 is right, 0 means that the generator ignores the diagnosis, above 1 it exaggerates.",
        1.0, "target", "train",
    ),
    Metric(
        "biology/planted_auprc",
        "Planted disease genes found",
        "In simulated patients the disease genes are known. Do differences between the groups of "
        "synthetic patients rank them first? 1 is perfect; chance is their share of all genes.",
        1.0, "higher", "truth", SHARE,
    ),
)  # fmt: skip

_ATTACKS = {
    "nearest": (
        "nearest synthetic patient",
        "The attacker measures how close a person is to the nearest synthetic patient.",
    ),
    "monte_carlo": (
        "number of synthetic neighbours",
        "The attacker counts the synthetic patients around a person.",
    ),
    "subspace": (
        "recombination of patients",
        "The attacker tests whether a person is an exact mixture of the pattern in the synthetic "
        "patients. With fewer patients than genes, generators that recombine patients are caught "
        "by it, however far their rows are from anybody.",
    ),
    "mahalanobis": (
        "shape of the group",
        "The attacker measures how well a person fits the shape of the synthetic group, direction "
        "by direction.",
    ),
    "mahalanobis_pooled": (
        "common shape of all groups",
        "The same with one shape for all groups, which is harder to hide when groups are small.",
    ),
    "block_match": (
        "exact values repeated",
        "The attacker looks for a synthetic patient that repeats values of a person to the last "
        "digit.",
    ),
    "likelihood_ratio": (
        "compared with a public cohort",
        "The attacker holds patients of another, public cohort and asks whether a person looks "
        "more like the synthetic patients than like those. It needs such a cohort, and is not "
        "among the attacks of which the strongest is reported.",
    ),
    "worst": (
        "strongest of all attacks",
        "The highest of the attacks that need no other cohort: what the most successful attacker "
        "achieves. Picking the highest lifts it a little above 0.5 even when nothing leaks; "
        "compare with the floor.",
    ),
}
_END = " 0.5 is guessing and best, 1 names every training patient. Copies must be caught."


def _attack(name: str) -> tuple[Metric, ...]:
    label, how = _ATTACKS[name]
    auc = Metric(f"privacy/{name}_auc", f"Attack: {label}", how + _END, 0.5, "lower", "test", SHARE)
    rates = [
        Metric(
            f"privacy/{name}_tpr_at_fpr{percent}",
            f"Attack: {label}, patients named at {percent} % false alarms",
            f"{how} Share of training patients it names while accusing at most {percent} % of "
            f"people who took no part. Guessing names {percent} %, and that is best.",
            percent / 100, "lower", "test", SHARE,
        )
        for percent in (10, 1)
    ]  # fmt: skip
    return (auc, *rates)


PRIVACY = tuple(metric for name in _ATTACKS for metric in _attack(name))
EXTERNAL = (
    *_learned("tstr", "external", "external", "patients of another cohort"),
    *_learned("trtr", "external", "external", "patients of another cohort"),
)

LDVAE = (  # of a latent model of cells: floor, ceiling and cheat are told in each meaning
    Metric(
        "ldvae/nll",
        "Counts of held-out cells, given their latents",
        "What the counts of a cell that was held out cost under the model, in nats: lower is "
        "better. The floor is a negative binomial without latents, and a model above it has "
        "learned nothing that holds for other cells.",
        0.0, "lower", "test", POSITIVE,
    ),
    Metric(
        "ldvae/elbo",
        "Evidence of held-out cells (ELBO)",
        "The same with what the latents themselves cost, as a lower bound of the log-probability "
        "of a held-out cell in nats: higher is better. The floor is the log-probability without "
        "latents.",
        0.0, "higher", "test", (None, 0.0),
    ),
    Metric(
        "ldvae/three_class_accuracy",
        "Cells as they are, turned down, turned up: told apart from the latents",
        "Share of rows that a logistic regression on the latents puts in the right condition, all "
        "twins of a cell on one side of the split. The floor is guessing, the ceiling is ridge "
        "regression on all genes, which may use more than the latents hold.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "ldvae/smallest_detectable_dose",
        "Smallest dose that is seen from the latents",
        "Factor by which genes must be turned down or up until the change is seen in 80 % of "
        "repeats at 5 % false alarms, the median over cell types and directions: 1 would be "
        "perfect. The floor is the dose of principal components, the ceiling that of the plain "
        "signature score, which is told which genes to look for.",
        1.0, "lower", "truth", (1.0, None),
    ),
    *(
        Metric(
            f"ldvae/planted_auprc{end}",
            f"Changed genes found again{words}",
            "How well the shift between two groups of cells, read out of the model with its "
            f"residuals, ranks the genes that were changed{words} first. The floor is chance, and "
            "the ceiling is a t-test without any model.",
            1.0, "higher", "truth", SHARE,
        )
        for end, words in (("", ""), ("_down", ", turned down"), ("_up", ", turned up"))
    ),
)  # fmt: skip

OMICS_LM = (  # of a model that reads patients: floor, ceiling and cheat are told in each meaning
    Metric(
        "lm/balanced_accuracy",
        "Held-out patients named rightly by the language model",
        "Share of held-out patients whom the language model puts in the right class, averaged over "
        "the classes. The floor is guessing, the ceiling is the best plain classifier that learned "
        "from the real training patients, and the cheat is the best one that learned from copies.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "lm/gap",
        "The language model against the best plain classifier of the same rows",
        "Balanced accuracy of the language model minus that of the best of four plain classifiers "
        "that learned from the same synthetic rows. Below 0, the plain classifier reads better.",
        None, "higher", "truth", (-1.0, 1.0),
    ),
    Metric(
        "lm/auc",
        "Held-out patients ranked rightly by the language model (AUC)",
        "How often a patient of a class has a higher probability of it than another. The floor is "
        "guessing, ceiling and cheat are as for the share named rightly.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "lm/macro_f1",
        "Held-out patients named rightly (macro F1)",
        "As the share named rightly, with false calls counted against a class too.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "lm/ece",
        "How far its probabilities are off (ECE)",
        "When the model says 90 %, is it right in 90 %? The mean difference, 0 being perfect. Few "
        "patients give a value above 0 by chance; the ceiling is a logistic regression of real "
        "patients.",
        0.0, "lower", "truth", SHARE,
    ),
    Metric(
        "lm/text_attack_auc",
        "Attack on the texts that the model wrote",
        "Can it be told from the texts alone who was a training patient, by the nearest text in "
        "edits? 0.5 is guessing, and best. The floor is texts of noise, the cheat texts of copied "
        "patients.",
        0.5, "lower", "truth", SHARE,
    ),
    Metric(
        "lm/drawn_attack_auc",
        "Strongest attack on the rows it learned from",
        "The same from the expression of the synthetic rows that were drawn for training, by the "
        "strongest of all attacks.",
        0.5, "lower", "truth", SHARE,
    ),
    Metric(
        "encoding/decode_r2",
        "What the text keeps of expression (R²)",
        "Expression of held-out patients, written as text and read back. 1 is lossless; the floor "
        "is the published range, which cuts off a third of all values.",
        1.0, "higher", "truth", (None, 1.0),
    ),
    Metric(
        "encoding/clipped_fraction",
        "Values that the text cannot hold",
        "Share of the values of held-out patients beyond the range of the table. 0 is best; the "
        "floor is the published range.",
        0.0, "lower", "truth", SHARE,
    ),
    Metric(
        "encoding/mantel_r",
        "Do close patients have close texts?",
        "Correlation of distances in expression with edits between texts, each pair counted once. "
        "Low for a fine alphabet, in which near values are different letters.",
        1.0, "higher", "truth", CORRELATION,
    ),
    Metric(
        "encoding/published_r",
        "The published score of the same",
        "It counts empty halves of both tables as agreement. The floor is what it gives for "
        "patients in random order: a score near the floor says nothing.",
        1.0, "higher", "truth", CORRELATION,
    ),
)  # fmt: skip

COUNTERFACTUAL = (
    Metric(
        "counterfactual/weighted_delta_r2",
        "Change predicted for a cell type that never showed it (R²)",
        "How much of the change of expression in a held-out cell type is predicted from the other "
        "types, genes that change surely counting most. 1 is perfect; with few cells, no change "
        "at all lies above 0 by chance. The floor is the additive change of the other types, "
        "which needs no model, and the ceiling is one half of the true cells against the other.",
        1.0, "higher", "test", (None, 1.0),
    ),
    Metric(
        "counterfactual/pearson_delta_top50",
        "Direction of the predicted change (r)",
        "Do the 50 genes that change most in a held-out cell type change in the same way in the "
        "prediction? 1 is perfect, 0 is no relation. Floor and ceiling as for the R² above.",
        1.0, "higher", "test", CORRELATION,
    ),
    Metric(
        "counterfactual/e_distance",
        "Distance of predicted from true cells (E-distance)",
        "How far the predicted crowd of cells lies from the true one, in principal components: 0 "
        "is best, and a small negative number is as good. Floor and ceiling as for the R² above.",
        0.0, "lower", "test",
    ),
)  # fmt: skip

CYCLE = (  # of a model of contexts: floor and ceiling are told in each meaning
    Metric(
        "cycle/down_regulation_accuracy",
        "Genes that fall in an unseen combination and are predicted to fall",
        "Of the genes that surely fall in a combination of contexts that was left out of all that "
        "was fitted, the share that is predicted to fall. The floor is no change at all, about one "
        "half; the ceiling is other true cells.",
        1.0, "higher", "test", SHARE,
    ),
    Metric(
        "cycle/planted_sign_accuracy",
        "Planted effects of contexts found with the right sign",
        "In simulated cells the effect of each context is known: the share of moved genes whose "
        "effect has the right sign, up and down together. The floor is the published model.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "cycle/planted_correlation",
        "Planted effects of contexts found with the right size (r)",
        "Correlation over genes of found and planted effects, in natural logs, mean over the "
        "categories of all fields. The floor is the published model.",
        1.0, "higher", "truth", CORRELATION,
    ),
    Metric(
        "cycle/generated_accuracy",
        "Contexts told in generated cells by an independent classifier",
        "Cells are moved to each category of a field, and a classifier that training never saw "
        "tells the category: balanced accuracy, mean over fields. The floor is guessing, the "
        "ceiling the same classifier on real held-out cells.",
        1.0, "higher", "test", SHARE,
    ),
    Metric(
        "cycle/integration",
        "Contexts that can still be told from the state of a cell",
        "How far beyond guessing a field is told from the state, which is to hold what contexts "
        "leave: 0 is best, 1 is always. The floor is the same from principal components.",
        0.0, "lower", "test", (None, 1.0),
    ),
    Metric(
        "cycle/cycle_error",
        "What a cell loses on the way to another context and back",
        "Spread of the log rate after going to another category and back, over what the state adds "
        "to contexts: 0 is the same cell. It is no counterfactual score: a model that changes "
        "nothing has none of it.",
        0.0, "lower", "test", POSITIVE,
    ),
)  # fmt: skip

SPATIAL = (  # of a model of tissues: floor, ceiling and cheat are told in each meaning
    Metric(
        "spatial/ari",
        "Domains that agree with the anatomical labels (ARI)",
        "Do spots of one label share a domain, and spots of two labels not? 1 is the same map, 0 "
        "is as by chance. The labels were used for nothing but this score. The floor is "
        "principal components averaged over neighbours: no training.",
        1.0, "higher", "truth", CORRELATION,
    ),
    Metric(
        "spatial/ari_refined",
        "Refined domains that agree with the anatomical labels (ARI)",
        "The same after each spot took the domain that most of its neighbours have, which smooths "
        "ragged edges and may swallow thin layers.",
        1.0, "higher", "truth", CORRELATION,
    ),
    Metric(
        "spatial/ari_estimated",
        "Domains of an estimated number that agree with the labels (ARI)",
        "The same where nobody says how many domains there are, and the number is estimated from "
        "the latents: the honest score for a tissue that nobody has labelled.",
        1.0, "higher", "truth", CORRELATION,
    ),
    Metric(
        "spatial/vote_ari",
        "Domains of the map that agree with the labels (ARI)",
        "The map that is shown is by the vote of several trainings. How far does it agree with the "
        "labels? 1 is the same map, 0 is as by chance. The floor is principal components averaged "
        "over neighbours, by the same vote: no training.",
        1.0, "higher", "truth", CORRELATION,
    ),
    Metric(
        "spatial/nmi",
        "What domains tell of the anatomical labels (NMI)",
        "Shared information of domains and labels: 1 is the same map, 0 is none. It forgives a "
        "label that is cut in two more than the ARI does. The floor is principal components "
        "averaged over neighbours: no training.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "spatial/balanced_accuracy",
        "Labels read from the latents of other places",
        "A linear classifier learns the labels in some blocks of the tissue and names those of "
        "the others, from the latents. Share named rightly, each label counting the same. The "
        "floor is principal components averaged over neighbours: no training.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "spatial/prior_balanced_accuracy",
        "Labels read from the image alone",
        "The same from the image features themselves, without the model, whose prior has learnt by "
        "heart what goes with the image of each spot. The floor is a guess: there is no image.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "spatial/coherence",
        "Domains that hang together (internal)",
        "How many pairs of neighbours share a domain, beyond chance: 1 is all, 0 is as by chance. "
        "Internal: no label is asked, and a model that smooths too much does well.",
        1.0, "higher", "test", (None, 1.0),
    ),
    Metric(
        "spatial/silhouette",
        "Domains that stand apart in the latents (internal)",
        "Silhouette: 1 is far apart, 0 is touching. Internal: domains are judged by the latents "
        "that they were found in, so that a high value does not mean that they are real.",
        1.0, "higher", "test", CORRELATION,
    ),
    Metric(
        "spatial/davies_bouldin",
        "Spread of the domains over their distance (internal)",
        "Davies-Bouldin index: 0 is best. Internal, as the silhouette, and as little a proof.",
        0.0, "lower", "test", POSITIVE,
    ),
    Metric(
        "spatial/elbo",
        "Evidence of spots of held-out places (ELBO)",
        "A lower bound of the log-probability of the counts of a spot in blocks of the tissue that "
        "took no part in learning, in nats: higher is better. The floor is the log-probability "
        "without latents.",
        0.0, "higher", "test", (None, 0.0),
    ),
    Metric(
        "spatial/nll",
        "Counts of held-out places, given their latents",
        "What the counts of such a spot cost once its latents are known, in nats: lower is better. "
        "The floor is the cost without latents.",
        0.0, "lower", "test", POSITIVE,
    ),
    Metric(
        "spatial/count_nll",
        "Hidden counts of held-out places",
        "A part of the molecules of each held-out spot is hidden from the encoder; what they cost "
        "under the model, in nats: lower is better. Latents cannot cheat here by copying what they "
        "saw. The floor is the cost without latents.",
        0.0, "lower", "test", POSITIVE,
    ),
    *(
        Metric(
            f"spatial/image_gain{end}",
            f"Gain from the true image ({what})",
            f"{score} with the image of this tissue, minus that with the best of the controls: "
            "images that were shuffled, turned or mirrored, noise, bare coordinates, and no image "
            "at all. Above 0 the image tells something; 0 is an expected answer.",
            None, "higher", "test", bounds,
        )
        for end, what, score, bounds in (
            ("", "labels read from the latents", "Balanced accuracy of the labels", CORRELATION),
            ("_ari", "domains", "ARI of the domains", (-2.0, 2.0)),
            ("_prior", "labels read from the image alone", "Balanced accuracy from image features",
             CORRELATION),
            ("_elbo", "evidence", "Evidence of the spots, in nats,", ANY),
        )
    ),
    Metric(
        "spatial/discordance_auprc",
        "Planted disagreements of image and counts found",
        "In a simulated tissue it is known where the counts do not fit the image. Does the "
        "divergence of a spot rank those first? 1 is perfect; chance is their share of all spots. "
        "The floor is principal components, judged in the same way: no training.",
        1.0, "higher", "truth", SHARE,
    ),
    Metric(
        "spatial/section_mixing",
        "Sections that mix in the latents",
        "Are the nearest neighbours of a spot in the latents as often of another section as chance "
        "demands? 1 is so, 0 is never. The floor is plain principal components. Sections that hold "
        "different anatomy should not mix in full.",
        1.0, "higher", "test", SHARE,
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        *FIDELITY, *UTILITY, *BIOLOGY, *PRIVACY, *EXTERNAL, *OMICS_LM, *LDVAE, *COUNTERFACTUAL,
        *CYCLE, *SPATIAL,
    )
}  # fmt: skip
