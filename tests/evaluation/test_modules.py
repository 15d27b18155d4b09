"""Planted modules are found, kept by rows that keep them, and lost in noise."""

import numpy as np
import pytest

from synthome.evaluation import modules


def modular(n, seed=0, n_modules=4, size=12):
    rng = np.random.default_rng(seed)
    factor = np.repeat(rng.standard_normal((n, n_modules)), size, axis=1)
    strength = np.tile(np.linspace(0.5, 2.0, size), n_modules)
    return factor * strength + rng.standard_normal((n, n_modules * size))


def test_planted_modules_are_found():
    """Genes of one planted module share a cluster, with few exceptions among the weak ones."""
    module = modules.coexpression_modules(modular(200), n_modules=6).reshape(4, 12)
    majority = [np.bincount(row[row >= 0]).argmax() for row in module]
    assert len(set(majority)) == 4
    assert np.mean([(row == m).mean() for row, m in zip(module, majority, strict=True)]) > 0.9


def test_rows_of_the_same_patients_keep_modules_and_noise_dissolves_them():
    """Density 1 and connectivity 1 against themselves; about 0 for independent genes."""
    real = modular(200)
    module = modules.coexpression_modules(real)
    assert modules.module_density(real, real, module) == pytest.approx(1.0)
    assert modules.module_connectivity_r(real, real, module) == pytest.approx(1.0)
    new = modular(2000, seed=1)
    assert modules.module_density(real, new, module) == pytest.approx(1.0, abs=0.1)
    assert modules.module_connectivity_r(real, new, module) > 0.7
    noise = np.random.default_rng(2).standard_normal((2000, 48))
    assert abs(modules.module_density(real, noise, module)) < 0.05
    assert abs(modules.module_connectivity_r(real, noise, module)) < 0.3


def test_small_clusters_are_no_modules():
    """A correlation of four genes with one another says little."""
    module = modules.coexpression_modules(modular(30), n_modules=10)
    kept = module[module != modules.NO_MODULE]
    assert np.unique(kept, return_counts=True)[1].min() >= modules.MIN_GENES


def test_too_few_rows_or_genes_are_no_module():
    """NaN, and no error from the clustering."""
    module = modules.coexpression_modules(modular(2))
    assert (module == modules.NO_MODULE).all()
    assert np.isnan(modules.module_density(modular(30), modular(30), module))
    assert np.isnan(modules.module_connectivity_r(modular(30), modular(30), module))
    assert modules.coexpression_modules(modular(30)[:, :1]).tolist() == [modules.NO_MODULE]
