"""What a fitted cycle_ae says of contexts, measured on cells it was not fitted to.

**Heads.** With the contribution a_kig of head k to the log rate of gene g in cell i, its norm in a
group of cells is the length over genes of its mean there less its mean over all cells, and its
share of the variance is sum_g cov_i(a_kig, eta_ig) / sum_g var_i(eta_ig); shares add up to 1.

**Contexts.** A field is told from generated cells by the classifier that training leaned on, and by
one that it never saw (logistic regression on principal components of the training cells). It is
told from the state h as well, where chance is ideal. The cycle error is the spread of eta after
going to another category and back, less eta, over the spread of eta around what contexts alone
give.

**Claims.** Where donors have one category of a field each, the spread over genes of its effects is
compared with what they are when donors swap categories: permutation test, p = (1 + k) / (1 + n), or
h / n when the h-th deal with effects as large was the n-th of all (Besag and Clifford 1991). A
field is claimed when Holm's correction over the fields leaves p at 0.05 or below.

Besag, Clifford (1991), doi:10.1093/biomet/78.2.301.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, expression, group_key, labels
from synthome.config import Config
from synthome.csr import CSRRows
from synthome.evaluation.reading import part
from synthome.fields import Fields
from synthome.models.context_classifier import scores_of
from synthome.models.context_effects import ContextEffects
from synthome.models.cycle_ae import CycleAEGenerator
from synthome.models.null_nb import NullNB
from synthome.models.pooled_effects import Pools
from synthome.rng import generator

ENOUGH = 10  # deals with effects as large, from which on p is known well enough
CLAIMED = 0.05  # p from which down an effect is called larger than donors differ
REFERENCE_COMPONENTS = 50  # of the classifier that training never saw
TOP = 5  # genes up, and as many down, of a category
HEADS = ["head", "group", "norm", "variance_share"]  # columns of the tables of heads
TOP_GENES = ["head", "category", "gene", "effect"]


class ContextReadingConfig(Config):
    """Cells that are looked at, and permutations of donors."""

    max_cells: PositiveInt = 1000
    cells_per_category: PositiveInt = 150
    n_permutations: int = Field(default=199, ge=19)
    n_claim_genes: PositiveInt = 100
    seed: NonNegativeInt = 0


def held_out_scores(
    model: CycleAEGenerator, prepared: AnnData, config: ContextReadingConfig
) -> dict[str, float]:
    """Nats per test cell: with the state, with contexts alone, and with neither."""
    train = part(prepared, "train", 4 * config.max_cells, config.seed)
    test = part(prepared, "test", config.max_cells, config.seed)
    found = model.cell_scores(test)
    null = NullNB.fit(train.layers[COUNTS], np.asarray(train.layers[COUNTS].sum(axis=1)).ravel())
    rows = CSRRows.of(test.layers[COUNTS])
    return {
        "nll": float(found["nll"].mean()),
        "contexts_nll": float(found["contexts_nll"].mean()),
        "null_nll": float(null.row_nll(rows, rows.row_sums().clamp(min=1.0)).mean()),
        "n_cells": test.n_obs,
    }


def head_table(
    model: CycleAEGenerator, prepared: AnnData, config: ContextReadingConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Norm and share of variance of each head, and the genes that categories move most.

    Returns
    -------
    ``head``, ``group`` (a label, or ``all``), ``norm``, ``variance_share``; and ``head``,
    ``category``, ``gene``, ``effect`` (natural log, against the mean over categories).
    """
    cells = part(prepared, "train", config.max_cells, config.seed)
    codes = model.codes(cells)
    parts = model.contributions(model.embed(cells), codes)
    total = np.sum(list(parts.values()), axis=0)
    centred = total - total.mean(axis=0)
    variance = float(np.square(centred).sum())
    types, rows, genes = labels(cells), [], []
    for head, own in parts.items():
        mean = own.mean(axis=0)
        share = float(((own - mean) * centred).sum()) / max(variance, 1e-300)
        norm = float(np.linalg.norm(own - mean, axis=1).mean())
        rows.append((head, "all", norm, share))
        for group in np.unique(types):
            moved = own[types == group].mean(axis=0) - mean
            rows.append((head, str(group), float(np.linalg.norm(moved)), np.nan))
        if head in model.fields.names[1:]:
            genes += _top_genes(model, head, own, codes, cells.var_names)
    return pd.DataFrame(rows, columns=HEADS), pd.DataFrame(genes, columns=TOP_GENES)


