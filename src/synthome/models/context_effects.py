"""What metadata contexts do to the rate of each gene: effects that add up, estimated in one step.

Cells of one combination of categories (and of one donor, where donors are known) are pooled. With
counts Y_kg and summed library sizes E_k of pool k, and the category c_f(k) of each field f,

    Y_kg ~ Poisson(E_k exp(eta_kg))                                                             (1)
    eta_kg = b_g + sum_f beta_f[c_f(k)]_g + sum_{f<f'} gamma_ff'[c_f(k), c_f'(k)]_g
             + delta[donor(k)]_g + epsilon_kg                                                   (2)

Effects act on rates and not on log(1 + x): a lower depth, or a gene that is better captured, is
then the same effect in a cell type that has much of the gene as in one that has little. All terms
are normal with mean 0, so that eta over the K pools of a gene has the covariance

    C = s_b^2 + sum_f s_f^2 [c_f = c_f'] + t^2 sum_ff' [both equal] + d^2 [same donor] + e^2 I   (3)

and is found by Newton's method in K numbers per gene (Rasmussen and Williams 2006, algorithm 3.1),
for all genes at once. In a gene, all fields may act (s_f is s_m for each), or all but one, or none
but the first, the label (s_f is s_0); with interactions of a few sizes t, small ones where a field
does not act, as large ones would explain its effect as well; and with donors of a few spreads d.
Each of these settings has the posterior weight that the evidence of the gene gives it (there, eq.
3.32), and their shares among genes are found by EM: a field that changes nothing gets nothing. With
alpha = C^-1 (eta - b), each term is its own part of C times alpha, and a combination that no cell
showed has the sum of the terms it shares with others: a main effect is carried over, an interaction
only where another field says so. Main effects are centred over categories; their mean is part of b.

Depth is a field effect as well: log l_i = a + sum_f depth_f[c_f(i)] + noise, by least squares.

Rasmussen, Williams (2006), Gaussian Processes for Machine Learning, MIT Press, chapter 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor

from synthome.config import Config

Codes = Int[np.ndarray, "n_obs n_fields"]
Key = tuple[int, ...]  # one field, or two that interact

NEWTON_STEPS = 30
LONGEST_STEP = 2.0  # of eta
ENTRIES = 2**22  # of matrices K x K that are in memory at a time
HALF = 0.5  # a count that keeps the rate of a gene that was never seen finite
MIN_COUNTS = 20  # genes with fewer say nothing of shares and spreads
EM_STEPS = 30
CONVERGED = 1e-5  # of eta, whose next step would be its square
DEPTH_PENALTY = 1.0  # cells


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
    interaction_scales: tuple[PositiveFloat, ...] = (0.1, 0.3)
    donor_scales: tuple[PositiveFloat, ...] = (0.05, 0.3)
    residual_scale: PositiveFloat = 0.2
    max_pools: PositiveInt = Field(default=200, ge=4)


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
        member = sparse.csr_matrix(
            (np.ones(len(pool)), (pool.ravel(), np.arange(len(pool)))), (len(found), len(pool))
        )
        total = np.asarray((member @ counts).todense(), dtype=np.float64)
        n_fields = codes.shape[1]
        own = None if donor is None else found[:, n_fields]
        return cls(total, member @ library_size, found[:, :n_fields], own)

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
class ContextEffects:
    """Eq. 2 without donors, fitted.

    Attributes
    ----------
    base
        b, with the mean effect of each field.
    main
        beta of each field, (n_categories, n_vars).
    pairs
        The combinations of two fields that were seen: their codes, (n_pairs, 2), and gamma,
        (n_pairs, n_vars).
    depth
        Effect of each category of each field on the log library size.
    """

    base: Float[np.ndarray, " n_vars"]
    main: tuple[Float[np.ndarray, "_ n_vars"], ...]
    pairs: Mapping[Key, tuple[Int[np.ndarray, "_ 2"], Float[np.ndarray, "_ n_vars"]]]
    depth: tuple[Float[np.ndarray, " _"], ...]

    @classmethod
    def fit(
        cls,
        counts: sparse.csr_matrix,
        library_size: Float[np.ndarray, " n_obs"],
        codes: Codes,
        sizes: Sequence[int],
        donor: Int[np.ndarray, " n_obs"] | None = None,
        config: ContextEffectsConfig | None = None,
    ) -> Self:
        """Estimate all effects from the counts of cells, (n_obs, n_vars).

        Parameters
        ----------
        library_size
            Counts over the whole transcriptome, which rates are relative to.
        codes, sizes
            Category of each cell in each field, and how many categories a field has.
        donor
            Number of the donor of each cell, where donors are known.
        """
        config = config or ContextEffectsConfig()
        pools = Pools.of(counts, library_size, codes, donor, config.max_pools)
        prior = _Prior.of(pools, config)
        base, alpha = prior.fit(pools)  # (n_vars,), (n_settings, n_vars, n_pools)
        base = base + config.base_scale**2 * alpha.sum(axis=(0, 2))
        main = []
        for f, n in enumerate(sizes):
            effect = np.zeros((n, len(base)))
            member = _member(pools.codes[:, f], n)
            for variance, own in zip(prior.variance[(f,)], alpha, strict=True):
                effect += variance * (member @ own.T)
            seen = np.unique(pools.codes[:, f])
            mean = effect[seen].mean(axis=0)
            effect[seen] -= mean
            base = base + mean
            main.append(effect)
        pairs: dict[Key, tuple[np.ndarray, np.ndarray]] = {}
        for key in [key for key in prior.variance if len(key) == 2]:
            found, place = np.unique(pools.codes[:, key], axis=0, return_inverse=True)
            member = _member(place.ravel(), len(found))
            effect = sum(
                variance * (member @ own.T)
                for variance, own in zip(prior.variance[key], alpha, strict=True)
            )
            pairs[key] = (found, np.asarray(effect))
        depth = _depth(np.log(np.maximum(library_size, 1.0)), codes, sizes)
        return cls(base, tuple(main), pairs, depth)

    @property
    def n_fields(self) -> int:
        """Number of fields."""
        return len(self.main)

    @property
    def n_pairs(self) -> dict[Key, int]:
        """How many combinations of each pair of fields were seen."""
        return {key: len(seen) for key, (seen, _) in self.pairs.items()}

    def terms(self, codes: Codes) -> dict[Key, Float[np.ndarray, "n_obs n_vars"]]:
        """What each field, and each pair of fields, adds to the log rate of a combination."""
        found: dict[Key, np.ndarray] = {(f,): x[codes[:, f]] for f, x in enumerate(self.main)}
        for key, (_, effect) in self.pairs.items():
            place = self._place(key, codes)
            padded = np.concatenate([effect, np.zeros((1, effect.shape[1]))])
            found[key] = padded[place]  # the last row where the pair was not seen
        return found

    def log_rate(self, codes: Codes) -> Float[np.ndarray, "n_obs n_vars"]:
        """Log of expected counts over the library size."""
        return self.base + sum(self.terms(codes).values())

    def log_depth(self, codes: Codes) -> Float[np.ndarray, " n_obs"]:
        """Sum of the depth effects of each row; differences of two combinations matter."""
        return np.sum([x[codes[:, f]] for f, x in enumerate(self.depth)], axis=0)

    def _place(self, key: Key, codes: Codes) -> Int[np.ndarray, " n_obs"]:
        """Row of each cell's pair among those seen; one past the end for others."""
        seen = self.pairs[key][0]
        width = int(max(seen.max(initial=0), codes[:, list(key)].max(initial=0))) + 1
        known = seen[:, 0] * width + seen[:, 1]  # increasing, as np.unique sorts rows
        wanted = codes[:, key[0]] * width + codes[:, key[1]]
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[place] == wanted, place, len(known))

    def state(self) -> dict[str, np.ndarray]:
        """All effects as arrays."""
        arrays = {"base": self.base}
        for f, (effect, depth) in enumerate(zip(self.main, self.depth, strict=True)):
            arrays |= {f"main_{f}": effect, f"depth_{f}": depth}
        for (a, b), (seen, effect) in self.pairs.items():
            arrays |= {f"pair_{a}_{b}_codes": seen, f"pair_{a}_{b}": effect}
        return arrays

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild what gave ``state``."""
        n = sum(name.startswith("main_") for name in arrays)
        pairs: dict[Key, Any] = {}
        for key in combinations(range(n), 2):
            name = f"pair_{key[0]}_{key[1]}"
            if name in arrays:
                pairs[key] = (arrays[f"{name}_codes"], arrays[name])
        return cls(
            arrays["base"],
            tuple(arrays[f"main_{f}"] for f in range(n)),
            pairs,
            tuple(arrays[f"depth_{f}"] for f in range(n)),
        )


@dataclass(frozen=True, eq=False)
class _Prior:
    """Eq. 3 in several settings of s_f, t and d.

    Attributes
    ----------
    variance
        Of each term, by field or pair, one per setting.
    covariance
        C of each setting, (n_settings, n_pools, n_pools).
    """

    variance: dict[Key, list[float]]
    covariance: Tensor

    @classmethod
    def of(cls, pools: Pools, config: ContextEffectsConfig) -> Self:
        n_fields = pools.codes.shape[1]
        keys: list[Key] = [(f,) for f in range(n_fields)]
        if config.interaction_scales:
            keys += list(combinations(range(n_fields), 2))
        equal = {key: _equal(pools.codes[:, key]) for key in keys}
        same = None if pools.donor is None else _equal(pools.donor[:, None])
        variance: dict[Key, list[float]] = {key: [] for key in keys}
        covariance = []
        for scales, t, d in _settings(n_fields, same is not None, config):
            own = config.base_scale**2 + config.residual_scale**2 * np.eye(len(pools.exposure))
            for key in keys:
                variance[key].append(scales[key[0]] ** 2 if len(key) == 1 else t**2)
                own = own + variance[key][-1] * equal[key]
            covariance.append(own if same is None else own + d**2 * same)
        return cls(variance, torch.from_numpy(np.stack(covariance)))

    def fit(
        self, pools: Pools
    ) -> tuple[Float[np.ndarray, " n_vars"], Float[np.ndarray, "n_settings n_vars n_pools"]]:
        """b, and alpha of each setting times its weight in each gene."""
        base = pools.log_rate
        fits, start = [], np.zeros(pools.counts.T.shape)
        for each in self.covariance:  # modes are near one another
            alpha, evidence, start = _in_blocks(each, pools, base, start)
            fits.append((alpha, evidence))
        weight = _weights(np.stack([each[1] for each in fits]), pools.is_known)
        return base, np.stack([w[:, None] * own for w, (own, _) in zip(weight, fits, strict=True)])


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
        found += [(scales, t, d) for t in (sizes[:1] if off else sizes) for d in donors]
    return found


def _weights(
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


def _in_blocks(
    covariance: Tensor, pools: Pools, base: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alpha, log evidence and eta - b of all genes under one covariance."""
    size = max(1, ENTRIES // len(covariance) ** 2)
    log_exposure, parts = np.log(pools.exposure), []
    for a in range(0, len(base), size):
        genes = slice(a, a + size)
        counts = torch.from_numpy(np.ascontiguousarray(pools.counts[:, genes].T))
        offset = torch.from_numpy(base[genes, None] + log_exposure)
        parts.append(_laplace(covariance, counts, offset, torch.from_numpy(start[genes])))
    alpha, evidence, f = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
    return alpha, evidence, f


def _laplace(
    covariance: Float[Tensor, "k k"],
    counts: Float[Tensor, "n k"],
    offset: Float[Tensor, "n k"],
    start: Float[Tensor, "n k"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Mode f of eqs. 1 and 2 for each gene, from ``start``: alpha = C^-1 f, log evidence, f."""
    f, one = start, torch.eye(len(covariance), dtype=covariance.dtype)
    for _ in range(NEWTON_STEPS):
        mean = (f + offset).clamp(max=40.0).exp()
        root_w = mean.sqrt()
        root = torch.linalg.cholesky(one + root_w[:, :, None] * covariance * root_w[:, None, :])
        r = mean * f + counts - mean
        solved = torch.cholesky_solve((root_w * (r @ covariance))[:, :, None], root)[:, :, 0]
        alpha = r - root_w * solved
        step = (alpha @ covariance - f).clamp(-LONGEST_STEP, LONGEST_STEP)
        f = f + step
        if float(step.abs().max()) < CONVERGED:
            break
    mean = (f + offset).exp()
    # At the mode, counts - mean is alpha too, but keeps few digits where both are large.
    evidence = (counts * (f + offset) - mean).sum(dim=1) - 0.5 * (alpha * f).sum(dim=1)
    return alpha, evidence - root.diagonal(dim1=1, dim2=2).log().sum(dim=1), f


def _equal(codes: Int[np.ndarray, "n k"]) -> Float[np.ndarray, "n n"]:
    return (codes[:, None] == codes[None]).all(axis=2).astype(np.float64)


def _member(place: Int[np.ndarray, " n_pools"], n: int) -> sparse.csr_matrix:
    """What sums pools by category, (n, n_pools)."""
    return sparse.csr_matrix((np.ones(len(place)), (place, np.arange(len(place)))), (n, len(place)))


def _depth(
    log_depth: Float[np.ndarray, " n_obs"], codes: Codes, sizes: Sequence[int]
) -> tuple[Float[np.ndarray, " _"], ...]:
    """Effects of the categories on the log library size, by least squares with a slight ridge."""
    start = np.concatenate([[0], np.cumsum(sizes)])
    columns = codes + start[:-1]
    n, k = codes.shape
    design = sparse.csr_matrix(
        (np.ones(n * k), (np.repeat(np.arange(n), k), columns.ravel())), (n, int(start[-1]))
    )
    normal = (design.T @ design).toarray() + DEPTH_PENALTY * np.eye(int(start[-1]))
    coefficients = np.linalg.solve(normal, design.T @ (log_depth - log_depth.mean()))
    return tuple(coefficients[a:b] for a, b in pairwise(start))
