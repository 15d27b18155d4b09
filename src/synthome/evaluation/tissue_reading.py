"""A tissue read by spatial_gvae: domains, a test of the image, discordance, held-out likelihood.

Every question about domains is asked of a model that is fitted to all spots, since domains are
described and not predicted; no label is seen. Likelihood is that of blocks held out of training.

The image is tested by fitting the same model, from the same seeds and with the same settings, to
the image features as they are and to controls that are wrong on purpose (``image_controls``). What
counts as a gain of the image is what it gives beyond the best control (``image_gain``).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy import sparse

from synthome.anndata_schema import (
    BLOCK,
    COUNTS,
    IMAGE_FEATURES,
    LIBRARY_SIZE,
    NEIGHBOURS,
    SPATIAL,
    SPLIT,
    labels,
    provenance,
)
from synthome.config import Config
from synthome.evaluation.domains import DomainConfig, find_domains, smoothed
from synthome.evaluation.image_gain import BASELINE
from synthome.graph import Graph
from synthome.models.tissue_inputs import put_back, section_of
from synthome.preprocessing.spatial_blocks import within_reach
from synthome.rng import generator

Arm = Literal["real", "shuffled", "rotated", "mirrored", "noise", "coordinates", "none"]
ARMS: tuple[Arm, ...] = ("real", "shuffled", "rotated", "mirrored", "coordinates", "none")
SMOOTHED = 2  # times that posterior means are averaged before labels are read from them

Document = dict[str, Any]


class TissueReadingConfig(Config):
    """What is asked of a tissue.

    Attributes
    ----------
    k
        Domains; null is the number of different labels, or without labels what is estimated.
    arms, n_seeds
        Of the test of the image, and how often each is trained. Its interval needs three pairs of
        a seed and a section.
    domains, most_domains
        Which clusterings vote, and up to which number of domains is tried.
    fdr
        Share of false discoveries that is accepted among spots that disagree with their image.
    hidden
        Share of the counts of a held-out spot that is hidden from the encoder, and scored.
    buffer
        Held-out spots within so many edges of a training spot are not scored, unless all are.
    """

    k: PositiveInt | None = None
    arms: tuple[Arm, ...] = ARMS
    n_seeds: PositiveInt = 3
    domains: DomainConfig = DomainConfig()
    most_domains: PositiveInt = 12
    fdr: float = Field(default=0.1, gt=0.0, lt=1.0)
    hidden: float = Field(default=0.2, gt=0.0, lt=1.0)
    buffer: NonNegativeInt = 1
    n_key_genes: PositiveInt = 6
    n_folds: PositiveInt = 5  # of blocks, in which labels are read from latents
    n_jobs: int = -1
    seed: NonNegativeInt = 0


def with_image(tissue: AnnData, features: Float[np.ndarray, "n_obs n_features"] | None) -> AnnData:
    """``tissue`` with other image features, or with none."""
    result = tissue.copy()
    result.obsm.pop(IMAGE_FEATURES, None)
    if features is not None:
        result.obsm[IMAGE_FEATURES] = features
    return result


def arms(tissue: AnnData, config: TissueReadingConfig) -> list[Arm]:
    """The arms that this tissue allows: without an image there is nothing to test."""
    if IMAGE_FEATURES not in tissue.obsm:
        return ["none"]
    return list(config.arms)


def of_arm(tissue: AnnData, arm: Arm, seed: int) -> AnnData:
    """The tissue with the image features of ``arm``."""
    from synthome.preprocessing.image_controls import controls

    if arm == "none":
        return with_image(tissue, None)
    if arm == "real":
        return tissue
    drawn = controls(
        tissue.obsm[IMAGE_FEATURES], tissue.obsm[SPATIAL], section_of(tissue), [arm], seed
    )
    return with_image(tissue, drawn[arm])


def number_of_domains(
    tissue: AnnData, z: Float[np.ndarray, "n_obs n_latent"], config: TissueReadingConfig
) -> tuple[int, int]:
    """Domains that are looked for, and the number that the data themselves suggest."""
    from synthome.evaluation.domain_biology import estimate_k

    candidates = range(2, min(config.most_domains, tissue.n_obs - 1) + 1)
    estimated = estimate_k(z, graph_of(tissue), list(candidates))
    known = np.unique(labels(tissue))
    n_labels = len(known[known != ""])
    return config.k or (n_labels if n_labels > 1 else estimated), estimated


def graph_of(tissue: AnnData) -> sparse.csr_matrix:
    """Neighbours of each spot, without itself."""
    return sparse.csr_matrix(tissue.obsp[NEIGHBOURS])


def fit_arms(
    tissue: AnnData, build: Callable[[int], Any], config: TissueReadingConfig
) -> tuple[pd.DataFrame, Any, list[Float[np.ndarray, "n_obs n_latent"]]]:
    """Fit every arm from every seed, and score the latents.

    Parameters
    ----------
    build
        An unfitted spatial_gvae from a seed.

    Returns
    -------
    One row per arm, seed and section (see ``score_latents``), with those of ``components`` last; of
    the first arm, real where there is an image, the model of the first seed, and the posterior
    means of every seed.
    """
    from synthome.evaluation.parallel import in_order
    from synthome.models.registry import from_state

    tasks = [(arm, seed) for seed in range(config.n_seeds) for arm in arms(tissue, config)]

    def run(arm: Arm, seed: int) -> tuple[pd.DataFrame, Any, Any]:
        shown = of_arm(tissue, arm, config.seed + seed)
        model = build(config.seed + seed).fit(shown)
        z = model.embed(shown)
        scored = score_latents(z, shown, config, model.spot_scores(shown))
        kept = model.state() if (arm, seed) == tasks[0] else None
        own = z if arm == tasks[0][0] else None
        return scored.assign(arm=arm, seed=config.seed + seed), kept, own

    found = in_order(run, tasks, config.n_jobs, "image test")
    model = from_state(found[0][1])
    untrained = score_latents(components(model, tissue), with_image(tissue, None), config)
    scored = [*(each for each, _, _ in found), untrained.assign(arm=BASELINE, seed=config.seed)]
    table = pd.concat(scored, ignore_index=True)
    first = ["arm", "seed", "section", "n_spots"]
    latents = [z for _, _, z in found if z is not None]
    return table[[*first, *(name for name in table if name not in first)]], model, latents


def latents_table(latents: Sequence[Float[np.ndarray, "n_obs n_latent"]]) -> pd.DataFrame:
    """Posterior means of several trainings, a row for each spot; columns ``training.latent``."""
    parts = [pd.DataFrame(z).add_prefix(f"{i}.") for i, z in enumerate(latents)]
    return pd.concat(parts, axis=1)


def latents_of(table: pd.DataFrame) -> list[Float[np.ndarray, "n_obs n_latent"]]:
    """What ``latents_table`` was made of."""
    training = table.columns.str.split(".").str[0]
    return [table.loc[:, training == i].to_numpy(np.float64) for i in dict.fromkeys(training)]


def components(model: Any, tissue: AnnData) -> Float[np.ndarray, "n_obs n_latent"]:
    """What ``model`` reads, as principal components averaged over neighbours: the floor.

    The same genes, the same averages, as many numbers for a spot, and no training.
    """
    from sklearn.decomposition import PCA

    order, rows = model.inputs.rows(tissue)
    x = put_back(order, rows.expression.numpy())
    n = min(model.config.n_latent, *(size - 1 for size in x.shape))
    scores = PCA(n, svd_solver="arpack", random_state=0).fit_transform(x.astype(np.float64))
    return smoothed(scores, graph_of(tissue), 1)


def score_latents(
    z: Float[np.ndarray, "n_obs n_latent"],
    tissue: AnnData,
    config: TissueReadingConfig,
    spot_scores: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scores of the domains and of the latents, a row for each section.

    ``accuracy`` and ``balanced_accuracy`` read labels linearly from latents averaged twice over
    neighbours, in other blocks of the section; ``prior_...`` read them from the image features, and
    not from the prior of a model, which has learnt by heart what goes with the image of each spot:
    it tells 0.54 to 0.70 of the layers of a cortical slice from a shuffled image. What needs labels
    is NaN where there are none, and so are ``nll`` and ``kl`` without ``spot_scores``.
    """
    k, estimated = number_of_domains(tissue, z, config)
    graph = graph_of(tissue)
    found = find_domains([z], graph, k, config.domains)
    other = found if estimated == k else find_domains([z], graph, estimated, config.domains)
    spots = pd.DataFrame(
        {
            "section": section_of(tissue),
            "label": known_labels(tissue),
            "domain": found.astype(str),
            "estimated": other.astype(str),
            "refined": refined(tissue, found),
        }
    )
    read = smoothed(z, graph, SMOOTHED)
    shown = np.asarray(tissue.obsm.get(IMAGE_FEATURES, np.zeros((tissue.n_obs, 1))))
    block = tissue.obs[BLOCK].to_numpy()
    rows = []
    for name, of in spots.groupby("section", sort=True):
        index = of.index.to_numpy()
        rows.append(
            {
                "section": str(name),
                "n_spots": len(of),
                **_domain_scores(of, z[index], graph[index][:, index]),
                "k_estimated": float(estimated),
                **{
                    name: np.nan if spot_scores is None else spot_scores[name].iloc[index].mean()
                    for name in ("nll", "kl")
                },
                **_accuracy(read[index], of["label"], block[index], config, ""),
                **_accuracy(shown[index], of["label"], block[index], config, "prior_"),
            }
        )
    return pd.DataFrame(rows)


