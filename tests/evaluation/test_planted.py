"""Planted genes are found among different cells, and each way to find them has its own line."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.errors import InputError
from synthome.evaluation.planted import planted_auprc
from synthome.simulate.perturbation import expected_counts, twins


@pytest.fixture(scope="module")
def setting():
    """Two types of cells, 20 genes to turn down and 20 up, and a model that knows the types."""
    rng = np.random.default_rng(0)
    types = np.where(np.arange(300) % 2 == 0, "a", "b")
    profile = rng.gamma(1.0, 2.0, (2, 250)) + 0.3
    size = rng.lognormal(0.0, 0.3, (300, 1))
    rate = size * profile[(types == "a").astype(int)]
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    adata = AnnData(
        counts,
        obs=pd.DataFrame({"cell_type": types}, index=[f"c{i}" for i in range(300)]),
        var=pd.DataFrame(index=[f"g{j}" for j in range(250)]),
        layers={"counts": counts},
        uns={"synthome": {"label_key": "cell_type", "group_key": "", "scale": "counts"}},
    )
    planted = {"down": [f"g{j}" for j in range(20)], "up": [f"g{j}" for j in range(20, 40)]}
    tripled = twins(adata, planted["down"], planted["up"], 2.0, rng)
    is_base = (tripled.obs["condition"] == "base").to_numpy()
    size = tripled.obs["library_size"].to_numpy(float)
    type_of = tripled.obs["cell_type"].to_numpy(str)
    rates = expected_counts(tripled.X[is_base], size[is_base], type_of[is_base])
    rates /= size[is_base][:, None]
    mu = np.maximum(np.tile(rates, (3, 1)), 1e-8) * size[:, None]
    z = (type_of == "a").astype(float)[:, None] + rng.normal(0, 0.1, (900, 1))
    loadings = np.log(profile[1] / profile[0])[:, None]
    return tripled, planted, mu, np.full(250, np.inf), z, loadings


def test_the_shift_with_residuals_finds_what_the_decoder_alone_misses(setting):
    table = planted_auprc(*setting, rng=np.random.default_rng(1))
    wide = table.pivot(index="direction", columns="method", values="auprc")
    assert (wide["mean_shift"] >= 0.9 * wide["t_test"]).all()
    assert (wide["mean_shift"] > 0.9).all()
    assert (wide["latent_shift"] < 0.3).all()
    np.testing.assert_allclose(wide["chance"], 20 / 250)
    assert (wide["single_factor"] >= wide["chance"] * 0.8).all()
    assert (table["n_cells"] == 150).all()
    assert (table["n_planted"] == 20).all()


def test_base_and_perturbed_cells_are_never_twins(setting, monkeypatch):
    """Between twins nothing else differs, and any score would be perfect."""
    import synthome.evaluation.planted as module

    tripled, seen = setting[0], []
    halves = module._halves

    def watched(*args):
        for base, other in halves(*args):
            twin = tripled.obs["twin"].to_numpy()
            for direction, rows in other.items():
                assert not set(twin[base]) & set(twin[rows])
                assert (tripled.obs["condition"].iloc[rows] == direction).all()
            seen.append(len(base))
            yield base, other

    monkeypatch.setattr(module, "_halves", watched)
    planted_auprc(*setting, rng=np.random.default_rng(2), n_draws=2)
    assert seen == [150, 150]


def test_genes_that_are_not_there_are_refused(setting):
    tripled, _, *model = setting
    with pytest.raises(InputError, match="None of the genes planted up is among the 250"):
        planted_auprc(tripled, {"up": ["SOD1"]}, *model, rng=np.random.default_rng(0))