def planted_scores(
    effects: Mapping[str, Any], prepared: AnnData, config: ContextReadingConfig
) -> pd.DataFrame:
    """How well planted effects of simulated cells are found; no rows for other cells.

    Parameters
    ----------
    effects
        Method -> function of field, category, reference and cells that gives the mean change of
        each gene.

    Returns
    -------
    ``field``, ``category``, ``method``, ``sign_accuracy``, ``down_accuracy`` (over the genes that
    were moved, and of these lowered), ``correlation``, ``slope`` (over all genes but those of the
    interaction), ``n_genes``.
    """
    truth = prepared.uns.get("truth", {})
    rows: list[tuple[Any, ...]] = []
    columns = [
        "field", "category", "method", "sign_accuracy", "down_accuracy", "correlation", "slope",
        "n_genes",
    ]  # fmt: skip
    if "effects" not in truth:
        return pd.DataFrame(rows, columns=columns)
    cells = part(prepared, "test", config.max_cells, config.seed)
    place = pd.Index(np.asarray(truth["gene"], dtype=str)).get_indexer(prepared.var_names)
    plain = ~np.isin(prepared.var_names, np.asarray(truth["interaction"]["genes"], dtype=str))
    for field, planted in truth["effects"].items():
        names = [str(c) for c in planted["categories"]]
        effect = np.asarray(planted["effect"], dtype=np.float64)[:, place]
        for c, category in enumerate(names[1:], start=1):
            true = (effect[c] - effect[0])[plain]
            moved, lowered = true != 0.0, true < 0.0
            for method, of in effects.items():
                found = of(field, category, names[0], cells)[plain]
                right = np.sign(found) == np.sign(true)
                flat = float(found.std()) == 0.0
                rows.append(
                    (
                        field, category, method, float(right[moved].mean()),
                        float(right[lowered].mean()) if lowered.any() else np.nan,
                        np.nan if flat else float(np.corrcoef(found, true)[0, 1]),
                        float(np.polyfit(true, found, 1)[0]), int(moved.sum()),
                    )
                )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def context_scores(
    model: CycleAEGenerator, prepared: AnnData, config: ContextReadingConfig
) -> pd.DataFrame:
    """How surely contexts are told, in real and in generated cells, and in the state.

    Returns
    -------
    One row per field; balanced accuracies, see the columns in the code and in ``cycle_ae`` of the
    reports.
    """
    train = part(prepared, "train", 4 * config.max_cells, config.seed)
    test = part(prepared, "test", config.max_cells, config.seed)
    x, y = expression(train), expression(test)
    n, p = min(x.shape[0] - 1, x.shape[1]), model.embed(train).shape[1]
    pca = PCA(min(REFERENCE_COMPONENTS, n), svd_solver="randomized", random_state=0).fit(x)
    states = model.embed(train), model.embed(test)
    codes, own = model.codes(train), model.codes(test)
    told, rows = model.context_probabilities(y), []
    for f, field in enumerate(model.fields.fields):
        true, shown = own[:, f], codes[:, f]
        real = scores_of(told[field.name], true)
        judge = _regression(pca.transform(x), shown)
        made, wanted = _swapped(model, test, f, config)
        by_own = model.context_probabilities(made)[field.name].argmax(axis=1)
        few = pca.transform(x)[:, :p], pca.transform(y)[:, :p]
        rows.append(
            {
                "field": field.name,
                "n_categories": len(field.categories),
                "chance": 1.0 / len(field.categories),
                "classifier_accuracy": real["balanced_accuracy"],
                "calibration_error": real["calibration_error"],
                "independent_accuracy": _balanced(true, judge.predict(pca.transform(y))),
                "generated_accuracy": _balanced(wanted, by_own),
                "generated_independent": _balanced(wanted, judge.predict(pca.transform(made))),
                "integration_state": _balanced(
                    true, _regression(states[0], shown).predict(states[1])
                ),
                "integration_pca": _balanced(true, _regression(few[0], shown).predict(few[1])),
                "cycle_error": _cycle_error(model, states[1], own, f, config),
            }
        )
    return pd.DataFrame(rows)