def known_labels(tissue: AnnData) -> np.ndarray:
    """Labels; "" everywhere when all spots have the same one, which tells nothing apart."""
    found = labels(tissue)
    if len(np.unique(found[found != ""])) < 2:
        return np.full(len(found), "", dtype=str)
    return found


def refined(tissue: AnnData, found: np.ndarray) -> np.ndarray:
    """Domains after a vote of each spot and its 18 nearest, as text."""
    from synthome.evaluation.spatial_domains import REFINE_NEIGHBOURS, refine
    from synthome.preprocessing.spatial_graph import SpatialGraphConfig, sections, spatial_graph

    fewest = min(len(rows) for _, rows in sections(tissue))
    wide = spatial_graph(tissue, SpatialGraphConfig(k=min(REFINE_NEIGHBOURS, fewest - 1)))
    return refine(found.astype(str), wide)


def _domain_scores(
    of: pd.DataFrame, z: Float[np.ndarray, "n n_latent"], graph: sparse.csr_matrix
) -> dict[str, float]:
    """Scores of the domains of one section."""
    from synthome.evaluation import spatial_domains as score

    label, domain = of["label"].to_numpy(str), of["domain"].to_numpy(str)
    fine = of["refined"].to_numpy(str)
    return {
        "ari": score.ari(label, domain),
        "ari_refined": score.ari(label, fine),
        "nmi": score.nmi(label, domain),
        "nmi_refined": score.nmi(label, fine),
        "ari_estimated": score.ari(label, of["estimated"].to_numpy(str)),
        "coherence": score.spatial_coherence(domain, Graph.of(graph)),
        "silhouette": score.silhouette(z, domain, 0),
        "davies_bouldin": score.davies_bouldin(z, domain),
    }


