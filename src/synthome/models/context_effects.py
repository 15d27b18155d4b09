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

and is found by Newton's method for each gene, in ``pooled_effects``, eqs. 4 and 5.

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from synthome.fields import Codes
from synthome.models.pooled_effects import (
    ContextEffectsConfig,
    Key,
    Pools,
    Prior,
    summing,
)

DEPTH_PENALTY = 1.0  # cells


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
        prior = Prior.of(pools, config or ContextEffectsConfig())
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


def _depth(
    log_depth: Float[np.ndarray, " n_obs"], codes: Codes, sizes: Sequence[int]
) -> tuple[Float[np.ndarray, " _"], ...]:
    """Effects of the categories on the log library size, by least squares with a slight ridge."""
    start = np.concatenate([[0], np.cumsum(sizes)])
    design = summing((codes + start[:-1]).T, int(start[-1])).T
    normal = (design.T @ design).toarray() + DEPTH_PENALTY * np.eye(int(start[-1]))
    coefficients = np.linalg.solve(normal, design.T @ (log_depth - log_depth.mean()))
    return tuple(coefficients[a:b] for a, b in pairwise(start))
