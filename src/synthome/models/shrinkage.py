"""Changes of many genes of which some are none: empirical Bayes with one normal slab.

Let u_g be what was measured of gene g, and v_g its variance. Most genes do not change, the others
by how much is not known:

    u_g ~ (1 - a) Normal(0, v_g) + a Normal(0, v_g + b)       a, b by EM over genes             (1)

and u_g is replaced by its posterior mean, so that a count or two of a silent gene are no change.

Stephens (2017), Biostatistics 18, 275-294. doi:10.1093/biostatistics/kxw041
"""

import numpy as np
from jaxtyping import Float


def shrunken(
    u: Float[np.ndarray, "*shape"],
    variance: Float[np.ndarray, "*shape"],
    n_steps: int = 50,
    most: float = 0.5,
) -> Float[np.ndarray, "*shape"]:
    """Posterior mean of changes ``u`` with known variances: eq. 1; at most ``most`` are real."""
    slab, share = max(float(np.mean(np.square(u) / variance)) - 1.0, 0.1), 0.1
    slab *= float(np.median(variance))
    for _ in range(n_steps):
        log_odds = (
            np.log(share / (1.0 - share))
            - 0.5 * np.log1p(slab / variance)
            + 0.5 * np.square(u) * (1.0 / variance - 1.0 / (variance + slab))
        )
        real = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -500.0, 500.0)))
        gain = slab / (slab + variance)
        moment = np.square(gain * u) + gain * variance  # of a change that is real
        share = float(np.clip(real.mean(), 1e-4, most))
        slab = max(float((real * moment).sum() / max(real.sum(), 1e-12)), 1e-8)
    return real * gain * u
