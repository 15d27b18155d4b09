"""A bulk RNA-seq cohort with planted truth: modules, disease genes, batches, patients who differ.

For sample i of patient p, in batch b, and gene j of module k(j) (natural logs throughout):

    a_pk   ~ Normal(d_k s_p, 1)                          activity of module k in the patient    (1)
    eta_ij = m_j + w_j a_pk(j) + f_j s_p + e_bj + g_j    log composition, before it sums to 1   (2)
    mu_ij  = l_i softmax_j(eta_ij)                       expected counts                        (3)
    x_ij   ~ NegativeBinomial(mu_ij, theta_j)            var = mu + mu^2 / theta                (4)
    1 / theta_j = (phi_0 + phi_1 / mu_j) u_j             trend of DESeq2, u_j log-normal        (5)

m_j is drawn from an expressed and a nearly silent population, w_j are signed loadings, f_j the
planted log fold changes and d_k the shift of a module by disease. s_p is the severity: 0 in health,
gamma with mean 1 in disease, so that some patients hardly differ from health, as in real cohorts,
and no classifier is perfect. e_bj is the effect of a batch, g_j of the site (external cohort only).

The external cohort shares all that belongs to genes (m, w, f, d, theta, module, names); its
patients, site, batch and depth are its own, and it lacks a few genes.

Love, Huber, Anders (2014), Genome Biology 15, 550. doi:10.1186/s13059-014-0550-8 (eq. 5)
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from synthome.anndata_schema import COUNTS, UNS
from synthome.config import Config
from synthome.rng import generator
from synthome.simulate.counts import draw_counts, expected_counts

CONDITIONS = ("healthy", "disease")

# Natural log of counts per million: most expressed genes lie between 1 and 300 CPM.
EXPRESSED = (3.0, 1.5)  # mean and spread of m_j
SILENT = (-3.5, 1.5)
DISEASE_GENES = (0.05, 0.9)  # quantiles of m_j: seen, and too low to move all other genes
SPREAD = 0.3  # of the log of loadings and of effects


class BulkCohortConfig(Config):
    """Size of the cohort and of the planted effects; the defaults are the demo cohort.

    Attributes
    ----------
    disease_fraction
        Share of patients with disease.
    n_repeated_patients
        Patients of the main cohort who give two samples (the external cohort has the same share);
        ``obs["patient_id"]`` is then the group key.
    silent_fraction, module_fraction
        Share of genes that are hardly expressed; that belong to a module.
    module_loading
        Median of |w_j|: what one standard deviation of activity does to the log expression.
    n_shifted_modules, module_shift
        How many modules disease moves, and |d_k| in standard deviations of their activity.
    strong_effect, subtle_effect
        Median |f_j| of one half of the disease genes, and of the other half.
    severity_shape
        Shape of the gamma law of severity; smaller is more diverse.
    batch_effect, site_effect
        Standard deviation over genes of e_bj and g_j.
    batch_tilt
        How far the share of a batch differs between conditions: 0 is balanced, 1 confounded.
    library_size, external_library_size, library_spread
        Median counts per sample, and spread of their log.
    dispersion, extra_poisson
        phi_0 and phi_1 of eq. 5.
    missing_fraction
        Share of the genes that the external cohort lacks.
    """

    n_obs: int = Field(default=96, ge=12)
    n_obs_external: int = Field(default=48, ge=12)
    n_vars: int = Field(default=6000, ge=100)
    n_modules: PositiveInt = 12
    n_disease_genes: NonNegativeInt = 150
    n_batches: PositiveInt = 2
    disease_fraction: float = Field(default=0.6, gt=0, lt=1)
    n_repeated_patients: NonNegativeInt = 0
    silent_fraction: float = Field(default=0.25, ge=0, le=0.9)
    module_fraction: float = Field(default=0.6, ge=0, le=1)
    module_loading: NonNegativeFloat = 0.35
    n_shifted_modules: NonNegativeInt = 4
    module_shift: float = 1.0
    strong_effect: NonNegativeFloat = 0.7
    subtle_effect: NonNegativeFloat = 0.25
    severity_shape: PositiveFloat = 3.0
    batch_effect: NonNegativeFloat = 0.15
    batch_tilt: float = Field(default=0.2, ge=0, le=1)
    site_effect: NonNegativeFloat = 0.25
    library_size: PositiveFloat = 4e7
    external_library_size: PositiveFloat = 2e7
    library_spread: NonNegativeFloat = 0.25
    dispersion: PositiveFloat = 0.12
    extra_poisson: NonNegativeFloat = 2.0
    missing_fraction: float = Field(default=0.04, ge=0, lt=1)
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        expressed = int(self.n_vars * (1 - self.silent_fraction))
        if self.n_disease_genes > expressed // 2:
            raise ValueError(
                f"n_disease_genes is {self.n_disease_genes}, but of {self.n_vars} genes only some "
                f"{expressed} are expressed: ask for at most {expressed // 2} disease genes."
            )
        if self.n_shifted_modules > self.n_modules:
            raise ValueError(
                f"n_shifted_modules is {self.n_shifted_modules}, more than n_modules "
                f"{self.n_modules}."
            )
        if self.n_repeated_patients > self.n_obs // 3:
            raise ValueError(
                f"n_repeated_patients is {self.n_repeated_patients}; ask for at most a third of "
                f"n_obs, {self.n_obs // 3}."
            )
        return self


@dataclass(frozen=True, eq=False)
class _Genes:
    """What belongs to genes and modules, the same in both cohorts."""

    log_mean: Float[np.ndarray, " n_vars"]  # m_j, the composition of which sums to 10^6
    module: Int[np.ndarray, " n_vars"]  # k(j), -1 for none
    loading: Float[np.ndarray, " n_vars"]  # w_j, 0 without a module
    log_fold_change: Float[np.ndarray, " n_vars"]  # f_j
    module_shift: Float[np.ndarray, " n_modules"]  # d_k
    theta: Float[np.ndarray, " n_vars"]


def simulate_bulk_cohort(
    config: BulkCohortConfig, cohort: Literal["main", "external"] = "main"
) -> AnnData:
    """Draw a cohort of raw counts, with the truth that gave it in ``uns["truth"]``.

    ``uns["truth"]`` holds, for each gene in ``gene``: ``module`` (-1 for none), ``loading``,
    ``log_fold_change`` (planted, natural log, at mean severity), ``total_log_fold_change`` (that of
    the shifted module included), ``log_mean``, ``theta`` and ``site_effect``; ``batch_effect``
    (n_batches, n_vars); ``disease_genes`` by name; ``module_shift`` of each module; and for each
    sample in ``sample``: ``severity`` and ``module_activity`` (n_obs, n_modules).
    """
    genes = _draw_genes(config)
    rng = generator(config.seed, "bulk_cohort", cohort)
    external = cohort == "external"
    n_batches = 1 if external else config.n_batches
    obs, patient = _draw_patients(config, cohort, n_batches, rng)
    is_disease = (obs["condition"] == CONDITIONS[1]).to_numpy()
    severity, activity = _draw_activity(genes, is_disease, patient, config, rng)
    batch_effect = rng.normal(0, config.batch_effect, (n_batches, config.n_vars))
    batch_effect -= batch_effect.mean(axis=0)
    site_effect = rng.normal(0, config.site_effect * external, config.n_vars)

    batch = obs["batch"].astype("category").cat.codes.to_numpy()
    eta = genes.log_mean + severity[:, None] * genes.log_fold_change  # (n_obs, n_vars), eq. 2
    eta += batch_effect[batch] + site_effect
    in_module = genes.module >= 0
    eta[:, in_module] += activity[:, genes.module[in_module]] * genes.loading[in_module]
    median = config.external_library_size if external else config.library_size
    library_size = median * np.exp(rng.normal(0, config.library_spread, len(obs)))
    counts = draw_counts(expected_counts(eta, library_size), genes.theta, rng)  # eqs. 3 and 4

    present = np.ones(config.n_vars, dtype=bool)
    if external:
        n_missing = round(config.missing_fraction * config.n_vars)
        present[rng.choice(config.n_vars, n_missing, replace=False)] = False
    counts = np.ascontiguousarray(counts[:, present])
    names = np.array([f"GENE{j + 1:05d}" for j in range(config.n_vars)])
    shift = np.append(genes.module_shift, 0.0)[genes.module]  # module -1 picks the 0
    by_gene = {
        "gene": names,
        "module": genes.module,
        "loading": genes.loading,
        "log_fold_change": genes.log_fold_change,
        "total_log_fold_change": genes.log_fold_change + genes.loading * shift,
        "log_mean": genes.log_mean,
        "theta": genes.theta,
        "site_effect": site_effect,
    }
    truth = {name: values[present] for name, values in by_gene.items()} | {
        "batch_effect": batch_effect[:, present],
        "disease_genes": names[present & (genes.log_fold_change != 0)],
        "module_shift": genes.module_shift,
        "sample": obs.index.to_numpy(dtype=str),
        "severity": severity,
        "module_activity": activity,
    }
    return AnnData(
        counts.astype(np.float64),
        obs=obs,
        var=pd.DataFrame(index=names[present]),
        layers={COUNTS: counts},
        uns={
            "truth": truth,
            UNS: {
                "label_key": "condition",
                "group_key": "patient_id" if config.n_repeated_patients else "",
                "scale": "counts",
                "source": f"simulated bulk cohort ({cohort}, seed {config.seed})",
                "sha256": sha256(counts.tobytes()).hexdigest(),
            },
        },
    )


def _draw_genes(config: BulkCohortConfig) -> _Genes:
    """Draw eqs. 1, 2 and 5 as far as they belong to genes."""
    rng = generator(config.seed, "bulk_cohort", "genes")
    n = config.n_vars
    silent = rng.permutation(n) < round(config.silent_fraction * n)
    log_mean = np.where(silent, rng.normal(*SILENT, n), rng.normal(*EXPRESSED, n))
    log_mean += np.log(1e6) - np.log(np.exp(log_mean).sum())

    module = np.full(n, -1)
    members = rng.permutation(n)[: round(config.module_fraction * n)]
    share = rng.dirichlet(np.full(config.n_modules, 5.0))  # modules of different size
    module[members] = rng.choice(config.n_modules, len(members), p=share)
    sign = rng.choice([-1.0, 1.0], n, p=[0.25, 0.75])  # most genes of a module go together
    loading = np.where(module >= 0, sign * _log_normal(config.module_loading, SPREAD, n, rng), 0.0)

    low, high = np.quantile(log_mean[~silent], DISEASE_GENES)
    detectable = np.flatnonzero(~silent & (log_mean > low) & (log_mean < high))
    disease = rng.choice(detectable, config.n_disease_genes, replace=False)
    median = np.where(np.arange(len(disease)) % 2 == 0, config.strong_effect, config.subtle_effect)
    log_fold_change = np.zeros(n)
    log_fold_change[disease] = rng.choice([-1.0, 1.0], len(disease)) * _log_normal(
        median, SPREAD, len(disease), rng
    )

    module_shift = np.zeros(config.n_modules)
    shifted = rng.choice(config.n_modules, config.n_shifted_modules, replace=False)
    module_shift[shifted] = config.module_shift * rng.choice([-1.0, 1.0], len(shifted))

    mean_count = np.exp(log_mean) * config.library_size / 1e6
    trend = config.dispersion + config.extra_poisson / mean_count  # eq. 5
    theta = 1 / (trend * _log_normal(1.0, 0.4, n, rng))
    return _Genes(log_mean, module, loading, log_fold_change, module_shift, theta)


def _log_normal(
    median: float | Float[np.ndarray, " size"], spread: float, size: int, rng: np.random.Generator
) -> Float[np.ndarray, " size"]:
    """Draw positive sizes around ``median``."""
    return median * np.exp(rng.normal(0, spread, size))


def _draw_patients(
    config: BulkCohortConfig, cohort: str, n_batches: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, Int[np.ndarray, " n_obs"]]:
    """Draw the sample sheet, and the number of the patient of each sample."""
    n_obs = config.n_obs_external if cohort == "external" else config.n_obs
    n_twice = config.n_repeated_patients * n_obs // config.n_obs
    n_patients = n_obs - n_twice
    n_disease = min(max(round(config.disease_fraction * n_patients), 1), n_patients - 1)
    is_disease = rng.permutation(np.arange(n_patients) < n_disease)
    ramp = np.linspace(-1, 1, n_batches) if n_batches > 1 else np.zeros(1)
    tilt = (
        np.where(is_disease, 1, -1)[:, None] * config.batch_tilt * ramp
    )  # (n_patients, n_batches)
    share = np.cumsum((1 + tilt) / n_batches, axis=1)
    batch = (rng.random((n_patients, 1)) > share[:, :-1]).sum(axis=1)
    twice = rng.choice(n_patients, n_twice, replace=False)
    patient = np.sort(np.concatenate([np.arange(n_patients), twice]))
    letter = cohort[0].upper()
    obs = pd.DataFrame(
        {
            "condition": np.array(CONDITIONS, dtype=object)[is_disease[patient].astype(int)],
            "batch": [f"{letter}{b + 1}" for b in batch[patient]],
            "patient_id": [f"{letter}P{p + 1:03d}" for p in patient],
        },
        index=[f"{letter}S{i + 1:03d}" for i in range(n_obs)],
    )
    return obs, patient


def _draw_activity(
    genes: _Genes,
    is_disease: Bool[np.ndarray, " n_obs"],
    patient: Int[np.ndarray, " n_obs"],
    config: BulkCohortConfig,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " n_obs"], Float[np.ndarray, "n_obs n_modules"]]:
    """Draw severity and module activity (eq. 1): the same for all samples of a patient."""
    n_patients = patient.max() + 1
    shape = config.severity_shape
    severity = rng.gamma(shape, 1 / shape, n_patients)[patient] * is_disease
    severity /= severity[is_disease].mean()  # so that f is the mean effect in the cohort as drawn
    activity = rng.normal(size=(n_patients, config.n_modules))[patient]
    return severity, activity + severity[:, None] * genes.module_shift