def _accuracy(
    read: Float[np.ndarray, "n_obs d"],
    labels_of_section: pd.Series,
    block: np.ndarray,
    config: TissueReadingConfig,
    prefix: str,
) -> dict[str, float]:
    """Labels read linearly from latents in held-out blocks."""
    from synthome.evaluation.image_gain import blocked_accuracy

    label = labels_of_section.to_numpy(str)
    plain, balanced = blocked_accuracy(read, label, block, config.n_folds, config.seed)
    return {f"{prefix}accuracy": plain, f"{prefix}balanced_accuracy": balanced}


def held_out(model: Any, tissue: AnnData, config: TissueReadingConfig) -> Document:
    """Likelihood of held-out blocks under ``model``, fitted without them, and without latents.

    ``count_nll``: a share of the counts of each held-out spot is hidden (binomial thinning) and
    scored given the rest. Spots at the rim of a block are read by their neighbours, and not scored.
    """
    is_test = (tissue.obs[SPLIT] == "test").to_numpy()
    beside = within_reach(~is_test, Graph.of(graph_of(tissue)), config.buffer)[is_test]
    inner = ~beside if not beside.all() else ~np.zeros_like(beside)
    test = tissue[is_test].copy()
    scores = model.spot_scores(test)[inner].mean()
    rng = generator(config.seed, "hidden counts")
    counts = sparse.csr_matrix(test.layers[COUNTS], dtype=np.float32)
    hidden = counts.copy()
    hidden.data = rng.binomial(counts.data.astype(np.int64), config.hidden).astype(np.float32)
    shown = test.copy()
    shown.layers[COUNTS] = sparse.csr_matrix(counts - hidden)
    shown.obs[LIBRARY_SIZE] = np.maximum(test.obs[LIBRARY_SIZE] * (1.0 - config.hidden), 1.0)
    of_hidden = model.spot_scores(shown, hidden)[inner].mean()
    return {
        "n_spots": int(inner.sum()),
        "n_beside_training": int((~inner).sum()),
        **{name: float(scores[name]) for name in ("nll", "kl", "elbo", "null_nll")},
        "count_nll": float(of_hidden["nll"]),
        "count_null_nll": float(of_hidden["null_nll"]),
        "count_share": config.hidden,
    }


