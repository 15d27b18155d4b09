"""Single cells in contexts: effects of type, assay and condition that add up, and are known.

For cell i of combination c(i), of category c_f of each field f, of donor d(i), and gene j (natural
logs throughout):

    r_cj   = m_j + sum_f e_f,c_f,j + [c holds the pair] h_j          log rate of a combination  (1)
    p_ij   = sum_k a_ik w_kj - w_kj^2 / 2,  a_ik ~ Normal(0, 1)      programmes of the cell     (2)
    eta_ij = r_c(i),j + p_ij + g_d(i),j                              log composition            (3)
    mu_ij  = l_i softmax_j(eta_ij)                                   expected counts            (4)
    x_ij   ~ NegativeBinomial(mu_ij, theta_j)                        var = mu + mu^2 / theta    (5)
    1 / theta_j = phi_0 + phi_1 / (l mean_c exp(r_cj))               trend of DESeq2            (6)

The first category of a field is its reference: e is 0 there, and for most genes elsewhere. The pair
is one cell type under one condition, the only interaction; its genes change nowhere else. By
programmes, shared by all types, the cells of one combination differ.

A softmax takes one constant from all genes of a cell: effects that raise more than they lower would
push every other gene down. So the base of the genes that have effects is moved, by their factors
F_cj = exp(r_cj - m_j), until hardly a constant is left:

    m_j = m0_j + sum_c v_c (F_cj - 1) / max_c F_cj                                              (7)
    min_v sum_c (log sum_j exp(r_cj))^2 + s^2 sum_c v_c^2            sum_j exp(m_j) = 1         (8)

over combinations c with h and without it. What remains is some 0.01: two combinations differ by the
planted effects. exp(p_ij) and exp(g_dj) are 1 on average, over cells and over the donors of a
condition, so that mean counts follow exp(r_cj).

Assays differ in depth: library sizes l_i are log-normal around l times the depth of the assay.

Love, Huber, Anders (2014), Genome Biology 15, 550. doi:10.1186/s13059-014-0550-8 (eq. 6)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator
from scipy import sparse
from scipy.special import log_softmax, logsumexp

from synthome.anndata_schema import COUNTS, UNS
from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import proportional
from synthome.rng import generator
from synthome.simulate.counts import draw_counts, expected_counts

FIELDS = {  # categories of each field, its reference first
    "cell_type": ("T cell", "B cell", "Monocyte", "NK cell", "Dendritic", "Plasma", "Platelet"),
    "assay": ("10x v3", "10x v2", "CEL-seq2", "Drop-seq"),
    "condition": ("control", "disease", "treated"),
}
TYPE, ASSAY, CONDITION = FIELDS
DEPTH = np.array([1.0, 0.6, 1.6, 0.4])  # library size of each assay, in units of the reference
PAIR = (1, 1)  # the type and the condition that interact
RAREST = 0.4  # cells of the last category of a field for each cell of the first
UNEVEN = 0.3  # spread of the log frequency of a combination around the product of its shares
RAISED, LOWERED = 0.8, 0.5  # quantile of m0_j below which genes may rise, above which fall
MOST = 2.5  # spreads above the mean at which m0_j is cut off
SLACK, STEPS = 0.01, 20  # s of eq. 8, and steps to its minimum
BLOCK = 1_000  # cells drawn at a time, so that no dense matrix of all cells is made


class ContextsConfig(Config):
    """Size of the data and of the planted effects.

    Attributes
    ----------
    n_types, n_assays, n_conditions
        The first so many categories of each of ``FIELDS``.
    n_donors
        Dealt to conditions in turn; each gives cells of all types to all assays.
    n_least
        Cells that even the rarest combination has.
    type_up, type_down, assay_up, assay_down, condition_up, condition_down
        Shares of the genes that a category raises, and lowers, against the reference.
    smallest_factor, largest_factor
        Factors between which effects lie, evenly in their log.
    interaction, n_interaction_genes
        Whether there is one, and how many genes it changes: half up, half down.
    gene_spread
        Standard deviation of m0_j: how unequal genes are.
    n_programmes, programme_share, programme_loading
        Programmes; share of the genes in one, and median of their |w_kj|.
    donor_effect
        Standard deviation over genes of g_dj.
    library_size, library_spread
        l, the median counts per cell of the reference assay, and spread of their log.
    dispersion, extra_poisson
        phi_0 and phi_1 of eq. 6.
    """

    n_obs: int = Field(default=5000, ge=100)
    n_vars: int = Field(default=2000, ge=100)
    n_types: int = Field(default=5, ge=2, le=len(FIELDS[TYPE]))
    n_assays: int = Field(default=3, ge=2, le=len(FIELDS[ASSAY]))
    n_conditions: int = Field(default=2, ge=2, le=len(FIELDS[CONDITION]))
    n_donors: int = Field(default=12, ge=2)
    n_least: NonNegativeInt = 40
    type_up: float = Field(default=0.2, ge=0, le=0.25)
    type_down: float = Field(default=0.1, ge=0, le=0.25)
    assay_up: float = Field(default=0.075, ge=0, le=0.25)
    assay_down: float = Field(default=0.075, ge=0, le=0.25)
    condition_up: float = Field(default=0.04, ge=0, le=0.25)
    condition_down: float = Field(default=0.04, ge=0, le=0.25)
    smallest_factor: float = Field(default=2.0, gt=1)
    largest_factor: float = Field(default=6.0, gt=1)
    interaction: bool = True
    n_interaction_genes: int = Field(default=40, ge=2)
    gene_spread: NonNegativeFloat = 1.0
    n_programmes: NonNegativeInt = 4
    programme_share: float = Field(default=0.1, gt=0, le=1)
    programme_loading: NonNegativeFloat = 0.3
    donor_effect: NonNegativeFloat = 0.07
    library_size: PositiveFloat = 5000
    library_spread: NonNegativeFloat = 0.3
    dispersion: PositiveFloat = 0.15
    extra_poisson: NonNegativeFloat = 0.1
    seed: NonNegativeInt = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Categories of each field."""
        return self.n_types, self.n_assays, self.n_conditions

    @property
    def shares(self) -> dict[str, tuple[float, float]]:
        """Shares of the genes that a category of each field raises, and lowers."""
        return {
            TYPE: (self.type_up, self.type_down),
            ASSAY: (self.assay_up, self.assay_down),
            CONDITION: (self.condition_up, self.condition_down),
        }

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n_combinations = int(np.prod(self.shape))
        if self.n_obs < n_combinations * max(self.n_least, 1):
            raise ValueError(
                f"{n_combinations} combinations of n_least {self.n_least} cells are more than "
                f"n_obs {self.n_obs}: ask for more cells, fewer categories or a lower n_least."
            )
        if self.n_donors < self.n_conditions:
            raise ValueError(
                f"n_donors is {self.n_donors}, fewer than n_conditions {self.n_conditions}: a "
                "donor is in one condition."
            )
        if self.n_interaction_genes > self.n_vars // 5:
            raise ValueError(
                f"n_interaction_genes is {self.n_interaction_genes}; ask for at most a fifth of "
                f"n_vars, {self.n_vars // 5}."
            )
        if self.largest_factor < self.smallest_factor:
            raise ValueError(
                f"largest_factor is {self.largest_factor:g}, below smallest_factor "
                f"{self.smallest_factor:g}."
            )
        for field, (up, down) in self.shares.items():
            if (up > 0) != (down > 0):
                raise ValueError(
                    f"{field} raises {up:g} of the genes and lowers {down:g}: a composition sums "
                    "to 1, so ask for both, or for neither."
                )
        return self


