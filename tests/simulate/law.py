"""The law of counts that every simulator promises, checked without its own code."""

import numpy as np


def deviations(adata, config) -> np.ndarray:
    """(x - mu) / sqrt(var) of a simulation without effects, mu = l softmax(m) spot by spot."""
    truth = adata.uns["truth"]
    rho = np.exp(truth["log_mean"]) / np.exp(truth["log_mean"]).sum()
    mu = truth["library_size"][:, None] * rho
    np.testing.assert_allclose(truth["mean_counts"], mu.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(
        1 / truth["theta"], config.dispersion + config.extra_poisson / mu.mean(axis=0), rtol=1e-10
    )
    return (adata.X.toarray() - mu) / np.sqrt(mu + mu**2 / truth["theta"])
