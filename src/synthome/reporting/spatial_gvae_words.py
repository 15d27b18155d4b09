"""The standing words of the spatial_gvae report: what each figure shows, limits, and terms."""

from synthome.reporting.content import FigureWords

# In the order in which they are drawn.
FIGURES: dict[str, FigureWords] = {
    "domains": FigureWords(
        "The domains of the tissue",
        "Each mark is a spot where it lies in the tissue. Spots of one colour share a domain. "
        "Where labels are known they stand beside, each in the colour of the domain that it shares "
        "most spots with: where both maps look alike, the domains are that anatomy. Refined: each "
        "spot took the domain of most of its neighbours.",
        "Maps of every section: labels where known, domains, refined domains. Scores are in the "
        "table.",
    ),
    "image_test": FigureWords(
        "Did the image help?",
        "Each point is one training on one section; the upright bar is their mean. The first row "
        "saw the image of this tissue, all others something that cannot help, or nothing. Only "
        "where the first row lies clearly to the right of the dashed line, the best of the "
        "others, does the image tell something.",
        "Scores of the true image and of each control, a row for each, a panel for each score. The "
        "means are in the table.",
    ),
    "discordance": FigureWords(
        "Where counts and image disagree",
        "Bright spots are those whose counts tell another domain than the image around them lets "
        "one expect. Outlined are those that do so by more than chance allows. A bright spot "
        "without an outline is no finding. Where disagreements were planted, they are outlined in "
        "a second row.",
        "Maps of the divergence of each spot, with the spots that disagree with the image "
        "outlined.",
    ),
    "genes": FigureWords(
        "Key genes, observed and denoised",
        "The same genes as they were counted (above) and as the model expects them (below), on one "
        "colour scale. The lower map should be the upper one without its speckle. Structure that "
        "only the lower map has comes from the model, and not from the tissue.",
        "Maps of key genes in one section, observed above denoised.",
    ),
    "pseudotime": FigureWords(
        "The order of the domains",
        "Colours run from the root, dark, along the latents. In layered tissue they should change "
        "from layer to layer and not along one. The order is one of likeness, and no time.",
        "Maps of the pseudotime of each spot.",
    ),
}

LIMITS: tuple[str, ...] = (
    "A domain is a group of spots that are alike to the model, and no anatomical region: a "
    "pathologist has to say what it is. Another number of domains gives other ones.",
    "A spot of most platforms holds several cells. A disagreement of counts and image may be a "
    "mixture, a fold, or a badly aligned image, and no biology at all.",
    "Blocks that were held out lie in the same sections as those that were learned from. How the "
    "model does on tissue of another donor is not shown by them.",
    "Controls of the image show whether it helped here. They say nothing of other tissues, stains "
    "or encoders.",
)

GLOSSARY: dict[str, str] = {
    "ARI": "How far two maps group spots alike (adjusted Rand index): 1 is the same grouping, 0 is "
    "as by chance.",
    "AUPRC": "How well a ranking puts what is sought first (area under precision and recall): 1 is "
    "perfect, and chance is the share of what is sought.",
    "Block": "A compact part of a section. Its spots are learned from or held out together, since "
    "neighbours are alike.",
    "Control of the image": "A training with an image that cannot help: that of other spots, "
    "turned, mirrored, noise, coordinates alone, or none. What is gained over the best of them is "
    "owed to the image.",
    "Davies-Bouldin index": "How wide domains are in the latents over how far apart: 0 is best.",
    "Denoised": "What the model expects of a gene in a spot, given all genes there and around.",
    "Domain": "A group of spots with like expression in one place or several, found without "
    "labels.",
    "ELBO": "A lower bound of the log-probability that a model gives to the counts of a spot, in "
    "nats. The larger, the better.",
    "False discovery rate": "The share of the calls that are expected to be wrong.",
    "Internal score": "A score of domains that asks no label. It can be high for domains that are "
    "not real.",
    "KL": "By how much one belief differs from another (Kullback-Leibler divergence), in nats.",
    "Latent": "One of a few numbers into which a model squeezes the genes of a spot.",
    "Moran's I": "How alike neighbours are in a gene: 1 is fully, 0 is not at all.",
    "Nat": "A unit of information: 1.44 bits.",
    "Neighbour": "Of domains and of the image, a spot that lies beside another in the tissue. Of "
    "synthetic spots, a real one with like expression.",
    "NLL": "What the counts of a spot cost under a model, in nats (negative log-likelihood). The "
    "smaller, the better.",
    "NMI": "How much one map tells of another (normalised mutual information): 1 is all, 0 is "
    "nothing.",
    "Pseudotime": "How far a spot lies from the root along the latents.",
    "q-value": "The false discovery rate at which a spot would just be called.",
    "Section": "One slice of tissue on one slide.",
    "Silhouette": "How much nearer a spot is to its own domain than to the next: 1 is far apart, 0 "
    "is touching.",
    "Spot": "A place of the slide whose molecules are counted together.",
}
