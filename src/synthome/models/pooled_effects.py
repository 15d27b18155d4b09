"""Log rates of pooled counts under normal effects: Newton's method, the evidence, and settings.

With the terms of ``context_effects``, eqs. 1-3, eta over the K pools of a gene has the covariance C
and is found by Newton's method for each gene (Rasmussen and Williams 2006, algorithm 3.1). Terms
that pools share are columns of U, (K, R), which says who shares them; the residual, and a term that
no two pools share, are the diagonal D. Then, with S the variances of U's columns, W the expected
counts of the pools, and A = (D + W^-1)^-1,

    C = U S U' + D                                                                              (4)
    u = (S^-1 + U' A U)^-1 U' A z,   z = f + (Y - W 1) / W,   alpha = A (z - U u)               (5)

so that a step takes R numbers and not K: 30 types of 40 donors are 1,200 pools of 71 columns. Where
interactions have more than ``MOST_COLUMNS``, the largest count as noise.

Every setting of the spreads has the posterior weight that the evidence of the gene gives it (there,
eq. 3.32), and their shares among genes are found by EM. The values u of a term, or its variance
times alpha where it is in D, are its effects.

Rasmussen, Williams (2006), Gaussian Processes for Machine Learning, MIT Press, chapter 3.
"""

import logging
from dataclasses import dataclass
from itertools import combinations
from typing import Self, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor

from synthome.config import Config
from synthome.fields import Codes
from synthome.training.device import cpu_threads

Key = tuple[int, ...]  # one field, or two that interact

NEWTON_STEPS = 30
LONGEST_STEP = 2.0  # of eta
ENTRIES = 2**22  # of matrices R x R that are in memory at a time
MOST_COLUMNS = 500  # of U: interactions beyond are noise
HALF = 0.5  # a count that keeps the rate of a gene that was never seen finite
MIN_COUNTS = 20  # genes with fewer say nothing of shares and spreads
EM_STEPS = 30
CONVERGED = 1e-5  # of eta, whose next step would be its square
ROWS = 2**15  # that are pooled at a time

logger = logging.getLogger(__name__)


class ContextEffectsConfig(Config):
    """Standard deviations of the terms of eq. 3, in natural logs.

    Attributes
    ----------
    base_scale, residual_scale
        s_b and e.
    label_scale
        s_f of the first field, the label: a marker is on in one cell type and off in another.
    main_scale, null_scale
        s_m and s_0 of the other fields.
    interaction_scales, donor_scales
        Values of t and d between which each gene chooses; none leaves the term out.
    max_pools
        More pools than these are merged over donors.
    """

    base_scale: PositiveFloat = 1.0
    label_scale: PositiveFloat = 3.0
    main_scale: PositiveFloat = 0.8
    null_scale: PositiveFloat = 0.02
    interaction_scales: tuple[PositiveFloat, ...] = (0.02, 0.1, 0.3)
    donor_scales: tuple[PositiveFloat, ...] = (0.05, 0.12, 0.3)
    residual_scale: PositiveFloat = 0.2
    max_pools: PositiveInt = Field(default=1_000, ge=4)


@dataclass(frozen=True, eq=False)
class Pools:
    """Cells pooled by combination and donor.

    Attributes
    ----------
    counts, exposure
        Y and E of eq. 1.
    codes
        Category of each field.
    donor
        Number of the donor; none when donors are not told apart.
    """

    counts: Float[np.ndarray, "n_pools n_vars"]
    exposure: Float[np.ndarray, " n_pools"]
    codes: Int[np.ndarray, "n_pools n_fields"]
    donor: Int[np.ndarray, " n_pools"] | None

    @classmethod
    def of(
        cls,
        counts: sparse.csr_matrix,
        library_size: Float[np.ndarray, " n_obs"],
        codes: Codes,
        donor: Int[np.ndarray, " n_obs"] | None,
        max_pools: int,
    ) -> Self:
        """Pool them; over donors as well when there would be more than ``max_pools``."""
        keys = codes if donor is None else np.column_stack([codes, donor])
        found, pool = np.unique(keys, axis=0, return_inverse=True)
        if donor is not None and len(found) > max_pools:
            return cls.of(counts, library_size, codes, None, max_pools)
        total_of = summing(pool.reshape(1, -1), len(found))
        total = np.zeros((len(found), counts.shape[1]))
        for a in range(0, len(pool), ROWS):
            total += (total_of[:, a : a + ROWS] @ counts[a : a + ROWS]).toarray()
        n_fields = codes.shape[1]
        own = None if donor is None else found[:, n_fields]
        return cls(total, total_of @ library_size, found[:, :n_fields], own)

    @property
    def log_rate(self) -> Float[np.ndarray, " n_vars"]:
        """Rate of each gene in all pools together, the b of eq. 2."""
        return np.log((self.counts.sum(axis=0) + HALF) / self.exposure.sum())

    @property
    def is_known(self) -> Bool[np.ndarray, " n_vars"]:
        """Genes with enough counts to tell spreads by; all when none has."""
        total = self.counts.sum(axis=0)
        return total >= min(MIN_COUNTS, total.max())


