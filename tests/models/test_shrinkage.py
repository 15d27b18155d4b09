"""Changes of genes are shrunk as far as chance explains them."""

import numpy as np

from synthome.models.shrinkage import shrunken


def test_changes_are_shrunk_as_their_posterior_says():
    """Close to the posterior mean of the law that drew them, which the function has to find out."""
    rng = np.random.default_rng(0)
    variance = rng.gamma(1.0, 0.05, 5000) + 0.002
    real = rng.random(5000) < 0.1
    truth = np.where(real, rng.normal(0, 0.8, 5000), 0.0)
    u = truth + rng.normal(0, np.sqrt(variance))
    slab = 0.8**2
    densities = [
        share * np.exp(-0.5 * u**2 / v) / np.sqrt(v)
        for share, v in ((0.9, variance), (0.1, variance + slab))
    ]
    oracle = densities[1] / (densities[0] + densities[1]) * slab / (slab + variance) * u
    found = shrunken(u, variance)
    error = {name: np.mean((x - truth) ** 2) for name, x in
             {"found": found, "oracle": oracle, "raw": u, "zero": 0 * u}.items()}  # fmt: skip
    assert error["found"] < 1.05 * error["oracle"]
    assert error["found"] < 0.4 * min(error["raw"], error["zero"])


def test_a_count_or_two_of_a_silent_gene_are_no_change():
    """A huge change without information, among many that are known to be none."""
    rng = np.random.default_rng(0)
    variance = np.append(np.full(500, 0.01), 100.0)
    u = np.append(rng.normal(0, 0.1, 500), 20.0)
    assert abs(shrunken(u, variance)[-1]) < 0.1