def claims(prepared: AnnData, fields: Fields, config: ContextReadingConfig) -> pd.DataFrame:
    """Donor-level permutation test of each field that is constant within donors.

    Returns
    -------
    ``field``, ``n_donors``, ``statistic`` (root mean square of the effects, natural log),
    ``null_mean``, ``p_value``, ``p_adjusted``, ``claimed``; no rows without donors.
    """
    columns = ["field", "n_donors", "statistic", "null_mean", "p_value"]
    key = group_key(prepared)
    rows: list[tuple[Any, ...]] = []
    if key is None:
        return pd.DataFrame(rows, columns=[*columns, "p_adjusted", "claimed"])
    names, donor = np.unique(prepared.obs[key].astype(str), return_inverse=True)
    codes = fields.encode(prepared.obs)
    counts, size = _counts(prepared), _sizes(prepared)
    frequent = np.argsort(-np.asarray(counts.sum(axis=0)).ravel(), kind="stable")
    some = counts[:, np.sort(frequent[: config.n_claim_genes])]
    pools = Pools.of(some, size, codes[:, :1], donor, max_pools=len(names) * fields.sizes[0])
    for f, name in enumerate(fields.names[1:], start=1):
        category = np.full(len(names), -1)
        category[donor] = codes[:, f]
        if (category[donor] != codes[:, f]).any() or len(np.unique(category)) < 2:
            continue  # a donor has several: cells of one donor are compared, not donors
        sizes = fields.sizes[0], fields.sizes[f]

        def spread(of_donor: np.ndarray, sizes: tuple[int, int] = sizes) -> float:
            two = np.column_stack([pools.codes[:, 0], of_donor[pools.donor]])
            found = ContextEffects.of_pools(replace(pools, codes=two), sizes)
            return float(np.sqrt(np.square(found.main[1]).mean()))

        observed = spread(category)
        rng = generator(config.seed, "claims", name)
        null: list[float] = []
        n_exceeded = 0
        while len(null) < config.n_permutations and n_exceeded < ENOUGH:
            null.append(spread(rng.permutation(category)))
            n_exceeded += null[-1] >= observed
        p = (1 + n_exceeded) / (1 + len(null)) if n_exceeded < ENOUGH else ENOUGH / len(null)
        rows.append((name, len(names), observed, float(np.mean(null)), p))
    table = pd.DataFrame(rows, columns=columns)
    table["p_adjusted"] = holm(table["p_value"].to_numpy(dtype=np.float64))
    return table.assign(claimed=table["p_adjusted"] <= CLAIMED)


def holm(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """P-values corrected for their number, in their order (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    found = np.empty(len(p))
    found[order] = np.minimum(raised, 1.0)
    return found


def mean_change(
    model: CycleAEGenerator, field: str, category: str, reference: str, cells: AnnData
) -> Float[np.ndarray, " n_vars"]:
    """Mean change of the log rate over cells, from one category of a field to another."""
    h, codes = model.embed(cells), model.codes(cells)
    sides = [model.fields.with_target(codes, {field: c}) for c in (category, reference)]
    found: np.ndarray = (model.log_rate(h, sides[0]) - model.log_rate(h, sides[1])).mean(axis=0)
    return found


def _swapped(
    model: CycleAEGenerator, test: AnnData, f: int, config: ContextReadingConfig
) -> tuple[Float[np.ndarray, "n n_vars"], np.ndarray]:
    """Log expression of cells moved to each category of a field, and that category."""
    field, codes = model.fields.fields[f], model.codes(test)
    made, wanted = [], []
    for c, category in enumerate(field.categories):
        rng = generator(config.seed, "swapped", field.name, category)
        others = rng.permutation(np.flatnonzero(codes[:, f] != c))[: config.cells_per_category]
        if len(others):
            moved = model.counterfactual(test[np.sort(others)].copy(), {field.name: category}, rng)
            made.append(expression(moved))
            wanted.append(np.full(len(others), c))
    return np.concatenate(made), np.concatenate(wanted)


def _cycle_error(
    model: CycleAEGenerator,
    h: Float[np.ndarray, "n n_latent"],
    codes: np.ndarray,
    f: int,
    config: ContextReadingConfig,
) -> float:
    rng = generator(config.seed, "cycle", f)
    target = codes.copy()
    target[:, f] = (codes[:, f] + rng.integers(1, model.fields.sizes[f], len(codes))) % (
        model.fields.sizes[f]
    )
    eta = model.log_rate(h, codes)
    back = model.log_rate(model.there_and_back(h, target), codes)
    alone = model.log_rate(np.zeros_like(h), codes)
    return float(np.linalg.norm(back - eta) / max(float(np.linalg.norm(eta - alone)), 1e-12))


def _top_genes(
    model: CycleAEGenerator,
    head: str,
    part: Float[np.ndarray, "n n_vars"],
    codes: np.ndarray,
    names: pd.Index,
) -> list[tuple[str, str, str, float]]:
    """Genes that a head moves most, of each category against the mean over categories."""
    f, found = model.fields.names.index(head), []
    present = np.unique(codes[:, f])
    means = np.stack([part[codes[:, f] == c].mean(axis=0) for c in present])
    means -= means.mean(axis=0)
    for c, mean in zip(present, means, strict=True):
        order = np.argsort(mean, kind="stable")
        for gene in [*order[: -TOP - 1 : -1], *order[:TOP][::-1]]:
            category = model.fields.fields[f].categories[c]
            found.append((head, category, str(names[gene]), float(mean[gene])))
    return found


def _regression(x: Float[np.ndarray, "n p"], codes: np.ndarray) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x, codes)


def _balanced(true: np.ndarray, found: np.ndarray) -> float:
    return float(balanced_accuracy_score(true, found))


def _counts(adata: AnnData) -> sparse.csr_matrix:
    return sparse.csr_matrix(adata.layers[COUNTS])


def _sizes(adata: AnnData) -> Float[np.ndarray, " n_obs"]:
    return adata.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