@dataclass(frozen=True, eq=False)
class Term:
    """One sum of eq. 2.

    Attributes
    ----------
    key
        A field, or two; none of them for b and for donors.
    codes
        Categories of each value that the term takes, (n_values, fields of the key).
    place
        Which value each pool has.
    """

    key: Key
    codes: Int[np.ndarray, "_ n_key"]
    place: Int[np.ndarray, " n_pools"]

    @classmethod
    def of(cls, key: Key, codes: Int[np.ndarray, "n_pools n_key"]) -> Self:
        """The values that pools with these categories take."""
        found, place = np.unique(codes, axis=0, return_inverse=True)
        return cls(key, found, place.ravel())

    @property
    def is_alone(self) -> bool:
        """Whether no two pools share a value."""
        return len(self.codes) == len(self.place)


@dataclass(frozen=True, eq=False)
class Setting:
    """One choice of s_f, t and d: variances of U's columns, of terms that are alone, and D."""

    column: Float[np.ndarray, " n_columns"]
    alone: tuple[float, ...]
    diagonal: float


@dataclass(frozen=True, eq=False)
class Prior:
    """Eq. 4: terms that pools share, those that none does, and the settings."""

    shared: tuple[Term, ...]
    alone: tuple[Term, ...]
    settings: tuple[Setting, ...]

    @classmethod
    def of(cls, pools: Pools, config: ContextEffectsConfig) -> Self:
        """All terms and settings; the largest interactions are left to the noise."""
        n_pools, n_fields = pools.codes.shape
        fields = [Term.of((f,), pools.codes[:, [f]]) for f in range(n_fields)]
        pairs = [
            Term.of(key, pools.codes[:, key])
            for key in combinations(range(n_fields if config.interaction_scales else 0), 2)
        ]
        with_donors = pools.donor is not None and len(config.donor_scales) > 0
        first = [Term.of((), np.zeros((n_pools, 0), dtype=np.int64)), *fields]
        if with_donors:
            first.append(Term.of((), cast(np.ndarray, pools.donor)[:, None]))
        left = MOST_COLUMNS - sum(len(term.codes) for term in first)
        shared, alone, hidden = [], [], []
        for term in sorted(pairs, key=lambda term: len(term.codes)):
            if term.is_alone:
                alone.append(term)
            elif len(term.codes) <= left:
                shared.append(term)
                left -= len(term.codes)
            else:
                hidden.append(term)
                logger.warning(
                    "Fields %d and %d have %s combinations: their interaction is counted as "
                    "noise, and is not carried over.",
                    *term.key, f"{len(term.codes):,}",
                )  # fmt: skip
        shared.sort(key=lambda term: term.key)
        settings = []
        for scales, t, d in _settings(n_fields, with_donors, config):

            def of_pair(term: Term, scales: list[float] = scales, t: float = t) -> float:
                return min(t, *(scales[f] for f in term.key))

            own = [config.base_scale, *scales, *([d] if with_donors else []), *map(of_pair, shared)]
            sizes = [len(term.codes) for term in (*first, *shared)]
            in_diagonal = np.square([of_pair(term) for term in alone])
            diagonal = config.residual_scale**2 + sum(
                of_pair(term) ** 2 for term in (*alone, *hidden)
            )
            settings.append(
                Setting(np.repeat(np.square(own), sizes), tuple(in_diagonal.tolist()), diagonal)
            )
        return cls((*first, *shared), tuple(alone), tuple(settings))

    def fit(
        self, pools: Pools
    ) -> tuple[Float[np.ndarray, " n_vars"], dict[Key, Float[np.ndarray, "n_vars _"]]]:
        """Log rate that eta is centred on, and the values of every term that has fields.

        Each is the mean over settings, by the weight of each in the gene.
        """
        base = pools.log_rate
        fits, start = [], np.zeros(pools.counts.T.shape)
        for setting in self.settings:  # modes are near one another
            with cpu_threads(1):  # many small matrices: threads stand in each other's way
                values, alpha, evidence, start = self._in_blocks(setting, pools, base, start)
            own = [
                variance * alpha[:, np.argsort(term.place)]
                for term, variance in zip(self.alone, setting.alone, strict=True)
            ]
            fits.append((evidence, np.concatenate([values, *own], axis=1)))
        weight = weights_of(np.stack([evidence for evidence, _ in fits]), pools.is_known)
        values = sum(w[:, None] * own for w, (_, own) in zip(weight, fits, strict=True))
        terms = (*self.shared, *self.alone)
        ends = np.cumsum([len(term.codes) for term in terms])[:-1]
        parts = np.split(cast(np.ndarray, values), ends, axis=1)
        found = {term.key: part for term, part in zip(terms, parts, strict=True) if term.key}
        return base + parts[0][:, 0], found

    def _in_blocks(
        self, setting: Setting, pools: Pools, base: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Values of shared terms, alpha, log evidence and eta - b of all genes in one setting."""
        n_columns = len(setting.column)
        first = np.cumsum([0, *(len(term.codes) for term in self.shared)])[:-1]
        place = first[:, None] + np.stack([term.place for term in self.shared])
        size = max(1, ENTRIES // n_columns**2)
        log_exposure, parts = np.log(pools.exposure), []
        for a in range(0, len(base), size):
            genes = slice(a, a + size)
            counts = torch.from_numpy(np.ascontiguousarray(pools.counts[:, genes].T))
            offset = torch.from_numpy(base[genes, None] + log_exposure)
            parts.append(laplace(setting, place, counts, offset, torch.from_numpy(start[genes])))
        return tuple(torch.cat(each).numpy() for each in zip(*parts, strict=True))


def _settings(
    n_fields: int, with_donors: bool, config: ContextEffectsConfig
) -> list[tuple[list[float], float, float]]:
    """S_f of each field, t and d of every setting."""
    sizes = sorted(config.interaction_scales) or [0.0]
    donors = (config.donor_scales if with_donors else ()) or (0.0,)
    others = range(1, n_fields)
    silent = [set[int](), *({f} for f in others)] + ([set(others)] if n_fields > 2 else [])
    found = []
    for off in silent:
        scales = [config.null_scale if f in off else config.main_scale for f in range(n_fields)]
        scales[0] = config.label_scale
        some = sizes if n_fields - len(off) > 1 else sizes[:1]  # where two fields act
        found += [(scales, t, d) for t in some for d in donors]
    return found


def weights_of(
    evidence: Float[np.ndarray, "n_settings n_vars"], known: np.ndarray
) -> Float[np.ndarray, "n_settings n_vars"]:
    """Posterior weight of each setting in each gene, with shares that the known genes give."""
    density = np.exp(evidence - evidence.max(axis=0))
    share = np.full(len(evidence), 1.0 / len(evidence))
    for _ in range(EM_STEPS):
        weight = density * share[:, None]
        weight = weight / weight.sum(axis=0)
        share = weight[:, known].mean(axis=1)
    return weight


def laplace(
    setting: Setting,
    place: Int[np.ndarray, "n_terms k"],
    counts: Float[Tensor, "n k"],
    offset: Float[Tensor, "n k"],
    start: Float[Tensor, "n k"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mode f of eqs. 1 and 2 for each gene, from ``start``, by eq. 5.

    Returns
    -------
    Values of the shared terms, (n, n_columns); alpha = C^-1 f; log evidence; f.
    """
    column, d = torch.from_numpy(setting.column), setting.diagonal
    n_terms, n_columns = len(place), len(column)
    i, j = np.tril_indices(n_terms)
    both = summing(place[i] * n_columns + place[j], n_columns**2)  # to U' A U, below its diagonal
    each = summing(place, n_columns)  # U'
    f = start
    for _ in range(NEWTON_STEPS):
        mean = (f + offset).clamp(max=40.0).exp()
        shrink = 1.0 + d * mean
        a, az = mean / shrink, (mean * f + counts - mean) / shrink
        gram = torch.from_numpy(both @ a.numpy().T).view(n_columns, n_columns, -1).permute(2, 0, 1)
        gram.diagonal(dim1=1, dim2=2).add_(1.0 / column)
        root = torch.linalg.cholesky(gram)
        summed = torch.from_numpy(each @ az.numpy().T).T
        values = torch.cholesky_solve(summed[:, :, None], root)[:, :, 0]
        shared = torch.from_numpy(each.T @ values.numpy().T).T  # U u
        alpha = az - a * shared
        step = (shared + d * alpha - f).clamp(-LONGEST_STEP, LONGEST_STEP)
        f = f + step
        if float(step.abs().max()) < CONVERGED:
            break
    mean = (f + offset).exp()
    # At the mode, counts - mean is alpha too, but keeps few digits where both are large.
    evidence = (counts * (f + offset) - mean).sum(dim=1) - 0.5 * (alpha * f).sum(dim=1)
    evidence -= root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    evidence -= 0.5 * (shrink.log().sum(dim=1) + column.log().sum())
    return values, alpha, evidence, f


def summing(place: Int[np.ndarray, "n_terms k"], n: int) -> sparse.csr_matrix:
    """What sums pools by the place that each has for each term, (n, k)."""
    n_terms, k = place.shape
    pool = np.tile(np.arange(k), n_terms)
    return sparse.csr_matrix((np.ones(place.size), (place.ravel(), pool)), (n, k))