def map_tissue(
    model: Any,
    tissue: AnnData,
    config: TissueReadingConfig,
    latents: Sequence[Float[np.ndarray, "n_obs n_latent"]] = (),
) -> tuple[pd.DataFrame, Document, Document, pd.DataFrame]:
    """Each spot's domain, depth, disagreement with the image; and what these add up to.

    Domains are by the vote of ``latents``, by that of the model's own without any. ``kl`` is that
    of ``discordance``, and without an image that of ``model`` to Normal(0, I).

    Returns
    -------
    The tables ``tissue_map``, ``discordance``, ``trajectory`` and ``integration``.
    """
    from synthome.evaluation.domain_biology import integration, trajectory

    z, graph = model.embed(tissue), graph_of(tissue)
    voting = list(latents) or [z]
    k, estimated = number_of_domains(tissue, z, config)
    found = find_domains(voting, graph, k, config.domains)
    pseudotime, path = trajectory(smoothed(z, graph, SMOOTHED), found.astype(str), config.seed)
    planted = _planted(tissue)
    table, summary = _disagreement(model, tissue, z, found, config)
    xy = tissue.obsm[SPATIAL]
    spots = pd.DataFrame(
        {
            "section": section_of(tissue),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "label": known_labels(tissue),
            "domain": found.astype(str),
            "refined": refined(tissue, found),
            "estimated": find_domains(voting, graph, estimated, config.domains).astype(str),
            "pseudotime": pseudotime,
            "kl": table["kl"].to_numpy(),
            "posterior": table["posterior"].to_numpy(),
            "q_value": table["q_value"].to_numpy(),
            "disagrees": table["disagrees"].to_numpy(),
            "planted": np.full(tissue.n_obs, np.nan) if planted is None else planted.astype(float),
        }
    )
    components = _components(tissue, z.shape[1], config.seed)
    return spots, summary, path, integration(z, components, section_of(tissue))


def _disagreement(
    model: Any,
    tissue: AnnData,
    z: Float[np.ndarray, "n_obs n_latent"],
    found: np.ndarray,
    config: TissueReadingConfig,
) -> tuple[pd.DataFrame, Document]:
    """How far each spot disagrees with its image, and what that adds up to."""
    from synthome.evaluation.discordance import discordance, discordance_scores

    fold = _block_folds(tissue, config)
    reason = ""
    if not model.inputs.n_features:
        reason = "The tissue has no image, so that nothing can disagree with it."
    elif fold.min() == fold.max():
        reason = "The tissue is one block, so that no image can be judged by others."
    elif found.min() == found.max():
        reason = "The tissue is one domain, which every image goes with."
    if reason:
        kl = model.kl(tissue)
        columns = {"kl": kl, "posterior": np.nan, "q_value": np.nan, "disagrees": False}
        return pd.DataFrame(columns), {"tested": False, "reason": reason, "n_spots": len(kl)}
    features, planted = np.asarray(tissue.obsm[IMAGE_FEATURES]), _planted(tissue)

    def judged(of: Float[np.ndarray, "n_obs d"], domains: np.ndarray) -> pd.DataFrame:
        graph, section = graph_of(tissue), section_of(tissue)
        return discordance(of, features, domains, graph, fold, section, config.fdr)

    table, bare = judged(z, found), None
    if planted is not None and planted.any():
        floor = components(model, tissue)
        k = len(np.unique(found))
        bare = judged(floor, find_domains([floor], graph_of(tissue), k, config.domains))
    return table, discordance_scores(table, planted, config.fdr, bare)


