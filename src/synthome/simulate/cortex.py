"""A cortex of single cells with planted truth: types, programmes across types, donors, batches.

For cell i of type t, donor d and batch b, and gene j (natural logs throughout):

    a_ik   ~ Normal(c_tk, 1)                                activity of programme k in the cell  (1)
    eta_ij = m_j + t_tj + sum_k a_ik w_kj + e_bj + g_dj     log composition                      (2)
    mu_ij  = l_i softmax_j(eta_ij)                          expected counts                      (3)
    x_ij   ~ NegativeBinomial(mu_ij, theta_j)               var = mu + mu^2 / theta              (4)
    1 / theta_j = phi_0 + phi_1 / mean_i mu_ij              trend of DESeq2                      (5)

m_j is normal, cut off above, so that no gene takes a tenth of all counts. Library sizes l_i are
log-normal around a median of the cell's type. t_tj is the sum of an effect of the family
(excitatory, inhibitory, glia) and of the type itself, each on a share of the genes. Programmes act
on cells of all types, with loadings w_kj on few genes, and are what a linear decoder should find.
A donor belongs to one batch; every type is found in every donor.

Two disjoint sets of moderately expressed genes are named, ``disease_down`` and ``disease_up``, and
left as they are: ``simulate.perturbation`` changes them.

Love, Huber, Anders (2014), Genome Biology 15, 550. doi:10.1186/s13059-014-0550-8 (eq. 5)
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from scipy import sparse

from synthome.anndata_schema import COUNTS, UNS
from synthome.config import Config
from synthome.generator import proportional
from synthome.rng import generator
from synthome.simulate.counts import draw_counts, expected_counts

TYPES = (  # from the most common to the rarest, each with its family
    ("Exc L2-3", "Exc"),
    ("Exc L5-6", "Exc"),
    ("Inh PVALB", "Inh"),
    ("Oligo", "Glia"),
    ("Inh SST", "Inh"),
    ("Astro", "Glia"),
    ("OPC", "Glia"),
    ("Micro", "Glia"),
)
DOWN, UP = "disease_down", "disease_up"
FAMILY_SHARE, TYPE_SHARE = 0.3, 0.15  # of the genes that tell a family, a type, from the others
MODERATE = (0.3, 5.0)  # mean counts per cell of the genes of the disease sets
MOST = 2.5  # spreads above the mean at which m_j is cut off
BLOCK = 1_000  # cells drawn at a time, so that no dense matrix of all cells is made


class CortexConfig(Config):
    """Size of the tissue and of the planted effects.

    Attributes
    ----------
    n_types
        The first so many of ``TYPES``.
    rarest
        Cells of the rarest type for each cell of the most common one; types between lie on a
        geometric scale.
    n_donors, n_batches
        Donors are dealt to batches in turn.
    n_down, n_up
        Genes of ``disease_down`` and of ``disease_up``.
    gene_spread
        Standard deviation of m_j: how unequal genes are, which sets the share of zeros.
    family_effect, type_effect
        Standard deviation of the effects on the genes that have them.
    programme_share, programme_loading
        Share of the genes in a programme, and median of their |w_kj|.
    programme_shift
        Standard deviation over types of c_tk: how far a type as a whole is along a programme.
    batch_effect, donor_effect
        Standard deviation over genes of e_bj and g_dj.
    library_size, library_spread
        Median counts per cell, and spread of their log within a type; types differ by a third.
    dispersion, extra_poisson
        phi_0 and phi_1 of eq. 5.
    """

    n_obs: int = Field(default=5000, ge=100)
    n_vars: int = Field(default=3000, ge=100)
    n_types: int = Field(default=len(TYPES), ge=2, le=len(TYPES))
    rarest: float = Field(default=0.03, gt=0, le=1)
    n_programmes: PositiveInt = 6
    n_donors: PositiveInt = 5
    n_batches: PositiveInt = 2
    n_down: NonNegativeInt = 40
    n_up: NonNegativeInt = 70
    gene_spread: NonNegativeFloat = 2.7
    family_effect: NonNegativeFloat = 1.2
    type_effect: NonNegativeFloat = 1.2
    programme_share: float = Field(default=0.08, gt=0, le=1)
    programme_loading: NonNegativeFloat = 0.4
    programme_shift: NonNegativeFloat = 0.5
    batch_effect: NonNegativeFloat = 0.15
    donor_effect: NonNegativeFloat = 0.1
    library_size: PositiveFloat = 3500
    library_spread: NonNegativeFloat = 0.35
    dispersion: PositiveFloat = 0.2
    extra_poisson: NonNegativeFloat = 0.1
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_batches > self.n_donors:
            raise ValueError(
                f"n_batches is {self.n_batches}, more than n_donors {self.n_donors}: a donor is in "
                "one batch."
            )
        if self.n_down + self.n_up > self.n_vars // 4:
            raise ValueError(
                f"n_down and n_up name {self.n_down + self.n_up} of {self.n_vars} genes; ask for "
                f"at most a quarter, {self.n_vars // 4}."
            )
        return self


@dataclass(frozen=True, eq=False)
class _Genes:
    """What belongs to genes, the same in all cells."""

    log_mean: Float[np.ndarray, " n_vars"]  # m_j
    type_profile: Float[np.ndarray, "n_types n_vars"]  # t_tj
    loading: Float[np.ndarray, "n_programmes n_vars"]  # w_kj
    batch_effect: Float[np.ndarray, "n_batches n_vars"]  # e_bj
    donor_effect: Float[np.ndarray, "n_donors n_vars"]  # g_dj


@dataclass(frozen=True, eq=False)
class _Cells:
    """What belongs to cells."""

    type: Int[np.ndarray, " n_obs"]
    donor: Int[np.ndarray, " n_obs"]
    batch: Int[np.ndarray, " n_obs"]
    activity: Float[np.ndarray, "n_obs n_programmes"]  # a_ik
    library_size: Float[np.ndarray, " n_obs"]  # l_i


def simulate_cortex(config: CortexConfig | None = None) -> AnnData:
    """Draw cells as raw counts (CSR float32), with the truth that gave them in ``uns["truth"]``.

    ``uns["truth"]`` holds, for each gene in ``gene``: ``log_mean``, ``theta``, ``mean_counts``
    (expected, over all cells), ``type_profile`` (n_types, n_vars) in the order of ``types``,
    ``programme_loading`` (n_programmes, n_vars), ``batch_effect`` and ``donor_effect``; for each
    cell in ``sample``: ``programme_activity`` (n_obs, n_programmes) and ``library_size``, the
    expected counts; and ``gene_sets``, the names of the genes in ``disease_down`` and in
    ``disease_up``.
    """
    config = config or CortexConfig()
    genes, cells = _draw_genes(config), _draw_cells(config)
    mean_counts = np.zeros(config.n_vars)
    for rows in _blocks(config.n_obs):
        mean_counts += _expected(genes, cells, rows).sum(axis=0) / config.n_obs
    theta = 1 / (config.dispersion + config.extra_poisson / mean_counts)  # eq. 5
    rng = generator(config.seed, "cortex", "counts")
    drawn = (
        draw_counts(_expected(genes, cells, rows), theta, rng) for rows in _blocks(config.n_obs)
    )  # eq. 4
    counts = sparse.vstack(
        [sparse.csr_matrix(block, dtype=np.float32) for block in drawn], format="csr"
    )

    obs = pd.DataFrame(
        {
            "cell_type": np.array([name for name, _ in TYPES], dtype=object)[cells.type],
            "donor": [f"D{d + 1}" for d in cells.donor],
            "batch": [f"B{b + 1}" for b in cells.batch],
        },
        index=[f"C{i + 1:06d}" for i in range(config.n_obs)],
    )
    names = np.array([f"GENE{j + 1:05d}" for j in range(config.n_vars)])
    truth = {
        "gene": names,
        "log_mean": genes.log_mean,
        "theta": theta,
        "mean_counts": mean_counts,
        "types": np.array([name for name, _ in TYPES[: config.n_types]]),
        "type_profile": genes.type_profile,
        "programme_loading": genes.loading,
        "batch_effect": genes.batch_effect,
        "donor_effect": genes.donor_effect,
        "sample": obs.index.to_numpy(dtype=str),
        "programme_activity": cells.activity,
        "library_size": cells.library_size,
        "gene_sets": _name_sets(mean_counts, names, config),
    }
    return AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=names),
        layers={COUNTS: counts},
        uns={
            "truth": truth,
            UNS: {
                "label_key": "cell_type",
                "group_key": "donor",
                "batch_key": "batch",
                "scale": "counts",
                "source": f"simulated cortex (seed {config.seed})",
                "sha256": sha256(counts.data.tobytes() + counts.indices.tobytes()).hexdigest(),
            },
        },
    )


def _blocks(n_obs: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, n_obs)) for start in range(0, n_obs, BLOCK)]


def _draw_genes(config: CortexConfig) -> _Genes:
    """Draw eq. 2 as far as it belongs to genes."""
    rng = generator(config.seed, "cortex", "genes")
    n = config.n_vars
    families = [family for _, family in TYPES[: config.n_types]]
    of_family = {
        family: _on_some(FAMILY_SHARE, config.family_effect, n, rng)
        for family in dict.fromkeys(families)
    }
    profile = np.stack(
        [of_family[f] + _on_some(TYPE_SHARE, config.type_effect, n, rng) for f in families]
    )
    size = (config.n_programmes, n)
    in_programme = rng.random(size) < config.programme_share
    sign = rng.choice([-1.0, 1.0], size, p=[0.25, 0.75])  # most genes of a programme go together
    loading = in_programme * sign * config.programme_loading * np.exp(rng.normal(0, 0.3, size))
    batch_effect = rng.normal(0, config.batch_effect, (config.n_batches, n))
    return _Genes(
        log_mean=config.gene_spread * np.minimum(rng.normal(size=n), MOST),
        type_profile=profile,
        loading=loading,
        batch_effect=batch_effect - batch_effect.mean(axis=0),
        donor_effect=rng.normal(0, config.donor_effect, (config.n_donors, n)),
    )


def _on_some(
    share: float, effect: float, n_vars: int, rng: np.random.Generator
) -> Float[np.ndarray, " n_vars"]:
    """Effects on a random share of the genes."""
    return np.where(rng.random(n_vars) < share, rng.normal(0, effect, n_vars), 0.0)


def _draw_cells(config: CortexConfig) -> _Cells:
    """Draw type, donor, activity (eq. 1) and library size of each cell."""
    rng = generator(config.seed, "cortex", "cells")
    n = config.n_obs
    sizes = proportional(n, np.geomspace(1, config.rarest, config.n_types))
    in_order = np.repeat(np.arange(config.n_types), sizes)
    turn = np.concatenate([np.arange(size) for size in sizes])  # so that donors share each type
    order = rng.permutation(n)
    kind, donor = in_order[order], (turn % config.n_donors)[order]
    shift = rng.normal(0, config.programme_shift, (config.n_types, config.n_programmes))  # c_tk
    median = config.library_size * np.exp(rng.normal(0, 0.3, config.n_types))
    return _Cells(
        type=kind,
        donor=donor,
        batch=donor % config.n_batches,
        activity=shift[kind] + rng.normal(size=(n, config.n_programmes)),
        library_size=median[kind] * np.exp(rng.normal(0, config.library_spread, n)),
    )


def _expected(genes: _Genes, cells: _Cells, rows: slice) -> Float[np.ndarray, "n_rows n_vars"]:
    """Eqs. 2 and 3 for some cells."""
    eta = genes.log_mean + genes.type_profile[cells.type[rows]]  # (n_rows, n_vars)
    eta += cells.activity[rows] @ genes.loading
    eta += genes.batch_effect[cells.batch[rows]] + genes.donor_effect[cells.donor[rows]]
    return expected_counts(eta, cells.library_size[rows])  # eq. 3


def _name_sets(
    mean_counts: Float[np.ndarray, " n_vars"], names: np.ndarray, config: CortexConfig
) -> dict[str, np.ndarray]:
    """Two disjoint sets of moderately expressed genes: within ``MODERATE``, else nearest to it."""
    rng = generator(config.seed, "cortex", "gene sets")
    low, high = np.log(MODERATE)
    away = np.abs(np.log(mean_counts) - (low + high) / 2) - (high - low) / 2  # <= 0 within
    n_wanted = config.n_down + config.n_up
    n_within = int((away <= 0).sum())
    candidates = np.argsort(away, kind="stable")[: max(n_wanted, n_within)]
    chosen = names[rng.permutation(candidates)[:n_wanted]]
    return {DOWN: np.sort(chosen[: config.n_down]), UP: np.sort(chosen[config.n_down :])}