@dataclass(frozen=True, eq=False)
class _Genes:
    """What belongs to genes, the same in all cells."""

    base: Float[np.ndarray, " n_vars"]  # m_j, the log composition of the references
    effects: dict[str, Float[np.ndarray, "_ n_vars"]]  # e of each field, one row per category
    pair: Float[np.ndarray, " n_vars"]  # h_j
    log_rate: Float[np.ndarray, "n_combinations n_vars"]  # r_cj
    loading: Float[np.ndarray, "n_programmes n_vars"]  # w_kj
    donor_effect: Float[np.ndarray, "n_donors n_vars"]  # g_dj
    theta: Float[np.ndarray, " n_vars"]


@dataclass(frozen=True, eq=False)
class _Cells:
    """What belongs to cells."""

    combination: Int[np.ndarray, " n_obs"]
    donor: Int[np.ndarray, " n_obs"]
    activity: Float[np.ndarray, "n_obs n_programmes"]  # a_ik
    library_size: Float[np.ndarray, " n_obs"]  # l_i


def simulate_contexts(config: ContextsConfig | None = None) -> AnnData:
    """Draw cells as raw counts (CSR float32), with the truth that gave them in ``uns["truth"]``.

    ``uns["truth"]`` holds, for each gene in ``gene``: ``base`` and ``theta``; ``effects`` of each
    field, with its ``categories`` (the reference first) and their ``effect`` (n_categories,
    n_vars); ``interaction`` with its ``fields`` and their ``categories``, its ``genes`` by name and
    the ``effect`` on each of these, none without one; ``programs`` with ``loading``
    (n_programmes, n_vars) and ``activity`` (n_obs, n_programmes); ``donors`` with ``categories``
    and ``effect`` (n_donors, n_vars); and for each cell in ``sample``: ``library_size``, the
    expected counts. ``true_log_rate`` reads it.
    """
    config = config or ContextsConfig()
    genes, cells = _draw_genes(config), _draw_cells(config)
    rng = generator(config.seed, "contexts", "counts")
    blocks = [slice(start, start + BLOCK) for start in range(0, config.n_obs, BLOCK)]
    drawn = (draw_counts(_expected(genes, cells, rows), genes.theta, rng) for rows in blocks)
    counts = sparse.vstack(
        [sparse.csr_matrix(block, dtype=np.float32) for block in drawn], format="csr"
    )  # eq. 5

    code = _combinations(config)[cells.combination]  # (n_obs, n_fields)
    columns = {
        field: np.array(FIELDS[field], dtype=object)[code[:, f]] for f, field in enumerate(FIELDS)
    }
    donors = np.array([f"D{d + 1:02d}" for d in range(config.n_donors)])
    obs = pd.DataFrame(
        columns | {"donor": donors.astype(object)[cells.donor]},
        index=[f"C{i + 1:06d}" for i in range(config.n_obs)],
    )
    names = np.array([f"GENE{j + 1:05d}" for j in range(config.n_vars)])
    truth = {
        "gene": names,
        "base": genes.base,
        "theta": genes.theta,
        "effects": {
            field: {"categories": np.array(FIELDS[field][: len(effect)]), "effect": effect}
            for field, effect in genes.effects.items()
        },
        "interaction": {
            "fields": np.array([TYPE, CONDITION]),
            "categories": np.array([FIELDS[TYPE][PAIR[0]], FIELDS[CONDITION][PAIR[1]]]),
            "genes": names[genes.pair != 0],
            "effect": genes.pair[genes.pair != 0],
        },
        "programs": {"loading": genes.loading, "activity": cells.activity},
        "donors": {"categories": donors, "effect": genes.donor_effect},
        "sample": obs.index.to_numpy(dtype=str),
        "library_size": cells.library_size,
    }
    return AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=names),
        layers={COUNTS: counts},
        uns={
            "truth": truth,
            UNS: {
                "label_key": TYPE,
                "group_key": "",
                "batch_key": "",
                "field_keys": list(FIELDS),
                "scale": "counts",
                "source": f"simulated contexts (seed {config.seed})",
                "sha256": sha256(counts.data.tobytes() + counts.indices.tobytes()).hexdigest(),
            },
        },
    )