def _block_folds(tissue: AnnData, config: TissueReadingConfig) -> np.ndarray:
    """Whole blocks dealt to folds."""
    names, of_row = np.unique(tissue.obs[BLOCK].to_numpy(), return_inverse=True)
    deal = generator(config.seed, "discordance").permutation(len(names)) % config.n_folds
    return np.asarray(deal[of_row])


def _planted(tissue: AnnData) -> np.ndarray | None:
    """Whether each spot is in a planted patch; None where that is not known."""
    key = str(provenance(tissue).get("discordant_key", ""))
    if not key or key not in tissue.obs:
        return None
    return tissue.obs[key].to_numpy(dtype=bool)


def _components(tissue: AnnData, n: int, seed: int) -> Float[np.ndarray, "n_obs n"]:
    """Principal components of log expression, beside which the latent is judged."""
    from sklearn.decomposition import TruncatedSVD

    x = sparse.csr_matrix(tissue.X)
    svd = TruncatedSVD(min(n, min(x.shape) - 1), random_state=seed)
    return np.asarray(svd.fit_transform(x), dtype=np.float64)


def key_genes(tissue: AnnData, model: Any, spots: pd.DataFrame, genes: list[str]) -> pd.DataFrame:
    """``spots`` with columns ``observed:GENE`` and ``denoised:GENE``, log expression."""
    index = tissue.var_names.get_indexer(genes)
    part = sparse.csr_matrix(tissue.X)[:, index].toarray()
    expected = model.expected(tissue)
    total = np.maximum(tissue.obs[LIBRARY_SIZE].to_numpy(np.float64), 1.0)
    denoised = np.log1p(1e4 * expected[:, index] / total[:, None])
    columns = {f"observed:{gene}": part[:, i] for i, gene in enumerate(genes)}
    columns |= {f"denoised:{gene}": denoised[:, i] for i, gene in enumerate(genes)}
    return pd.concat([spots, pd.DataFrame(columns)], axis=1)


def read_tissue(
    model: Any,
    tissue: AnnData,
    config: TissueReadingConfig,
    latents: Sequence[Float[np.ndarray, "n_obs n_latent"]] = (),
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Document, Document, pd.DataFrame]:
    """``map_tissue`` with key genes, and the genes of domains and of space.

    Returns
    -------
    The tables ``tissue_map``, ``domain_genes``, ``spatial_genes``, ``discordance``, ``trajectory``
    and ``integration``.
    """
    from synthome.evaluation.domain_biology import domain_genes
    from synthome.preprocessing.spatial_genes import spatially_variable

    spots, summary, path, mixing = map_tissue(model, tissue, config, latents)
    domain = spots["domain"].to_numpy(str)
    markers = domain_genes(tissue, domain)
    graph = Graph.of(graph_of(tissue))
    whole = spatially_variable(tissue, graph).assign(domain="")
    varying = pd.concat([whole, spatially_variable(tissue, graph, domain)], ignore_index=True)
    varying = varying[["domain", "gene", "morans_i", "p_value", "q_value"]]
    best = markers.sort_values("log2_fold_change", ascending=False).drop_duplicates("domain")
    chosen = list(dict.fromkeys([*best["gene"], *whole["gene"]]))[: config.n_key_genes]
    return key_genes(tissue, model, spots, chosen), markers, varying, summary, path, mixing


def images_of(cohort: AnnData) -> dict[str, tuple[np.ndarray, float]]:
    """For each section with an image, the largest one and its scale factor."""
    found = {}
    for name, section in cohort.uns.get(SPATIAL, {}).items():
        for resolution in ("hires", "lowres"):
            if resolution in section["images"]:
                scale = section["scalefactors"][f"tissue_{resolution}_scalef"]
                found[str(name)] = (np.asarray(section["images"][resolution]), float(scale))
                break
    return found
