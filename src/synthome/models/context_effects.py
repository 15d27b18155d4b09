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

and is found by Newton's method for each gene (Rasmussen and Williams 2006, algorithm 3.1). Terms
that pools share are columns of U, (K, R), which says who shares them; the residual, and a term that
no two pools share, are the diagonal D. Then, with S the variances of U's columns, W the expected
counts of the pools, and A = (D + W^-1)^-1,

    C = U S U' + D                                                                              (4)
    u = (S^-1 + U' A U)^-1 U' A z,   z = f + (Y - W 1) / W,   alpha = A (z - U u)               (5)

so that a step takes R numbers and not K: 30 types of 40 donors are 1,200 pools of 71 columns. Where
interactions have more than ``MOST_COLUMNS``, the largest count as noise.

In a gene, all fields may act (s_f is s_m for each), or all but one, or none but the first, the
label (s_f is s_0); with interactions of a few sizes t, but no more than s_0 where one of the two
fields does not act, as interactions would else explain its effect; and donors have one of a few
spreads d, near enough to each other that none is much too wide to see a field beside. Each of these
settings has the posterior weight that the evidence of the gene gives it (there, eq. 3.32), and
their shares among genes are found by EM: a field that changes nothing gets nothing. The values u of
a term, or its variance times alpha where it is in D, are its effects; a combination that no cell
showed has the sum of the terms it shares with others: a main effect is carried over, an interaction
only where another field says so. Main effects are centred over categories; their mean is part of b.

Depth is a field effect as well: log l_i = a + sum_f depth_f[c_f(i)] + noise, by least squares.

Rasmussen, Williams (2006), Gaussian Processes for Machine Learning, MIT Press, chapter 3.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Self, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor

from synthome.config import Config
from synthome.training.device import cpu_threads

Codes = Int[np.ndarray, "n_obs n_fields"]
Key = tuple[int, ...]  # one field, or two that interact

NEWTON_STEPS = 30
LONGEST_STEP = 2.0  # of eta
ENTRIES = 2**22  # of matrices R x R that are in memory at a time
MOST_COLUMNS = 500  # of U: interactions beyond are noise
HALF = 0.5  # a count that keeps the rate of a gene that was never seen finite
MIN_COUNTS = 20  # genes with fewer say nothing of shares and spreads
EM_STEPS = 30
CONVERGED = 1e-5  # of eta, whose next step would be its square
DEPTH_PENALTY = 1.0  # cells
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
        member = _member(pool.reshape(1, -1), len(found))
        total = np.zeros((len(found), counts.shape[1]))
        for a in range(0, len(pool), ROWS):
            total += (member[:, a : a + ROWS] @ counts[a : a + ROWS]).toarray()
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
        depth = _depth(np.log(np.maximum(library_size, 1.0)), codes, sizes)
        return cls.of_pools(pools, sizes, depth, config)

    @classmethod
    def of_pools(
        cls,
        pools: Pools,
        sizes: Sequence[int],
        depth: tuple[Float[np.ndarray, " _"], ...] = (),
        config: ContextEffectsConfig | None = None,
    ) -> Self:
        """The same of cells that are pooled already, with known effects on the library size."""
        prior = _Prior.of(pools, config or ContextEffectsConfig())
        base, values = prior.fit(pools)
        main = []
        for f, n in enumerate(sizes):
            effect = np.zeros((n, len(base)))
            seen = np.unique(pools.codes[:, f])
            effect[seen] = values[(f,)].T
            mean = effect[seen].mean(axis=0)
            effect[seen] -= mean
            base = base + mean
            main.append(effect)
        pairs: dict[Key, tuple[np.ndarray, np.ndarray]] = {
            term.key: (term.codes, values[term.key].T)
            for term in sorted((*prior.shared, *prior.alone), key=lambda term: term.key)
            if len(term.key) == 2
        }
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
class _Term:
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
        found, place = np.unique(codes, axis=0, return_inverse=True)
        return cls(key, found, place.ravel())

    @property
    def is_alone(self) -> bool:
        """Whether no two pools share a value."""
        return len(self.codes) == len(self.place)


@dataclass(frozen=True, eq=False)
class _Setting:
    """One choice of s_f, t and d: variances of U's columns, of terms that are alone, and D."""

    column: Float[np.ndarray, " n_columns"]
    alone: tuple[float, ...]
    diagonal: float


@dataclass(frozen=True, eq=False)
class _Prior:
    """Eq. 4: terms that pools share, those that none does, and the settings."""

    shared: tuple[_Term, ...]
    alone: tuple[_Term, ...]
    settings: tuple[_Setting, ...]

    @classmethod
    def of(cls, pools: Pools, config: ContextEffectsConfig) -> Self:
        n_pools, n_fields = pools.codes.shape
        fields = [_Term.of((f,), pools.codes[:, [f]]) for f in range(n_fields)]
        pairs = [
            _Term.of(key, pools.codes[:, key])
            for key in combinations(range(n_fields if config.interaction_scales else 0), 2)
        ]
        with_donors = pools.donor is not None and len(config.donor_scales) > 0
        first = [_Term.of((), np.zeros((n_pools, 0), dtype=np.int64)), *fields]
        if with_donors:
            first.append(_Term.of((), cast(np.ndarray, pools.donor)[:, None]))
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

            def of_pair(term: _Term, scales: list[float] = scales, t: float = t) -> float:
                return min(t, *(scales[f] for f in term.key))

            own = [config.base_scale, *scales, *([d] if with_donors else []), *map(of_pair, shared)]
            sizes = [len(term.codes) for term in (*first, *shared)]
            in_diagonal = np.square([of_pair(term) for term in alone])
            diagonal = config.residual_scale**2 + sum(
                of_pair(term) ** 2 for term in (*alone, *hidden)
            )
            settings.append(
                _Setting(np.repeat(np.square(own), sizes), tuple(in_diagonal.tolist()), diagonal)
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
        weight = _weights(np.stack([evidence for evidence, _ in fits]), pools.is_known)
        values = sum(w[:, None] * own for w, (_, own) in zip(weight, fits, strict=True))
        terms = (*self.shared, *self.alone)
        ends = np.cumsum([len(term.codes) for term in terms])[:-1]
        parts = np.split(cast(np.ndarray, values), ends, axis=1)
        found = {term.key: part for term, part in zip(terms, parts, strict=True) if term.key}
        return base + parts[0][:, 0], found

    def _in_blocks(
        self, setting: _Setting, pools: Pools, base: np.ndarray, start: np.ndarray
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
            parts.append(_laplace(setting, place, counts, offset, torch.from_numpy(start[genes])))
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


def _laplace(
    setting: _Setting,
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
    both = _member(place[i] * n_columns + place[j], n_columns**2)  # to U' A U, below its diagonal
    each = _member(place, n_columns)  # U'
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


def _member(place: Int[np.ndarray, "n_terms k"], n: int) -> sparse.csr_matrix:
    """What sums pools by the place that each has for each term, (n, k)."""
    n_terms, k = place.shape
    pool = np.tile(np.arange(k), n_terms)
    return sparse.csr_matrix((np.ones(place.size), (place.ravel(), pool)), (n, k))


def _depth(
    log_depth: Float[np.ndarray, " n_obs"], codes: Codes, sizes: Sequence[int]
) -> tuple[Float[np.ndarray, " _"], ...]:
    """Effects of the categories on the log library size, by least squares with a slight ridge."""
    start = np.concatenate([[0], np.cumsum(sizes)])
    design = _member((codes + start[:-1]).T, int(start[-1])).T
    normal = (design.T @ design).toarray() + DEPTH_PENALTY * np.eye(int(start[-1]))
    coefficients = np.linalg.solve(normal, design.T @ (log_depth - log_depth.mean()))
    return tuple(coefficients[a:b] for a, b in pairwise(start))