def true_log_rate(
    truth: Mapping[str, Any], categories: Mapping[str, str], interaction: bool = True
) -> Float[np.ndarray, " n_vars"]:
    """Log of the mean composition of a combination, eq. 1, for each gene in ``truth["gene"]``.

    Parameters
    ----------
    truth
        ``uns["truth"]``, as drawn or as read from a file.
    categories
        The category of each field.
    interaction
        False gives what would be without it: the rate that the fields alone explain.

    Raises
    ------
    InputError
        If a field is missing, or a field or category is unknown.
    """
    effects = truth["effects"]
    if set(categories) != set(effects):
        raise InputError(
            f"A combination names a category of each of {', '.join(sorted(effects))}, but this one "
            f"has {', '.join(sorted(categories)) or 'none'}. Give exactly these fields."
        )
    rate = np.array(truth["base"], dtype=np.float64)
    for field, category in categories.items():
        known = list(map(str, effects[field]["categories"]))
        if category not in known:
            raise InputError(
                f"{field} has no category {category!r}: the simulation drew {', '.join(known)}."
            )
        rate += effects[field]["effect"][known.index(category)]
    pair = truth["interaction"]
    held = all(
        categories[field] == category
        for field, category in zip(pair["fields"], pair["categories"], strict=True)
    )
    if interaction and held:
        rate[np.isin(truth["gene"], pair["genes"])] += pair["effect"]
    return log_softmax(rate)


def _combinations(config: ContextsConfig) -> Int[np.ndarray, "n_combinations n_fields"]:
    """The category of each field, for all combinations in order."""
    return np.indices(config.shape).reshape(len(FIELDS), -1).T


def _draw_genes(config: ContextsConfig) -> _Genes:
    """Draw what belongs to genes, and balance it."""
    rng = generator(config.seed, "contexts", "genes")
    n = config.n_vars
    start = config.gene_spread * np.minimum(rng.normal(size=n), MOST)  # m0_j
    rank = start.argsort().argsort() / n
    n_down = config.n_interaction_genes // 2
    everywhere = np.ones(n, dtype=bool)
    pair = _effect(config.n_interaction_genes - n_down, n_down, rank, everywhere, config, rng)
    effects, free = {}, pair == 0  # so that the fields do the same with an interaction and without
    for (field, (up, down)), n_categories in zip(config.shares.items(), config.shape, strict=True):
        n_up, n_down = round(up * n), round(down * n)
        drawn = [_effect(n_up, n_down, rank, free, config, rng) for _ in range(n_categories - 1)]
        effects[field] = np.stack([np.zeros(n), *drawn])
    pair *= config.interaction

    code = _combinations(config)
    additive = sum(effects[field][code[:, f]] for f, field in enumerate(FIELDS))
    held = (code[:, 0] == PAIR[0]) & (code[:, 2] == PAIR[1])
    planted = additive + held[:, None] * pair  # r_cj - m_j
    base = _balanced(start, np.concatenate([planted, additive[held]]))
    log_rate = log_softmax(base + planted, axis=1)
    mean_counts = config.library_size * np.exp(log_rate).mean(axis=0)

    size = (config.n_programmes, n)
    sign = rng.choice([-1.0, 1.0], size)
    in_programme = rng.random(size) < config.programme_share
    donor_effect = rng.normal(0, config.donor_effect, (config.n_donors, n))
    for c in range(config.n_conditions):
        own = donor_effect[c :: config.n_conditions]
        own -= logsumexp(own, axis=0) - np.log(len(own))
    return _Genes(
        base=base,
        effects=effects,
        pair=pair,
        log_rate=log_rate,
        loading=in_programme * sign * config.programme_loading * np.exp(rng.normal(0, 0.3, size)),
        donor_effect=donor_effect,
        theta=1 / (config.dispersion + config.extra_poisson / mean_counts),  # eq. 6
    )


def _effect(
    n_up: int,
    n_down: int,
    rank: Float[np.ndarray, " n_vars"],
    free: Bool[np.ndarray, " n_vars"],
    config: ContextsConfig,
    rng: np.random.Generator,
) -> Float[np.ndarray, " n_vars"]:
    """Effects on some of the free genes: down on well expressed ones, so that they are seen."""
    down = rng.choice(np.flatnonzero(free & (rank >= LOWERED)), n_down, replace=False)
    may_rise = np.setdiff1d(np.flatnonzero(free & (rank < RAISED)), down)
    up = rng.choice(may_rise, n_up, replace=False)
    size = rng.uniform(np.log(config.smallest_factor), np.log(config.largest_factor), len(rank))
    effect = np.zeros(len(rank))
    effect[up], effect[down] = size[up], -size[down]
    return effect


def _balanced(
    start: Float[np.ndarray, " n_vars"], planted: Float[np.ndarray, "n_combinations n_vars"]
) -> Float[np.ndarray, " n_vars"]:
    """The log composition m_j of eqs. 7 and 8, by Gauss and Newton's steps."""
    factor = np.exp(planted)
    move = (factor - 1) / factor.max(axis=0)
    v = np.zeros(len(planted))
    for _ in range(STEPS):
        base = log_softmax(start + v @ move)
        excess = logsumexp(base + planted, axis=1)
        share = np.exp(base + planted - excess[:, None])  # of each gene in each combination
        slope = (share - np.exp(base)) @ move.T  # of excess by v
        normal = slope.T @ slope + SLACK**2 * np.eye(len(v))
        v = np.linalg.solve(normal, slope.T @ (slope @ v - excess))
    return log_softmax(start + v @ move)


def _draw_cells(config: ContextsConfig) -> _Cells:
    """Draw combination, donor, activity (eq. 2) and library size of each cell."""
    rng = generator(config.seed, "contexts", "cells")
    n, code = config.n_obs, _combinations(config)
    frequency = np.exp(rng.normal(0, UNEVEN, len(code)))
    for f, n_categories in enumerate(config.shape):
        frequency *= np.geomspace(1, RAREST, n_categories)[code[:, f]]
    sizes = config.n_least + proportional(n - config.n_least * len(code), frequency)
    combination = np.repeat(np.arange(len(code)), sizes)
    donor = np.zeros(n, dtype=int)
    for c in range(config.n_conditions):  # its donors in turn, so that they share each combination
        own = code[combination, 2] == c
        donors = np.arange(c, config.n_donors, config.n_conditions)
        donor[own] = np.resize(donors, own.sum())
    order = rng.permutation(n)
    combination, donor = combination[order], donor[order]
    median = config.library_size * DEPTH[code[combination, 1]]
    return _Cells(
        combination=combination,
        donor=donor,
        activity=rng.normal(size=(n, config.n_programmes)),
        library_size=median * np.exp(rng.normal(0, config.library_spread, n)),
    )


def _expected(genes: _Genes, cells: _Cells, rows: slice) -> Float[np.ndarray, "n_rows n_vars"]:
    """Eqs. 3 and 4 for some cells."""
    eta = genes.log_rate[cells.combination[rows]]  # (n_rows, n_vars)
    eta += cells.activity[rows] @ genes.loading - np.square(genes.loading).sum(axis=0) / 2
    eta += genes.donor_effect[cells.donor[rows]]
    return expected_counts(eta, cells.library_size[rows])  # eq. 4
